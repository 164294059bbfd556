"""Framing of messages in a pipe: four bytes of length, then one msgpack message.

    bytes  meaning
    4      length of the message in bytes, little-endian, 1 … `MOST_MESSAGE_BYTES`
    n      a tagged msgpack structure of `protocol`

Nothing is trusted: a length out of bounds, a stream that ends inside a message and a message of unknown type are a
`FrameError`. A side that gets one must end the connection.
"""

import asyncio
from typing import BinaryIO, TypeVar

import msgspec

from tui_llama.engine.protocol import Event, Request
from tui_llama.errors import EngineError

# A ledger of a million tokens with its text is well below this.
MOST_MESSAGE_BYTES = 64 * 1024 * 1024
_LENGTH_BYTES = 4

_Message = TypeVar("_Message")

_encoder = msgspec.msgpack.Encoder()
_request_decoder: msgspec.msgpack.Decoder[Request] = msgspec.msgpack.Decoder(Request)
_event_decoder: msgspec.msgpack.Decoder[Event] = msgspec.msgpack.Decoder(Event)


class FrameError(EngineError):
    """The bytes from the pipe are not a message."""


def encode_frame(message: Request | Event) -> bytes:
    """Returns the message with its length in front.

    Raises:
        EngineError: the message is too large, or holds a value that cannot be written: text that is not Unicode (a file
            name of stray bytes), a number of more than 64 bits, or a type that is not part of the protocol.
    """
    try:
        body = _encoder.encode(message)
    except UnicodeEncodeError as error:
        raise EngineError(
            "a text or file name for the engine is not valid Unicode", "Rename the file to plain characters."
        ) from error
    except OverflowError as error:
        raise EngineError("a number for the engine is too large", "Check the numbers in the settings.") from error
    except Exception as error:  # any complaint of the codec
        raise EngineError(f"a message for the engine cannot be written: {type(error).__name__}: {error}") from error
    if len(body) > MOST_MESSAGE_BYTES:
        raise EngineError(
            f"a message of {len(body)} bytes is longer than the engine accepts ({MOST_MESSAGE_BYTES})",
            "Shorten the text.",
        )
    return len(body).to_bytes(_LENGTH_BYTES, "little") + body


def decode_request(body: bytes) -> Request:
    """Returns the request in `body`; raises `FrameError` if there is none."""
    return _decode(_request_decoder, body)


def decode_event(body: bytes) -> Event:
    """Returns the event in `body`; raises `FrameError` if there is none."""
    return _decode(_event_decoder, body)


def read_frame(stream: BinaryIO) -> bytes | None:
    """Waits for the next message and returns its bytes; None at the end of the stream.

    Raises:
        FrameError: the length makes no sense, or the stream ends inside a message.
    """
    header = stream.read(_LENGTH_BYTES)
    if not header:
        return None
    if len(header) < _LENGTH_BYTES:
        raise FrameError("the stream ends inside a length")
    length = _checked_length(header)
    body = stream.read(length)
    if len(body) < length:
        raise FrameError(f"the stream ends after {len(body)} of {length} bytes of a message")
    return body


async def receive_frame(stream: asyncio.StreamReader) -> bytes | None:
    """Does the same as `read_frame` for an asyncio stream."""
    try:
        header = await stream.readexactly(_LENGTH_BYTES)
    except asyncio.IncompleteReadError as error:
        if not error.partial:
            return None
        raise FrameError("the stream ends inside a length") from error
    length = _checked_length(header)
    try:
        return await stream.readexactly(length)
    except asyncio.IncompleteReadError as error:
        got = len(error.partial)
        raise FrameError(f"the stream ends after {got} of {length} bytes of a message") from error


def _checked_length(header: bytes) -> int:
    length = int.from_bytes(header, "little")
    if not 1 <= length <= MOST_MESSAGE_BYTES:
        raise FrameError(f"a message cannot be {length} bytes long")
    return length


def _decode(decoder: "msgspec.msgpack.Decoder[_Message]", body: bytes) -> _Message:
    try:
        return decoder.decode(body)
    except Exception as error:  # any complaint of the codec
        raise FrameError(f"not a message of the engine's protocol: {error}") from error
