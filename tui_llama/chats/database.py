"""The file of the chats: its schema and migrations, opening it, what its errors mean, and who is writing.

Knows SQLite and the file system, and nothing of what the tables mean to the program.
"""

import contextlib
import fcntl
import os
import sqlite3
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import msgspec

from tui_llama import paths
from tui_llama.errors import CallerError, StoreError
from tui_llama.files.locks import NO_LOCKS, how_to_move, lacks_locks
from tui_llama.text_safety import sanitize_line

IN_MEMORY: Final = Path(":memory:")
"""The path of a database that is in memory only: it is never written to the disk, and is gone once it is closed."""

APPLICATION_ID: Final = 0x74756C6C  # "tull": tells our database from any other SQLite file
BUSY_SECONDS: Final = 10.0

# One step for each schema version, never changed once released: a database of version n has run the first n.
MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        """
        CREATE TABLE chats (
            chat_id TEXT PRIMARY KEY NOT NULL,
            title TEXT NOT NULL,
            model_path TEXT NOT NULL,
            system_prompt TEXT NOT NULL,
            tip_message_id INTEGER REFERENCES messages (message_id) DEFERRABLE INITIALLY DEFERRED,
            created_at INTEGER NOT NULL,  -- microseconds since 1970, UTC
            updated_at INTEGER NOT NULL
        )
        """,
        # Plain references, not ON DELETE CASCADE: a cascade along parents recurses once for each message of
        # a path, and SQLite ends it after a thousand.
        """
        CREATE TABLE messages (
            message_id INTEGER PRIMARY KEY AUTOINCREMENT,
            chat_id TEXT NOT NULL REFERENCES chats (chat_id) DEFERRABLE INITIALLY DEFERRED,
            parent_id INTEGER REFERENCES messages (message_id) DEFERRABLE INITIALLY DEFERRED,
            role TEXT NOT NULL CHECK (role IN ('system', 'user', 'assistant')),
            state TEXT NOT NULL CHECK (state IN ('complete', 'partial', 'interrupted')),
            text TEXT NOT NULL,
            kept_tokens INTEGER CHECK (kept_tokens >= 0),  -- of the ledger before; null: no prompt yet
            prompt_ids BLOB NOT NULL CHECK (length(prompt_ids) % 4 = 0),  -- little-endian uint32
            generated_ids BLOB NOT NULL CHECK (length(generated_ids) % 4 = 0),
            stop_reason TEXT,
            usage TEXT,  -- JSON
            created_at INTEGER NOT NULL,
            CHECK (parent_id < message_id)
        )
        """,
        """
        CREATE TABLE answer_pieces (
            piece_id INTEGER PRIMARY KEY AUTOINCREMENT,
            message_id INTEGER NOT NULL REFERENCES messages (message_id) ON DELETE CASCADE,
            text TEXT NOT NULL,
            token_ids BLOB NOT NULL CHECK (length(token_ids) % 4 = 0)
        )
        """,
        "CREATE TABLE preferences (key TEXT PRIMARY KEY NOT NULL, value TEXT NOT NULL)",
        "CREATE INDEX messages_by_chat ON messages (chat_id)",
        "CREATE INDEX messages_by_parent ON messages (parent_id)",
        "CREATE INDEX answer_pieces_by_message ON answer_pieces (message_id)",
        "CREATE INDEX chats_by_tip ON chats (tip_message_id)",
    ),
    (
        # When the chat began, in the local time of then, such as 2026-11-27T23:58:03+01:00: no zone can shift that.
        "ALTER TABLE chats ADD COLUMN begun_at TEXT NOT NULL DEFAULT ''",
        """
        WITH moments AS (
            SELECT chat_id, created_at / 1000000 AS seconds,
                strftime('%Y-%m-%dT%H:%M:%S', created_at / 1000000, 'unixepoch', 'localtime') AS local
            FROM chats
        ), offsets AS (SELECT chat_id, local, (strftime('%s', local) - seconds) / 60 AS minutes FROM moments)
        UPDATE chats SET begun_at = coalesce((
            SELECT local || CASE WHEN minutes < 0 THEN '-' ELSE '+' END
                || printf('%02d:%02d', abs(minutes) / 60, abs(minutes) % 60)
            FROM offsets WHERE offsets.chat_id = chats.chat_id
        ), '')
        """,
    ),
    (
        # Of prompt_ids and generated_ids: ids mean something in one vocabulary only; null: nobody knows which.
        "ALTER TABLE messages ADD COLUMN vocabulary TEXT",
    ),
)

