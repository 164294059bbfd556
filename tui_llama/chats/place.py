"""The chats that the screen begins with: those on disk, or where there is no place for any, some in memory."""

import errno
import sqlite3
from typing import Final

from tui_llama import paths
from tui_llama.chats.database.file import IN_MEMORY
from tui_llama.chats.store import Store
from tui_llama.errors import StoreError

_NO_PLACE: Final = {
    *(errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT),
    *(errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.ENAMETOOLONG),
}
_NO_PLACE_FOR_SQLITE: Final = {
    *(sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_FULL, sqlite3.SQLITE_PERM),
    *(sqlite3.SQLITE_IOERR_SHMOPEN, sqlite3.SQLITE_IOERR_SHMSIZE, sqlite3.SQLITE_IOERR_WRITE),
}


def open_chats() -> tuple[Store, str]:
    """Opens the chats.

    Returns:
        The store, and what the user must know of it; empty where chats are kept as usual.

    Raises:
        StoreError: there are chats on disk that cannot be used for another reason, such as damage.
    """
    try:
        return Store(paths.database_file()), ""
    except StoreError as error:
        if not _is_lack_of_place(error.__cause__):
            raise
        consequence = "New chats are kept in memory only and are lost when you quit"
        return Store(IN_MEMORY), f"{error}. {consequence}. {error.hint}"


def _is_lack_of_place(cause: BaseException | None) -> bool:
    if isinstance(cause, sqlite3.Error):
        code = getattr(cause, "sqlite_errorcode", 0)
        return code in _NO_PLACE_FOR_SQLITE or code & 0xFF in _NO_PLACE_FOR_SQLITE
    return isinstance(cause, OSError) and cause.errno in _NO_PLACE
