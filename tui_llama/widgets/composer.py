"""The composer, in which the user writes.

Enter sends the text, several keys insert a new line, and Up and Down go through the messages that were sent.
"""

import unicodedata
from collections.abc import Callable, Sequence
from typing import ClassVar, cast

from textual import events, on
from textual._ansi_sequences import ANSI_SEQUENCES_KEYS
from textual.binding import Binding, BindingType
from textual.geometry import Offset
from textual.keys import Keys
from textual.message import Message
from textual.widgets import TextArea

from tui_llama.widgets.completion.completer import Completer
from tui_llama.widgets.completion.suggestion import CursorPlace
from tui_llama.widgets.composing.sent_history import SentHistory
from tui_llama.widgets.modal.modal_area import ModalArea

# A terminal without the kitty protocol sends this for Alt+Enter. Textual would drop the Alt, and Enter would send a
# message that the user wanted to go on with. As Ctrl+J it makes a new line.
cast(dict[str, object], ANSI_SEQUENCES_KEYS)["\x1b\r"] = (Keys.ControlJ,)

# Textual gives the same keys the names with \r if they arrive in xterm's modifyOtherKeys form.
NEW_LINE_KEYS = frozenset({"ctrl+j", *(f"{key}+{name}" for key in ("shift", "alt") for name in ("enter", "\r"))})
BLINKING_SECONDS = 10.0
_DAMAGED = "\ufffd"
_VERSION_KEYS = {"left": -1, "right": 1}
_SCROLL_KEYS = {
    "pageup": "page_up",
    "pagedown": "page_down",
    "ctrl+home": "scroll_home",
    "ctrl+end": "scroll_end",
}


