"""The view of a conversation, as the driver of its turns knows it."""

from collections.abc import Sequence
from typing import Protocol

from tui_llama.chats.open_chat import Entry
from tui_llama.conversation import SendMessage


class TurnView(Protocol):
    """The view of a conversation."""

    def add_message(self, entry: Entry) -> None:
        """Shows what the user said."""
        ...

    def replace_message(self, position: int, entry: Entry) -> None:
        """Shows what the user said in place of message number `position`; what followed is gone."""
        ...

    def show_path(self, entries: Sequence[Entry]) -> None:
        """Shows these messages in place of those that are shown."""
        ...

    def remove_last_answer(self) -> None:
        """Takes the last answer away, and what was told of it."""
        ...

    def begin_answer(self, entry: Entry) -> None:
        """Shows an answer that begins, with what is given of it, and grows."""
        ...

    def reopen_answer(self, entry: Entry) -> None:
        """Lets the last answer grow again, with nothing below it any more."""
        ...

    def append(self, text: str, thought: str) -> None:
        """Shows more of the answer, and of the thought before it."""
        ...

    def finish_answer(self, entry: Entry) -> None:
        """Shows how the answer ended."""
        ...

    def show_queued(self, texts: Sequence[str]) -> None:
        """Shows the messages that will be sent when the answer ends, in order."""
        ...

    def return_message(self, message: SendMessage) -> None:
        """Puts a message that was queued back to where messages are written."""
        ...

    def add_notice(self, text: str) -> None:
        """Tells the user something, in one line."""
        ...

    def add_failure(self, message: str, hint: str) -> None:
        """Tells the user what went wrong."""
        ...

    def show_state(self) -> None:
        """Shows the state, which may be another one."""
        ...

    def show_figures(self) -> None:
        """Shows the figures of the meter, and nothing else has changed; this may be a little later."""
        ...
