"""Errors as clients of the server see them: a status and a JSON object in OpenAI's shape.

Every failure of a request becomes an `ApiError` on its way out. Knows no routes and no engine.
"""

from typing import Final

import msgspec

from tui_llama.errors import EngineLostError, UserError
from tui_llama.serve.queue import QueueClosed, QueueFull

INVALID: Final = "invalid_request_error"
NOT_FOUND: Final = "not_found_error"
NO_KEY: Final = "authentication_error"
FORBIDDEN: Final = "permission_error"
BUSY: Final = "rate_limit_error"
UNAVAILABLE: Final = "unavailable_error"
FAILED: Final = "server_error"

JSON_TYPE: Final = (b"content-type", b"application/json")
_UNEXPECTED: Final = "The server failed. Its log has details."
_MOST_CHARACTERS: Final = 1000


class ApiError(Exception):
    """A failure that the client is told.

    Args:
        status: The HTTP status.
        message: What went wrong and what to do, for people.
        type: The kind of error, one of the constants of this module.
        code: A name of the error for programs, None where there is none.
        param: The field of the request that is wrong, None where it is not one field.
        headers: Further headers of the answer, such as `retry-after`.
    """

    def __init__(
        self,
        status: int,
        message: str,
        type: str,
        code: str | None = None,
        param: str | None = None,
        headers: tuple[tuple[bytes, bytes], ...] = (),
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message[:_MOST_CHARACTERS]
        self.type = type
        self.code = code
        self.param = param
        self.headers = headers

    def body(self) -> bytes:
        """Returns the error as JSON: `{"error": {"message", "type", "code", "param"}}`."""
        return msgspec.json.encode(
            {"error": {"message": _encodable(self.message), "type": self.type, "code": self.code, "param": self.param}}
        )

    def answer_headers(self) -> list[tuple[bytes, bytes]]:
        """Returns the headers of an answer that consists of `body`, in ASGI's form."""
        return [JSON_TYPE, (b"content-length", str(len(self.body())).encode()), *self.headers]


def api_error_of(error: Exception) -> ApiError:
    """Returns what a client is told of an exception. An unexpected one is not described: its text may hold anything."""
    if isinstance(error, ApiError):
        return error
    if isinstance(error, QueueFull):
        headers = ((b"retry-after", str(error.retry_after_seconds).encode()),)
        return ApiError(429, "Too many requests are waiting. Try again later.", BUSY, "queue_full", headers=headers)
    if isinstance(error, QueueClosed):
        return ApiError(503, "The server is shutting down.", UNAVAILABLE, "shutting_down")
    if isinstance(error, UserError):
        code = "engine_lost" if isinstance(error, EngineLostError) else None
        return ApiError(500, " ".join(filter(None, (_sentence(str(error)), error.hint))), FAILED, code)
    return ApiError(500, _UNEXPECTED, FAILED)


def _sentence(text: str) -> str:
    return text if not text or text[-1] in ".!?" else f"{text}."


def _encodable(text: str) -> str:
    """Returns the text without lone surrogates, which stand for bytes of file names and cannot be UTF-8."""
    return text.encode("utf-8", "backslashreplace").decode()
