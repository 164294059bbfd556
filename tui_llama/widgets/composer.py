"""Where the user writes: Enter sends, several keys make a new line, Up and Down go through what was sent."""

import unicodedata
from collections.abc import Sequence
from typing import ClassVar, cast

from textual import events
from textual._ansi_sequences import ANSI_SEQUENCES_KEYS
from textual.binding import Binding, BindingType
from textual.document._document import EditResult, Location, Selection
from textual.geometry import Offset
from textual.keys import Keys
from textual.message import Message
from textual.widgets import TextArea

from tui_llama import graphemes
from tui_llama.widgets.editor_text import EditorDocument, EditorLine, EditorNavigator, EditorWrapping

# What Alt+Enter sends in a terminal without the kitty protocol. Textual would take the Alt off, which would send
# what was meant to go on; as Ctrl+J it makes a new line.
cast(dict[str, object], ANSI_SEQUENCES_KEYS)["\x1b\r"] = (Keys.ControlJ,)

# The names with \r are how Textual calls the same keys in xterm's modifyOtherKeys form.
NEW_LINE_KEYS = frozenset(
    {"ctrl+j", *(f"{key}+{name}" for key in ("shift", "alt", "ctrl") for name in ("enter", "\r"))}
)
BLINKING_SECONDS = 10.0
_VERSION_KEYS = {"left": -1, "right": 1}
_SCROLL_KEYS = {
    "pageup": "page_up",
    "pagedown": "page_down",
    "ctrl+home": "scroll_home",
    "ctrl+end": "scroll_end",
}


