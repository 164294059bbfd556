"""Small protocols of what the app does for several controllers. Each controller combines them into its view."""

from collections.abc import Awaitable, Callable, Coroutine
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, TypeVar

from tui_llama import conversation

# The first frame needs none of these.
if TYPE_CHECKING:
    from textual.screen import Screen
    from textual.worker import Worker

    from tui_llama.screens.chat import ChatScreen

Result = TypeVar("Result")

RunAlone: TypeAlias = "Callable[[str, Callable[[], Coroutine[Any, Any, None]]], Worker[None]]"
"""Runs the coroutine that a function makes, in place of what is under way in the group of that name."""


class ScreenView(Protocol):
    """Has the chat on the screen."""

    @property
    def chat_screen(self) -> "ChatScreen":
        """The chat, which may lie below a dialog."""
        ...

    @property
    def can_draw(self) -> bool:
        """True if there is a screen to draw on: from the first frame until the user has left the screen."""
        ...


class DialogView(Protocol):
    """Opens dialogs."""

    def push_screen(
        self, screen: "Screen[Result]", callback: "Callable[[Result | None], None] | None" = None
    ) -> Awaitable[None]:
        """Opens the dialog; `callback` gets its result. A caller that awaits this goes on when the dialog is shown."""
        ...


class HintView(Protocol):
    """Shows hints."""

    def show_hint(self, text: str, seconds: float | None = None) -> None:
        """Shows one line of advice in the status line, for some seconds or until the next key."""
        ...


class RemarkView(Protocol):
    """Shows the program's own lines in the conversation."""

    def add_notice(self, text: str) -> None:
        """Adds one line."""
        ...

    def add_failure(self, message: str, hint: str) -> None:
        """Adds a failure."""
        ...


class StateView(Protocol):
    """Shows the state of the program."""

    def show_state(self) -> None:
        """Shows what stands around the messages, and lets idle prefill begin or end."""
        ...

    def show_status(self) -> None:
        """Shows what stands around the messages, and nothing else."""
        ...

    def show_figures(self) -> None:
        """Shows what changes with every token, a little later."""
        ...


class WishView(Protocol):
    """Passes on what the user wants."""

    def wish(self, event: conversation.Event) -> bool:
        """Dispatches the event if it is possible now, and says whether it was; if not, the user is told."""
        ...
