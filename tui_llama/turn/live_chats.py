"""The chats that are alive: the one on the screen, and those whose answers go on while the user reads another one."""

from typing import TYPE_CHECKING

from tui_llama.turn.driver import TurnDriver
from tui_llama.turn.engine_host import EngineHost

if TYPE_CHECKING:
    from tui_llama.settings import Settings


class LiveChats:
    """The drivers of the chats that are alive.

    Args:
        host: Has the engine that they share.
        shown: The driver of the chat on the screen.

    Attributes:
        host: Has the engine that they share.
        shown: The driver of the chat on the screen.
    """

    def __init__(self, host: EngineHost, shown: TurnDriver) -> None:
        self.host = host
        self.shown = shown
        host.bring_to_front(shown)

    def use_settings(self, settings: "Settings") -> None:
        """Lets all chats go on with other settings."""
        self.host.settings = self.shown.requests.settings = settings


class OfShownChat:
    """A part of the program that works on the chat on the screen, whichever that is.

    Args:
        live_chats: The chats that are alive.
    """

    def __init__(self, live_chats: LiveChats) -> None:
        self._live_chats = live_chats

    @property
    def _turn_driver(self) -> TurnDriver:
        """The driver of the chat that is on the screen now."""
        return self._live_chats.shown