class Composer(TextArea):
    """A text area that grows with its text and knows what was sent before.

    What is written is kept as it is, control characters and all, and drawn so that they do nothing. The cursor goes
    by what people see as one character. See `editor_text`.
    """

    document: EditorDocument

    class Submitted(Message):
        """The user wants to send this. The text stays until `accept` is called."""

        def __init__(self, text: str) -> None:
            super().__init__()
            self.text = text

    class ScrollRequested(Message):
        """A key that moves the transcript was pressed; `action` is the scroll action's name."""

        def __init__(self, action: str) -> None:
            super().__init__()
            self.action = action

    class VersionRequested(Message):
        """Left or Right was pressed with nothing written: another version of the last answer, `step` from this one."""

        def __init__(self, step: int) -> None:
            super().__init__()
            self.step = step

    class LaterRequested(Message):
        """Alt+Down was pressed: back from an earlier message that is edited."""

    class LeaveRequested(Message):
        """Ctrl+D was pressed with nothing written."""

    class KeyPressed(Message):
        """Any key was pressed."""

    # Ctrl+Z, which undoes elsewhere, suspends the program here. Terminals have several names for Ctrl+_ and Ctrl+/.
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+underscore,ctrl+shift+underscore,ctrl+shift+minus,ctrl+slash,alt+z", "undo", show=False),
        Binding("alt+shift+z,alt+Z", "redo", show=False),
    ]

    # Selecting with the mouse over the transcript must not drag this text along.
    ALLOW_SELECT: ClassVar[bool] = False

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(
            id=id,
            soft_wrap=True,
            tab_behavior="focus",
            show_line_numbers=False,
            highlight_cursor_line=False,
            compact=True,
        )
        self._history: list[str] = []
        self._history_position = 0
        self._draft = ""

    # --- for the screen -----------------------------------------------------------------------------------------

    def set_history(self, texts: Sequence[str]) -> None:
        """What Up goes through, oldest first."""
        self._history = list(texts)
        self._history_position = len(self._history)

    def remember(self, text: str) -> None:
        """Up will bring this back."""
        if text.strip() and (not self._history or self._history[-1] != text):
            self._history.append(text)
        self._history_position = len(self._history)

    def replace_text(self, text: str) -> None:
        """Something else is written now; the cursor is at its end."""
        self.text = text
        self.move_cursor(self.document.end)

    def accept(self) -> None:
        """Takes the text away, into the history."""
        self.remember(self.text)
        self._draft = ""
        self.text = ""

    def scroll_cursor_visible(self, center: bool = False, animate: bool = False) -> Offset:
        """Shows the cursor, if its line is there.

        When an undo takes lines away, Textual asks for this as the scroll bar goes, before it moves the cursor.
        """
        if self.cursor_location[0] >= self.document.line_count:
            return Offset(0, 0)
        return super().scroll_cursor_visible(center, animate)

    def on_mount(self) -> None:
        """The caret blinks from now on."""
        self._blinking = self.set_interval(BLINKING_SECONDS, self.rest)

    def on_focus(self) -> None:
        """The caret is looked for."""
        self._wake()

    def rest(self) -> None:
        """Nothing was written for a while: the caret stands still, so that the program sleeps while the user thinks."""
        self._set_blinking(False)
        self._blinking.pause()

    def _wake(self) -> None:
        self._set_blinking(True)
        self._blinking.reset()

    def _set_blinking(self, blinking: bool) -> None:
        if blinking != self.cursor_blink:
            self.cursor_blink = blinking
            # Textual keeps a line by whether the caret shows while it blinks: it would draw a caret that stands still
            # from a line kept without one.
            self.notify_style_update()

    # --- the text -----------------------------------------------------------------------------------------------

    def _set_document(self, text: str, language: str | None) -> None:
        """Textual's way to begin with another text, with a document of our own; a language is not coloured."""
        self.document = EditorDocument(text)
        self.wrapped_document = EditorWrapping(self.document, tab_width=self.indent_width)
        self.navigator = EditorNavigator(self.wrapped_document)
        self.move_cursor((0, 0))
        self._rewrap_and_refresh_virtual_size()

    def get_line(self, line_index: int) -> EditorLine:
        """A line as it is drawn."""
        return EditorLine(self.document.get_line(line_index), self.document.boundaries(line_index))

    def validate_selection(self, selection: Selection) -> Selection:
        """Both ends between clusters: what goes on inside of one goes to its end, in the direction it went."""
        before = self.selection
        return Selection(self._snapped(selection.start, before.start), self._snapped(selection.end, before.end))

    def _snapped(self, location: Location, before: Location) -> Location:
        row, column = location
        snap = graphemes.at_or_after if location > before else graphemes.at_or_before
        return row, snap(self.document.boundaries(row), column)

    def _delete_via_keyboard(self, start: Location, end: Location) -> EditResult | None:
        """Deletes whole clusters."""
        top, bottom = sorted((start, end))
        bottom = min(bottom, self.document.end)
        top_column = graphemes.at_or_before(self.document.boundaries(top[0]), top[1])
        bottom_column = graphemes.at_or_after(self.document.boundaries(bottom[0]), bottom[1])
        return super()._delete_via_keyboard((top[0], top_column), (bottom[0], bottom_column))

    def _write(self, text: str) -> None:
        """Puts a text of any length in place of what is selected."""
        text = text.replace("\r\n", "\n").replace("\r", "\n")
        self.replace(self.document.folded(text), *self.selection, maintain_selection_offset=False)

    def action_paste(self) -> None:
        """Inserts what was copied in this program."""
        self._write(self.app.clipboard)

    def action_cut(self) -> None:
        """Deletes what is selected, or else the line, and copies it."""
        start, end = self.selection
        cut = self._delete_cursor_line() if start == end else self._delete_via_keyboard(start, end)
        if cut is not None:
            self.app.copy_to_clipboard(self.document.unfolded(cut.replaced_text))

    # --- keys ---------------------------------------------------------------------------------------------------

    async def _on_key(self, event: events.Key) -> None:
        self._wake()
        self.post_message(self.KeyPressed())
        if event.key == "enter":
            self._enter()
        elif event.key in NEW_LINE_KEYS:
            self.insert("\n")
        elif event.key in _SCROLL_KEYS:
            self.post_message(self.ScrollRequested(_SCROLL_KEYS[event.key]))
        elif event.key in _VERSION_KEYS and not self.text:
            self.post_message(self.VersionRequested(_VERSION_KEYS[event.key]))
        elif event.key == "alt+down":
            self.post_message(self.LaterRequested())
        elif event.key == "ctrl+d" and not self.text:
            self.post_message(self.LeaveRequested())
        elif event.key == "end" and self.cursor_at_end_of_text:
            self.post_message(self.ScrollRequested("scroll_end"))
        elif event.character is not None and unicodedata.category(event.character) == "Cf":
            self._write(event.character)  # a joiner or a direction mark, which Textual does not take for text
        else:
            await super()._on_key(event)
            return
        event.stop()
        event.prevent_default()

    async def _on_paste(self, event: events.Paste) -> None:
        """Inserts the text as it was copied."""
        self._wake()
        event.stop()
        event.prevent_default()
        self._write(event.text)

    def _enter(self) -> None:
        row, column = self.cursor_location
        line = self.document.get_line(row)
        if column == len(line) and line.endswith("\\"):
            self.replace("\n", (row, column - 1), (row, column), maintain_selection_offset=False)
        elif self.text.strip():
            self.post_message(self.Submitted(self.text))

    # --- history ------------------------------------------------------------------------------------------------

    def action_cursor_up(self, select: bool = False) -> None:
        """Up, and from the first line to what was sent before."""
        if select or not self.navigator.is_first_wrapped_line(self.cursor_location):
            super().action_cursor_up(select)
        else:
            self._recall(self._history_position - 1)

    def action_cursor_down(self, select: bool = False) -> None:
        """Down, and from the last line to what was sent later."""
        if select or not self.navigator.is_last_wrapped_line(self.cursor_location):
            super().action_cursor_down(select)
        else:
            self._recall(self._history_position + 1)

    def _recall(self, position: int) -> None:
        if not 0 <= position <= len(self._history):
            return
        if self._history_position == len(self._history):
            self._draft = self.text
        self._history_position = position
        self.replace_text(self._draft if position == len(self._history) else self._history[position])
