"""Files that are read with suspicion and replaced in one step: what every format of states has in common.

Nothing is followed, waited for or believed when a file is opened, and a file is written beside the old one and renamed
over it, so that what is read is the old file or the new one in full. Knows no formats.
"""

import contextlib
import errno
import fcntl
import os
import secrets
import stat
from collections.abc import Iterator
from pathlib import Path

from tui_llama.errors import StateFileError

# --- reading ------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def opened(path: Path) -> Iterator[int]:
    """A descriptor to read from; links are not followed.

    Raises:
        StateFileError: it cannot be opened, or reading inside of the block fails.
    """
    # Without O_NONBLOCK, opening a named pipe would wait for whoever writes to it.
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
    with _explained("not readable"):
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


# --- writing ------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[int]:
    """A new file that takes the place of `path` when the block ends well, and disappears when it does not.

    The file gets mode 0600. After the block it is on the disk.

    Raises:
        StateFileError: it could not be written. The old file is still there, or, when only the last sync
            failed, the new one is, in full.
    """
    with _explained("not written"), _folder(path) as folder:
        _remove_abandoned(folder, path.name)
        name, descriptor = _create_locked(folder, path.name)
        try:
            yield descriptor
            os.fsync(descriptor)
            os.replace(name, path.name, src_dir_fd=folder, dst_dir_fd=folder)
        except BaseException:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(name, dir_fd=folder)
            raise
        finally:
            os.close(descriptor)
        os.fsync(folder)


def write_all(descriptor: int, content: bytes | memoryview) -> None:
    """Writes all of it at the descriptor's place, however many calls that takes."""
    rest = memoryview(content)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


@contextlib.contextmanager
def _folder(path: Path) -> Iterator[int]:
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield folder
    finally:
        os.close(folder)


def _create_locked(folder: int, name: str) -> tuple[str, int]:
    """Makes the file that is to become `name`; its lock says that someone is writing it."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    while True:
        part_name = f".{name}.{secrets.token_hex(8)}.part"
        descriptor = os.open(part_name, flags, 0o600, dir_fd=folder)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        if os.fstat(descriptor).st_nlink:
            return part_name, descriptor
        # Another writer took it for abandoned before it was locked.
        os.close(descriptor)


def _remove_abandoned(folder: int, name: str) -> None:
    """Removes what a program that was killed while writing `name` left; a living one holds a lock on it."""
    for entry in os.listdir(folder):
        if not (entry.startswith(f".{name}.") and entry.endswith(".part")):
            continue
        with contextlib.suppress(FileNotFoundError, BlockingIOError):
            descriptor = os.open(entry, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                os.unlink(entry, dir_fd=folder)
            finally:
                os.close(descriptor)


# --- both ---------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _explained(what: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StateFileError(_cause(error, what)) from error


def _cause(error: OSError, what: str) -> str:
    if isinstance(error, FileNotFoundError):
        return "missing" if what == "not readable" else f"{what} (the folder is missing)"
    if error.errno == errno.ELOOP:
        return "a link and not a file"
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"{what} (the disk is full)"
    return f"{what} ({error.strerror or type(error).__name__})"
