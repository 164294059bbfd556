"""The text of an editor, in two forms: as it was written, and as it is drawn. Each line is equally long in both.

Textual's text area draws, measures and moves over the lines of its document. Here these are the drawn lines, and the
document hands out the text as it was written. A long text that is inserted is folded, because drawing it at every
key would be slow: one label stands for it, and the cursor passes and deletes the label as one character.
"""

import re
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Final

from rich.cells import cell_len
from rich.text import Text
from textual.document import _wrapped_document
from textual.document._document import Document, EditResult, Location
from textual.document._document_navigator import DocumentNavigator
from textual.document._wrapped_document import WrappedDocument
from textual.expand_tabs import get_tab_widths

from tui_llama import graphemes
from tui_llama.text_safety import drawn
from tui_llama.widgets.long_text import extent, is_long

# A label stands in the text as a run of one surrogate. No text from outside can contain a surrogate.
_FIRST_FOLD, _LAST_FOLD = 0xD800, 0xDFFF
_FOLD: Final = re.compile(r"([\ud800-\udfff])\1*")
_WORD: Final = re.compile(r"\S+\s*|\s+")


class EditorDocument(Document):
    """The document of a text area."""

    def __init__(self, text: str = "") -> None:
        super().__init__("")
        self._newline = "\n"
        self._raw = [""]
        self._folds: dict[str, str] = {}
        self._labels: dict[str, str] = {}
        self._text: str | None = ""
        self.replace_range((0, 0), (0, 0), self.folded(text))

    # --- what there is ------------------------------------------------------------------------------------------

    @property
    def text(self) -> str:
        """The text as it was written, with the folded parts."""
        if self._text is None:
            self._text = self.unfolded("\n".join(self._raw))
        return self._text

    def get_text_range(self, start: Location, end: Location) -> str:
        """Returns the text as it was written between two places."""
        return self.unfolded(self._raw_range(*sorted((start, end))))

    def around(self, location: Location) -> tuple[str, str]:
        """Returns the parts of a line before and behind a place as they are stored: a label is a run of surrogates."""
        row, column = location
        return self._raw[row][:column], self._raw[row][column:]

    def boundaries(self, row: int) -> Sequence[int]:
        """Returns the places in a line at which the cursor may stand."""
        places, raw = graphemes.boundaries(self._lines[row]), self._raw[row]
        runs = [match.span() for match in _FOLD.finditer(raw)] if self._folds else []
        return [place for place in places if not any(start < place < end for start, end in runs)] if runs else places

    # --- folding ------------------------------------------------------------------------------------------------

    def folded(self, text: str) -> str:
        """Returns the text to insert for `text`: `text` itself, or its label if it is long."""
        if not is_long(text):
            return text
        key = chr(_FIRST_FOLD + len(self._folds))
        if key > chr(_LAST_FOLD):
            return text
        self._folds[key] = text
        self._labels[key] = f"[pasted: {extent(text)}]"
        return key * len(self._labels[key])

    def unfolded(self, text: str) -> str:
        """Returns `text` with each label replaced by the text that it stands for."""
        return _FOLD.sub(lambda match: self._folds.get(match[1], "\ufffd" * len(match[0])), text)

    # --- editing ------------------------------------------------------------------------------------------------

    def replace_range(self, start: Location, end: Location, text: str) -> EditResult:
        """Replaces the text between two places by `text`, whose parts may be folded.

        Returns:
            The end of the new text, and the replaced text with its labels.
        """
        top, bottom = sorted((start, end))
        replaced = self._raw_range(top, bottom)
        before = self._raw[top[0]][: top[1]] if top[0] < len(self._raw) else ""
        after = self._raw[bottom[0]][bottom[1] :] if bottom[0] < len(self._raw) else ""
        lines = text.split("\n")
        lines[0] = before + lines[0]
        end_location = (top[0] + len(lines) - 1, len(lines[-1]))
        lines[-1] += after
        self._raw[top[0] : bottom[0] + 1] = lines
        self._lines[top[0] : bottom[0] + 1] = map(self._drawn, lines)
        self._text = None
        return EditResult(end_location, replaced)

    def _raw_range(self, top: Location, bottom: Location) -> str:
        lines = self._raw[top[0] : bottom[0] + 1]
        if not lines:
            return ""
        if bottom[0] < len(self._raw):
            lines[-1] = lines[-1][: bottom[1]]
        else:
            lines.append("")
        lines[0] = lines[0][top[1] :]
        return "\n".join(lines)

    def _drawn(self, raw: str) -> str:
        if not self._folds:
            return drawn(raw)
        return drawn(_FOLD.sub(lambda match: self._labels.get(match[1], match[0])[: len(match[0])], raw))


