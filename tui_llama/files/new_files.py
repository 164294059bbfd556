"""Files that a user has named for a result: one rule for all commands that write any.

Only a new file is written. Where the user asks for it, a regular file of the kind that is written is replaced; never a
link, a pipe, a device or a folder, nor what the result was made from. A result is written beside its place and gets its
name once it is whole and on the disk, so that a failure leaves what was there.
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
"""What file systems say that have no second names for a file."""

_CAUSES: Final = {
    errno.ENOENT: "the folder is missing",
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk is full",
}
_CHECK_DISK: Final = "Check the folder and the space on its disk."
_CHOOSE: Final = "Choose another name."


@dataclass(frozen=True, slots=True)
class FileKind:
    """What is written.

    Args:
        name: Such as "a session of llama.cpp".
        beginning: The bytes that all files of the kind begin with, at least four; none where they have no mark. Then
            none is replaced, and what a program that was killed left half written stays.
        option: What the user gives to have one replaced; empty where that cannot be asked for.
    """

    name: str
    beginning: bytes = b""
    option: str = ""


def require_place(path: Path, kind: FileKind, *, may_replace: bool, inputs: Iterable[Path] = ()) -> None:
    """Says before any work is done where `new_file` would refuse at its end; takes the same and raises the same."""
    with _explained(path), _folder(path) as folder:
        _replaced(folder, path, kind, may_replace, inputs)


@contextmanager
def new_file(path: Path, kind: FileKind, *, may_replace: bool, inputs: Iterable[Path] = ()) -> Iterator[int]:
    """A new file, mode 0600, to be written and read; it gets its name when the block ends well, else it disappears.

    Args:
        path: Its name, in a folder that is there.
        kind: What is written.
        may_replace: Whether a file of this kind may be replaced, or an empty one.
        inputs: What the result is made from.

    Raises:
        ResultFileError: it could not be written, and what was there still is; or, when only the last sync failed, the
            new one is, in full.
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
    """Writes all of it at the descriptor's place, however many calls that takes."""
    rest = memoryview(content)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def _replaced(folder: int, path: Path, kind: FileKind, may_replace: bool, inputs: Iterable[Path]) -> bool:
    """Whether there is a file that may be replaced; raises `ResultFileError` where one must not be."""
    try:
        status = os.stat(path.name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return False
    if stat.S_ISLNK(status.st_mode):
        raise _refusal(path, "a link is in its place")
    if not stat.S_ISREG(status.st_mode):
        raise _refusal(path, "what is in its place is no regular file")
    if not may_replace:
        hint = f"Choose another name; {kind.option} replaces {kind.name}." if kind.option else _CHOOSE
        raise _refusal(path, "it is there already", hint)
    if any(os.path.samestat(status, other) for other in _statuses(inputs)):
        raise _refusal(path, "it is what the result is made from")
    if not kind.beginning or (status.st_size and _beginning(folder, path.name, len(kind.beginning)) != kind.beginning):
        raise _refusal(path, f"the file in its place is not {kind.name}")
    return True


def _statuses(paths: Iterable[Path]) -> Iterator[os.stat_result]:
    for path in paths:
        with suppress(OSError):  # gone meanwhile: then nothing can take its place
            yield path.stat()


def _beginning(folder: int, name: str, count: int) -> bytes:
    # Without O_NONBLOCK, opening a named pipe would wait for whoever writes to it.
    descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK, dir_fd=folder)
    try:
        return os.read(descriptor, count)
    finally:
        os.close(descriptor)


def _name(folder: int, part: str, name: str, is_replaced: bool, path: Path) -> None:
    """Gives a whole file its name; one that somebody else has made under that name meanwhile stays."""
    if is_replaced:
        os.replace(part, name, src_dir_fd=folder, dst_dir_fd=folder)
        return
    try:
        os.link(part, name, src_dir_fd=folder, dst_dir_fd=folder)
        os.unlink(part, dir_fd=folder)
    except FileExistsError as error:
        raise _refusal(path, "somebody has made a file of that name meanwhile") from error
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        # The name is taken first, by an empty file of our own, which can then be replaced.
        os.close(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600, dir_fd=folder))
        os.replace(part, name, src_dir_fd=folder, dst_dir_fd=folder)


@contextmanager
def _folder(path: Path) -> Iterator[int]:
    if path.name in {"", ".."}:
        raise _refusal(path, "it is no name of a file")
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield folder
    finally:
        os.close(folder)


def _create_locked(folder: int, name: str) -> tuple[str, int]:
    """Makes the file that is to become `name`; its lock says that someone is writing it."""
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    while True:
        part = f".{name}.{secrets.token_hex(8)}.part"
        descriptor = os.open(part, flags, 0o600, dir_fd=folder)
        with suppress(OSError):  # a file system without locks: nothing is removed there either
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        if os.fstat(descriptor).st_nlink:
            return part, descriptor
        # Another writer took it for abandoned before it was locked.
        os.close(descriptor)


def _remove_abandoned(folder: int, name: str, kind: FileKind) -> None:
    """Removes what a program that was killed while writing `name` left: by its name and its beginning it is ours.

    A program that still writes holds a lock on it.
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
