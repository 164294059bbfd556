"""Cuts texts that are too wide, between grapheme clusters. Textual would cut a flag in half."""

from collections.abc import Iterator
from itertools import pairwise

from rich.cells import cell_len
from textual.content import Content, Span

from tui_llama import graphemes


def cut(content: Content, cells: int) -> Content:
    """Returns the content if it fits into `cells`, else its longest beginning that fits, with an ellipsis."""
    if content.cell_length <= cells:
        return content
    if cells <= 0:
        return Content("")
    text = _beginning(content.plain, cells - 1) + "…"
    spans = [Span(start, min(end, len(text)), style) for start, end, style in content.spans if start < len(text)]
    return Content(text, spans)


def _beginning(text: str, cells: int) -> str:
    if text.isascii():
        return text[:cells]
    end = used = 0
    for place, next_place in pairwise(graphemes.boundaries(text)):
        used += cell_len(text[place:next_place])
        if used > cells:
            break
        end = next_place
    return text[:end]


def rows(line: str, cells: int) -> Iterator[str]:
    """Yields the line in rows of at most `cells` cells. An empty line yields one row.

    A row is wider only if it is one character that is wider than `cells`.
    """
    if line.isascii():
        yield from (line[start : start + cells] for start in range(0, max(1, len(line)), cells))
        return
    start = used = 0
    for place, next_place in pairwise(graphemes.boundaries(line)):
        character_cells = cell_len(line[place:next_place])
        if used and used + character_cells > cells:
            yield line[start:place]
            start, used = place, 0
        used += character_cells
    yield line[start:]
