"""The store as the screen uses it: every call in order, on a thread of its own, never in the way of drawing.

A caller hands over its writes and forgets them; the journal keeps them until they are stored. What cannot be stored
for now (another program uses the file, the disk is full) is tried again, with the next write and after waits that
grow, and keeps its place: of one owner, nothing is stored before what was written earlier. Reads are awaited, and come
after all writes before them, but for those that have to wait.

A write may be tried after all but its success was lost; it has to be one that can be repeated, as the store's can.
"""

import asyncio
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final, Protocol, TypeAlias, TypeVar

from tui_llama.chats.store import Store
from tui_llama.errors import StoreConflictError, StoreError

PATIENCE_SECONDS: Final = 2.0
"""For how long a write waits for another program, before the user is told; a reply waits with it."""

IMPATIENCE_SECONDS: Final = 0.2
"""The same for a write that is tried again: meanwhile, reads stand behind it."""

FIRST_WAIT_SECONDS = 1.0
LONGEST_WAIT_SECONDS = 10.0

Result = TypeVar("Result")
Otherwise = TypeVar("Otherwise")
Job: TypeAlias = Callable[[Store], object]


class Owner(Protocol):
    """The owner of writes, which keep their order and are lost if they are never stored. Owners differ by identity."""

    @property
    def chat_id(self) -> str:
        """The chat that they are about."""
        ...


