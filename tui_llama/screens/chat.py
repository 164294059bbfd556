"""The main screen: title bar, transcript, composer and status line. It takes data and posts what the user wants."""

from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar

from rich.cells import cell_len
from textual import events, on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.css.query import NoMatches
from textual.message import Message
from textual.screen import Screen
from textual.widget import Widget
from textual.widgets import Input, Static, TextArea

from tui_llama.screens.commands import COMMANDS, parse_slash
from tui_llama.screens.keys import hints
from tui_llama.screens.keys.footers import footer
from tui_llama.screens.keys.keymap import NO_KEY, Keymap
from tui_llama.screens.lasting_focus import LastingFocus
from tui_llama.screens.selecting import SelectsTexts
from tui_llama.widgets.attached.attached_bar import AttachedBar
from tui_llama.widgets.completion.suggestion_list import SuggestionList
from tui_llama.widgets.composer import Composer
from tui_llama.widgets.composing.queued_messages import QueuedMessages
from tui_llama.widgets.empty_state import EmptyState
from tui_llama.widgets.message_view import ShownMessage
from tui_llama.widgets.status_line import StatusLine
from tui_llama.widgets.system_prompt import SystemPromptEntry
from tui_llama.widgets.title_bar import TitleBar
from tui_llama.widgets.transcript import Transcript

_EDGE_FRAME = 6  # columns of the composer's edge that no words take: corners, lines and blanks


