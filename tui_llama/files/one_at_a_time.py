"""Lets one program at a time read files of a folder, change them and write them back, so that no change is lost."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tui_llama import paths


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Keeps other programs and threads that ask for the same folder waiting meanwhile. Must not be nested.

    The folder itself is locked, which leaves no file. It is made if it is missing.

    Raises:
        OSError: the folder cannot be made or opened.
    """
    descriptor = os.open(paths.make_private_folder(folder), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with suppress(OSError):  # a file system without locks: two at once are rare
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
