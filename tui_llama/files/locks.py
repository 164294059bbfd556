"""Errors and messages for file systems without locks, such as a network file system whose lock service is down.

The messages tell the user how to move the folder elsewhere.
"""

import errno
import sqlite3
from pathlib import Path
from typing import Final

from tui_llama import paths

_ERRORS: Final = frozenset({errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS})
_SQLITE_ERRORS: Final = frozenset(
    {
        *(sqlite3.SQLITE_IOERR_LOCK, sqlite3.SQLITE_IOERR_UNLOCK, sqlite3.SQLITE_IOERR_RDLOCK),
        *(sqlite3.SQLITE_IOERR_CHECKRESERVEDLOCK, sqlite3.SQLITE_IOERR_SHMLOCK, sqlite3.SQLITE_PROTOCOL),
    }
)

NO_LOCKS: Final = "its file system has no file locks"


def lacks_locks(error: OSError | sqlite3.Error) -> bool:
    """Tells whether an operation failed because the file system cannot lock files."""
    if isinstance(error, OSError):
        return error.errno in _ERRORS
    return getattr(error, "sqlite_errorcode", None) in _SQLITE_ERRORS


def cause_of(error: OSError) -> str:
    """Says in few words why an operation failed, and what to do if the file system has no locks."""
    if lacks_locks(error):
        return f"{NO_LOCKS}; {how_to_move(paths.cache_folder())}"
    return error.strerror or type(error).__name__


def how_to_move(path: Path) -> str:
    """Says how to move the folder of a path elsewhere, without a full stop and in lower case."""
    ways = [f"{paths.HOME_VARIABLE} for all of this program's"]
    if not paths.has_home():
        for variable, folder in (("XDG_DATA_HOME", paths.data_folder()), ("XDG_CACHE_HOME", paths.cache_folder())):
            if path.is_relative_to(folder):
                ways.insert(0, f"{variable} for this one")
    return f"set {' or '.join(ways)} to a folder on a disk of this machine"
