"""Files that are read with suspicion: nothing is followed, waited for or believed when one is opened.

Knows no formats.
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
    """A descriptor to read from; links are not followed.

    Raises:
        StateFileError: it cannot be opened, or reading inside of the block fails.
    """
    # Without O_NONBLOCK, opening a named pipe would wait for whoever writes to it.
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
    with _explained():
        descriptor = os.open(path, flags)
        try:
            yield descriptor
        finally:
            os.close(descriptor)


def regular_file_bytes(descriptor: int) -> int:
    """The length of the file in bytes.

    Raises:
        StateFileError: it is not a regular file.
    """
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        raise StateFileError("not a regular file")
    return status.st_size


def read_bytes(descriptor: int, offset: int, count: int) -> bytes:
    """Reads exactly `count` bytes, which the file was seen to have; see `read_into`."""
    content = bytearray(count)
    read_into(descriptor, offset, memoryview(content))
    return bytes(content)


def read_into(descriptor: int, offset: int, out: memoryview) -> None:
    """Fills `out`, of bytes, from `offset` on.

    Raises:
        StateFileError: the file ends before.
    """
    while out:
        count = os.preadv(descriptor, [out], offset)
        if count == 0:
            # It was long enough a moment ago: someone is cutting it while we read.
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
