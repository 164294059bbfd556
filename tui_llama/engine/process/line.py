"""The line to whoever answers requests elsewhere: frames of requests go out, frames of events come in.

Events are taken as they come, whether or not anybody asks for them yet, so a slow screen does not hold up the engine.
Knows messages and streams; nothing of processes and sockets.
"""

import asyncio
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterable
from contextlib import suppress

from tui_llama.engine.events import Notice
from tui_llama.engine.process.exchange import Exchange
from tui_llama.engine.process.framing import FrameError, decode_event, encode_frame, receive_frame
from tui_llama.engine.protocol import Event, Request
from tui_llama.errors import EngineLostError

_MOST_LATE_NOTICES = 16


class Line(ABC):
    """Sends requests, and hands the events that come back to the exchanges that wait for them.

    Args:
        requests: Where the frames of requests go.
        events: Where the frames of events come from.

    Attributes:
        lost: Why nobody answers any more; None while somebody does.
        listener: The one task that listens; it ends once nobody answers any more.
    """

    def __init__(self, requests: asyncio.StreamWriter, events: asyncio.StreamReader) -> None:
        self.lost: EngineLostError | None = None
        self._requests = requests
        self._events = events
        self._exchanges: deque[Exchange] = deque()
        self._late_notices: deque[Notice] = deque(maxlen=_MOST_LATE_NOTICES)
        self.listener = asyncio.create_task(self._listen(), name="engine listener")

    @abstractmethod
    async def _see_out(self, fault: Exception | None) -> EngineLostError:
        """Makes sure that the other side is gone; returns what all who wait for an answer are told.

        Args:
            fault: What went wrong while listening; None if the events just ended.
        """

    async def begin(self, exchange: Exchange) -> None:
        """Sends the exchange's request; its events come after those of earlier requests."""
        frame = encode_frame(exchange.request)
        if self.lost is not None:
            raise self.lost
        while self._late_notices and exchange.takes_notices:
            exchange.offer(self._late_notices.popleft())
        self._write(frame)
        self._exchanges.append(exchange)
        exchange.attach(self)
        with suppress(ConnectionError):  # the listener reports the loss, with its cause
            await self._requests.drain()

    def send(self, request: Request) -> None:
        """Sends a request that is not answered."""
        self._write(encode_frame(request))

    def keep_notices(self, unseen: Iterable[Event]) -> None:
        """Keeps the notices among events that nobody has seen, for the next request."""
        self._late_notices.extend(event for event in unseen if isinstance(event, Notice))

    def _write(self, frame: bytes) -> None:
        if self.lost is None and not self._requests.is_closing():
            self._requests.write(frame)

    async def _listen(self) -> None:
        fault: Exception | None = None
        try:
            while (body := await receive_frame(self._events)) is not None:
                self._route(decode_event(body))
        except Exception as error:  # whatever it is, every waiting caller gets an error
            fault = error
        self.lost = await self._see_out(fault)
        for exchange in self._exchanges:
            exchange.lose(self.lost)
        self._exchanges.clear()

    def _route(self, event: Event) -> None:
        answered = self._exchanges[0] if self._exchanges else None
        if isinstance(event, Notice):
            # A notice that comes when nobody listens any more belongs to the next request, already sent or not.
            listener = next((exchange for exchange in self._exchanges if exchange.takes_notices), None)
            if listener is not None:
                listener.offer(event)
            else:
                self._late_notices.append(event)
        elif answered is not None:
            answered.offer(event)
            if answered.ended:
                self._exchanges.popleft()
        else:
            raise FrameError(f"a {type(event).__name__} that nothing asked for")
