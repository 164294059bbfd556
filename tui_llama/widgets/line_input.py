"""An input of one line. It keeps the text as it was written and draws it without effect; see `editor_text`."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Final

from rich.cells import cell_len
from rich.text import Text
from textual import events
from textual.expand_tabs import expand_tabs_inline
from textual.widgets import Input
from textual.widgets.input import Selection

from tui_llama import graphemes
from tui_llama.text_safety import drawn
from tui_llama.widgets.editor_text import EditorLine

LONGEST_PASTE: Final = 1_000  # characters: more than any name or path
_TAB_CELLS: Final = 4


class LineInput(Input):
    """Textual's input, with a cursor that moves by grapheme clusters."""

    @property
    def _places(self) -> Sequence[int]:
        return graphemes.boundaries(drawn(self.value))

    @property
    def _value(self) -> Text:
        return EditorLine(drawn(self.value), self._places)

    def validate_selection(self, selection: Selection) -> Selection:
        """Moves both ends of a selection to boundaries of clusters.

        An end inside a cluster goes to the boundary that lies in the direction of its move.
        """
        start, end = super().validate_selection(selection)
        return Selection(self._snapped(start, self.selection.start), self._snapped(end, self.selection.end))

    def _snapped(self, place: int, before: int) -> int:
        snap = graphemes.at_or_after if place > before else graphemes.at_or_before
        return snap(self._places, place)

    def delete(self, start: int, end: int) -> None:
        """Deletes whole clusters."""
        first, last = sorted((start, end))
        places = self._places
        super().delete(graphemes.at_or_before(places, first), graphemes.at_or_after(places, last))

    def _position_to_cell(self, position: int) -> int:
        return cell_len(expand_tabs_inline(drawn(self.value)[:position], _TAB_CELLS))

    def _cell_offset_to_index(self, offset: int) -> int:
        cell = offset + self.scroll_offset.x
        ends = ((start, self._position_to_cell(end)) for start, end in pairwise(self._places))
        return next((start for start, end_cell in ends if end_cell > cell), len(self.value))

    def _on_paste(self, event: events.Paste) -> None:
        """Inserts the pasted text as one line, cut after `LONGEST_PASTE` characters."""
        event.stop()
        event.prevent_default()
        line = " ".join(event.text[:LONGEST_PASTE].split("\n")).replace("\r", " ")
        self.replace(line, *self.selection)