class Composer(ModalArea):
    """A text area that grows with its text and remembers the messages that were sent.

    The text is kept exactly as it was written, with its control characters. It is drawn in a form in which they have no
    effect. The cursor moves by grapheme clusters, which people see as one character. See `editor_text`.

    Attributes:
        sent: The messages that were sent.
        completer: Suggests what can be written at the cursor.
        take_paste: Is asked whether it takes a pasted text; what it does not take is written.
        sends_without_text: Whether Enter sends a message without a text: something is attached to it.
    """

    class Submitted(Message):
        """Posted when the user wants to send the text. The text stays until `accept` is called."""

        def __init__(self, text: str) -> None:
            super().__init__()
            self.text = text

    class ScrollRequested(Message):
        """Posted when a key that moves the transcript is pressed. `action` is the name of the scroll action."""

        def __init__(self, action: str) -> None:
            super().__init__()
            self.action = action

    class VersionRequested(Message):
        """Posted when Left or Right is pressed in an empty composer: asks for another version of the last answer.

        `step` is -1 for the version before the one that is shown, 1 for the version after it.
        """

        def __init__(self, step: int) -> None:
            super().__init__()
            self.step = step

    class LaterRequested(Message):
        """Posted when Alt+Down is pressed: leaves a message that is being edited."""

    class EditLastRequested(Message):
        """Posted when Up is pressed while nothing is written: asks for the user's last message, to edit it.

        Also posted when Up is pressed again, while that message is edited and `is_last_edited`.
        """

        def __init__(self, composer: "Composer") -> None:
            super().__init__()
            self.composer = composer

    class QueuedRequested(Message):
        """Posted when Up is pressed in an empty composer while a message is queued: asks for it back."""

    class LeaveRequested(Message):
        """Posted when Ctrl+D is pressed in an empty composer."""

    class BackRequested(Message):
        """Posted when Backspace is pressed in an empty composer."""

    class DamagedInput(Message):
        """Posted when the terminal has sent bytes that are no UTF-8, in place of which the text has U+FFFD."""

    class KeyPressed(Message):
        """Posted when any key is pressed."""

    HELP = """The composer
    Here you write. Enter sends; while an answer comes, your text waits here. A slash begins a command, and a list shows
    which there are. What you write is kept, also if the program ends.
    """
    # Ctrl+Z undoes in other programs; here it suspends the program. Terminals have several names for Ctrl+_ and Ctrl+/.
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+underscore,ctrl+shift+underscore,ctrl+shift+minus,ctrl+slash,alt+z", "undo", show=False),
        Binding("alt+shift+z,alt+Z", "redo", show=False),
    ]

    # A selection that the mouse makes in the transcript must not spread into this text.
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
        self.up_takes_back = False
        """Whether Up in an empty composer posts `QueuedRequested`."""
        self.is_last_edited = False
        """Whether what is written is the user's last message, which Up has put here."""
        self.recalls = True
        """Whether Up and Down bring back messages that were sent."""
        self.sent = SentHistory()
        self._submitted: list[Composer.Submitted] = []  # those with which the program has not dealt yet
        self.completer = Completer(self)
        self.take_paste: Callable[[str], bool] = lambda _text: False
        self.sends_without_text = False

    # --- for the screen -----------------------------------------------------------------------------------------

    def set_history(self, texts: Sequence[str]) -> None:
        """Sets the texts of this chat through which Up goes, oldest first."""
        self.sent.set(texts)

    def set_older_history(self, texts: Sequence[str]) -> None:
        """Sets the texts through which Up goes behind those of this chat, oldest first."""
        self.sent.set_older(texts)

    def remember(self, text: str) -> None:
        """Adds a text to the history, so that Up brings it back; not one that is blank or the newest already."""
        self.sent.remember(text)

    def recall(self, text: str) -> None:
        """Shows a text that was sent, as Up does; what is written comes back when it is sent, or by Down."""
        self.sent.go_to(text, self.text)
        self.replace_text(text)

    def set_aside(self) -> str:
        """Returns what is written, for the caller to bring it back: something else will be written here."""
        written = self.unsent_text
        self.sent.end()
        return written

    def replace_text(self, text: str) -> None:
        """Replaces the whole text and puts the cursor at its end."""
        self.text = text
        self.move_cursor(self.document.end)
        self.completer.leave()

    @property
    def unsent_text(self) -> str:
        """What the user has written: while an older message is shown as it was sent, what was written before."""
        return self.sent.unsent(self.text)

    def put_before(self, text: str) -> None:
        """Puts a text before what is written, with a blank line between them; the cursor is behind it."""
        written = self.text
        self.replace_text(text)
        if written:
            end = self.cursor_location
            self.insert(f"\n\n{written}")
            self.move_cursor(end)

    def put_above(self, text: str) -> None:
        """Puts a text before what is written, with a blank line between them; the user goes on writing behind it."""
        if text:
            place = self.document.folded(f"{text}\n\n" if self.text else text)
            self.replace(place, (0, 0), (0, 0), maintain_selection_offset=True)

    def accept(self) -> None:
        """Moves the text that was submitted, or else the whole text, into the history and clears it away.

        What was typed behind a submitted text, before the program came to it, stays; and what was written before an
        older message was brought back comes back.
        """
        taken = self._submitted.pop(0).text if self._submitted else self.text
        behind = self.text.replace(taken, "", 1) if taken in self.text else ""
        draft = self.sent.end()
        self.remember(taken)
        self.replace_text("\n\n".join(part for part in (draft, behind) if part))

    def settle(self, submitted: Submitted) -> None:
        """Notes that the program has dealt with what was submitted; a text that it did not accept stays."""
        if submitted in self._submitted:
            self._submitted.remove(submitted)

    def scroll_cursor_visible(self, center: bool = False, animate: bool = False) -> Offset:
        """Scrolls to the cursor, if its line exists.

        When an undo removes lines, the scroll bar disappears and Textual calls this before it moves the cursor.

        Returns:
            The offset by which the text was scrolled.
        """
        if self.cursor_location[0] >= self.document.line_count:
            return Offset(0, 0)
        return super().scroll_cursor_visible(center, animate)

    def on_mount(self) -> None:
        """Starts the timer that ends the blinking of the caret."""
        self._blinking = self.set_interval(BLINKING_SECONDS, self.rest)

    def on_focus(self) -> None:
        """Makes the caret blink, because the user looks for it."""
        self._wake()

    def rest(self) -> None:
        """Stops the blinking after a while without a key, so that the program sleeps while the user thinks."""
        self._set_blinking(False)
        self._blinking.pause()

    def _wake(self) -> None:
        self._set_blinking(self.app.animation_level != "none")
        self._blinking.reset()

    def _set_blinking(self, blinking: bool) -> None:
        if blinking != self.cursor_blink:
            self.cursor_blink = blinking
            # Textual caches a line by whether the blinking caret is visible. For a caret that stands still it would
            # reuse a cached line without one.
            self.notify_style_update()

    # --- the text -----------------------------------------------------------------------------------------------

    def write(self, text: str) -> None:
        """Replaces the selection by a text of any length."""
        text = text.replace("\r\n", "\n").replace("\r", "\n")
        self.replace(self.document.folded(text), *self.selection, maintain_selection_offset=False)

    def action_paste(self) -> None:
        """Inserts the text that was copied in this program, as if it came from outside."""
        if not self.take_paste(self.app.clipboard):
            self.write(self.app.clipboard)

    def action_cut(self) -> None:
        """Deletes and copies the selection, or the line if nothing is selected."""
        start, end = self.selection
        cut = self._delete_cursor_line() if start == end else self._delete_via_keyboard(start, end)
        if cut is not None:
            self.app.copy_to_clipboard(self.document.unfolded(cut.replaced_text))

    # --- suggestions --------------------------------------------------------------------------------------------

    @property
    def cursor_place(self) -> CursorPlace | None:
        """The line of the cursor; None while a text is selected."""
        if self.selection.start != self.selection.end:
            return None
        return CursorPlace(*self.document.around(self.cursor_location), self.document.line_count == 1)

    def replace_before_cursor(self, count: int, text: str) -> None:
        """Replaces the `count` characters before the cursor by a text."""
        row, column = self.cursor_location
        self.replace(text, (row, column - count), (row, column), maintain_selection_offset=False)

    def complete(self) -> None:
        """Shows what is suggested for the cursor now, if anything is."""
        if self.has_focus and not self.is_in_normal_mode:
            self.completer.update()

    @on(TextArea.Changed)
    @on(TextArea.SelectionChanged)
    def _complete(self) -> None:
        self.complete()

    def on_blur(self) -> None:
        """Closes the suggestions: keys go elsewhere."""
        self.completer.leave()

    # --- keys ---------------------------------------------------------------------------------------------------

    async def _on_key(self, event: events.Key) -> None:
        self._wake()
        self.post_message(self.KeyPressed())
        self._look_for_damage(event.character or "")
        if event.key.startswith("alt+") and event.is_printable and event.key not in NEW_LINE_KEYS:
            event.prevent_default()  # a terminal sends the letter along: it is a key of a command, and no text
            return
        if not (self.completer.press(event.key) or self.takes_in_modes(event) or self._takes(event)):
            await super()._on_key(event)
            if event.is_printable or not await self._acts_on(event.key):
                return
        event.stop()
        event.prevent_default()

    def _takes(self, event: events.Key) -> bool:
        """Does what a key does here and in no other text area; tells whether it does anything."""
        key = event.key
        if key == "enter":
            self._enter()
        elif key in NEW_LINE_KEYS:
            self.insert("\n")
        elif key in _SCROLL_KEYS:
            self.post_message(self.ScrollRequested(_SCROLL_KEYS[key]))
        elif key in _VERSION_KEYS and not self.text:
            self.post_message(self.VersionRequested(_VERSION_KEYS[key]))
        elif key == "alt+down":
            self.post_message(self.LaterRequested())
        elif key == "backspace" and not self.text:
            self.post_message(self.BackRequested())
        elif key == "ctrl+d" and not self.text:
            self.post_message(self.LeaveRequested())
        elif key == "end" and self.cursor_at_end_of_text:
            self.post_message(self.ScrollRequested("scroll_end"))
        elif event.character is not None and unicodedata.category(event.character) == "Cf":
            self.write(event.character)  # a joiner or a direction mark, which Textual does not insert as text
        else:
            return False
        return True

    async def _acts_on(self, key: str) -> bool:
        """Carries out what is bound to a key here, before the next key comes; tells whether anything was.

        Textual would do so only once the key has gone up to the app. Where many keys come at once, over a slow line or
        from a program, the letters behind it would be written before it.
        """
        for binding in self._bindings.key_to_bindings.get(key, ()):
            if not binding.priority and await self.app.run_action(binding.action, self):
                return True
        return False

    async def _on_paste(self, event: events.Paste) -> None:
        """Inserts the text as it was copied, unless it becomes something else than text."""
        self._wake()
        event.stop()
        event.prevent_default()
        self._look_for_damage(event.text)
        if not self.take_paste(event.text):
            self.write(event.text)

    def _look_for_damage(self, text: str) -> None:
        if _DAMAGED in text:
            self.post_message(self.DamagedInput())

    def _enter(self) -> None:
        row, column = self.cursor_location
        line = self.document.get_line(row)
        if column == len(line) and line.endswith("\\"):
            self.replace("\n", (row, column - 1), (row, column), maintain_selection_offset=False)
            return
        text = self.text.removeprefix("".join(submitted.text for submitted in self._submitted))
        if text.strip() or (self.sends_without_text and not self._submitted):
            submitted = self.Submitted(text)
            self._submitted.append(submitted)
            self.post_message(submitted)

    # --- history ------------------------------------------------------------------------------------------------

    def action_cursor_up(self, select: bool = False) -> None:
        """Moves the cursor up, or from the first line to the message that was sent before."""
        if select or not self.navigator.is_first_wrapped_line(self.cursor_location):
            super().action_cursor_up(select)
        elif self.up_takes_back and not self.text:
            self.post_message(self.QueuedRequested())
        elif self.recalls and (not self.text or self.is_last_edited) and self.sent.is_at_draft:
            self.post_message(self.EditLastRequested(self))
        else:
            self.recall_before()

    @property
    def newest_text(self) -> str:
        """The text to which Up would go first; empty if there is none."""
        return self.sent.newest

    def recall_before(self) -> None:
        """Brings back the message that was sent before the one that is shown."""
        self._recall(1)

    def action_cursor_down(self, select: bool = False) -> None:
        """Moves the cursor down, or from the last line to the message that was sent next."""
        if select or not self.navigator.is_last_wrapped_line(self.cursor_location):
            super().action_cursor_down(select)
        else:
            self._recall(-1)

    def _recall(self, by: int) -> None:
        text = self.sent.step(by, self.text) if self.recalls else None
        if text is not None:
            self.replace_text(text)
