"""The queue before the engine: one request at a time has it, and the others wait, fairly.

Clients take turns, round robin, however many requests each of them has waiting; the requests of one client are served
in the order in which they came. When too many wait, whoever has most of them waiting is refused. Knows nothing of HTTP.
"""

import asyncio
import math
from collections import OrderedDict, deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Hashable
from contextlib import aclosing, nullcontext
from types import TracebackType
from typing import Final

from tui_llama.engine.events import Notice
from tui_llama.engine.protocol import Engine, IdlePrefillEvent
from tui_llama.engine.requests import IdlePrefillRequest
from tui_llama.errors import TuiLlamaError

MOST_WAITING: Final = 64
_FIRST_GUESS_SECONDS: Final = 5.0
_NEWEST_SHARE: Final = 0.25
_LONGEST_RETRY_SECONDS: Final = 120


class QueueFull(TuiLlamaError):  # noqa: N818 - a state of the queue, not a mistake
    """Too many requests wait already.

    Args:
        retry_after_seconds: When it may be worth trying again, in whole seconds, at least 1.
    """

    def __init__(self, retry_after_seconds: int) -> None:
        super().__init__(f"too many requests are waiting; try again in {retry_after_seconds} s")
        self.retry_after_seconds = retry_after_seconds


class QueueClosed(TuiLlamaError):  # noqa: N818 - as above
    """The server is shutting down; nobody gets the engine any more."""


