"""Waits for a server that has too much to do, as long as it says when it wants to be asked again."""

import asyncio
from collections.abc import Awaitable, Callable

from tui_llama.engine.events import Notice
from tui_llama.engine.remote.failures import BusyError
from tui_llama.engine.remote.patience import Patience


class BusyWait:
    """The waiting for one server, all in all.

    Args:
        name: The server's name.
        patience: How long to wait.
    """

    def __init__(self, name: str, patience: Patience) -> None:
        self._name = name
        self._patience = patience
        self._waited_seconds = 0.0

    async def wait(self, error: BusyError, tell: Callable[[Notice], Awaitable[None]]) -> None:
        """Tells the user, and waits as long as the server asks for.

        Raises:
            BusyError: the server does not say how long, or has been waited for long enough.
        """
        # At least a moment, for a server that says "now" and is busy again.
        seconds = max(error.retry_seconds or 0.0, self._patience.poll_seconds)
        self._waited_seconds += seconds
        if error.retry_seconds is None or self._waited_seconds > self._patience.busy_seconds:
            raise error
        await tell(Notice(f"{self._name} is busy; it is asked again in {seconds:.0f} s."))
        await asyncio.sleep(seconds)
