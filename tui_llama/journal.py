"""The store as the screen uses it: every call in order, on a thread of its own, never in the way of drawing.

Writes are handed over and forgotten; when one fails, the owner is told and the chat goes on. Reads are awaited and
come after all writes before them.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from tui_llama.errors import StoreError
from tui_llama.store import Store

Result = TypeVar("Result")
Otherwise = TypeVar("Otherwise")


class Journal:
    """One thread that talks to one store.

    Args:
        store: Not closed here, but for that of an incognito chat, which ends with its journal.
        on_failure: Called on the event loop with what a write raised.
        is_incognito: Whether it is for one chat alone, of which nothing is kept; the store is in memory.
    """

    def __init__(self, store: Store, on_failure: Callable[[Exception], None], *, is_incognito: bool = False) -> None:
        self.is_incognito = is_incognito
        self._store = store
        self._on_failure = on_failure
        self._thread = ThreadPoolExecutor(1, "store")

    def write(self, job: Callable[[Store], None]) -> None:
        """Carries out `job` after everything that was asked for before."""
        loop = asyncio.get_running_loop()

        def run() -> None:
            try:
                job(self._store)
            except Exception as error:
                loop.call_soon_threadsafe(self._on_failure, error)

        self._thread.submit(run)

    async def read(self, job: Callable[[Store], Result]) -> Result:
        """What `job` returns, after everything that was asked for before.

        Raises:
            StoreError: as the store says.
        """
        return await asyncio.wrap_future(self._thread.submit(job, self._store))

    async def read_or(self, job: Callable[[Store], Result], otherwise: Otherwise) -> Result | Otherwise:
        """As `read`, but when the store fails its owner is told and `otherwise` is the answer."""
        try:
            return await self.read(job)
        except StoreError as error:
            self._on_failure(error)
            return otherwise

    async def settle(self) -> None:
        """Returns when everything that was asked for is done."""
        await asyncio.wrap_future(self._thread.submit(lambda: None))

    async def close(self) -> None:
        """Settles and ends the thread."""
        await self.settle()
        self._thread.shutdown()
        if self.is_incognito:
            self._store.close()
