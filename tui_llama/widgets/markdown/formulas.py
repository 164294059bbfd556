r"""The parser's rules for LaTeX mathematics: $x$, \\(x\\), $$x$$ and \\[x\\].

A simple formula is shown as readable text. Any other is shown as it was written, and none of its marks as Markdown.
Prices are no formulas: a single dollar sign opens one only right before a character other than a blank, and closes one
only right after such a character and not before a digit; and what is between must look like mathematics.
"""

import re
from typing import Final

from markdown_it import MarkdownIt
from markdown_it.rules_block import StateBlock
from markdown_it.rules_inline import StateInline
from markdown_it.token import Token

from tui_llama.mathematics.unicode_text import unicode_of
from tui_llama.text_safety import sanitize_line

_INLINE: Final = re.compile(
    r"\$\$(?P<double>[^$\n]+)\$\$|\$(?P<dollar>[^\s$](?:[^$\n]*[^\s$\\])?)\$(?!\d)|\\\((?P<round>[^\n]+?)\\\)"
    r"|\\\[(?P<square>[^\n]+?)\\\]"
)
_LOOKS_LIKE_MATHEMATICS: Final = re.compile(r"[\\^_=<>+]|[A-Za-z]'?")
_WORD: Final = re.compile(r"[A-Za-z]{3,}")
_LOWER_WORD: Final = re.compile(r"(?<![\\A-Za-z])[a-z]{2,}(?![A-Za-z])")  # no command
_MARKS: Final = "\\^_=<>+"
_CLOSERS: Final = {"$$": "$$", "\\[": "\\]"}


def add_formulas(parser: MarkdownIt) -> None:
    """Adds the rules to a parser."""
    parser.inline.ruler.before("escape", "formula", _inline_formula)
    parser.block.ruler.before("fence", "formulas", _formula_block, {"alt": ["paragraph", "blockquote", "list"]})


def _inline_formula(state: StateInline, silent: bool) -> bool:
    if state.src[state.pos] not in "$\\":
        return False
    match = _INLINE.match(state.src, state.pos, state.posMax)
    if match is None:
        return False
    source = match[match.lastgroup or 0]
    if not (_is_mathematics(source) if match.lastgroup == "dollar" else not _is_prose(source)):
        return False
    if not silent:
        shown = unicode_of(source)
        state.push("text", "", 0).content = match.group() if shown is None else shown
    state.pos = match.end()
    return True


def _is_prose(source: str) -> bool:
    """Tells words in escaped brackets from a formula."""
    return bool(_WORD.search(source)) and not any(mark in source for mark in _MARKS)


def _is_mathematics(source: str) -> bool:
    """Tells mathematics from what may stand between two prices: a single letter, or signs that prose has not.

    What begins with a digit, as a price does, must have no word either: "6CO_2" is none, "5 (= 4 €) or 3" has one.
    """
    if _LOOKS_LIKE_MATHEMATICS.fullmatch(source):
        return True
    if not any(mark in source for mark in _MARKS):
        return False
    return not source[0].isdigit() or _LOWER_WORD.search(source) is None


def _formula_block(state: StateBlock, start_line: int, end_line: int, silent: bool) -> bool:
    """Parses lines from $$ to $$, or from \\[ to \\], as a paragraph. The end may still be missing."""
    first = _line(state, start_line)
    opener = next((mark for mark in _CLOSERS if first.startswith(mark)), "")
    if not opener or state.is_code_block(start_line):
        return False
    closer = _CLOSERS[opener]
    body, line, is_closed = first[len(opener) :], start_line, False
    lines: list[str] = []
    while True:
        if body.rstrip().endswith(closer) and (line > start_line or body.strip()):
            lines.append(body.rstrip()[: -len(closer)])
            is_closed = True
            break
        if closer in body:
            return False
        lines.append(body)
        line += 1
        if line >= end_line:
            break
        body = _line(state, line)
        if not body.strip() or state.sCount[line] < state.blkIndent:
            return False
    if not is_closed and lines[0].strip():
        return False
    if not silent:
        _push(state, start_line, min(line + 1, end_line), _shown(opener, lines, closer, is_closed))
    return True


def _shown(opener: str, lines: list[str], closer: str, is_closed: bool) -> list[str]:
    """Returns the rows to show: the formula as text, else its source, without its marks while it grows."""
    filled = [line.strip() for line in lines if line.strip()]
    if not is_closed:
        return filled or [opener]
    shown = unicode_of(" ".join(filled))
    if shown:
        return [shown]
    return [opener + filled[0] + closer] if len(filled) == 1 else [opener, *filled, closer]


def _push(state: StateBlock, start: int, end: int, rows: list[str]) -> None:
    state.push("paragraph_open", "p", 1).map = [start, end]
    inline = state.push("inline", "", 0)
    inline.map = [start, end]
    inline.content = ""
    inline.children = []
    state.push("paragraph_close", "p", -1)
    state.line = end
    inline.meta["rows"] = rows


def formula_rows(rows: list[str]) -> list[Token]:
    """Returns the tokens of the rows of a formula."""
    tokens: list[Token] = []
    for row in rows:
        tokens += [Token("hardbreak", "br", 0)] if tokens else []
        tokens.append(Token("text", "", 0, content=sanitize_line(row)))
    return tokens


def _line(state: StateBlock, line: int) -> str:
    return state.src[state.bMarks[line] + state.tShift[line] : state.eMarks[line]]
