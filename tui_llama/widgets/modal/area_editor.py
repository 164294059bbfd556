"""The composer's text area as an editor with modes works it."""

from collections.abc import Sequence

from textual.widgets import TextArea

from tui_llama import graphemes
from tui_llama.widgets.editor_area import EditorArea
from tui_llama.widgets.modal.motions import Place


class AreaEditor:
    """See `ModalEditor`. What is taken out are whole clusters, and whole pastes that are drawn folded.

    Args:
        area: The text area.
    """

    def __init__(self, area: EditorArea) -> None:
        self._area = area

    @property
    def lines(self) -> Sequence[str]:
        """See `ModalEditor`."""
        return self._area.document.lines

    @property
    def place(self) -> Place:
        """See `ModalEditor`."""
        return self._area.cursor_location

    def go_to(self, place: Place) -> None:
        """See `ModalEditor`."""
        self._area.move_cursor(place)

    def take_out(self, first: Place, last: Place) -> str:
        """See `ModalEditor`."""
        ends = self._whole(first, last)
        text = self.text_between(*ends)
        self._area.delete(*ends, maintain_selection_offset=False)
        return text

    def text_between(self, first: Place, last: Place) -> str:
        """See `ModalEditor`."""
        return self._area.document.get_text_range(*self._whole(first, last))

    def put_in(self, text: str) -> None:
        """See `ModalEditor`."""
        self._area.insert(self._area.document.folded(text), maintain_selection_offset=False)

    def step_line(self, step: int) -> None:
        """See `ModalEditor`."""
        move = self._area.action_cursor_down if step > 0 else self._area.action_cursor_up
        move()

    def undo(self) -> None:
        """See `ModalEditor`."""
        TextArea.undo(self._area)

    def redo(self) -> None:
        """See `ModalEditor`."""
        TextArea.redo(self._area)

    def copied(self, text: str) -> None:
        """See `ModalEditor`."""
        self._area.app.copy_to_clipboard(text)

    def _whole(self, first: Place, last: Place) -> tuple[Place, Place]:
        boundaries = self._area.document.boundaries
        return (
            (first[0], graphemes.at_or_before(boundaries(first[0]), first[1])),
            (last[0], graphemes.at_or_after(boundaries(last[0]), last[1])),
        )
