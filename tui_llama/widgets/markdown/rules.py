"""The Markdown parser for answers: GitHub's Markdown, without the rules that would hide text.

CommonMark hides the targets of links and images, definitions of references, text after the language of a fence, cells
for which a table has no column, and blocks that are nested deeper than the parser goes. The reader of a web page may
never miss them, but the reader of an answer must be able to see all of it. So each of them is shown as text here.

The parser decodes entities after the text was sanitized. So the decoded text is sanitized once more.
"""

import re
from functools import cache
from itertools import pairwise
from typing import Final

from markdown_it import MarkdownIt
from markdown_it.rules_block import StateBlock
from markdown_it.rules_block.table import escapedSplit, getLine, table
from markdown_it.rules_core import StateCore
from markdown_it.token import Token

from tui_llama.text_safety import sanitize_line
from tui_llama.widgets.markdown.emphasis import add_emphasis
from tui_llama.widgets.markdown.formulas import add_formulas, formula_rows
from tui_llama.widgets.markdown.json_values import add_json_values

# Cells of a row that the marks of lists and quotations may take: half of the narrowest usable screen. Deeper blocks are
# shown as they were written.
INDENTATION_CELLS: Final = 28
_QUOTATION_CELLS: Final = 2
_BULLET_CELLS: Final = 2
_NUMBER_CELLS: Final = 2  # without its digits
_SAFE_LEVELS: Final = 4  # two nested lists with the largest numbers, 12 cells each
# The limit of cells keeps blocks far below this level. Nested brackets may reach it, and are text from there on.
_MOST_LEVELS: Final = 64
_TASK: Final = re.compile(r"\[([ xX])\](?: |$)")
_BOXES: Final = {" ": "☐", "x": "☑"}


@cache
def markdown_parser() -> MarkdownIt:
    """Returns the parser of all answers."""
    parser = MarkdownIt("gfm-like", {"html": False, "linkify": False, "maxNesting": _MOST_LEVELS})
    parser.disable(["linkify", "reference"])
    parser.block.ruler.before("table", "too_deep", _too_deep)
    parser.block.ruler.at("table", _table_with_all_cells, {"alt": ["paragraph", "reference"]})
    add_emphasis(parser)
    add_formulas(parser)
    add_json_values(parser)
    parser.core.ruler.push("show_formulas", _show_formulas)
    parser.core.ruler.push("show_tasks", _show_tasks)
    parser.core.ruler.push("show_targets", _show_targets)
    parser.core.ruler.push("keep_line_breaks", _keep_line_breaks)
    # The first text makes its tables of rules. A second thread that came meanwhile would find them half filled, and
    # fail: no rule fits its text. So nobody has the parser before they are there.
    parser.parse("a **word**")
    return parser


def _show_formulas(state: StateCore) -> None:
    """Fills in the paragraphs of formulas, which the parser of paragraphs must not read."""
    for token in state.tokens:
        if "rows" in token.meta:
            token.children = formula_rows(token.meta["rows"])


def _show_tasks(state: StateCore) -> None:
    """Draws the boxes of tasks: a list item that begins with [ ] or [x]."""
    for (first, second), token in zip(pairwise(state.tokens), state.tokens[2:], strict=False):
        if first.type == "list_item_open" and second.type == "paragraph_open" and token.children:
            text = token.children[0]
            if text.type == "text" and (match := _TASK.match(text.content)):
                text.content = f"{_BOXES[match[1].lower()]} {text.content[match.end() :]}"


def _keep_line_breaks(state: StateCore) -> None:
    """Keeps each line break of a paragraph, because a model means the line breaks that it writes."""
    for token in state.tokens:
        for child in token.children or ():
            if child.type == "softbreak":
                child.type = "hardbreak"


# --- what is nested too deep ----------------------------------------------------------------------------------------


