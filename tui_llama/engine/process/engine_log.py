"""The engine's log: standard error of its process, and tracebacks of failures at the border to it.

If the log cannot be written, the engine works all the same and nobody is told.
"""

import os
import stat
import traceback
from contextlib import suppress
from pathlib import Path
from typing import Final

from tui_llama import paths

_HEADER: Final = b"What the engine's processes of tui_llama have said; begun anew when it has grown large.\n"
_LARGEST_BYTES: Final = 1024 * 1024


def open_log(path: Path) -> tuple[int, bool]:
    """Opens the log for appending; a large log of ours is emptied first.

    A large file without our header, such as the log of an older version, is kept: it is renamed to its name with `.old`
    behind it. If that name is taken, the file is appended to.

    Returns:
        A descriptor, and whether it leads to the log. If not, it leads nowhere.
    """
    try:
        return _opened(path), True
    except OSError:
        return os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC), False


def note_traceback(error: BaseException, path: Path | None) -> None:
    """Writes the traceback of an exception to the log; does nothing if there is no log, or it cannot be written."""
    if path is None:
        return
    text = "".join(traceback.format_exception(error)).encode("utf-8", "backslashreplace")
    descriptor, _ = open_log(path)
    try:
        with suppress(OSError):
            os.write(descriptor, text)
    finally:
        os.close(descriptor)


def _opened(path: Path) -> int:
    paths.make_private_folder(path.parent)
    descriptor = _regular_file(path)
    try:
        if os.fstat(descriptor).st_size > _LARGEST_BYTES:
            if os.pread(descriptor, len(_HEADER), 0) == _HEADER:
                os.ftruncate(descriptor, 0)
            elif _is_set_aside(path):
                old, descriptor = descriptor, _regular_file(path)
                os.close(old)
        if os.fstat(descriptor).st_size == 0:
            os.write(descriptor, _HEADER)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _regular_file(path: Path) -> int:
    # Without O_NONBLOCK, opening a named pipe would wait for a reader.
    flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    descriptor = os.open(path, flags, 0o600)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise PermissionError(f"{path} is not a regular file")
    return descriptor


def _is_set_aside(path: Path) -> bool:
    """Renames a file, unless the new name is taken; tells whether it did."""
    aside = path.with_name(f"{path.name}.old")
    try:
        # An empty file of our own reserves the name first, so that no other file can be replaced.
        os.close(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        path.rename(aside)
    except OSError:
        return False
    return True
