"""Folders that this program has made and may empty again: a mark says so, a small file that lies in each of them.

A name alone is no proof: a user may have chosen any folder for what we keep. So nothing is removed from a folder
without the mark, nothing but the kind of file that we put there, and nothing that a link leads to. The mark is a cache
directory tag, which programs that make backups know as well.

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
"""Whether a name is that of a file which we put into such a folder."""
IsOwnContent: TypeAlias = Callable[[bytes], bool]
"""Whether a content says itself that we have written it."""


def make_marked_folder(path: Path) -> None:
    """Makes a folder for the user alone, and puts the mark into it; a marked one that is there will do.

    Raises:
        OSError: as the system says, or something else is in its place, such as a link.
    """
    paths.make_private_folder(path)
    with _opened(path) as folder:
        _mark(folder)


def _mark(folder: int) -> None:
    """Puts the mark into the folder of a descriptor. What lies in its place stays as it is.

    Raises:
        OSError: as the system says.
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
    """Whether a path is a folder, and no link to one, with the mark."""
    try:
        with _opened(path) as folder:
            return _is_marked(folder)
    except OSError:
        return False


def _is_marked(folder: int) -> bool:
    return _content(folder, MARK_FILE) == _MARK


def remove_unused_folder(path: Path, is_own_name: IsOwnName, is_own_content: IsOwnContent, unused_since: float) -> None:
    """Removes our files from a folder of ours, and then the folder if it is empty. Whatever else is there stays.

    Args:
        path: What is no folder, or a link to one, is left alone.
        is_own_name: Which files of a marked folder may go; links, folders and devices never do.
        is_own_content: Without a mark, the folder is ours only if it has files, and all of them have such names and
            contents.
        unused_since: The folder is left alone if it was changed after this time, in seconds since 1970.
    """
    with suppress(OSError), _opened(path) as folder:  # another process may be removing it too
        if os.fstat(folder).st_mtime >= unused_since:
            return
        if not _is_marked(folder) and not _has_only(folder, is_own_name, is_own_content):
            return
        _empty(folder, is_own_name)
        path.rmdir()


def _empty(folder: int, is_own_name: IsOwnName) -> None:
    """Removes our files, and if these were all the mark."""
    for name in os.listdir(folder):
        if is_own_name(name) and _is_regular(folder, name):
            os.unlink(name, dir_fd=folder)
    if os.listdir(folder) == [MARK_FILE]:
        os.unlink(MARK_FILE, dir_fd=folder)


def _has_only(folder: int, is_own_name: IsOwnName, is_own_content: IsOwnContent) -> bool:
    names = os.listdir(folder)
    if not all(map(is_own_name, names)):  # first: what is somebody else's may be large
        return False
    contents = [_content(folder, name) for name in names]
    return bool(names) and all(content is not None and is_own_content(content) for content in contents)


def _is_regular(folder: int, name: str) -> bool:
    """Whether a name in a folder is that of a regular file, and not that of a link to one."""
    return stat.S_ISREG(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode)


def _content(folder: int, name: str) -> bytes | None:
    """What is in a regular file in a folder; None where there is none that can be read."""
    # Without O_NONBLOCK, opening a named pipe would wait for whoever writes to it.
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
    try:
        descriptor = os.open(name, flags, dir_fd=folder)
    except OSError:
        return None
    with os.fdopen(descriptor, "rb") as file:
        return file.read() if stat.S_ISREG(os.fstat(descriptor).st_mode) else None


@contextmanager
def _opened(path: Path) -> Iterator[int]:
    """A descriptor of a folder; a link to one raises `OSError`."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