DAMAGED_HINT = "Move it away to start with no chats; `sqlite3 FILE .recover` may save what it holds."
_CAUSES: dict[int, tuple[str, str]] = {
    sqlite3.SQLITE_NOTADB: ("is damaged or no database", DAMAGED_HINT),
    sqlite3.SQLITE_CORRUPT: ("is damaged", DAMAGED_HINT),
    sqlite3.SQLITE_FULL: (
        "cannot be written: the disk is full",
        "Free some space; what was saved before is safe.",
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
        _require_ours(connection, path)
        if path != IN_MEMORY:
            _close_to_others(path)
        if _pragma(connection, "journal_mode") != "wal":
            connection.execute("PRAGMA journal_mode = WAL").fetchall()
        connection.execute("PRAGMA synchronous = FULL")
        if path == IN_MEMORY:
            connection.execute("PRAGMA temp_store = MEMORY")
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("PRAGMA secure_delete = ON").fetchall()
        _migrate(connection, path)
    except BaseException:
        connection.close()
        raise
    return connection


def _require_ours(connection: sqlite3.Connection, path: Path) -> None:
    """Refuses other programs' databases before anything is written to them."""
    if _pragma(connection, "application_id") == APPLICATION_ID:
        return
    is_new = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0] == 0
    if not is_new or _pragma(connection, "application_id") or _pragma(connection, "user_version"):
        raise StoreError(f"{path} is a database of another program.", "Move it away, or choose another place.")


def _close_to_others(path: Path) -> None:
    """Lets the user alone read a database of ours, and what SQLite has beside it.

    By name: closing a descriptor of it would drop the locks that SQLite holds on it in this process.
    """
    for each in (path, path.with_name(f"{path.name}-wal"), path.with_name(f"{path.name}-shm")):
        with contextlib.suppress(FileNotFoundError):
            if each.stat().st_mode & 0o077:
                each.chmod(0o600)


def _migrate(connection: sqlite3.Connection, path: Path) -> None:
    """Brings the schema up to date in one transaction: a crash in the middle leaves the old one.

    One that is up to date needs no transaction, and so no other program to be done with its own.
    """
    if int(_pragma(connection, "user_version")) == len(MIGRATIONS):
        return
    connection.execute("BEGIN IMMEDIATE")
    try:
        version = int(_pragma(connection, "user_version"))
        if version > len(MIGRATIONS):
            raise StoreError(
                f"The chats in {path} were written by a newer version of tui_llama (schema {version}).",
                "Update tui_llama; the chats were not touched.",
            )
        for step in MIGRATIONS[version:]:
            for statement in step:
                connection.execute(statement)
        if version < len(MIGRATIONS):
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            connection.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _pragma(connection: sqlite3.Connection, name: str) -> Any:
    return connection.execute(f"PRAGMA {name}").fetchone()[0]


@contextlib.contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turns what SQLite, the system and unreadable rows raise into one line for the user."""
    try:
        yield
    except sqlite3.ProgrammingError as error:
        raise CallerError(f"The store was used wrongly: {error}") from error
    except sqlite3.Error as error:
        raise _store_error(error, path) from error
    except (msgspec.ValidationError, msgspec.DecodeError, struct.error, OverflowError) as error:
        raise StoreError(f"The file of your chats is damaged: {path}", DAMAGED_HINT) from error
    except OSError as error:
        if lacks_locks(error):
            raise _without_locks(path) from error
        reason = error.strerror or type(error).__name__
        is_gone = isinstance(error, FileNotFoundError)
        hint = "Put its folder back, or make it again." if is_gone else "Check the folder and the disk."
        raise StoreError(f"The file of your chats cannot be used ({reason}): {path}", hint) from error


def _without_locks(path: Path) -> StoreError:
    hint = how_to_move(path)
    return StoreError(f"The file of your chats cannot be used ({NO_LOCKS}): {path}", f"{hint[:1].upper()}{hint[1:]}.")


def _store_error(error: sqlite3.Error, path: Path) -> StoreError:
    # Without a code it is the sqlite3 module that could not decode a text.
    if lacks_locks(error):
        return _without_locks(path)
    primary_code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT) & 0xFF
    otherwise = (f"cannot be used ({sanitize_line(str(error))})", "Start the program again.")
    what, hint = _CAUSES.get(primary_code, otherwise)
    return StoreError(f"The file of your chats {what}: {path}", hint)


class AnswerLocks:
    """Byte locks in one empty file: byte 0 while opening, byte `message_id` while that answer is written.

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
