"""The parser's rule for asterisks beside Chinese, Japanese and Korean, which have no blanks around emphasised words.

CommonMark lets `**` close only where a blank or a mark follows if a mark stands before it. So it leaves the asterisks
of `**重要：**これ` on the screen, which models write all the time. Here an ideograph counts as a blank does.

Source: CommonMark 0.31, "Emphasis and strong emphasis"; github.com/tats-u/markdown-cjk-friendly, specification.
"""

from unicodedata import east_asian_width

from markdown_it import MarkdownIt
from markdown_it.common.utils import isMdAsciiPunct, isPunctChar, isWhiteSpace
from markdown_it.rules_inline import StateInline
from markdown_it.rules_inline.emphasis import tokenize


def add_emphasis(parser: MarkdownIt) -> None:
    """Replaces the parser's rule."""
    parser.inline.ruler.at("emphasis", _emphasis)


def _emphasis(state: StateInline, silent: bool) -> bool:
    start, count = state.pos, len(state.delimiters)
    if not tokenize(state, silent):
        return False
    if state.src[start] == "*":
        before = state.src[start - 1] if start > 0 else " "
        after = state.src[state.pos] if state.pos < state.posMax else " "
        for delimiter in state.delimiters[count:]:
            delimiter.open = delimiter.open or _may_open(before, after)
            delimiter.close = delimiter.close or _may_open(after, before)
    return True


def _may_open(outside: str, inside: str) -> bool:
    """Tells whether asterisks between these two characters may open (or close, the other way round) an emphasis."""
    if isWhiteSpace(ord(inside)):
        return False
    return not _is_mark(inside) or _is_wide(inside) or _is_wide(outside)


def _is_mark(character: str) -> bool:
    return isMdAsciiPunct(ord(character)) or isPunctChar(character)


def _is_wide(character: str) -> bool:
    return east_asian_width(character) in "WFH"
