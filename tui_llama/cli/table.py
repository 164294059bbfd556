"""Prints rows as a table in plain text."""

from collections.abc import Sequence
from typing import Final

from tui_llama.output import Output
from tui_llama.text_safety import sanitize_line

_GAP: Final = "  "


def print_table(output: Output, rows: Sequence[tuple[str, ...]]) -> None:
    """Prints a line for each row, with its cells below those of the row before. All rows have as many cells."""
    rows = [tuple(sanitize_line(cell) for cell in row) for row in rows]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True))
        output.result(_GAP.join(cells).rstrip() + "\n")
