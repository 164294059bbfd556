"""The Markdown of an answer as one widget. It trusts nothing that a model writes, and shows all of it.

Textual's own widget makes one widget for each paragraph, bullet and cell. Arranging those took a tenth of a second for
each addition to an answer, so this one draws its rows itself. An addition costs the last block, and the rows that it
changes.

Links never open by themselves: where they lead is shown. Code is coloured only if the answer names its language,
because guessing would load every lexer. What the first line of a code block says stands above the code, with a mark
that copies it.
"""

from collections.abc import Iterable
from itertools import accumulate
from typing import ClassVar

import msgspec
from rich.segment import Segment
from textual import events, highlight
from textual.content import Content
from textual.geometry import Region, Size
from textual.message import Message
from textual.selection import Selection
from textual.strip import Strip
from textual.style import Style

from tui_llama.widgets.arranged_once import ArrangedOnce
from tui_llama.widgets.markdown.building import Builder
from tui_llama.widgets.markdown.rows import Block, Line, Row
from tui_llama.widgets.markdown.rules import markdown_parser

_BLANK_ROW = Row(Content(""))


class _Placed(msgspec.Struct):
    """A block of the answer.

    Attributes:
        block: The block.
        source_line: The line of the text where it begins, from 0.
        code_count: How many code blocks stand above it.
        lines: Its lines as they are copied.
        rows: Its rows for the width at which it was drawn last, with an empty one below.
    """

    block: Block
    source_line: int
    code_count: int
    lines: list[Line]
    rows: list[Row]


