"""Writes a result to a file that the user has named, by one rule for all commands.

The file must be new. If the user asks for it, a regular file of the same kind is replaced, but never a link, a pipe, a
device or a folder, nor a file from which the result was made. The result is written to another file in the same folder,
which gets its name once it is complete and on the disk. So a failure leaves the old file as it was.
"""

import errno
import fcntl
import os
import re
import secrets
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tui_llama.errors import ResultFileError

_NO_LINKS: Final = {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK}
"""Errors of file systems that have no hard links."""

_CAUSES: Final = {
    errno.ENOENT: "the folder is missing",
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk is full",
}
_CHECK_DISK: Final = "Check the folder and the space on its disk."
_CHOOSE: Final = "Choose another name."


@dataclass(frozen=True, slots=True)
class FileKind:
    """The kind of a result file.

    Args:
        name: The kind's name with its article, such as "a session of llama.cpp".
        beginning: The bytes with which all files of the kind begin, at least four, or none. Without them no file is
            replaced, and a part that a killed program has left stays.
        option: The option by which the user asks for a file to be replaced; empty if there is none.
    """

    name: str
    beginning: bytes = b""
    option: str = ""


def require_place(path: Path, kind: FileKind, *, may_replace: bool, inputs: Iterable[Path] = ()) -> None:
    """Raises the errors of `new_file` before the caller begins its work. Takes the same arguments."""
    with _explained(path), _folder(path) as folder:
        _replaced(folder, path, kind, may_replace, inputs)


@contextmanager
def new_file(path: Path, kind: FileKind, *, may_replace: bool, inputs: Iterable[Path] = ()) -> Iterator[int]:
    """Makes a new file, mode 0600, and yields its descriptor, for reading and writing.

    The file gets its name when the block ends well. Else it is removed.

    Args:
        path: The file's path, in a folder that exists.
        kind: The kind of the file.
        may_replace: Whether an empty file or a file of this kind may be replaced.
        inputs: The files from which the result is made.

    Raises:
        ResultFileError: the file could not be written, and an old file is unchanged. If only the last sync failed,
            the new file is there in full.
    """
    with _explained(path), _folder(path) as folder:
        _replaced(folder, path, kind, may_replace, inputs)
        _remove_abandoned(folder, path.name, kind)
        part, descriptor = _create_locked(folder, path.name)
        try:
            yield descriptor
            os.fsync(descriptor)
            _name(folder, part, path.name, _replaced(folder, path, kind, may_replace, inputs), path)
        except BaseException:
            with suppress(FileNotFoundError):
                os.unlink(part, dir_fd=folder)
            raise
        finally:
            os.close(descriptor)
        os.fsync(folder)


def write_all(descriptor: int, content: bytes | memoryview) -> None:
    """Writes all of `content` at the descriptor's position, in as many calls as that takes."""
    rest = memoryview(content)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def _replaced(folder: int, path: Path, kind: FileKind, may_replace: bool, inputs: Iterable[Path]) -> bool:
    """Tells whether there is a file that may be replaced.

    Raises:
        ResultFileError: something is in the file's place that must not be replaced.
    """
    try:
        status = os.stat(path.name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return False
    if stat.S_ISLNK(status.st_mode):
        raise _refusal(path, "a link is in its place")
    if not stat.S_ISREG(status.st_mode):
        raise _refusal(path, "something that is not a regular file is in its place")
    if not may_replace:
        hint = f"Choose another name; {kind.option} replaces {kind.name}." if kind.option else _CHOOSE
        raise _refusal(path, "it is there already", hint)
    if any(os.path.samestat(status, other) for other in _statuses(inputs)):
        raise _refusal(path, "the result is made from it")
    if not kind.beginning or (status.st_size and _beginning(folder, path.name, len(kind.beginning)) != kind.beginning):
        raise _refusal(path, f"the file in its place is not {kind.name}")
    return True


def _statuses(paths: Iterable[Path]) -> Iterator[os.stat_result]:
    for path in paths:
        with suppress(OSError):  # the input is gone meanwhile, so the result cannot replace it
            yield path.stat()


def _beginning(folder: int, name: str, count: int) -> bytes:
    # Without O_NONBLOCK, opening a named pipe would wait for a writer.
    descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK, dir_fd=folder)
    try:
        return os.read(descriptor, count)
    finally:
        os.close(descriptor)


def _name(folder: int, part: str, name: str, is_replaced: bool, path: Path) -> None:
    """Gives a complete file its name. Does not replace a file that somebody else has made meanwhile.

    Raises:
        ResultFileError: somebody else has made a file of that name meanwhile.
    """
    if is_replaced:
        os.replace(part, name, src_dir_fd=folder, dst_dir_fd=folder)
        return
    try:
        os.link(part, name, src_dir_fd=folder, dst_dir_fd=folder)
        os.unlink(part, dir_fd=folder)
    except FileExistsError as error:
        raise _refusal(path, "another program has made this file meanwhile") from error
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        # An empty file of our own takes the name first, and the complete file then replaces it.
        os.close(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600, dir_fd=folder))
        os.replace(part, name, src_dir_fd=folder, dst_dir_fd=folder)


@contextmanager
def _folder(path: Path) -> Iterator[int]:
    if path.name in {"", ".."}:
        raise _refusal(path, "this is not the name of a file")
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield folder
    finally:
        os.close(folder)


def _create_locked(folder: int, name: str) -> tuple[str, int]:
    """Makes the part that is to become `name`. A lock on it tells other writers that it is in use."""
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    while True:
        part = f".{name}.{secrets.token_hex(8)}.part"
        descriptor = os.open(part, flags, 0o600, dir_fd=folder)
        with suppress(OSError):  # a file system without locks; there nobody removes abandoned parts either
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        if os.fstat(descriptor).st_nlink:
            return part, descriptor
        # Another writer took the part for abandoned and removed it before it was locked.
        os.close(descriptor)


def _remove_abandoned(folder: int, name: str, kind: FileKind) -> None:
    """Removes the parts that killed programs have left while they wrote `name`.

    A part is ours by its name and its beginning. A program that still writes a part holds a lock on it.
    """
    if not kind.beginning:
        return
    pattern = re.compile(rf"\.{re.escape(name)}\.[0-9a-f]{{16}}\.part")
    for entry in filter(pattern.fullmatch, os.listdir(folder)):
        with suppress(OSError):
            descriptor = os.open(entry, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK, dir_fd=folder)
            try:
                is_regular = stat.S_ISREG(os.fstat(descriptor).st_mode)
                if is_regular and os.read(descriptor, len(kind.beginning)) == kind.beginning:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    os.unlink(entry, dir_fd=folder)
            finally:
                os.close(descriptor)


def _refusal(path: Path, cause: str, hint: str = _CHOOSE) -> ResultFileError:
    return ResultFileError(f"{path} is not written: {cause}", hint)


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        cause = _CAUSES.get(error.errno or 0) or error.strerror or type(error).__name__
        raise _refusal(path, cause, _CHECK_DISK) from error
