"""What the user sent while an answer is awaited or open."""

from collections.abc import Callable

from tui_llama.chat import Attachment
from tui_llama.conversation import SendMessage


class MessageQueue:
    """Messages that wait for the end of an answer; they are sent as one, with a blank line between them.

    Attributes:
        text: Their text; empty if there is none.
        on_change: Called when there are others.
    """

    def __init__(self) -> None:
        self.text = ""
        self.on_change: Callable[[], None] = lambda: None
        self._attachments: tuple[Attachment, ...] = ()

    def add(self, text: str, attachments: tuple[Attachment, ...] = ()) -> None:
        """Adds a message behind the others."""
        self.text = "\n\n".join(part for part in (self.text, text) if part)
        self._attachments += attachments
        self.on_change()

    @property
    def message(self) -> SendMessage | None:
        """All of them as one message; None if there is none."""
        return SendMessage(self.text, self._attachments) if self.shown else None

    @property
    def shown(self) -> str:
        """What is attached, a line each, and the text; empty if there is nothing. Not safe to print."""
        names = [f"▪ {attachment.name}" for attachment in self._attachments]
        return "\n".join([*names, *([self.text] if self.text else [])])

    def take(self) -> SendMessage | None:
        """Returns all of them as one message, and is empty then; None if there is none."""
        message = self.message
        if message is not None:
            self.text, self._attachments = "", ()
            self.on_change()
        return message
