"""What the user sent while an answer is awaited or open."""

from tui_llama.chat import Attachment
from tui_llama.conversation import SendMessage


class MessageQueue:
    """Messages that wait for the end of an answer; they are sent as one, with a blank line between them.

    Attributes:
        text: Their text; empty if there is none.
    """

    def __init__(self) -> None:
        self.text = ""
        self._attachments: tuple[Attachment, ...] = ()

    def add(self, text: str, attachments: tuple[Attachment, ...] = ()) -> None:
        """Adds a message behind the others."""
        self.text = f"{self.text}\n\n{text}" if self.text else text
        self._attachments += attachments

    def take(self) -> SendMessage | None:
        """Returns all of them as one message, and is empty then; None if there is none."""
        if not self.text:
            return None
        message = SendMessage(self.text, self._attachments)
        self.text, self._attachments = "", ()
        return message