class EngineQueue:
    """Gives the engine to one request after the other.

    Args:
        engine: The engine that all requests share.
        most_waiting: How many requests may wait.
        make_ready: Called at the start of each turn, before the request has the engine; loads a lost model again. What
            it raises, entering the turn raises.
        is_ready: Tells whether the model is loaded, so that the engine has nothing to do; None if it always is.

    Attributes:
        on_late_notice: Called with a notice that came after the end of a reply, among the events of another request.
    """

    def __init__(
        self,
        engine: Engine,
        most_waiting: int = MOST_WAITING,
        make_ready: Callable[[], Awaitable[None]] | None = None,
        is_ready: Callable[[], bool] | None = None,
    ) -> None:
        self._engine = engine
        self._most_waiting = most_waiting
        self._make_ready = make_ready
        self._is_ready = is_ready or (lambda: True)
        self.on_late_notice: Callable[[Notice], None] = lambda _notice: None
        self._waiting: OrderedDict[Hashable, deque[asyncio.Future[None]]] = OrderedDict()
        self._holder: Hashable | None = None
        self._is_taken = False
        self._is_closed = False
        self._idle_prefills = 0
        self._turn_seconds = _FIRST_GUESS_SECONDS

    @property
    def length(self) -> int:
        """The number of requests that wait. The one that has the engine is not among them."""
        return sum(len(waiting) for waiting in self._waiting.values())

    @property
    def is_taken(self) -> bool:
        """True while a request has the engine."""
        return self._is_taken

    @property
    def is_ready(self) -> bool:
        """True if the model is loaded, so that a turn need not load it first."""
        return self._is_ready()

    def turn(self, client: Hashable) -> "Turn":
        """Returns a turn of the engine, to be entered: `async with queue.turn(client) as engine:`.

        Entering waits until the engine is free and it is the client's turn. Leaving gives the engine to the next
        request. A task that is cancelled while it waits no longer waits.

        Args:
            client: Who asks; requests with equal values are one client's.

        Raises:
            QueueFull: too many requests wait, and no client has more of them than this one. This call raises it, so
                that an answer need not have begun; also raised on entering, when a client with fewer took the place.
            QueueClosed: the server is shutting down; also raised on entering, if that comes true only then.
        """
        self._check_room(client)
        return Turn(self, client)

    async def idle_prefill(self, request: IdlePrefillRequest) -> AsyncGenerator[IdlePrefillEvent, None]:
        """Yields the events of idle prefill, as long as nobody takes a turn.

        Ends at once if somebody has the engine or it is not loaded, and without a last event when somebody takes it.

        Raises:
            EngineLostError: the engine's process ended.
        """
        if self._is_taken or self._is_closed or not self._engine.is_alive or not self.is_ready:
            return
        self._idle_prefills += 1
        try:
            events = self._engine.idle_prefill(request)
            async with aclosing(events) if isinstance(events, AsyncGenerator) else nullcontext():
                async for event in events:
                    yield event
                    if self._is_taken:
                        return
        finally:
            self._idle_prefills -= 1

    def close(self) -> None:
        """Refuses all who wait and whoever comes; cancels the request that has the engine."""
        self._is_closed = True
        for waiting in self._waiting.values():
            for place in waiting:
                if not place.done():
                    place.set_exception(QueueClosed("the server is shutting down"))
        self._waiting.clear()
        if self._is_taken or self._idle_prefills:
            self._engine.cancel()

    def _check_room(self, client: Hashable) -> None:
        if self._is_closed:
            raise QueueClosed("the server is shutting down")
        if self._is_full and self._greedier_than(client) is None:
            raise QueueFull(self._retry_after_seconds())

    @property
    def _is_full(self) -> bool:
        return self._is_taken and self.length >= self._most_waiting

    def _greedier_than(self, client: Hashable) -> Hashable | None:
        """Returns the client with most requests waiting, if it has more than this one with another would have."""
        greediest = max(self._waiting, key=lambda each: len(self._waiting[each]), default=None)
        most = len(self._waiting.get(greediest, ()))
        return greediest if most > len(self._waiting.get(client, ())) + 1 else None

    def _make_room(self, client: Hashable) -> None:
        """Refuses the newest request of the client with most of them, if the queue is full and this one has fewer."""
        greediest = self._greedier_than(client) if self._is_full else None
        if greediest is not None:
            place = self._waiting[greediest][-1]
            self._leave(greediest, place)
            if not place.done():
                place.set_exception(QueueFull(self._retry_after_seconds()))

    def _retry_after_seconds(self) -> int:
        """Returns after how many seconds a place is free if turns take as long as the last ones."""
        return max(1, min(math.ceil(self._turn_seconds), _LONGEST_RETRY_SECONDS))

    async def _take(self, client: Hashable) -> Engine:
        self._check_room(client)
        if self._is_taken:
            self._make_room(client)
            await self._wait(client)
        self._is_taken, self._holder = True, client
        try:
            if self._idle_prefills:
                self._engine.cancel()
            if self._make_ready is not None:
                await self._make_ready()
        except BaseException:
            self._give_on()
            raise
        return self._engine

    async def _wait(self, client: Hashable) -> None:
        place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(client, deque()).append(place)
        try:
            await place
        except asyncio.CancelledError:
            if place.done() and not place.cancelled():
                if place.exception() is None:  # the engine was given to a task that was cancelled just then
                    self._give_on()
            else:
                self._leave(client, place)
            raise

    def _leave(self, client: Hashable, place: asyncio.Future[None]) -> None:
        waiting = self._waiting.get(client)
        if waiting is not None and place in waiting:
            waiting.remove(place)
            if not waiting:
                del self._waiting[client]

    def _give_on(self) -> None:
        """Gives the engine to the next request: of the client that is first in the round, its oldest one."""
        if self._holder in self._waiting:
            self._waiting.move_to_end(self._holder)
        self._holder = None
        while self._waiting:
            client, waiting = next(iter(self._waiting.items()))
            place = waiting.popleft()
            if not waiting:
                del self._waiting[client]
            if not place.done():
                self._holder = client
                place.set_result(None)  # the engine stays taken, so that nobody comes in between
                return
        self._is_taken = False

    def _note_turn(self, seconds: float) -> None:
        self._turn_seconds += _NEWEST_SHARE * (seconds - self._turn_seconds)


class Turn:
    """One request's turn of the engine; see `EngineQueue.turn`. To be entered once."""

    def __init__(self, queue: EngineQueue, client: Hashable) -> None:
        self._queue = queue
        self._client = client
        self._begun_at = 0.0

    async def __aenter__(self) -> Engine:
        engine = await self._queue._take(self._client)
        self._begun_at = asyncio.get_running_loop().time()
        return engine

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._queue._note_turn(asyncio.get_running_loop().time() - self._begun_at)
        self._queue._give_on()