class ChatScreen(SelectsTexts, LastingFocus, Screen[None]):
    """The screen of the open chat."""

    class Ready(Message):
        """Posted when the screen is mounted and can be told what to show."""

    AUTO_FOCUS = "#composer"
    HORIZONTAL_BREAKPOINTS = [  # noqa: RUF012 - declared without ClassVar by the base class
        (0, "-narrow"),
        (72, "-normal"),
        (120, "-wide"),
    ]
    VERTICAL_BREAKPOINTS = [  # noqa: RUF012
        (0, "-short"),
        (18, "-tall"),
    ]
    BINDINGS: ClassVar[list[BindingType]] = [
        # With priority, because the composer and Textual's screen would only copy.
        Binding("ctrl+c,super+c", "app.interrupt", "Copy, stop, clear or quit", show=False, priority=True),
        Binding("tab", "go_round(1)", "Next part", show=False),
        Binding("shift+tab", "go_round(-1)", "Previous part", show=False),
        # Those without a key too: the keymap gives them one.
        *(
            Binding(
                command.keys or f"{NO_KEY}{command.name}",
                f"app.{command.name}",
                command.title,
                show=False,
                id=command.name,
            )
            for command in COMMANDS
        ),
    ]

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id, classes="-empty")
        self.keymap = Keymap()
        self._hints: Sequence[hints.Hint] = hints.IDLE
        self._message_keys: Sequence[str] = ()
        self._count = self._edited = self._shown_hints = ""

    def compose(self) -> ComposeResult:
        """Yields the parts from top to bottom."""
        width, height = self.app.size  # known before there are parts, all of which another class would style again
        self.add_class(*self._get_breakpoint_classes(width, self.HORIZONTAL_BREAKPOINTS))
        self.add_class(*self._get_breakpoint_classes(height, self.VERTICAL_BREAKPOINTS))
        yield TitleBar(id="titles")
        with Vertical(id="stage"):
            yield EmptyState(id="empty")
            yield SystemPromptEntry(id="system")
            yield Transcript(id="transcript")
            with Vertical(id="suggesting"):
                yield SuggestionList(id="suggestions")
        with Vertical(id="writing"):
            yield Static("↓ new text", id="more")
            yield QueuedMessages(id="queued")
            yield AttachedBar(id="attached")
            yield Composer(id="composer")
        yield StatusLine(id="status")

    def on_mount(self) -> None:
        """Shows an empty chat in which nothing is under way, and posts `Ready`."""
        self.show_busy(False)
        self.composer.completer.popup = self.query_one("#suggestions", SuggestionList)
        self.post_message(self.Ready())

    # --- its parts ----------------------------------------------------------------------------------------------

    @property
    def titles(self) -> TitleBar:
        """The title bar at the top."""
        return self.query_one("#titles", TitleBar)

    @property
    def transcript(self) -> Transcript:
        """The transcript of the conversation."""
        return self.query_one("#transcript", Transcript)

    @property
    def system_prompt(self) -> SystemPromptEntry:
        """The system prompt above the transcript."""
        return self.query_one("#system", SystemPromptEntry)

    @property
    def composer(self) -> Composer:
        """The composer, in which the user writes."""
        return self.query_one("#composer", Composer)

    @property
    def attached(self) -> AttachedBar:
        """What is attached to the message that is being written."""
        return self.query_one("#attached", AttachedBar)

    @property
    def has_composer(self) -> bool:
        """True if the composer is there: an error may end the program before it is, or after its removal."""
        try:  # not `query`, which looks at every part of the screen, and this is asked at every key
            self.query_one("#composer")
        except NoMatches:
            return False
        return True

    @property
    def status(self) -> StatusLine:
        """The status line at the bottom."""
        return self.query_one("#status", StatusLine)

    @property
    def empty_state(self) -> EmptyState:
        """The view of an empty chat."""
        return self.query_one("#empty", EmptyState)

    # --- what it shows ------------------------------------------------------------------------------------------

    async def show_chat(self, messages: Sequence[ShownMessage], history: Sequence[str]) -> None:
        """Shows another chat. `history` holds the texts that Up brings back in the composer, oldest first."""
        self.composer.set_history(history)
        self.composer.focus()
        with self.app.batch_update():
            self.set_class(not messages, "-empty")
            await self.transcript.show(messages)

    def show_path(self, messages: Sequence[ShownMessage]) -> None:
        """Shows another path of the same chat; what is written and what has the focus stay."""
        self.set_class(not messages, "-empty")
        self.transcript.replace(messages)

    def add_message(self, message: ShownMessage) -> None:
        """Adds a message of the user to the transcript."""
        self.remove_class("-empty")
        self.transcript.add_message(message)

    @property
    def queued(self) -> QueuedMessages:
        """The messages that will be sent when the answer ends."""
        return self.query_one("#queued", QueuedMessages)

    def show_queued(self, texts: Sequence[str]) -> None:
        """Shows what will be sent when the answer ends: each message, in order."""
        self.queued.show(texts)
        self.composer.up_takes_back = bool(texts)

    def show_busy(self, is_busy: bool, *, is_editing: bool = False) -> None:
        """Shows the keys that are useful now.

        Args:
            is_busy: Whether there is something to stop.
            is_editing: Whether the user edits an earlier message.
        """
        # Not of the whole screen: a class of a widget that changes has the styles of all widgets in it looked up anew.
        self.composer.set_class(is_busy, "-busy")
        editing = hints.EDITING_ANSWER if self.composer.has_class("-answer") else hints.EDITING
        self._hints = editing if is_editing else hints.BUSY if is_busy else hints.IDLE
        self._show_hints()

    @on(events.DescendantFocus)
    @on(events.Resize)
    @on(SuggestionList.Changed)
    @on(Composer.Changed, "#composer")
    def _show_hints(self) -> None:
        """Shows the keys of what has the focus."""
        composer = self.composer
        is_elsewhere = self.focused is not None and self.focused is not composer
        useful = (hints.hints_of_focus(self) if is_elsewhere else []) or self._composer_hints
        room = self._edge_room
        if composer.has_class("-below"):
            return
        words = hints.fitting(self._message_keys, room) or hints.written(useful, self.keymap, room)
        if words != self._shown_hints:  # each one that is set is drawn
            composer.border_subtitle = self._shown_hints = words

    @property
    def _composer_hints(self) -> Sequence[hints.Hint]:
        """The keys that are useful where the user writes: Enter may take a suggestion, or run a command."""
        composer = self.composer
        if composer.is_in_normal_mode:
            return [hints.WRITE, *self._hints]
        if composer.completer.enter_takes:
            return hints.TAKING
        usual = [hints.RUN, *self._hints[1:]] if parse_slash(composer.text) else self._hints
        return [usual[0], *hints.SUGGESTING] if composer.completer.is_open else usual

    @on(events.ScreenSuspend)
    def _lie_below(self) -> None:
        """Draws no frame under the edge of a dialog, which would cut it, no cursor, and no keys that go to it now."""
        if self.has_composer:
            self.composer.add_class("-below")
            self.composer.border_title = self.composer.border_subtitle = self._shown_hints = ""

    @on(events.ScreenResume)
    def _lie_above(self) -> None:
        if self.has_composer:
            self.composer.remove_class("-below")
            self._show_title()
            self._show_hints()

    def show_message_keys(self, keys: Sequence[str]) -> None:
        """Shows what can be done with the message in focus, the most useful first; empty: none has it.

        The keys are names of local keys in braces.
        """
        self._message_keys = [words for each in keys if (words := footer(each, self.keymap.bound()))]
        self._show_hints()

    def on_paste(self, event: events.Paste) -> None:
        """Lets what is pasted, or dropped, arrive in the composer where what has the focus takes no text."""
        if not isinstance(self.focused, TextArea | Input):
            event.stop()
            self.composer.focus()
            self.composer.post_message(events.Paste(event.text))

    def action_go_round(self, step: int) -> None:
        """Gives the focus to the next part of the screen from top to bottom, or to the one before: round and round."""
        parts: dict[Widget, bool] = {
            self.transcript: self.transcript.message_count > 0,
            self.queued: self.queued.display,
        }
        parts |= {self.attached: self.attached.display, self.composer: True}
        there = [part for part, is_there in parts.items() if is_there]
        has_focus = [part.has_focus or part.has_focus_within for part in there]
        at = has_focus.index(True) if True in has_focus else len(there) - 1
        wanted = there[(at + step) % len(there)]
        if wanted is not self.attached:
            wanted.focus()
        elif step < 0:
            self.attached.focus_last()
        else:
            self.attached.focus_first()

    @on(AttachedBar.Left)
    @on(QueuedMessages.Left)
    def _go_on_writing(self) -> None:
        self.composer.focus()

    @on(Composer.BackRequested)
    def _go_to_attachments(self) -> None:
        self.attached.focus_last()

    @on(SuggestionList.OptionSelected, "#suggestions")
    def _take_suggestion(self) -> None:
        self.composer.completer.take()

    def use_keymap(self, keymap: Keymap) -> None:
        """Takes other keys for the commands. A key that the user has chosen wins over those of what has the focus."""
        self.keymap = keymap
        self.composer.use_modes(keymap.name == "vim")
        self.system_prompt.show_key(keymap.shown_name("edit_system_prompt"))
        self.app.set_keymap(keymap.bound())
        for bindings in self._bindings.key_to_bindings.values():
            bindings[:] = [replace(each, priority=each.id in keymap.keys) if each.id else each for each in bindings]
        self._show_hints()

    def show_count(self, words: str, *, is_warning: bool = False) -> None:
        """Shows the tokens of what is being written in the border of the composer; empty words show nothing."""
        self.composer.set_class(is_warning, "-overflowing")
        self._count = words
        self._show_title()

    def show_edited(self, words: str) -> None:
        """Shows in the border of the composer what is being edited; empty words for nothing."""
        self._edited = words
        self.composer.set_class(bool(words), "-editing")
        self._show_title()

    @on(events.Resize)
    def _show_title(self) -> None:
        """Shows what is edited and the count. Where there is no room for all, the last part of the count stays."""
        if self.composer.has_class("-below"):
            return
        mode = hints.NORMAL_MODE if self.composer.is_in_normal_mode else ""
        words = " · ".join(filter(None, (mode, self._edited, self._count)))
        while cell_len(words) > self._edge_room and " · " in words:
            words = words.partition(" · ")[2]
        self.composer.border_title = words

    @property
    def _edge_room(self) -> int:
        """The columns that words have in an edge of the composer."""
        styles = self.composer.styles
        most = styles.max_width.value if styles.max_width is not None else self.size.width
        return min(self.size.width - styles.margin.width, int(most)) - _EDGE_FRAME

    @on(Composer.ModeChanged)
    def _show_mode(self) -> None:
        self.composer.set_class(self.composer.is_in_normal_mode, "-normal")
        self._show_title()
        self._show_hints()

    # --- following the answer -----------------------------------------------------------------------------------

    @on(Transcript.FollowChanged)
    def _show_following(self, event: Transcript.FollowChanged) -> None:
        if event.is_following:
            self.remove_class("-unseen")

    @on(Transcript.Grown)
    def _show_unseen(self) -> None:
        self.set_class(not self.transcript.is_following, "-unseen")

    @on(Composer.ScrollRequested)
    async def _scroll(self, event: Composer.ScrollRequested) -> None:
        if event.action == "scroll_end":
            self.transcript.follow()
        else:
            await self.transcript.run_action(event.action)

    @on(Composer.KeyPressed)
    def _forget_hint(self) -> None:
        self.status.clear_hint()
