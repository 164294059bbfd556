"""The list of the messages that the user has sent, in all chats."""

from collections.abc import Sequence
from datetime import datetime

from textual.content import Content

from tui_llama.chats.stored import StoredText
from tui_llama.screens.dialogs.pick import PickDialog, short_time, two_sides
from tui_llama.text_safety import sanitize_line
from tui_llama.widgets.cutting import cut

_SHOWN_CHARACTERS = 400
"""So much of a message is looked at to draw it; more does not fit."""


class HistoryList(PickDialog[StoredText, str | None]):
    """A dialog whose result is the text of the chosen message, or None.

    Args:
        texts: The messages, newest first; not trusted.
        now: The present time, which decides what is "today".
    """

    HELP = """Earlier messages
    What you have sent before, in all chats, the newest first. Type a part of a message to find it.
    """
    TITLE_TEXT = "Earlier messages"
    KEYS = "Enter write it again · {dialog_close} close"

    def __init__(self, texts: Sequence[StoredText], now: datetime) -> None:
        super().__init__(texts)
        self._now = now

    def line(self, item: StoredText, width: int) -> Content:
        """Returns the beginning of the message, and on the right its time."""
        return two_sides(_one_line(item.text), short_time(item.sent_at, self._now), width)

    def details(self, item: StoredText) -> str:
        """Returns the chat in which it was sent, and more of the message than its line has."""
        title = cut(Content(_one_line(item.chat_title)), 40).plain
        return f"In “{title}”: {_one_line(item.text)}"

    def words(self, item: StoredText) -> str:
        """Returns the whole message."""
        return item.text

    def choose(self, item: StoredText) -> None:
        """Closes the list with this message as the one to write again."""
        self.dismiss(item.text)

    def advice_when_empty(self, filter_text: str) -> str:
        """Says why no message is listed."""
        return "No message has these words." if filter_text else "No message was sent yet."


def _one_line(text: str) -> str:
    return sanitize_line(" ".join(text[:_SHOWN_CHARACTERS].split()))
