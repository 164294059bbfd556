"""Replaces small files of the program's own in one step. A reader sees the old file or the new one, complete.

`new_files` writes the files that a user has named.
"""

import errno
import os
import secrets
import stat
from contextlib import suppress
from pathlib import Path

from tui_llama import paths


def replace_own_file(path: Path, content: bytes) -> None:
    """Writes a file, mode 0600, and replaces the one that may be there. Makes its folder if it is missing.

    Raises:
        OSError: the system refuses, or something else is in the file's place, such as a link or a folder, which stays.
    """
    paths.make_private_folder(path.parent)
    with suppress(FileNotFoundError):
        if not stat.S_ISREG(path.lstat().st_mode):
            raise OSError(errno.EEXIST, "what is in its place is no regular file", str(path))
    part = path.with_name(f".{path.name}.{secrets.token_hex(8)}.part")
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(descriptor)  # else a power cut could leave the new name with nothing behind it
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
