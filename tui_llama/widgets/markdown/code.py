"""The code blocks of a text, as they are counted on the screen."""

from markdown_it.token import Token

from tui_llama.widgets.markdown.rules import markdown_parser


def code_blocks(text: str) -> list[str]:
    """Returns the code of each block, from top to bottom. Block number 1 comes first."""
    if not any(mark in text for mark in ("```", "~~~", "    ", "\t", "{", "[")):
        return []
    parser, tokens = markdown_parser(), list[Token]()
    parser.block.parse(text, parser, {}, tokens)
    return [token.content.rstrip() for token in tokens if token.type in ("fence", "code_block")]
