"""The message that will be sent when the answer ends, above the composer."""

from textual import events
from textual.content import Content
from textual.message import Message
from textual.widgets import Static

from tui_llama.text_safety import sanitize_line

SHOWN_LINES = 3
KEYS = "sent when the answer ends · ↑ edits it"


class QueuedMessage(Static):
    """The first lines of a message, under a line that says what becomes of it. A click asks for it back."""

    ALLOW_SELECT = False
    COMPONENT_CLASSES = {"queued--words"}  # noqa: RUF012 - declared without ClassVar by the base class

    class BackWanted(Message):
        """Posted when the user wants to edit the message."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id, markup=False)
        self.display = False

    def show_message(self, text: str) -> None:
        """Shows this message, which is not trusted; nothing if it is empty."""
        lines = [sanitize_line(line) for line in text.split("\n") if line.strip()]
        shown = lines[:SHOWN_LINES]
        more = len(lines) - len(shown)
        words = f"queued · {KEYS}" if not more else f"queued, {more} more lines · {KEYS}"
        self.update(Content("\n").join([Content.styled(words, ".queued--words"), *map(Content, shown)]))
        self.display = bool(shown)

    def on_click(self, event: events.Click) -> None:
        """Asks for the message back."""
        event.stop()
        self.post_message(self.BackWanted())
