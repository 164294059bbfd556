"""A store whose calls fail when a test says so, in all ways in which a disk can fail."""

import contextlib
import sqlite3
from collections.abc import Iterator
from enum import Enum
from pathlib import Path

from tui_llama.chats.store import Store
from tui_llama.errors import StoreError


class Fault(Enum):
    """The moment at which a transaction fails."""

    AT_ONCE = "at once"
    BEFORE_COMMIT = "before it was committed"
    AFTER_COMMIT = "after it was committed, so that only the word of it is lost"


class FlakyStore(Store):
    """A store on the disk.

    Attributes:
        faults: The faults of the next transactions that change something, in order; None for one that succeeds.
        lasting_fault: The fault of all transactions after them.
    """

    def __init__(self, path: Path) -> None:
        self.faults: list[Fault | None] = []
        self.lasting_fault: Fault | None = None
        super().__init__(path)

    @contextlib.contextmanager
    def _transaction(self, kind: str = "IMMEDIATE") -> Iterator[sqlite3.Connection]:
        fault = None
        if kind == "IMMEDIATE":
            fault = self.faults.pop(0) if self.faults else self.lasting_fault
        if fault is Fault.AT_ONCE:
            raise StoreError("The disk is full.", "Make room.")
        with super()._transaction(kind) as database:
            yield database
            if fault is Fault.BEFORE_COMMIT:
                raise StoreError("The disk is full.", "Make room.")
        if fault is Fault.AFTER_COMMIT:
            raise StoreError("The disk reports an error.")
