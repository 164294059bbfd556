"""The open database of a store: one connection for all threads, its transactions, and the locks of its answers."""

import contextlib
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path

from tui_llama.chats.database.file import BUSY_SECONDS, IN_MEMORY, AnswerLocks, connect, explained, make_private_file
from tui_llama.paths import is_folder


class StoreConnection:
    """A connection to a database file, or to `IN_MEMORY`, that goes on in another file once that has the name.

    Raises (every method):
        StoreError: the database cannot be used; see `explained`.

    Args:
        path: The file, made on first use with mode 0600.

    Attributes:
        sqlite: SQLite's own connection to the file that was opened last.
        answer_locks: Say which answers this process is writing in that file.
        file_count: How many files of that name have been opened: it grows when another one has taken its place.
    """

    sqlite: sqlite3.Connection
    answer_locks: AnswerLocks

    def __init__(self, path: Path) -> None:
        self._path = path
        self.file_count = 0
        self._lock = threading.RLock()
        self._busy_seconds = BUSY_SECONDS
        with explained(path):
            self._open()

    @property
    def is_in_memory(self) -> bool:
        """True if the database is in memory only, and never on the disk."""
        return self._path == IN_MEMORY

    @contextlib.contextmanager
    def transaction(self, kind: str) -> Iterator[sqlite3.Connection]:
        """Commits at the end; on any exception, none of the changes is made.

        Args:
            kind: "IMMEDIATE" to write, "DEFERRED" to read.
        """
        with self._lock, explained(self._path):
            self._follow_file()
            self.sqlite.execute(f"PRAGMA busy_timeout = {round(self._busy_seconds * 1000)}").fetchall()
            self.sqlite.execute(f"BEGIN {kind}")
            try:
                yield self.sqlite
                self.sqlite.execute("COMMIT")
            except BaseException:
                # SQLite has rolled back by itself after some errors, a full disk among them.
                if self.sqlite.in_transaction:
                    self.sqlite.execute("ROLLBACK")
                raise

    def truncate_log(self) -> None:
        """Copies the write-ahead log into the database and empties it, so that what was removed is on no disk."""
        with self._lock, explained(self._path):
            self.sqlite.execute("PRAGMA wal_checkpoint (TRUNCATE)").fetchall()

    def release_answer(self, message_id: int) -> None:
        """Says that this process writes the answer no more, or that its program ends; does nothing where it did not."""
        with self._lock, explained(self._path):
            self.answer_locks.release(message_id)

    def follow_file(self) -> None:
        """Goes on in the file that has the name now: what is written to one without a name is lost.

        A file that is gone is made again. A folder that is gone may come back, and is waited for.
        """
        with self._lock, explained(self._path):
            self._follow_file()

    def wait_for_others(self, seconds: float) -> None:
        """Sets how long a transaction waits while another program uses the database, before it fails."""
        self._busy_seconds = seconds

    def close(self) -> None:
        """Closes the files. May be called twice."""
        with self._lock, explained(self._path):
            self.sqlite.close()
            self.answer_locks.close()

    def _open(self) -> None:
        if not self.is_in_memory:
            make_private_file(self._path)
        answer_locks = AnswerLocks(self._path)
        try:
            file = self._file_there()
            with answer_locks.opening():
                connection = connect(self._path, self._busy_seconds)
        except BaseException:
            answer_locks.close()
            raise
        self.sqlite, self.answer_locks, self._file = connection, answer_locks, file
        self.file_count += 1

    def _file_there(self) -> tuple[int, int] | None:
        """Returns which file has the name now. Raises FileNotFoundError for none."""
        if self.is_in_memory:
            return None
        status = self._path.stat()
        return status.st_dev, status.st_ino

    def _follow_file(self) -> None:
        try:
            if self._file_there() == self._file:
                return
        except FileNotFoundError:
            if not is_folder(self._path.parent):
                raise
        sqlite, answer_locks = self.sqlite, self.answer_locks
        self._open()  # first: where it fails, the file that was used may still come back
        sqlite.close()
        answer_locks.close()
