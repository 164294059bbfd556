"""Reads a model file's header piece by piece, and never more than the file holds.

The file is read in chunks, because nearly all pieces are small; skipped bytes are not read.
"""

import struct
from typing import Final, NoReturn

from tui_llama.engine.gguf.model_bytes import ModelBytes
from tui_llama.errors import ModelFileError

DAMAGED_HINT: Final = "The file is damaged or incomplete; download it again."

_CHUNK_BYTES: Final = 1 << 20
_U32 = struct.Struct("<I")
_U64 = struct.Struct("<Q")


class Cursor:
    """A place in a file.

    Attributes:
        name: What errors call the file.
        source: The file.
        limit: Where the file ends.
        at: The place; a caller that skips something moves it.
    """

    def __init__(self, name: str, source: ModelBytes) -> None:
        self.name = name
        self.source = source
        self.limit = source.size_bytes
        self.at = 0
        self._chunk = b""
        self._chunk_at = 0

    def take(self, size: int, what: str) -> bytes:
        """Returns the next `size` bytes; `what` names them in errors."""
        self.check_left(size, what)
        if size > _CHUNK_BYTES:
            self.at += size
            return self.source.read(self.at - size, size)
        chunk, begin = self.chunk(size)
        self.at += size
        return chunk[begin : begin + size]

    def chunk(self, size: int) -> tuple[bytes, int]:
        """Returns a chunk of the file, and where in it the next `size` bytes begin, or fewer if fewer are left."""
        begin = self.at - self._chunk_at
        if begin + size > len(self._chunk):
            self._chunk_at, begin = self.at, 0
            self._chunk = self.source.read(self.at, min(_CHUNK_BYTES, self.limit - self.at))
        return self._chunk, begin

    def unsigned32(self, what: str) -> int:
        """Reads the next number, 4 bytes long."""
        (number,) = _U32.unpack(self.take(_U32.size, what))
        return int(number)

    def unsigned64(self, what: str) -> int:
        """Reads the next number, 8 bytes long."""
        (number,) = _U64.unpack(self.take(_U64.size, what))
        return int(number)

    def identifier(self, what: str, most_bytes: int) -> str:
        """Reads a name, which must not be empty. Bytes that are not UTF-8 become lone surrogates."""
        length = self.unsigned64(what)
        if length > most_bytes:
            self.refuse(f"{what} has a length of {length} bytes, at most {most_bytes} are possible")
        if length == 0:
            self.refuse(f"a {what} is empty")
        return self.take(length, what).decode("utf-8", "surrogateescape")

    def check_left(self, size: int, what: str) -> None:
        """Checks that `size` more bytes are left, and refuses the file if not."""
        if size > self.limit - self.at:
            self.refuse(f"{what} needs {size} bytes, but the file ends after {self.limit - self.at}")

    def refuse(self, message: str, hint: str = DAMAGED_HINT) -> NoReturn:
        """Raises the error that says what is wrong at this place."""
        raise ModelFileError(f"{self.name}: {message} (at byte {self.at})", hint)
