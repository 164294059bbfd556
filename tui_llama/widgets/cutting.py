"""Texts that are cut for want of room, between what people see as characters: Textual cuts flags apart."""

from collections.abc import Iterator
from itertools import pairwise

from rich.cells import cell_len
from textual.content import Content, Span

from tui_llama import graphemes


def cut(content: Content, cells: int) -> Content:
    """The content where it is no wider than so many cells, else as much of it as fits, and an ellipsis."""
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
    """The line in rows no wider than so many cells, if no character is; one row where it is empty."""
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