def _too_deep(state: StateBlock, start_line: int, end_line: int, silent: bool) -> bool:
    """Parses a block that is indented too far as a paragraph, with its marks as they were written (a block rule).

    Returns:
        Whether the rule applies here.
    """
    if state.level < _SAFE_LEVELS or _indentation_cells(state) < INDENTATION_CELLS:
        return False
    if silent:
        return True
    line = start_line
    # A negative indentation means a line of a quotation that goes on without its mark.
    while line < end_line and (state.isEmpty(line) or not 0 <= state.sCount[line] < state.blkIndent):
        line += 1
    opening = state.push("paragraph_open", "p", 1)
    opening.map = [start_line, line]
    inline = state.push("inline", "", 0)
    inline.content = state.getLines(start_line, line, state.blkIndent, False).strip()
    inline.map = [start_line, line]
    inline.children = []
    state.push("paragraph_close", "p", -1)
    state.line = line
    return True


def _indentation_cells(state: StateBlock) -> int:
    """Returns the cells of a row that the marks of all open blocks take."""
    cells, level = 0, state.level
    for token in reversed(state.tokens):
        if token.nesting == 1 and token.level < level:
            level = token.level
            cells += _mark_cells(token)
            if level == 0:
                break
    return cells


def _mark_cells(token: Token) -> int:
    if token.type == "blockquote_open":
        return _QUOTATION_CELLS
    if token.type == "list_item_open":
        return len(token.info) + _NUMBER_CELLS if token.info else _BULLET_CELLS
    return 0


# --- tables ---------------------------------------------------------------------------------------------------------


def _table_with_all_cells(state: StateBlock, start_line: int, end_line: int, silent: bool) -> bool:
    """Parses a table and puts cells without a column into the last column (a block rule).

    Returns:
        Whether there is a table here.
    """
    before = len(state.tokens)
    if not table(state, start_line, end_line, silent):
        return False
    if not silent:
        _add_left_out_cells(state, state.tokens[before:])
    return True


def _add_left_out_cells(state: StateBlock, tokens: list[Token]) -> None:
    column_count = sum(token.type == "th_open" for token in tokens)
    cells = [token for token in tokens if token.type == "inline"][column_count:]
    for last in cells[column_count - 1 :: column_count]:
        assert last.map is not None  # the rule for tables gives each cell its line
        left_out = _cells(getLine(state, last.map[0]))[column_count:]
        last.content = " | ".join([last.content, *left_out])


def _cells(line: str) -> list[str]:
    """Returns the cells of a row, split as the rule for tables splits them."""
    cells = escapedSplit(line.strip())
    if cells and cells[0] == "":
        cells.pop(0)
    if cells and cells[-1] == "":
        cells.pop()
    return [cell.strip() for cell in cells]


# --- where links lead -----------------------------------------------------------------------------------------------


def _show_targets(state: StateCore) -> None:
    """Adds the target of each link and image after it, unless the link's text is the target."""
    for token in state.tokens:
        if token.type == "inline":
            token.children = _with_targets(token.children or [])


def _with_targets(children: list[Token]) -> list[Token]:
    shown: list[Token] = []
    links: list[tuple[Token, int]] = []
    for child in children:
        if child.type == "text":
            child.content = sanitize_line(child.content)
        shown.append(child)
        if child.type == "link_open":
            links.append((child, len(shown)))
        elif child.type == "link_close":
            link, start = links.pop()
            text = "".join(each.content for each in shown[start:])
            shown += _target(str(link.attrs.get("href", "")), str(link.attrs.get("title", "")), text)
        elif child.type == "image":
            child.children = _with_targets(child.children or [])
            shown += _target(str(child.attrs.get("src", "")), str(child.attrs.get("title", "")), "")
    return shown


def _target(address: str, title: str, text: str) -> list[Token]:
    parts = ([] if not address or address.removeprefix("mailto:") == text else [address]) + ([title] if title else [])
    if not parts:
        return []
    return [Token("text", "", 0, content=sanitize_line(f" ({' '.join(parts)})"))]
