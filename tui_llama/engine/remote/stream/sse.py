"""Reads server-sent events from bytes, however they are cut.

Only the data of events matters here. Lines end in CR LF, LF or CR; a line that begins with a colon is a ping; a blank
after `data:` may be missing; several data lines of one event are joined by line feeds; a byte order mark at the start
is skipped. Bytes that are no UTF-8 become U+FFFD when the data is decoded, so a character may be cut anywhere.

Source: WHATWG HTML, "Server-sent events", section 9.2.6.
"""

from collections.abc import Iterator
from typing import Final

from tui_llama.errors import EngineError

MOST_EVENT_BYTES: Final = 16 * 1024 * 1024
"""The most bytes of a line, and of the data of one event."""

_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"


class EventTooLongError(EngineError):
    """A line or an event is longer than any answer needs."""


class EventReader:
    """Turns pieces of a stream into the data of its events."""

    def __init__(self) -> None:
        self._line = bytearray()  # the bytes of a line whose end has not come
        self._data: list[bytes] = []
        self._data_bytes = 0
        self._is_at_start = True
        self._skips_line_feed = False

    def push(self, piece: bytes) -> Iterator[bytes]:
        """Yields the data of every event that ends in `piece`; events without data are left out.

        Raises:
            EventTooLongError: a line or an event is too long.
        """
        if self._skips_line_feed and piece:
            piece = piece.removeprefix(b"\n")
            self._skips_line_feed = False
        # A carriage return at the end may be the first half of a line's end.
        self._skips_line_feed = piece.endswith(b"\r")
        searched = len(self._line)
        self._line += piece
        if b"\n" not in piece and b"\r" not in piece:
            self._check(len(self._line))
            return
        end = max(self._line.rfind(b"\n", searched), self._line.rfind(b"\r", searched)) + 1
        whole = bytes(self._line[:end])
        del self._line[:end]
        self._check(len(self._line))
        for line in whole.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")[:-1]:
            if (data := self._take_line(line)) is not None:
                yield data

    def finish(self) -> Iterator[bytes]:
        """Yields the data of the event at the end of the stream, for servers that leave out the last empty line."""
        if self._line:
            self._take_line(bytes(self._line))
        if (data := self._take_line(b"")) is not None:
            yield data

    def _take_line(self, line: bytes) -> bytes | None:
        """Takes one line without its end; returns the data of the event that it ends."""
        if self._is_at_start:
            line = line.removeprefix(_BYTE_ORDER_MARK)
            self._is_at_start = False
        self._check(len(line))
        if not line:
            return self._event()
        name, _, value = line.partition(b":")
        if name == b"data":
            value = value.removeprefix(b" ")
            self._data_bytes += len(value) + 1
            self._check(self._data_bytes)
            self._data.append(value)
        return None

    def _event(self) -> bytes | None:
        data = b"\n".join(self._data)
        self._data.clear()
        self._data_bytes = 0
        return data or None

    def _check(self, length: int) -> None:
        if length > MOST_EVENT_BYTES:
            raise EventTooLongError(f"an event is longer than {MOST_EVENT_BYTES // 1024**2} MiB")
