"""The file of the chats: opening it, what its errors mean, and who is writing.

Knows SQLite and the file system, and nothing of what the tables mean to the program.
"""

import contextlib
import fcntl
import os
import sqlite3
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec

from tui_llama import paths
from tui_llama.chats.database.schema import migrate, pragma, require_ours
from tui_llama.errors import CallerError, StoreError
from tui_llama.files.locks import NO_LOCKS, how_to_move, lacks_locks
from tui_llama.text_safety import sanitize_line

IN_MEMORY: Final = Path(":memory:")
"""The path of a database that is in memory only: it is never written to the disk, and is gone once it is closed."""

BUSY_SECONDS: Final = 10.0

DAMAGED_HINT = "To start without chats, move the file away. `sqlite3 FILE .recover` may save its contents."
_CAUSES: dict[int, tuple[str, str]] = {
    sqlite3.SQLITE_NOTADB: ("is damaged or not a database", DAMAGED_HINT),
    sqlite3.SQLITE_CORRUPT: ("is damaged", DAMAGED_HINT),
    sqlite3.SQLITE_FULL: (
        "cannot be written: the disk is full",
        "Free some space. Everything saved before is safe.",
    ),
    sqlite3.SQLITE_READONLY: ("cannot be written", "Make the file and its folder writable."),
    sqlite3.SQLITE_CANTOPEN: ("cannot be opened", "Make the file and its folder readable and writable."),
    sqlite3.SQLITE_PERM: ("cannot be opened", "Make the file and its folder readable and writable."),
    sqlite3.SQLITE_BUSY: ("is in use by another program", "Close the other program, then try again."),
    sqlite3.SQLITE_IOERR: (
        "cannot be read or written: the disk reports an error",
        "Check the disk and its free space.",
    ),
}


# --- opening ------------------------------------------------------------------------------------------------


def make_private_file(path: Path) -> None:
    """Makes the database's file before SQLite would, for the user alone; its companions copy the mode."""
    paths.make_private_folder(path.parent)
    with contextlib.suppress(FileExistsError):
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))


def connect(path: Path, busy_seconds: float = BUSY_SECONDS) -> sqlite3.Connection:
    """Opens the database with its schema up to date; transactions are begun and ended by the caller.

    Args:
        path: The file, or `IN_MEMORY`.
        busy_seconds: For how long a call waits while another program uses it.

    Raises:
        StoreError: the database is another program's or a newer version's; nothing was written to it.
        sqlite3.Error: anything else, for `explained` to turn into a `StoreError`.
    """
    connection = sqlite3.connect(path, timeout=busy_seconds, isolation_level=None, check_same_thread=False)
    connection.row_factory = sqlite3.Row
    try:
        require_ours(connection, path)
        if path != IN_MEMORY:
            _close_to_others(path)
        if pragma(connection, "journal_mode") != "wal":
            connection.execute("PRAGMA journal_mode = WAL").fetchall()
        connection.execute("PRAGMA synchronous = FULL")
        if path == IN_MEMORY:
            connection.execute("PRAGMA temp_store = MEMORY")
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("PRAGMA secure_delete = ON").fetchall()
        migrate(connection, path)
    except BaseException:
        connection.close()
        raise
    return connection


def _close_to_others(path: Path) -> None:
    """Lets the user alone read a database of ours, and what SQLite has beside it.

    By name: closing a descriptor of it would drop the locks that SQLite holds on it in this process.
    """
    for each in (path, path.with_name(f"{path.name}-wal"), path.with_name(f"{path.name}-shm")):
        with contextlib.suppress(FileNotFoundError):
            if each.stat().st_mode & 0o077:
                each.chmod(0o600)


@contextlib.contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turns what SQLite, the system and unreadable rows raise into one line for the user."""
    try:
        yield
    except sqlite3.ProgrammingError as error:
        raise CallerError(f"The store was used wrongly: {error}") from error
    except sqlite3.Error as error:
        raise _store_error(error, path) from error
    except (msgspec.ValidationError, msgspec.DecodeError, struct.error, OverflowError, UnicodeDecodeError) as error:
        # The last of them: SQLite names what is damaged by bytes of the file, which need not be text.
        raise StoreError(f"The database of your chats is damaged: {path}", DAMAGED_HINT) from error
    except OSError as error:
        if lacks_locks(error):
            raise _without_locks(path) from error
        reason = error.strerror or type(error).__name__
        is_gone = isinstance(error, FileNotFoundError)
        hint = "Restore its folder, or create it again." if is_gone else "Check the folder and the disk."
        raise StoreError(f"The database of your chats cannot be used ({reason}): {path}", hint) from error


def _without_locks(path: Path) -> StoreError:
    hint = how_to_move(path)
    return StoreError(
        f"The database of your chats cannot be used ({NO_LOCKS}): {path}", f"{hint[:1].upper()}{hint[1:]}."
    )


def _store_error(error: sqlite3.Error, path: Path) -> StoreError:
    # Without a code it is the sqlite3 module that could not decode a text.
    if lacks_locks(error):
        return _without_locks(path)
    primary_code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT) & 0xFF
    otherwise = (f"cannot be used ({sanitize_line(str(error))})", "Start the program again.")
    what, hint = _CAUSES.get(primary_code, otherwise)
    return StoreError(f"The database of your chats {what}: {path}", hint)


class AnswerLocks:
    """Byte locks in one empty file: byte 0 while opening, byte `message_id` while that answer is written.

    A running program holds the byte of its number, too, which is larger than all ids of messages.

    POSIX record locks: the kernel drops them when the process ends, however it ends. They belong to the
    process, so what this process holds is remembered here. What is in memory has no file, and no other process.
    """

    def __init__(self, path: Path) -> None:
        self._held: set[int] = set()
        self._descriptor: int | None = None
        if path != IN_MEMORY:
            lock_path = path.with_name(path.name + ".lock")
            self._descriptor = os.open(lock_path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)

    def _lock(self, operation: int, byte: int) -> None:
        if self._descriptor is not None:
            fcntl.lockf(self._descriptor, operation, 1, byte)

    @contextlib.contextmanager
    def opening(self) -> Iterator[None]:
        """Lets one process in at a time: SQLite does not wait for others when it switches a new database to a log."""
        self._lock(fcntl.LOCK_EX, 0)
        try:
            yield
        finally:
            self._lock(fcntl.LOCK_UN, 0)

    def acquire(self, message_id: int) -> None:
        """Says that this process is writing the answer. Raises OSError when another one is."""
        self._lock(fcntl.LOCK_EX | fcntl.LOCK_NB, message_id)
        self._held.add(message_id)

    def hold(self, number: int) -> None:
        """Does what `acquire` does, if this process has not done it already."""
        if number not in self._held:
            self.acquire(number)

    def release(self, message_id: int) -> None:
        """Says that the answer has ended; does nothing for one that this process is not writing."""
        if message_id in self._held:
            self._lock(fcntl.LOCK_UN, message_id)
            self._held.remove(message_id)

    def is_free(self, message_id: int) -> bool:
        """Tells whether nobody, this process included, is writing the answer."""
        if message_id in self._held:
            return False
        try:
            self.acquire(message_id)
        except (BlockingIOError, PermissionError):  # which of the two is up to the platform
            return False
        self.release(message_id)
        return True

    def close(self) -> None:
        """Lets all locks go. May be called twice."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
