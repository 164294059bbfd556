"""Small files of ours, each replaced in one step: what is read is the old one or the new one in full.

Files that a user has named are the business of `new_files`.
"""

import errno
import os
import secrets
import stat
from contextlib import suppress
from pathlib import Path

from tui_llama import paths


def replace_own_file(path: Path, content: bytes) -> None:
    """Writes a file, mode 0600, in place of the one that may be there; makes its folder if need be.

    Raises:
        OSError: as the system says, or because a link, a folder or the like is in its place; that stays.
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
