"""The engine's log: what its process says on standard error, and tracebacks of what went wrong at the border to it."""

import os
import traceback
from contextlib import suppress
from pathlib import Path
from typing import Final

from tui_llama import paths

_LARGEST_LOG_BYTES: Final = 1024 * 1024


def open_log(path: Path) -> int:
    """Opens the log for appending, and returns a file descriptor; one that has grown large starts anew.

    Raises:
        OSError: there can be no such file.
    """
    paths.make_private_folder(path.parent)
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
    descriptor = os.open(path, flags, 0o600)
    if os.fstat(descriptor).st_size > _LARGEST_LOG_BYTES:
        os.ftruncate(descriptor, 0)
    return descriptor


def note_traceback(error: BaseException, path: Path) -> None:
    """Writes down where an exception came from; a log that cannot be written is done without."""
    text = "".join(traceback.format_exception(error)).encode("utf-8", "backslashreplace")
    with suppress(OSError):
        descriptor = open_log(path)
        try:
            os.write(descriptor, text)
        finally:
            os.close(descriptor)
