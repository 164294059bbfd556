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
from tui_llama.serve.http.access import ANSWER_HEADERS, headers_of
from tui_llama.serve.http.disconnect import ClientGone
from tui_llama.serve.http.errors import ApiError, api_error_of
from tui_llama.serve.metrics import Metrics
from tui_llama.serve.queue import EngineQueue, QueueClosed, QueueFull

_OTHER_ROUTE: Final = "other"
_GONE_STATUS: Final = 499
"""The status under which answers are counted that nobody waited for; nginx's number."""
_EXPECTED: Final = (ApiError, QueueFull, QueueClosed, UserError)
_LINGER_SECONDS: Final = 1.0
_LINGER_BYTES: Final = 8 << 20


def new_request_id() -> str:
    """Returns an id for a request, which its answer tells."""
    return f"req_{uuid.uuid4().hex}"


def headers_of_every_answer(request_id: str, queue: EngineQueue | None) -> list[tuple[bytes, bytes]]:
    """Returns the headers that every answer has; the length of the queue only where there is one."""
    headers = [(b"x-request-id", request_id.encode())]
    return headers if queue is None else [*headers, (b"x-queue-length", str(queue.length).encode())]


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
        answer = _Answer(scope, receive, send, self._queue)
        try:
            await self._app(scope, answer.receive, answer.send)
        except ClientGone:
            pass
        except Exception as error:
            if not isinstance(error, _EXPECTED):
                note_traceback(error, self._log_file or paths.log_file())
            if not answer.status:
                await answer.fail(api_error_of(error))
            # An answer that has begun ends here, incomplete: the connection closes, and the client sees that.
        finally:
            self._metrics.note_request(_route_of(scope), answer.status or _GONE_STATUS)


class _Answer:
    """The answer to one request, as it is sent, and whether the request has been read."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, queue: EngineQueue) -> None:
        self._receive = receive
        self._send = send
        self._queue = queue
        self._request_id = new_request_id()
        self._further: list[tuple[bytes, bytes]] = []
        headers = headers_of(scope)
        self._is_read = "transfer-encoding" not in headers and headers.get("content-length", "0") == "0"
        self.status = 0
        # From this version on, starlette's streams leave it to us to see that a client goes. Else they would cancel the
        # task that takes an engine's last events.
        scope["asgi"] = {**scope.get("asgi", {}), "spec_version": "2.4"}
        scope["state"] = {**scope.get("state", {}), "request_id": self._request_id, ANSWER_HEADERS: self._further}

    async def receive(self) -> Message:
        message = await self._receive()
        self._is_read = self._is_read or not message.get("more_body", False)
        return message

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            message["headers"] = [*message.get("headers", ()), *self._headers()]
        await self._send(message)

    async def fail(self, error: ApiError) -> None:
        """Sends an error. What the client still sends is thrown away for a moment.

        Else the system would answer that with a reset, and the client might never see the error.
        """
        was_read = self._is_read
        await self.send({"type": "http.response.start", "status": error.status, "headers": error.answer_headers()})
        await self.send({"type": "http.response.body", "body": error.body(), "more_body": not was_read})
        if not was_read:
            await self._throw_away()
            await self.send({"type": "http.response.body", "body": b""})

    def _headers(self) -> list[tuple[bytes, bytes]]:
        headers = [*headers_of_every_answer(self._request_id, self._queue), *self._further]
        return headers if self._is_read else [*headers, (b"connection", b"close")]

    async def _throw_away(self) -> None:
        end, thrown_away = time.monotonic() + _LINGER_SECONDS, 0
        while not self._is_read and thrown_away < _LINGER_BYTES and (left := end - time.monotonic()) > 0:
            try:
                message = await asyncio.wait_for(self.receive(), left)
            except TimeoutError:
                return
            thrown_away += len(message.get("body", b""))


def _route_of(scope: Scope) -> str:
    return getattr(scope.get("route"), "path", _OTHER_ROUTE)
