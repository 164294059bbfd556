"""An answer as a stream of server-sent events, kept alive by comments while there is nothing to send."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

import msgspec
from starlette.types import Send

from tui_llama.serve.http.errors import ApiError

_PING: Final = b": ping\n\n"
_DONE: Final = b"data: [DONE]\n\n"
_HEADERS: Final = (
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),  # nginx would hold the events back
)


class EventStream:
    """The stream. Its status goes out with the first event or ping, so that an error before that is a plain answer.

    Made by `event_stream`.

    Args:
        send: The request's `send`.
    """

    def __init__(self, send: Send) -> None:
        self._send = send
        self._is_writing = asyncio.Lock()
        self._was_quiet = False
        self._has_ended = False
        self.has_begun = False

    async def send(self, chunks: list[dict[str, Any]]) -> None:
        """Sends an event for each chunk."""
        if chunks:
            await self._write(b"".join(b"data: " + msgspec.json.encode(chunk) + b"\n\n" for chunk in chunks))

    async def send_error(self, error: ApiError) -> None:
        """Sends an error as the last event; there is no mark of the end after it."""
        await self._write(b"data: " + error.body() + b"\n\n", is_last=True)

    async def send_end(self) -> None:
        """Sends the mark of the end."""
        await self._write(_DONE, is_last=True)

    async def keep_alive(self, seconds: float) -> None:
        """Sends a comment whenever nothing was sent for so long; never returns."""
        while True:
            self._was_quiet = True
            await asyncio.sleep(seconds)
            if self._was_quiet:
                await self._write(_PING)

    async def _write(self, data: bytes, *, is_last: bool = False) -> None:
        self._was_quiet = False
        async with self._is_writing:  # the status comes first, whoever is the first to write
            if self._has_ended:
                return
            self._has_ended = is_last
            if not self.has_begun:
                self.has_begun = True
                await self._send({"type": "http.response.start", "status": 200, "headers": [*_HEADERS]})
            await self._send({"type": "http.response.body", "body": data, "more_body": not is_last})


@asynccontextmanager
async def event_stream(send: Send, ping_seconds: float) -> AsyncIterator[EventStream]:
    """Keeps a stream alive while the block runs.

    Args:
        send: The request's `send`.
        ping_seconds: After how long a silence a comment is sent.
    """
    stream = EventStream(send)
    keeping = asyncio.create_task(stream.keep_alive(ping_seconds), name="keep alive")
    try:
        yield stream
    finally:
        keeping.cancel()
        await asyncio.gather(keeping, return_exceptions=True)
