"""Folders that this program has made and may empty again. A mark, a small file in each of them, says so.

The name of a folder is no proof, because the user may have chosen any folder for the program's files. So the program
removes files only from a folder with the mark, only the kind of file that it puts there, and never through a link. The
mark is a cache directory tag, which backup programs know as well.

Source: https://bford.info/cachedir/
"""

import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final, TypeAlias

from tui_llama import paths

MARK_FILE: Final = "CACHEDIR.TAG"
_MARK: Final = (
    b"Signature: 8a477f597d28d172789f06886806bc55\n"
    b"# This folder was made by tui_llama, which may remove what it has put here.\n"
)

IsOwnName: TypeAlias = Callable[[str], bool]
"""Tells whether a name is that of a file which this program puts into such a folder."""
IsOwnContent: TypeAlias = Callable[[bytes], bool]
"""Tells whether the content of a file shows that this program has written it."""


def make_marked_folder(path: Path) -> None:
    """Makes a folder for the user alone, if it is missing, and puts the mark into it.

    Raises:
        OSError: the system refuses, or something else is in the folder's place, such as a link.
    """
    paths.make_private_folder(path)
    with _opened(path) as folder:
        _mark(folder)


def _mark(folder: int) -> None:
    """Puts the mark into the folder of a descriptor. A file that has the mark's name already stays as it is.

    Raises:
        OSError: the system refuses.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        descriptor = os.open(MARK_FILE, flags, 0o600, dir_fd=folder)
    except FileExistsError:
        return
    try:
        os.write(descriptor, _MARK)
    except BaseException:
        os.unlink(MARK_FILE, dir_fd=folder)
        raise
    finally:
        os.close(descriptor)


def is_marked_folder(path: Path) -> bool:
    """Tells whether a path is a folder with the mark, and not a link to one."""
    try:
        with _opened(path) as folder:
            return _is_marked(folder)
    except OSError:
        return False


def _is_marked(folder: int) -> bool:
    return _content(folder, MARK_FILE) == _MARK


def remove_unused_folder(path: Path, is_own_name: IsOwnName, is_own_content: IsOwnContent, unused_since: float) -> None:
    """Removes the program's files from a folder of the program, and then the folder if it is empty. Other files stay.

    Args:
        path: The folder. Anything that is not a folder, also a link to one, is left alone.
        is_own_name: Tells which files may be removed. Links, folders and devices are never removed.
        is_own_content: Decides about a folder without a mark: it is the program's only if it has files, and all of them
            have own names and own contents.
        unused_since: A time in seconds since 1970. A folder that was changed at or after it is left alone.
    """
    with suppress(OSError), _opened(path) as folder:  # another process may be removing it too
        if os.fstat(folder).st_mtime >= unused_since:
            return
        if not _is_marked(folder) and not _has_only(folder, is_own_name, is_own_content):
            return
        _empty(folder, is_own_name)
        path.rmdir()


def _empty(folder: int, is_own_name: IsOwnName) -> None:
    """Removes the program's files, and the mark if nothing else is left."""
    for name in os.listdir(folder):
        if is_own_name(name) and _is_regular(folder, name):
            os.unlink(name, dir_fd=folder)
    if os.listdir(folder) == [MARK_FILE]:
        os.unlink(MARK_FILE, dir_fd=folder)


def _has_only(folder: int, is_own_name: IsOwnName, is_own_content: IsOwnContent) -> bool:
    names = os.listdir(folder)
    if not all(map(is_own_name, names)):  # checked before any content is read: a foreign file may be large
        return False
    contents = [_content(folder, name) for name in names]
    return bool(names) and all(content is not None and is_own_content(content) for content in contents)


def _is_regular(folder: int, name: str) -> bool:
    """Tells whether a name in a folder is that of a regular file, and not of a link to one."""
    return stat.S_ISREG(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode)


def _content(folder: int, name: str) -> bytes | None:
    """Returns the content of a regular file in a folder, or None if there is no such file that can be read."""
    # Without O_NONBLOCK, opening a named pipe would wait for a writer.
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
    try:
        descriptor = os.open(name, flags, dir_fd=folder)
    except OSError:
        return None
    with os.fdopen(descriptor, "rb") as file:
        return file.read() if stat.S_ISREG(os.fstat(descriptor).st_mode) else None


@contextmanager
def _opened(path: Path) -> Iterator[int]:
    """Yields a descriptor of a folder. Raises `OSError` for a link to one."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
