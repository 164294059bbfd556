"""What the user sent while an answer is awaited or open."""

from collections.abc import Callable, Sequence

from tui_llama.conversation import SendMessage


class MessageQueue:
    """Messages that wait for the end of an answer; they are sent as one, with a blank line between them.

    Attributes:
        on_change: Called when there are others.
    """

    def __init__(self) -> None:
        self._messages: list[SendMessage] = []
        self.on_change: Callable[[], None] = lambda: None

    def __len__(self) -> int:
        return len(self._messages)

    @property
    def message(self) -> SendMessage | None:
        """All of them as one message; None if there is none."""
        return joined(self._messages) if self._messages else None

    @property
    def shown(self) -> tuple[str, ...]:
        """Each of them: what is attached, a line each, and the text. Not safe to print."""
        return tuple(
            "\n".join([*(f"▪ {each.name}" for each in message.attachments), *([message.text] if message.text else [])])
            for message in self._messages
        )

    def add(self, message: SendMessage) -> None:
        """Adds a message behind the others."""
        self._messages.append(message)
        self.on_change()

    def at(self, number: int | None) -> list[SendMessage]:
        """Returns the message of that number, counted from 0, or all of them; nothing where there is none."""
        if number is None:
            return list(self._messages)
        return self._messages[number : number + 1] if number >= 0 else []

    def remove(self, messages: Sequence[SendMessage]) -> None:
        """Takes these away, and no others of the same text."""
        gone = {id(message) for message in messages}
        self._messages = [message for message in self._messages if id(message) not in gone]
        self.on_change()

    def change(self, number: int, place: int | None) -> None:
        """Moves the message of that number to another place, or takes it away where that is None."""
        messages = self._messages
        if 0 <= number < len(messages):
            others = messages[:number] + messages[number + 1 :]
            at = len(others) if place is None else max(0, place)
            moved = [] if place is None else [messages[number]]
            self._messages = [*others[:at], *moved, *others[at:]]
        self.on_change()


def joined(messages: Sequence[SendMessage]) -> SendMessage:
    """Returns messages as one, with a blank line between their texts."""
    text = "\n\n".join(message.text for message in messages if message.text)
    return SendMessage(text, tuple(attachment for message in messages for attachment in message.attachments))