class EditorWrapping(WrappedDocument):
    """Wraps lines that are too long between clusters. The base class counts cells by code points."""

    document: EditorDocument

    def get_target_document_column(self, line_index: int, x_offset: int, y_offset: int) -> int:
        """Returns the place of a cell of the screen: the start of the cluster that covers it."""
        offsets = self.get_offsets(line_index)
        line, places = self.document[line_index], self.document.boundaries(line_index)
        section = y_offset % (len(offsets) + 1)
        start = ([0, *offsets])[section]
        end = offsets[section] if section < len(offsets) else len(line)
        tab_widths = iter(self.get_tab_widths(line_index)[line.count("\t", 0, start) :])
        here = [place for place in places if start <= place <= end]
        cell = cell_len(line[start : here[0]]) if here else x_offset + 1
        if cell > x_offset:  # on a later row of a label
            return graphemes.at_or_before(places, start)
        for place, next_place in pairwise(here):
            cell += next(tab_widths) if line[place] == "\t" else cell_len(line[place:next_place])
            if cell > x_offset:
                return place
        return here[-1] if section == len(offsets) or len(here) == 1 else here[-2]


class EditorNavigator(DocumentNavigator):
    """Moves the cursor from cluster to cluster."""

    _document: EditorDocument

    def get_location_left(self, location: Location) -> Location:
        """Returns the place before the cluster to the left, or the end of the line above."""
        row, column = location
        if column == 0:
            return super().get_location_left(location)
        return row, graphemes.at_or_before(self._document.boundaries(row), column - 1)

    def get_location_right(self, location: Location) -> Location:
        """Returns the place after the cluster to the right, or the beginning of the line below."""
        row, column = location
        if self.is_end_of_document_line(location):
            return super().get_location_right(location)
        return row, graphemes.at_or_after(self._document.boundaries(row), column + 1)

    def get_location_end(self, location: Location) -> Location:
        """Returns the last place in the same row of the screen."""
        row, column = super().get_location_end(location)
        return row, graphemes.at_or_before(self._document.boundaries(row), column)


class EditorLine(Text):
    """A line that styles only whole clusters. A style that changed inside a cluster would split it."""

    def __init__(self, line: str, places: Sequence[int]) -> None:
        super().__init__(line, end="", no_wrap=True)
        self._places = places

    def stylize(self, style: object, start: int = 0, end: int | None = None) -> None:
        """Styles a part of the line, extended to whole clusters."""
        length = self._places[-1]
        if 0 < start < length:
            start = graphemes.at_or_before(self._places, start)
        if end is not None and 0 < end < length:
            end = graphemes.at_or_after(self._places, end)
        super().stylize(style, start, end)  # type: ignore[arg-type]


def wrap_offsets(
    text: str,
    width: int,
    tab_size: int,
    fold: bool = True,
    precomputed_tab_sections: list[tuple[str, int]] | None = None,
) -> list[int]:
    """Returns the places at which to break a line so that no row is wider than `width` cells.

    A word that fits on a row is not broken. A row is wider only if it is one cluster that is wider than `width`.
    This replaces Textual's function, which breaks clusters and counts the cells of their code points.
    """
    tab_widths = (cells for _, cells in precomputed_tab_sections or get_tab_widths(text, min(tab_size, width)) if cells)
    offsets: list[int] = []
    used = 0
    for word in _WORD.finditer(text):
        start, clusters = word.start(), list(_clusters(word.group(), tab_widths))
        cells = sum(cells for _, cells in clusters)
        if used + cells > width and start and (used or cells > width):
            offsets.append(start)
            used = 0
        if cells <= width:
            used += cells
            continue
        for place, cluster_cells in clusters:
            if used and used + cluster_cells > width:
                offsets.append(start + place)
                used = 0
            used += cluster_cells
    return offsets


def _clusters(word: str, tab_widths: Iterator[int]) -> Iterator[tuple[int, int]]:
    """Yields the place of each cluster and its width in cells."""
    if word.isascii() and "\t" not in word:
        yield from ((place, 1) for place in range(len(word)))
        return
    places = graphemes.boundaries(word)
    for place, next_place in pairwise(places):
        yield place, next(tab_widths) if word[place] == "\t" else cell_len(word[place:next_place])


_wrapped_document.compute_wrap_offsets = wrap_offsets  # type: ignore[attr-defined] # an imported name of that module
