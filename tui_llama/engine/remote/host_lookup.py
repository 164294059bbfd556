"""Asks for the address of a server in a thread for which the end of the program does not wait.

`httpx2` asks in a thread that the end of the event loop waits for. With a name server that does not answer, the user
could not quit for half a minute. So the address is asked for here first, and there only once that has been answered.
"""

import asyncio
import ipaddress
import math
import socket
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from time import monotonic
from typing import Final

import httpx2

from tui_llama.system.daemon_threads import in_daemon_thread

_ANSWERED_SECONDS: Final = 30.0
"""For so long a name server that has answered is taken to be alive."""


class HostLookup:
    """Looks up one host.

    Args:
        host: Its name or address.
        most_seconds: How long to wait for an answer.
        clock: Tells the time in seconds.
        look_up: Asks the system, and may wait for long.
    """

    def __init__(
        self,
        host: str,
        most_seconds: float,
        clock: Callable[[], float] = monotonic,
        look_up: Callable[[str, None], object] = socket.getaddrinfo,
    ) -> None:
        self._host = host
        self._most_seconds = most_seconds
        self._clock = clock
        self._look_up = look_up
        self._answered_until = math.inf if is_address(host) else -math.inf

    async def wait(self) -> None:
        """Waits until the system has told the host's address, which `httpx2` will ask for again.

        Raises:
            httpx2.ConnectTimeout: it did not answer in time.
            httpx2.ConnectError: it knows no such host.
            UnicodeError: no host can have this name.
        """
        if self._clock() < self._answered_until:
            return
        try:
            async with asyncio.timeout(self._most_seconds):
                await in_daemon_thread(partial(self._look_up, self._host, None))
        except TimeoutError as error:
            raise httpx2.ConnectTimeout(f"nobody tells the address of {self._host}") from error
        except OSError as error:
            raise httpx2.ConnectError(f"there is no address of {self._host}") from error
        self._answered_until = self._clock() + _ANSWERED_SECONDS


def is_address(host: str) -> bool:
    """Tells whether a host is given as an address, which nobody has to be asked for."""
    with suppress(ValueError):
        ipaddress.ip_address(host)
        return True
    return False
