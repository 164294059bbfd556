"""The engine's log: what its process says on standard error, and tracebacks of what went wrong at the border to it.

Without one, it complains to nobody, and works all the same.
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
    """Opens the log for appending; one of ours that has grown large starts anew.

    A large file that does not say that it is ours, such as the log of an older version, is kept: it gets another name,
    with `.old` behind it. Where that name is taken, it is appended to.

    Returns:
        A descriptor, and whether it leads to the log; else it leads nowhere.
    """
    try:
        return _opened(path), True
    except OSError:
        return os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC), False


def note_traceback(error: BaseException, path: Path | None) -> None:
    """Writes down where an exception came from; without a log, or one that can be written, nowhere."""
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
    # Without O_NONBLOCK, opening a named pipe would wait for whoever reads from it.
    flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    descriptor = os.open(path, flags, 0o600)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise PermissionError(f"{path} is not a regular file")
    return descriptor


def _is_set_aside(path: Path) -> bool:
    """Gives a file another name, unless that is taken; returns whether it could."""
    aside = path.with_name(f"{path.name}.old")
    try:
        # The name is taken first, by an empty file of our own, so that nothing else can be replaced.
        os.close(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        path.rename(aside)
    except OSError:
        return False
    return True
