"""Tables: in columns as wide as they need, in narrower ones with wrapped cells, or cell below cell."""

from collections.abc import Iterator, Sequence
from typing import Final, Literal

from rich.cells import cell_len
from textual.content import Content

from tui_llama.widgets.markdown.rows import NOTHING, Line, Row, wrapped

Alignment = Literal["left", "center", "right"]

_BETWEEN: Final = " │ "
_CROSSING: Final = "─┼─"
_LONG_WORD: Final = 16  # cells; a longer word may be broken to keep the columns


class TableBlock:
    """A table.

    Args:
        headers: The cells of the first row.
        cells: The cells of the other rows, as many in each as there are headers.
        alignments: How each column is aligned.
    """

    def __init__(
        self, headers: Sequence[Content], cells: Sequence[Sequence[Content]], alignments: Sequence[Alignment]
    ) -> None:
        self._headers = [cell.stylize_before(".table-header") for cell in headers]
        self._cells = cells
        self._alignments = alignments

    @property
    def lines(self) -> Sequence[Line]:
        """The rows of the table; a tab stands between two cells, so that a spreadsheet takes what is copied."""
        return [Line("", "\t".join(_plain(cell) for cell in row)) for row in [self._headers, *self._cells]]

    def rows(self, width: int) -> Iterator[Row]:
        """See `Block`."""
        widths = self._widths(width - len(_BETWEEN) * (len(self._headers) - 1))
        if widths is None:
            yield from self._stacked(width)
            return
        drawn = [list(self._drawn_row(row, widths)) for row in [self._headers, *self._cells]]
        has_rules = any(len(rows) > 1 for rows in drawn[1:])  # else it is not seen where a row of wrapped cells ends
        rule = Content.styled(_CROSSING.join("─" * column for column in widths), ".rule")
        for number, rows in enumerate(drawn):
            if number == 1 or (has_rules and number > 1):
                yield Row(rule)
            for text in rows:
                yield Row(text, line=number)

    def _widths(self, available: int) -> list[int] | None:
        """Returns the widths of the columns, which take at most the available cells; None if there is no room."""
        columns = list(zip(self._headers, *self._cells, strict=True))
        wanted = [max(1, *(_longest(cell.plain.split("\n")) for cell in column)) for column in columns]
        words = [max(1, *(_longest(cell.plain.split()) for cell in column)) for column in columns]
        if sum(wanted) <= available:
            return wanted
        least = words if sum(words) <= available else [min(word, _LONG_WORD) for word in words]
        return _shared_out(least, wanted, available) if sum(least) <= available else None

    def _drawn_row(self, cells: Sequence[Content], widths: Sequence[int]) -> Iterator[Content]:
        parts = [_parts(cell, width) for cell, width in zip(cells, widths, strict=True)]
        line = Content.styled(_BETWEEN, ".rule")
        for number in range(max(map(len, parts))):
            yield line.join(
                _aligned(part[number] if number < len(part) else NOTHING, width, alignment)
                for part, width, alignment in zip(parts, widths, self._alignments, strict=True)
            )

    def _stacked(self, width: int) -> Iterator[Row]:
        """Yields one cell below the other, each behind the header of its column."""
        if not self._cells:
            for header in self._headers:
                for part in _parts(header, width):
                    yield Row(part, line=0)
        for number, cells in enumerate(self._cells, 1):
            if number > 1:
                yield Row(Content.styled("─" * width, ".rule"))
            for header, cell in zip(self._headers, cells, strict=True):
                for part in _parts(header + Content(": ") + cell if header.plain else cell, width):
                    yield Row(part, line=number)


def _parts(cell: Content, width: int) -> list[Content]:
    """Returns the rows of a cell."""
    return [part for line in cell.split(allow_blank=True) for _offset, part in wrapped(line, width)] or [NOTHING]


def _plain(cell: Content) -> str:
    return cell.plain.replace("\n", " ").replace("\t", " ")


def _longest(texts: Sequence[str]) -> int:
    """Returns the width of the widest, in cells."""
    return max(map(cell_len, texts), default=0)


def _shared_out(least: Sequence[int], wanted: Sequence[int], available: int) -> list[int]:
    """Returns widths between `least` and `wanted`: the narrowest columns get first what they want."""
    widths = list(least)
    spare = available - sum(widths)
    for place, index in enumerate(sorted(range(len(widths)), key=lambda each: wanted[each] - widths[each])):
        more = min(wanted[index] - widths[index], spare // (len(widths) - place))
        widths[index] += max(0, more)
        spare -= max(0, more)
    return widths


def _aligned(text: Content, width: int, alignment: Alignment) -> Content:
    missing = max(0, width - text.cell_length)
    left = {"left": 0, "center": missing // 2, "right": missing}[alignment]
    return text.pad(left, missing - left)
