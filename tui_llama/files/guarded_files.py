"""Opens and reads files that are not trusted. Opening follows no links and waits for nobody.

This module knows no file formats.
"""

import contextlib
import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from tui_llama.errors import StateFileError


@contextlib.contextmanager
def opened(path: Path) -> Iterator[int]:
    """Yields a descriptor to read from. Does not follow links.

    Raises:
        StateFileError: the file cannot be opened, or reading inside the block fails.
    """
    # Without O_NONBLOCK, opening a named pipe would wait for a writer.
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
    with _explained():
        descriptor = os.open(path, flags)
        try:
            yield descriptor
        finally:
            os.close(descriptor)


def regular_file_bytes(descriptor: int) -> int:
    """Returns the length of the file in bytes.

    Raises:
        StateFileError: it is not a regular file.
    """
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        raise StateFileError("not a regular file")
    return status.st_size


def read_bytes(descriptor: int, offset: int, count: int) -> bytes:
    """Reads exactly `count` bytes. The caller has checked that the file has as many; see `read_into`."""
    content = bytearray(count)
    read_into(descriptor, offset, memoryview(content))
    return bytes(content)


def read_into(descriptor: int, offset: int, out: memoryview) -> None:
    """Fills `out`, a view of bytes, with the file's bytes from `offset` on.

    Raises:
        StateFileError: the file ends before `out` is full.
    """
    while out:
        count = os.preadv(descriptor, [out], offset)
        if count == 0:
            # The file was long enough a moment ago, so someone is truncating it while we read.
            raise StateFileError("truncated")
        out, offset = out[count:], offset + count


@contextlib.contextmanager
def _explained() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StateFileError(_cause(error)) from error


def _cause(error: OSError) -> str:
    if isinstance(error, FileNotFoundError):
        return "missing"
    if error.errno == errno.ELOOP:
        return "a link and not a file"
    return f"not readable ({error.strerror or type(error).__name__})"
