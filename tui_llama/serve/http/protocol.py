"""HTTP/1.1 connections with limits: what uvicorn and h11 do not refuse by themselves.

A connection that sends its head or its body too slowly, or too much of a head, or does not read its answer, is ended;
until then it costs a timer and no thread. When there are too many, the one that has been idle for longest is closed.
What is refused here never reaches the application.
"""

import asyncio
from contextlib import suppress
from typing import Any, ClassVar, Final, cast

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from tui_llama.serve.http.answering import headers_of_every_answer, new_request_id
from tui_llama.serve.http.errors import INVALID, UNAVAILABLE, ApiError
from tui_llama.serve.http.limits import Limits
from tui_llama.serve.queue import EngineQueue

_LINGER_SECONDS: Final = 1.0
_LINGER_BYTES: Final = 8 << 20
_MESSAGES: Final = {
    431: "The headers of the request are too large or too many.",
    501: "The server does not know this Transfer-Encoding.",
}


class LimitedProtocol(H11Protocol):
    """One connection. Made by uvicorn, as a class that `protocol_class` returns."""

    limits: ClassVar[Limits] = Limits()
    queue: ClassVar[EngineQueue | None] = None

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._heads = _LimitedConnection(self.limits)
        self.conn = self._heads
        self._awaited = ""
        self._deadline: asyncio.TimerHandle | None = None
        self._stall: asyncio.TimerHandle | None = None
        self._is_refused = False
        self._bytes_thrown_away = 0
        self._idle_since = self.loop.time()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begins, or refuses a connection that is too many."""
        super().connection_made(cast(asyncio.Transport, transport))
        self.transport.set_write_buffer_limits(high=0)  # so that `pause_writing` tells of every byte that is not read
        if len(self.connections) > self.limits.connections and not self._close_longest_idle():
            self.connections.discard(self)
            self._refuse(ApiError(503, "The server has too many connections.", UNAVAILABLE, "too_many_connections"))
        self._await_what_is_missing()

    def data_received(self, data: bytes) -> None:
        """Takes bytes of requests; those after a refusal are thrown away."""
        if self._is_refused:
            self._bytes_thrown_away += len(data)
            if self._bytes_thrown_away > _LINGER_BYTES:
                self.transport.abort()
            return
        if self.transport.is_closing():
            return
        super().data_received(data)
        if len(self.conn.trailing_data[0]) < self.limits.head_bytes and self.conn.their_state is h11.DONE:
            self.flow.resume_reading()  # else nobody would see that a client goes which has sent its next request
        self._await_what_is_missing()

    def connection_lost(self, exc: Exception | None) -> None:
        """Ends; the request under way is told that its client has gone."""
        for timer in (self._deadline, self._stall):
            if timer is not None:
                timer.cancel()
        self._awaited = "nothing"
        super().connection_lost(exc)
        self._unset_keepalive_if_required()

    def on_response_complete(self) -> None:
        """Waits for the next request."""
        self._idle_since = self.loop.time()
        super().on_response_complete()
        self._await_what_is_missing()

    def pause_writing(self) -> None:
        """Notes that the client does not read; ends the connection if that lasts."""
        super().pause_writing()
        if self._stall is None:
            self._stall = self.loop.call_later(self.limits.unread_seconds, self.transport.abort)

    def resume_writing(self) -> None:
        """Notes that the client has read everything."""
        super().resume_writing()
        if self._stall is not None:
            self._stall.cancel()
            self._stall = None

    def send_400_response(self, msg: str) -> None:
        """Refuses what is no HTTP, or too much of it."""
        status = self._heads.refused_status
        self._refuse(ApiError(status, _MESSAGES.get(status, "The request is not valid HTTP/1.1."), INVALID))

    def shutdown(self) -> None:
        """Closes once the answer under way is complete; at once if there is none."""
        if self.cycle is not None and not self.cycle.response_complete and not self.cycle.disconnected:
            self.cycle.keep_alive = False
            return
        with suppress(h11.LocalProtocolError):
            self.conn.send(h11.ConnectionClosed())
        self.transport.close()

    @property
    def _is_idle(self) -> bool:
        """True between two requests, and before the first, whose head may have begun; everything sent has been read."""
        is_between = self.conn.their_state is h11.IDLE and (self.cycle is None or self.cycle.response_complete)
        return is_between and not self._is_refused and not self.transport.get_write_buffer_size()

    def _close_longest_idle(self) -> bool:
        """Closes the connection that has been idle for longest, this one excepted; returns whether there was one."""
        others = (each for each in self.connections if isinstance(each, LimitedProtocol) and each is not self)
        longest = min((each for each in others if each._is_idle), key=lambda each: each._idle_since, default=None)
        if longest is None:
            return False
        self.connections.discard(longest)  # now: the end of the connection is told only later
        longest.shutdown()
        return True

    def _await_what_is_missing(self) -> None:
        """Sets a deadline for the head or the body that must come next, if it is another than before."""
        state, awaited = self.conn.their_state, ""
        if self.transport.is_closing() or self._is_refused:
            awaited = "nothing"
        elif state is h11.SEND_BODY:
            awaited = "body"
        elif state is h11.IDLE and (self.cycle is None or self.conn.trailing_data[0]):
            awaited = "head"
        if awaited == self._awaited:
            return
        self._awaited = awaited
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
        if awaited in ("head", "body"):
            seconds = self.limits.head_seconds if awaited == "head" else self.limits.body_seconds
            self._deadline = self.loop.call_later(seconds, self._refuse_slow)

    def _refuse_slow(self) -> None:
        self._refuse(ApiError(408, f"The {self._awaited} of the request took too long.", INVALID, "request_timeout"))

    def _refuse(self, error: ApiError) -> None:
        """Answers with an error, if no answer has begun, and ends the connection.

        What the client still sends is thrown away for a moment, so that no reset overtakes the answer.
        """
        if self._is_refused:
            return
        self._is_refused = True
        self._unset_keepalive_if_required()
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            self._write(error)
        if self.cycle is not None and not self.cycle.response_complete:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        self.flow.resume_reading()
        with suppress(OSError, RuntimeError):
            self.transport.write_eof()
        self.loop.call_later(_LINGER_SECONDS, self.transport.abort)

    def _write(self, error: ApiError) -> None:
        usual = [*self.server_state.default_headers, *headers_of_every_answer(new_request_id(), self.queue)]
        headers = [*usual, *error.answer_headers(), (b"connection", b"close")]
        self.transport.write(self.conn.send(h11.Response(status_code=error.status, headers=headers)))
        if self._heads.method != b"HEAD":
            self.transport.write(error.body())  # not through h11, whose state matters no more: the connection ends


def protocol_class(limits: Limits, queue: EngineQueue | None = None) -> type[LimitedProtocol]:
    """Returns the class of connections with these limits, whose refusals tell the length of this queue."""
    return type("LimitedProtocol", (LimitedProtocol,), {"limits": limits, "queue": queue})


class _LimitedConnection(h11.Connection):
    """h11's side of a connection, which also counts headers, and the bytes of a head that comes in one piece."""

    def __init__(self, limits: Limits) -> None:
        super().__init__(h11.SERVER, limits.head_bytes)
        self._limits = limits
        self.refused_status = 400
        self.method = b""

    def next_event(self) -> Any:
        """Returns the next event.

        Raises:
            h11.RemoteProtocolError: the client breaks the protocol or a limit; `refused_status` is then its status.
        """
        try:
            event = super().next_event()
        except h11.RemoteProtocolError as error:
            self.refused_status = error.error_status_hint
            raise
        if isinstance(event, h11.Request):
            self.method = event.method
            size = len(event.target) + sum(len(name) + len(value) for name, value in event.headers)
            if len(event.headers) > self._limits.headers or size > self._limits.head_bytes:
                self.refused_status = 431
                raise h11.RemoteProtocolError("the head is too large", error_status_hint=431)
        return event
