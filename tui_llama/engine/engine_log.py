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
    # Without O_NONBLOCK, opening a named pipe would wait for whoever reads from it.
    flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    descriptor = os.open(path, flags, 0o600)
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise PermissionError(f"{path} is not a regular file")
        if status.st_size > _LARGEST_BYTES and os.pread(descriptor, len(_HEADER), 0) == _HEADER:
            os.ftruncate(descriptor, 0)
        if os.fstat(descriptor).st_size == 0:
            os.write(descriptor, _HEADER)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor
