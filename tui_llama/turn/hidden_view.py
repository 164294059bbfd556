"""The view of a chat that goes on while another one is on the screen."""

from collections.abc import Callable, Sequence

from tui_llama.chats.open_chat import Entry
from tui_llama.conversation import SendMessage
from tui_llama.turn.view import TurnView


class HiddenView:
    """A `TurnView` that draws nothing, and remembers what has to be shown later.

    Args:
        on_change: Called when the state may be another one.
        on_return: Called with a message that was queued and is not sent.
        on_news: Called when an answer has ended.

    Attributes:
        has_news: Whether an answer has ended.
    """

    def __init__(
        self, on_change: Callable[[], None], on_return: Callable[[SendMessage], None], on_news: Callable[[], None]
    ) -> None:
        self._on_change = on_change
        self._on_return = on_return
        self._on_news = on_news
        self._remarks: list[tuple[str, str] | str] = []
        self.has_news = False

    @property
    def has_to_be_shown(self) -> bool:
        """True if something must be shown that the store does not have."""
        return bool(self._remarks)

    def show_in(self, view: TurnView) -> None:
        """Shows in another view what had to wait."""
        for remark in self._remarks:
            if isinstance(remark, str):
                view.add_notice(remark)
            else:
                view.add_failure(*remark)

    # --- as a view ----------------------------------------------------------------------------------------------

    def add_message(self, entry: Entry) -> None:
        """Draws nothing: the chat has it."""

    def replace_message(self, position: int, entry: Entry) -> None:
        """Draws nothing: the chat has it."""

    def show_path(self, entries: Sequence[Entry]) -> None:
        """Draws nothing: the chat has it."""

    def remove_last_answer(self) -> None:
        """Draws nothing: the chat has it."""

    def begin_answer(self, entry: Entry) -> None:
        """Draws nothing: the chat has it."""

    def reopen_answer(self, entry: Entry) -> None:
        """Draws nothing: the chat has it."""

    def append(self, text: str, thought: str) -> None:
        """Draws nothing: the chat has it."""

    def finish_answer(self, entry: Entry) -> None:
        """Remembers that there is something new to read."""
        self.has_news = True
        self._on_news()

    def show_queued(self, texts: Sequence[str]) -> None:
        """Draws nothing: the driver has it."""

    def return_message(self, message: SendMessage) -> None:
        """Passes it on."""
        self._on_return(message)

    def add_notice(self, text: str) -> None:
        """Remembers it for when the chat is on the screen."""
        self._remarks.append(text)

    def add_failure(self, message: str, hint: str) -> None:
        """Remembers it for when the chat is on the screen."""
        self._remarks.append((message, hint))

    def show_state(self) -> None:
        """Reports the change."""
        self._on_change()

    def show_figures(self) -> None:
        """Draws nothing: nobody sees the figures."""
