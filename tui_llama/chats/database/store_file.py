"""The file of a store, and the transactions in it. Knows nothing of what is stored."""

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Self

from tui_llama.chats.database.connection import StoreConnection


class StoreFile:
    """A database file, or `IN_MEMORY`; made on first use.

    Args:
        path: Its path.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._connection = StoreConnection(path)

    @property
    def file_count(self) -> int:
        """The number of files of that name that were opened; it grows when another file has taken the place of one."""
        return self._connection.file_count

    def follow_file(self) -> None:
        """Goes on in the file that has the name now: what is written to one without a name is lost.

        A file that is gone is made again. A folder that is gone may come back, and is waited for. Every other call
        begins with this.
        """
        self._connection.follow_file()

    def wait_for_others(self, seconds: float) -> None:
        """Sets how long a call waits while another program uses the database, before it fails."""
        self._connection.wait_for_others(seconds)

    @property
    def is_in_memory(self) -> bool:
        """True if the store never writes to the disk."""
        return self._connection.is_in_memory

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the files. May be called twice."""
        self._connection.close()

    @contextlib.contextmanager
    def _transaction(self, kind: str = "IMMEDIATE") -> Iterator[sqlite3.Connection]:
        """Commits at the end; on any exception, none of the changes is made."""
        with self._connection.transaction(kind) as database:
            yield database
