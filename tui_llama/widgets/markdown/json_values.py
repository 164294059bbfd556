"""JSON that an answer holds without a fence, as an answer does that is bound to a schema, is a block of code.

As Markdown it would lose its indentation, the backslashes of its strings and whatever in them looks like a mark.
"""

import re
from typing import Final

from markdown_it import MarkdownIt
from markdown_it.rules_block import StateBlock

_BEGINNING: Final = re.compile(r'[ \t]{0,3}(?:\{\s*["}]|\[\s*["{]|\[[ \t]*\[[ \t]*["{\[\d-])')
_PARTS: Final = re.compile(r'\s+|[{}\[\]:,]|"(?:[^"\\\n]|\\.)*"|-?\d[\d.eE+-]*|true\b|false\b|null\b')
_BEGUN_PART: Final = re.compile(r'"(?:[^"\\\n]|\\.)*\\?|-?|[a-z]{1,4}')
_REST_OF_LINE: Final = re.compile(r"[ \t]*(?:\n|$)")


def add_json_values(parser: MarkdownIt) -> None:
    """Lets the parser read an object or array of JSON that begins a block as a block of code."""
    parser.block.ruler.before("code", "json_value", _json_value)


def _json_value(state: StateBlock, start_line: int, end_line: int, silent: bool) -> bool:
    """Parses a value up to the line of its end, or all there is of one that may still grow (a block rule).

    Returns:
        Whether the rule applies here.
    """
    begin = state.bMarks[start_line]
    if state.level or not _BEGINNING.match(state.src, begin):
        return False
    end = _end_of_value(state.src, begin)
    if end is None:
        return False
    if silent:
        return True
    line = min(start_line + state.src.count("\n", begin, end) + 1, end_line)
    token = state.push("fence", "code", 0)
    token.info, token.content = "json", state.src[begin:end]
    token.map = [start_line, line]
    state.line = line
    return True


def _end_of_value(text: str, begin: int) -> int | None:
    """Returns where the value ends; the end of the text if it breaks off there; None if this is no JSON."""
    depth, place = 0, begin
    while part := _PARTS.match(text, place):
        place = part.end()
        depth += {"{": 1, "[": 1, "}": -1, "]": -1}.get(part[0], 0)
        if depth == 0 and part[0] in "}]":
            return place if _REST_OF_LINE.match(text, place) else None
    return len(text) if _BEGUN_PART.fullmatch(text.removesuffix("\n"), place) else None
