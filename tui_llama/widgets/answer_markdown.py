"""Markdown as a model writes it: nothing in it is trusted, and nothing of it is lost.

Differs from Textual's in five things: HTML is shown as it stands instead of vanishing, a single line break is kept,
links never open by themselves, a code block without a language is not guessed at (which loads every lexer there
is, at every token), and table cells have no tooltips, whose text would be read as markup.
"""

from functools import cache

from markdown_it import MarkdownIt
from markdown_it.rules_core import StateCore
from textual.app import ComposeResult
from textual.content import Content
from textual.widgets import Markdown
from textual.widgets._markdown import (
    MarkdownFence,
    MarkdownTable,
    MarkdownTableCellContents,
    MarkdownTableContent,
)


@cache
def markdown_parser() -> MarkdownIt:
    """The parser of all answers."""
    parser = MarkdownIt("gfm-like", {"html": False, "linkify": False}).disable("linkify")
    parser.core.ruler.push("keep_line_breaks", _keep_line_breaks)
    return parser


def _keep_line_breaks(state: StateCore) -> None:
    """Models mean the line breaks that they write."""
    for token in state.tokens:
        for child in token.children or ():
            if child.type == "softbreak":
                child.type = "hardbreak"


class PlainTableContent(MarkdownTableContent):
    """A table's cells without tooltips."""

    def compose(self) -> ComposeResult:
        """Headers, then the cells of each row."""
        for header in self.headers:
            yield MarkdownTableCellContents(header, classes="header")
        for row_number, row in enumerate(self.rows, 1):
            for column_number, cell in enumerate(row, 1):
                yield MarkdownTableCellContents(
                    cell, classes=f"row{row_number} cell", name=f"cell{row_number}.{column_number}"
                )
            self.last_row = row_number


class PlainTable(MarkdownTable):
    """A table of such cells."""

    def compose(self) -> ComposeResult:
        """The one widget that holds the cells."""
        self._headers, self._rows = self._get_headers_and_rows()
        yield PlainTableContent(self._headers, self._rows)


class CodeBlock(MarkdownFence):
    """A code block, highlighted only in the language that it names."""

    @classmethod
    def highlight(cls, code: str, language: str, ansi: bool = False, dark: bool = False) -> Content:
        """The code in colours."""
        first_word = language.strip().partition(" ")[0]
        return super().highlight(code, first_word or "text", ansi, dark)


class AnswerMarkdown(Markdown):
    """An answer, whole or growing."""

    BLOCKS = {  # noqa: RUF012 - declared without ClassVar by the base class
        **Markdown.BLOCKS,
        "table_open": PlainTable,
        "fence": CodeBlock,
        "code_block": CodeBlock,
    }

    def __init__(self, markdown: str | None = None) -> None:
        super().__init__(markdown, parser_factory=markdown_parser, open_links=False)
