"""The outermost middleware: every answer has its headers and is counted, and every exception becomes an answer."""

import asyncio
import time
import uuid
from pathlib import Path
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tui_llama import paths
from tui_llama.engine.process.engine_log import note_traceback
from tui_llama.errors import UserError
from tui_llama.serve.access import ANSWER_HEADERS
from tui_llama.serve.disconnect import ClientGone
from tui_llama.serve.errors import ApiError, api_error_of
from tui_llama.serve.metrics import Metrics
from tui_llama.serve.queue import EngineQueue, QueueClosed, QueueFull

_OTHER_ROUTE: Final = "other"
_GONE_STATUS: Final = 499
"""The status under which answers are counted that nobody waited for; nginx's number."""
_EXPECTED: Final = (ApiError, QueueFull, QueueClosed, UserError)
_LINGER_SECONDS: Final = 1.0
_LINGER_BYTES: Final = 8 << 20


class AnsweringMiddleware:
    """Gives every answer its headers, counts it, and turns every exception into one.

    Args:
        app: What serves requests.
        queue: The queue whose length the headers tell.
        metrics: Where answers are counted.
        log_file: File for the tracebacks of unexpected exceptions; None is `paths.log_file()`.
    """

    def __init__(self, app: ASGIApp, queue: EngineQueue, metrics: Metrics, log_file: Path | None = None) -> None:
        self._app = app
        self._queue = queue
        self._metrics = metrics
        self._log_file = log_file

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves a request; raises nothing but the cancellation of its task."""
        if scope["type"] != "http":
            return
        status = 0
        request_id = f"req_{uuid.uuid4().hex}"
        further: list[tuple[bytes, bytes]] = []
        scope["state"] = {**scope.get("state", {}), "request_id": request_id, ANSWER_HEADERS: further}

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", ()), *self._headers(request_id), *further]
            await send(message)

        try:
            await self._app(scope, receive, send_with_headers)
        except ClientGone:
            status = status or _GONE_STATUS
        except Exception as error:
            if not isinstance(error, _EXPECTED):
                note_traceback(error, self._log_file or paths.log_file())
            if not status:
                await _answer(api_error_of(error), receive, send_with_headers)
            # An answer that has begun ends here, incomplete: the connection closes, and the client sees that.
        finally:
            self._metrics.note_request(_route_of(scope), status or _GONE_STATUS)

    def _headers(self, request_id: str) -> list[tuple[bytes, bytes]]:
        return [
            (b"x-request-id", request_id.encode()),
            (b"x-queue-length", str(self._queue.length).encode()),
        ]


def _route_of(scope: Scope) -> str:
    route = scope.get("route")
    return getattr(route, "path", _OTHER_ROUTE)


async def _answer(error: ApiError, receive: Receive, send: Send) -> None:
    """Sends an error. If the connection is to be closed, what the client still sends is thrown away for a moment.

    Else the system would answer that with a reset, and the client might never see the error.
    """
    closes = (b"connection", b"close") in error.headers
    await send({"type": "http.response.start", "status": error.status, "headers": error.answer_headers()})
    await send({"type": "http.response.body", "body": error.body(), "more_body": closes})
    if closes:
        await _throw_away(receive)
        await send({"type": "http.response.body", "body": b""})


async def _throw_away(receive: Receive) -> None:
    end, thrown_away = time.monotonic() + _LINGER_SECONDS, 0
    while thrown_away < _LINGER_BYTES and (left := end - time.monotonic()) > 0:
        try:
            message = await asyncio.wait_for(receive(), left)
        except TimeoutError:
            return
        if message["type"] == "http.disconnect" or not message.get("more_body", False):
            return
        thrown_away += len(message.get("body", b""))