class AnswerMarkdown(ArrangedOnce):
    """Markdown that may grow at its end.

    Args:
        markdown: The text that there is already.
    """

    DEFAULT_CSS = "AnswerMarkdown { width: 1fr; height: auto; }"
    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "bullet",
        "caption",
        "code",
        "code_inline",
        "em",
        "heading",
        "heading-1",
        "link",
        "quotation",
        "quotation-mark",
        "rule",
        "s",
        "strong",
        "table-header",
    }

    class CopyWanted(Message):
        """Posted when the user wants to copy code block `number` of the answer `text`. Numbers count from 1."""

        def __init__(self, text: str, number: int) -> None:
            super().__init__()
            self.text = text
            self.number = number

    def __init__(self, markdown: str = "") -> None:
        super().__init__()
        self._source = markdown
        self._blocks: list[_Placed] = []
        self._width = 0
        self._rows: list[Row] = []
        self._first_lines: list[int] = []  # the number of the first line of each row's block, in the whole widget
        self._strips: dict[int, Strip] = {}
        self._strip_key: object = None
        self._highlighted_in: type[highlight.HighlightTheme] | None = None

    def on_mount(self) -> None:
        """Reads the text that there is already."""
        self.update(self._source)

    # --- the text -----------------------------------------------------------------------------------------------

    @property
    def source(self) -> str:
        """The text as it was written."""
        return self._source

    @property
    def whole_source(self) -> str:
        """The whole answer, of which this may be a part."""
        return self._source

    @property
    def first_code_number(self) -> int:
        """The number of the first code block, among those of the whole answer."""
        return 1

    @property
    def continues_code(self) -> bool:
        """Whether the first code block goes on with one above this widget."""
        return False

    @property
    def is_joined(self) -> bool:
        """Whether the widget below goes on with the last block, so that no row stays empty between them."""
        return False

    @property
    def least_digits(self) -> int:
        """The numbers of lists are padded at least to so many cells."""
        return 0

    def update(self, markdown: str) -> None:
        """Shows another text."""
        self._source = markdown
        self._read_from(0)

    def append(self, markdown: str) -> None:
        """Adds text at the end. Blocks that have ended are not read again: later text never changes them."""
        last_line = self._source.count("\n")
        self._source += markdown
        # The last line may become something else. "2" below a list is a paragraph, and "2." goes on with the list.
        ended = [number for number, placed in enumerate(self._blocks) if placed.source_line < last_line]
        first = ended[-1] if ended else 0
        if first and self._begins_formula(self._blocks[first]):
            first -= 1  # a blank line makes of an open formula lines of the paragraph above it
        self._read_from(first)

    def _begins_formula(self, placed: _Placed) -> bool:
        line = self._source.split("\n", placed.source_line + 1)[placed.source_line]
        return line.lstrip().startswith(("$$", "\\["))

    def _read_from(self, first: int) -> None:
        """Reads the text again from block number `first` on, and draws what has changed."""
        kept = self._blocks[: max(0, first)]
        again = self._blocks[max(0, first) :]
        line, code_count = (again[0].source_line, again[0].code_count) if again else (0, 0)
        text = self._source.split("\n", line)[-1] if line else self._source
        self._blocks = kept + self._placed(text, line, code_count)
        self._draw_again(sum(len(each.rows) for each in kept))

    def _placed(self, text: str, line: int = 0, code_count: int = 0) -> list[_Placed]:
        """Returns the blocks of a text that begins in that line of the whole, below so many code blocks."""
        builder = Builder(
            self._highlight,
            self.first_code_number,
            continues_code=self.continues_code,
            least_digits=self.least_digits,
            first_index=code_count,
        )
        return [
            _Placed(block, line + block_line, count, list(block.lines), [])
            for block_line, block, count in builder.blocks(markdown_parser().parse(text))
        ]

    def _draw_again(self, first_row: int) -> None:
        """Lays the blocks out again that have no rows; rows before number `first_row` stay as they are."""
        height = len(self._rows)
        self._lay_out(self._width)
        for row in [row for row in self._strips if row >= first_row]:
            del self._strips[row]
        if len(self._rows) == height and self._width:
            self.refresh(Region(0, first_row, self._width, height - first_row))
        else:
            self.refresh(layout=True)

    def _highlight(self, code: str, language: str) -> Content:
        """Returns code in the colours of the theme; plain if no language is named."""
        self._highlighted_in = self._code_theme
        name = language.partition(" ")[0] or "text"
        return highlight.highlight(code, language=name, theme=self._highlighted_in)

    @property
    def _code_theme(self) -> type[highlight.HighlightTheme]:
        if not self.app.native_ansi_color:
            return highlight.HighlightTheme
        is_dark = self.app.current_theme.dark
        return highlight.ANSIDarkHighlightTheme if is_dark else highlight.ANSILightHighlightTheme

    # --- rows ---------------------------------------------------------------------------------------------------

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        """Returns how many rows the text takes."""
        self._lay_out(width)
        return len(self._rows)

    def _lay_out(self, width: int) -> None:
        """Cuts the blocks into rows that are `width` cells wide."""
        if width != self._width:
            self._strips.clear()
            self._width = width
            for placed in self._blocks:
                placed.rows = []
        if not width:
            return
        last = len(self._blocks) - 1
        for number, placed in enumerate(self._blocks):
            if not placed.rows:
                placed.rows = [*placed.block.rows(width)]
                if number < last or not self.is_joined:
                    placed.rows.append(_BLANK_ROW)
        self._rows = [row for placed in self._blocks for row in placed.rows]
        first_lines = accumulate((len(placed.lines) for placed in self._blocks), initial=0)
        self._first_lines = [
            first for placed, first in zip(self._blocks, first_lines, strict=False) for _row in placed.rows
        ]

    def render_line(self, y: int) -> Strip:
        """Returns one row."""
        if self.size.width != self._width:  # Textual remembers the heights of earlier widths and asks for none then
            self._lay_out(self.size.width)
        key = (self.visual_style, self.text_selection)
        if key != self._strip_key:
            self._strips.clear()
            self._strip_key = key
        if (strip := self._strips.get(y)) is None:
            strip = self._strips[y] = self._strip(y)
        return strip

    def _strip(self, y: int) -> Strip:
        width, style = self.size.width, self.visual_style
        if y >= len(self._rows):
            return Strip.blank(width, style.rich_style)
        row = self._rows[y]
        segments = list(self._segments(row.marks, style, None))
        if row.fill:
            style = self.get_visual_style(row.fill)
        if row.copies is not None:
            style += Style.from_meta({"copies": row.copies})
        if row.indent:
            segments.append(Segment(" " * row.indent, style.rich_style))
        if row.line is None:
            segments += self._segments(row.text, style, None)
        else:
            line = self._first_lines[y] + row.line
            segments += self._segments(self._with_selection(row, line), style, (row.offset, line))
        return Strip(segments).adjust_cell_length(width, style.rich_style)

    def _segments(self, content: Content, style: Style, place: tuple[int, int] | None) -> Iterable[Segment]:
        """Yields the parts of a row. `place` is where it begins, in its line, and the number of the line."""
        for text, text_style in content.render(style, end="", parse_style=self._get_style):
            whole = style + text_style
            if not text:
                continue
            if place is None:
                yield Segment(text, whole.rich_style)
            else:
                yield Segment(text, whole.rich_style_with_offset(*place))
                place = (place[0] + len(text), place[1])

    # --- selecting ----------------------------------------------------------------------------------------------

    def _with_selection(self, row: Row, line: int) -> Content:
        selection = self.text_selection
        if selection is None or (span := selection.get_span(line)) is None:
            return row.text
        start, end = span
        length = len(row.text.plain)
        first, last = max(0, start - row.offset), length if end == -1 else min(length, end - row.offset)
        if first >= last:
            return row.text
        style = Style.from_styles(self.screen.get_component_styles("screen--selection"))
        return row.text.stylize(style, first, last)

    def get_selection(self, selection: Selection) -> tuple[str, str] | None:
        """Returns the selected text with the line breaks that were written, and with the marks of whole lines."""
        return self._selected_of(self._blocks, selection), "\n\n"

    @staticmethod
    def _selected_of(blocks: list[_Placed], selection: Selection) -> str:
        selected = []
        number = 0
        for placed in blocks:
            for line in placed.lines:
                if (span := selection.get_span(number)) is not None:
                    start, end = span
                    text = line.text[start:] if end == -1 else line.text[start:end]
                    selected.append((line.mark if start == 0 else "") + text)
                number += 1
            if selected and placed is not blocks[-1] and selection.get_span(number) is not None:
                selected.append("")
        return "\n".join(selected)

    def on_click(self, event: events.Click) -> None:
        """Posts `CopyWanted` if the row above some code is clicked."""
        index = event.style.meta.get("copies")
        if index is not None:
            event.stop()
            self.post_message(self.CopyWanted(self.whole_source, self.first_code_number + index))

    def notify_style_update(self) -> None:
        """Draws everything again in the colours of another theme."""
        super().notify_style_update()
        self._strips.clear()
        if self._blocks and self._code_theme != self._highlighted_in:
            self.update(self._source)
