"""Runs a piece of work that tells events, and stops it at once when it is no longer wanted."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from typing import Any, Final, Generic, TypeAlias, TypeVar

_Event = TypeVar("_Event")
Tell: TypeAlias = Callable[[_Event], Awaitable[None]]

_MOST_WAITING: Final = 256
"""So many events may wait to be read; the work then waits, and with it the server."""


class Work(Generic[_Event]):
    """One piece of work at a time.

    The work is a task of its own, so that it can be stopped wherever it waits: for a connection, a byte or a moment.
    """

    def __init__(self, job: Callable[[Tell[_Event]], Coroutine[Any, Any, _Event]]) -> None:
        self._job = job
        self._task: asyncio.Task[_Event] | None = None
        self._is_stopped = False
        self._events: deque[_Event] = deque()
        self._news = asyncio.Event()
        self._room = asyncio.Event()

    def stop(self) -> None:
        """Stops the work where it waits; the events that it has told are still read."""
        self._is_stopped = True
        if self._task is not None:
            self._task.cancel()

    async def events(self, when_stopped: Callable[[], _Event]) -> AsyncIterator[_Event]:
        """Yields the events that the work tells, and last the one that it returns, or that of `when_stopped`."""
        if self._is_stopped:
            yield when_stopped()
            return
        task = self._task = asyncio.ensure_future(self._job(self._tell))
        task.add_done_callback(lambda _task: self._news.set())
        try:
            while self._events or not task.done():
                if self._events:
                    event = self._events.popleft()
                    self._room.set()
                    yield event
                else:
                    self._news.clear()
                    await self._news.wait()
            yield when_stopped() if task.cancelled() else task.result()
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _tell(self, event: _Event) -> None:
        while len(self._events) >= _MOST_WAITING:
            self._room.clear()
            await self._room.wait()
        self._events.append(event)
        self._news.set()