class Journal:
    """One thread that talks to one store.

    Args:
        store: Not closed here, but for that of an incognito chat, which ends with its journal.
        on_failure: Called on the event loop with what a read or write raised: with the first of those that can
            only wait, and with each that can never be stored.
        on_recovery: Called on the event loop when everything that had to wait is stored.
        is_incognito: Whether it is for one chat alone, of which nothing is kept; the store is in memory.

    Attributes:
        trouble: Why writes have to wait; None while they need not.
    """

    def __init__(
        self,
        store: Store,
        on_failure: Callable[[Exception], None],
        on_recovery: Callable[[], None] = lambda: None,
        *,
        is_incognito: bool = False,
    ) -> None:
        self.is_incognito = is_incognito
        self._store = store
        self._on_failure = on_failure
        self._on_recovery = on_recovery
        self._thread = ThreadPoolExecutor(1, "store")
        self._lock = threading.Lock()  # over the two of what follows that the thread changes
        self._waiting: dict[Owner | None, deque[Job]] = {}
        self._refused: dict[Owner, Exception] = {}
        self._is_in_trouble = False  # as the thread knows it, before the event loop does
        self._tries_under_way = 0
        self._wait_seconds = FIRST_WAIT_SECONDS
        self._next_try: asyncio.TimerHandle | None = None
        self.trouble: StoreError | None = None
        store.wait_for_others(PATIENCE_SECONDS)

    @property
    def waiting(self) -> list[Owner]:
        """The owners whose writes are not stored yet, the oldest first."""
        with self._lock:
            return [owner for owner in self._waiting if owner is not None]

    @property
    def refused(self) -> dict[Owner, Exception]:
        """The owners of whom nothing is stored any more, each with the reason: the disk has another chat in its place.

        What they write is dropped.
        """
        with self._lock:
            return dict(self._refused)

    # --- writing ------------------------------------------------------------------------------------------------

    def write(self, job: Job, owner: Owner | None = None) -> None:
        """Carries out `job` after everything that its owner asked for before. A write without an owner is no loss."""
        with self._lock:
            if owner is not None and owner in self._refused:
                return
            self._waiting.setdefault(owner, deque()).append(job)
        if self.trouble is None or not self._tries_under_way:
            self._begin_try(is_retry=self.trouble is not None)

    def forget(self, owner: Owner) -> None:
        """Drops what its owner has waiting."""
        with self._lock:
            self._waiting.pop(owner, None)
            self._refused.pop(owner, None)

    async def try_again(self) -> bool:
        """Tries the waiting writes at once; tells whether none has to wait any more."""
        self._wait_seconds = FIRST_WAIT_SECONDS
        await asyncio.wrap_future(self._begin_try(is_retry=True))
        return not self.waiting

    def _begin_try(self, *, is_retry: bool) -> "Future[None]":
        self._tries_under_way += 1
        return self._thread.submit(self._store_what_waits, asyncio.get_running_loop(), is_retry)

    def _store_what_waits(self, loop: asyncio.AbstractEventLoop, is_retry: bool) -> None:
        """Stores the writes of each owner, up to the first that fails. Runs on the journal's thread."""
        trouble = None
        if is_retry or not self._is_in_trouble:  # else this was asked for when nobody knew of the trouble
            with self._lock:
                owners = list(self._waiting)
            for owner in owners:
                trouble = self._store_all_of(owner, loop) or trouble
                if trouble is not None:
                    self._note_trouble(True)  # so that the next owner is not waited for as long
            self._note_trouble(trouble is not None)
        loop.call_soon_threadsafe(self._end_try, trouble)

    def _note_trouble(self, is_in_trouble: bool) -> None:
        self._is_in_trouble = is_in_trouble
        self._store.wait_for_others(IMPATIENCE_SECONDS if is_in_trouble else PATIENCE_SECONDS)

    def _store_all_of(self, owner: Owner | None, loop: asyncio.AbstractEventLoop) -> StoreError | None:
        while True:
            with self._lock:
                jobs = self._waiting.get(owner)
                if not jobs:
                    self._waiting.pop(owner, None)
                    return None
                job = jobs[0]
            try:
                job(self._store)
            except StoreError as error:
                if not isinstance(error, StoreConflictError):
                    return error
                self._give_up(owner, error, loop)
            except Exception as error:
                self._give_up(owner, error, loop)
            with self._lock:
                if jobs and jobs[0] is job:
                    jobs.popleft()

    def _give_up(self, owner: Owner | None, error: Exception, loop: asyncio.AbstractEventLoop) -> None:
        """Drops all writes of an owner after one that will always fail, since they make no sense without it."""
        if owner is not None:
            with self._lock:
                self._waiting.pop(owner, None)
                self._refused[owner] = error
        loop.call_soon_threadsafe(self._on_failure, error)

    def _end_try(self, trouble: StoreError | None) -> None:
        self._tries_under_way -= 1
        was_in_trouble = self.trouble is not None
        if trouble is not None:
            self.trouble = trouble
            if not was_in_trouble:
                self._on_failure(trouble)
            self._plan_next_try()
        elif was_in_trouble and not self._is_in_trouble:
            if self._has_anything_waiting():  # written when this try had passed its owner already
                if not self._tries_under_way:
                    self._begin_try(is_retry=True)
                return
            self.trouble = None
            self._wait_seconds = FIRST_WAIT_SECONDS
            self._cancel_next_try()
            self._on_recovery()

    def _has_anything_waiting(self) -> bool:
        with self._lock:
            return any(self._waiting.values())

    def _cancel_next_try(self) -> None:
        if self._next_try is not None:
            self._next_try.cancel()
            self._next_try = None

    def _plan_next_try(self) -> None:
        if self._next_try is not None:
            return
        self._next_try = asyncio.get_running_loop().call_later(self._wait_seconds, self._begin_next_try)
        self._wait_seconds = min(2 * self._wait_seconds, LONGEST_WAIT_SECONDS)

    def _begin_next_try(self) -> None:
        self._next_try = None
        self._begin_try(is_retry=True)

    # --- reading ------------------------------------------------------------------------------------------------

    async def read(self, job: Callable[[Store], Result]) -> Result:
        """Returns what `job` returns, after everything that was asked for before and need not wait.

        Raises:
            StoreError: as the store says.
        """
        return await asyncio.wrap_future(self._thread.submit(job, self._store))

    async def read_or(self, job: Callable[[Store], Result], otherwise: Otherwise) -> Result | Otherwise:
        """Reads as `read` does; where the store fails, tells its owner and returns `otherwise`."""
        try:
            return await self.read(job)
        except StoreError as error:
            self._on_failure(error)
            return otherwise

    async def settle(self) -> None:
        """Returns when everything that was asked for is done, or has to wait."""
        await asyncio.wrap_future(self._thread.submit(lambda: None))

    async def close(self) -> None:
        """Tries the waiting writes once more, and ends the thread; a write that fails then is lost."""
        await self.settle()
        if self.waiting:
            await self.try_again()
        self._cancel_next_try()
        self._thread.shutdown()
        if self.is_incognito:
            self._store.close()
