"""What a request may cost before it is refused, and the middleware that keeps the size of its body.

`http_protocol` keeps the limits of connections and heads, and all times.
"""

from dataclasses import dataclass
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tui_llama.serve.http.access import headers_of
from tui_llama.serve.http.errors import INVALID, ApiError

_MIB: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of requests and connections.

    Attributes:
        body_bytes: Most bytes of a body.
        head_bytes: Most bytes of a request's line and headers.
        headers: Most headers of a request.
        head_seconds: Within how long a head must have come whole.
        body_seconds: Within how long after its head a body must have come whole.
        keep_alive_seconds: How long a connection may lie idle between two requests.
        unread_seconds: How long a client may leave an answer unread before its connection is ended.
        connections: Most connections at a time.
    """

    body_bytes: int = 16 * _MIB
    head_bytes: int = 64 * 1024
    headers: int = 100
    head_seconds: float = 10.0
    body_seconds: float = 60.0
    keep_alive_seconds: float = 75.0
    unread_seconds: float = 30.0
    connections: int = 256


class BodyLimitMiddleware:
    """Refuses a body that is too large: by its declared length before anything is read, else as soon as it is.

    Args:
        app: What serves the others.
        most_bytes: Most bytes of a body.
    """

    def __init__(self, app: ASGIApp, most_bytes: int) -> None:
        self._app = app
        self._most_bytes = most_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves a request.

        Raises:
            ApiError: its body is too large.
        """
        declared = headers_of(scope).get("content-length", "")
        if declared.isdecimal() and (len(declared) > 18 or int(declared) > self._most_bytes):
            raise self._too_large()
        received_bytes = 0

        async def counted() -> Message:
            nonlocal received_bytes
            message = await receive()
            received_bytes += len(message.get("body", b""))
            if received_bytes > self._most_bytes:
                raise self._too_large()
            return message

        await self._app(scope, counted, send)

    def _too_large(self) -> ApiError:
        words = (
            f"The body is larger than {self._most_bytes // _MIB} MiB."
            if self._most_bytes >= _MIB
            else (f"The body is larger than {self._most_bytes} bytes.")
        )
        return ApiError(413, words, INVALID, "body_too_large")
