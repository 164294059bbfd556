"""Reads the JSON body of a request into a msgspec type; whatever is wrong with it is the client's fault, a 400."""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, TypeVar

import msgspec

from tui_llama.serve.http.disconnect import ClientGone
from tui_llama.serve.http.errors import INVALID, ApiError

Body = TypeVar("Body")


async def json_body(receive: Callable[[], Awaitable[MutableMapping[str, Any]]], type: type[Body]) -> Body:
    """Returns the body of a request as `type`. The middleware of `limits` has limited its size and time.

    Raises:
        ApiError: it is no JSON, or none of this type.
        ClientGone: the client has gone before the end of the body.
    """
    return decoded(await whole_body(receive), type)


async def whole_body(receive: Callable[[], Awaitable[MutableMapping[str, Any]]]) -> bytes:
    """Returns the bytes of a request's body.

    Raises:
        ClientGone: the client has gone before its end.
    """
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGone("the client has gone")
        body += message.get("body", b"")
        if not message.get("more_body", False):
            return bytes(body)


def decoded(body: bytes, type: type[Body]) -> Body:
    """Returns JSON as `type`.

    Raises:
        ApiError: it is no JSON, or none of this type.
    """
    try:
        return msgspec.json.decode(body, type=type)
    except msgspec.ValidationError as error:
        place = str(error).partition(" - at ")[2]
        param = place.strip("`").removeprefix("$.") or None
        raise ApiError(400, f"The request is wrong: {error}.", INVALID, param=param) from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ApiError(400, f"The body is not JSON: {error}.", INVALID) from error
    except RecursionError as error:
        raise ApiError(400, "The JSON of the body is nested too deeply.", INVALID) from error
