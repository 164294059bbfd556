"""Draws the conversation: what is said, how an answer grows, and the program's own lines between them."""

from collections.abc import Callable, Sequence
from typing import Protocol

from tui_llama.chats.open_chat import Entry
from tui_llama.controllers.views import ScreenView, StateView
from tui_llama.conversation import SendMessage
from tui_llama.screens.chat import ChatScreen
from tui_llama.screens.presenting import note_of, shown_message, shown_messages, thought_words
from tui_llama.turn.driver import TurnDriver
from tui_llama.widgets.message_view import Remark


class TranscriptView(ScreenView, StateView, Protocol):
    """The app, which the controller draws on."""

    @property
    def turn_driver(self) -> TurnDriver:
        """What carries out the turns of the chat on the screen."""
        ...

    def return_message(self, message: SendMessage) -> None:
        """Puts a message that was queued, with its attachments, back to where messages are written."""
        ...


class TranscriptController:
    """The view of the turns: a `TurnView`, and a `RemarkView` for everything else.

    Args:
        view: The app.
    """

    def __init__(self, view: TranscriptView) -> None:
        self._view = view
        self._trouble: Remark | None = None

    def _draw(self, how: Callable[[ChatScreen], object]) -> None:
        """Draws what comes by itself, which it does after the screen is left, too: then there is nothing to draw on."""
        if self._view.can_draw:
            how(self._view.chat_screen)

    # --- messages -------------------------------------------------------------------------------------------------

    def add_message(self, entry: Entry) -> None:
        """Adds what the user said."""
        before = self._view.turn_driver.chat.entries[-2:-1]
        if before:
            self._draw(lambda screen: screen.transcript.change_last_note(note_of(before[0])))
        self._draw(lambda screen: screen.add_message(shown_message(entry)))

    def replace_message(self, position: int, entry: Entry) -> None:
        """Takes message number `position` and what followed it away, and adds what the user said in its place."""
        self._draw(lambda screen: screen.transcript.cut(position))
        self.add_message(entry)

    def show_path(self, entries: Sequence[Entry]) -> None:
        """Shows another path of the chat."""
        self._draw(lambda screen: screen.show_path(shown_messages(entries, self._view.turn_driver.model)))

    def remove_last_answer(self) -> None:
        """Takes the last answer away, and what was told of it."""
        self._draw(lambda screen: screen.transcript.remove_last_answer())

    def begin_answer(self, entry: Entry) -> None:
        """Adds an answer that grows, with what is given of it."""
        self._draw(lambda screen: screen.transcript.begin_answer(entry.text, entry.thought))

    def reopen_answer(self, entry: Entry) -> None:
        """Lets the last answer grow again."""
        self._draw(lambda screen: screen.transcript.reopen_answer(entry.text, entry.thought))

    def append(self, text: str, thought: str) -> None:
        """Adds more of the answer, and of the thought before it."""
        self._draw(lambda screen: screen.transcript.append(text, thought))

    def finish_answer(self, entry: Entry) -> None:
        """Ends the answer with a note of how it ended."""
        note = note_of(entry, is_last=True, model=self._view.turn_driver.model)
        self._draw(lambda screen: screen.transcript.finish_answer(note, thought_words(entry)))

    def show_queued(self, texts: Sequence[str]) -> None:
        """Shows what will be sent when the answer ends."""
        self._draw(lambda screen: screen.show_queued(texts))

    def return_message(self, message: SendMessage) -> None:
        """Has the app put it back to where messages are written, or keep it for the next start."""
        self._view.return_message(message)

    # --- remarks --------------------------------------------------------------------------------------------------

    def add_notice(self, text: str) -> None:
        """Adds one line of the program's own."""
        self._draw(lambda screen: screen.transcript.add_remark(Remark(text)))

    def add_failure(self, message: str, hint: str) -> None:
        """Adds a failure."""
        self._draw(lambda screen: screen.transcript.add_remark(Remark(message, hint, is_failure=True)))

    def show_trouble(self, message: str, hint: str) -> None:
        """Adds a failure that stays until it is over, in place of the one before."""
        self.end_trouble()
        trouble = self._trouble = Remark(message, hint, is_failure=True)
        self._draw(lambda screen: screen.transcript.add_remark(trouble))

    def end_trouble(self) -> None:
        """Takes that failure away: it is over."""
        if self._trouble is not None and self._trouble.is_attached:
            self._trouble.remove()
        self._trouble = None
        self._view.show_status()

    # --- around them ----------------------------------------------------------------------------------------------

    def show_state(self) -> None:
        """Has the app show the state, which may be another one."""
        self._view.show_state()

    def show_figures(self) -> None:
        """Has the app show the figures."""
        self._view.show_figures()
