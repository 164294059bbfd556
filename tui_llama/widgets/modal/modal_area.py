"""A text area that can be edited in two modes, as vim has them."""

from typing import Any

from textual import events
from textual.message import Message

from tui_llama.widgets.editor_area import EditorArea
from tui_llama.widgets.modal.area_editor import AreaEditor
from tui_llama.widgets.modal.mode import VimMode

_OF_EMPTY_TEXT = ("left", "right", "backspace")  # keys that mean something else where nothing is written


class ModalArea(EditorArea):
    """A text area with modes, if they are wanted: see `VimMode`.

    Attributes:
        mode: The mode; None where letters are always written.
    """

    class ModeChanged(Message):
        """Posted when letters are written from now on, or no longer."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.mode: VimMode | None = None

    @property
    def is_in_normal_mode(self) -> bool:
        """True while letters move and change, and are not written."""
        return self.mode is not None and not self.mode.is_writing

    def use_modes(self, has_modes: bool) -> None:
        """Edits as vim does from now on, or as other text areas do."""
        if has_modes != (self.mode is not None):
            self.mode = VimMode(AreaEditor(self)) if has_modes else None
            self.post_message(self.ModeChanged())

    def takes_in_modes(self, event: events.Key) -> bool:
        """Lets a key move or change, where there are modes; tells whether it did."""
        mode, key = self.mode, event.key
        if mode is None or (not self.text and key in _OF_EMPTY_TEXT):
            return False
        was_writing = mode.is_writing
        is_taken = mode.press(key, event.character)
        if key == "enter":  # the next message is written
            mode.is_writing = True
        if mode.is_writing != was_writing:
            self.post_message(self.ModeChanged())
        return is_taken
