"""The operations of programs on a disk. In a power cut, some of them reach the disk and others do not.

The rules allow every state in which a journalling file system (ext4, XFS, Btrfs) may leave the disk:

- A sector of `SECTOR_BYTES` at a multiple of its size in the file is written whole or not at all. It is written as
  programs would have read it at that moment, because the page cache has one copy of it.
- Any subset of the sectors of unsynced writes may reach the disk, whatever the order of the writes was.
- The size of a file is recorded separately from its bytes, before or after them. So missing bytes read as zeros, or
  the file is shorter.
- Making, renaming and removing names is atomic. Any subset of these operations may happen in which each one has what
  it needs: a name that was not made is not renamed.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from itertools import groupby
from typing import Final, TypeAlias

SECTOR_BYTES: Final = 512


class Reach(Enum):
    """The part of one operation that reached the disk."""

    NOTHING = "nothing"
    FIRST_HALF = "first half"
    ALL_BUT_FIRST = "all but the first sector"
    WHOLE = "whole"


@dataclass(eq=False)
class File:
    """A file, with or without a name: its content for programs, its durable content, and the operations between."""

    name: str
    """The name with which it was made, for messages."""
    content: bytes | bytearray
    durable: bytes
    used_at: float
    durable_used_at: float
    is_linked: bool = True
    unsynced: "list[Write | Resize]" = field(default_factory=list)


@dataclass(frozen=True, eq=False)
class Write:
    """Whole sectors of a file, as programs see them after a write."""

    order: int
    file: File
    start: int
    payload: bytes
    """Whole sectors. Bytes beyond the end of the file are zero."""
    end: int
    """The end of the file's part in these sectors. The file is at least that long."""
    is_clean: bool = False
    """True if a sync of it failed. The system then believes that it is on the disk, so no later sync writes it."""

    @property
    def reaches(self) -> tuple[Reach, ...]:
        return tuple(Reach) if len(self.payload) > SECTOR_BYTES else (Reach.NOTHING, Reach.WHOLE)

    def span(self, reach: Reach) -> tuple[int, int]:
        """Returns the positions in the file of the first byte that reached the disk, and of the byte after the last."""
        if reach is Reach.NOTHING:
            return self.start, self.start
        sectors = len(self.payload) // SECTOR_BYTES
        first = 1 if reach is Reach.ALL_BUT_FIRST else 0
        after = sectors // 2 if reach is Reach.FIRST_HALF else sectors
        return self.start + first * SECTOR_BYTES, self.start + after * SECTOR_BYTES

    def covers(self, sector: int) -> bool:
        return self.start <= sector < self.start + len(self.payload)

    def __str__(self) -> str:
        return f"write of sectors {self.start}..{self.start + len(self.payload)} of {self.file.name}"


@dataclass(frozen=True, eq=False)
class Resize:
    """A truncation of a file, or an extension with zeros."""

    order: int
    file: File
    size: int

    reaches = (Reach.NOTHING, Reach.WHOLE)

    def covers(self, sector: int) -> bool:
        return sector >= self.size

    def __str__(self) -> str:
        return f"truncate of {self.file.name} to {self.size}"


Names: TypeAlias = dict[str, File | None]
"""Files by path. A folder is None; the root "" is one of them."""


@dataclass(frozen=True, eq=False)
class Make:
    """The making of a name, of a file or a folder."""

    order: int
    path: str
    file: File | None

    reaches = (Reach.NOTHING, Reach.WHOLE)

    @property
    def paths(self) -> tuple[str, ...]:
        return (self.path,)

    def apply(self, names: Names) -> None:
        names.setdefault(self.path, self.file)

    def __str__(self) -> str:
        return f"making of {self.path}"


@dataclass(frozen=True, eq=False)
class Rename:
    """The renaming of a file. The new name may have been that of another file."""

    order: int
    path: str
    new_path: str
    file: File

    reaches = (Reach.NOTHING, Reach.WHOLE)

    @property
    def paths(self) -> tuple[str, ...]:
        return self.path, self.new_path

    def apply(self, names: Names) -> None:
        if names.get(self.path) is self.file:
            names[self.new_path] = names.pop(self.path)

    def __str__(self) -> str:
        return f"renaming of {self.path} to {self.new_path}"


@dataclass(frozen=True, eq=False)
class Remove:
    """The removal of a name."""

    order: int
    path: str
    file: File

    reaches = (Reach.NOTHING, Reach.WHOLE)

    @property
    def paths(self) -> tuple[str, ...]:
        return (self.path,)

    def apply(self, names: Names) -> None:
        if names.get(self.path) is self.file:
            del names[self.path]

    def __str__(self) -> str:
        return f"removing of {self.path}"


DataOperation: TypeAlias = Write | Resize
NameOperation: TypeAlias = Make | Rename | Remove
Operation: TypeAlias = DataOperation | NameOperation


def folder_of(path: str) -> str:
    return path.rpartition("/")[0]


def apply_data(durable: bytes, operations: Sequence[tuple[DataOperation, Reach]]) -> tuple[bytearray, int]:
    """Returns the content of a file after operations on its durable content, and the size that belongs to it."""
    content = bytearray(durable)
    size = len(durable)
    for operation, reach in operations:
        if reach is Reach.NOTHING:
            continue
        if isinstance(operation, Resize):
            del content[operation.size :]
            size = operation.size
            continue
        start, after = operation.span(reach)
        content.extend(bytes(max(0, after - len(content))))
        content[start:after] = operation.payload[start - operation.start : after - operation.start]
        size = max(size, min(operation.end, after))
    return content, size


def of_size(content: bytes | bytearray, size: int) -> bytes:
    """Returns the content truncated or filled with zeros to `size`."""
    return bytes(memoryview(content)[:size]).ljust(size, b"\0")


def sync_data(file: File) -> None:
    """Makes a file durable, except for writes of which the system wrongly believes that they are durable already."""
    written = [operation for operation in file.unsynced if not _is_clean(operation)]
    file.durable = of_size(*apply_data(file.durable, [(operation, Reach.WHOLE) for operation in written]))
    file.durable_used_at = file.used_at
    file.unsynced = [
        piece
        for operation in file.unsynced
        if isinstance(operation, Write) and operation.is_clean
        for piece in _still_missing(operation, [later for later in written if later.order > operation.order])
    ]


def lose_data(file: File) -> None:
    """Does what a failed sync does: the writes do not reach the disk, and no later sync writes them."""
    file.unsynced = [
        replace(operation, is_clean=True) if isinstance(operation, Write) else operation for operation in file.unsynced
    ]


def sync_names(durable: Names, unsynced: list[NameOperation], folder: str) -> list[NameOperation]:
    """Makes the operations in a folder durable. Returns those that are still not durable.

    A renaming from folder to folder is one step, so it becomes durable when either folder is synced. Operations that it
    needs become durable with it.
    """
    needed: set[str] = set()
    taken: list[NameOperation] = []
    for operation in reversed(unsynced):
        if needed.intersection(operation.paths) or any(folder_of(path) == folder for path in operation.paths):
            needed.update(operation.paths)
            taken.append(operation)
    for operation in reversed(taken):
        operation.apply(durable)
    return [operation for operation in unsynced if operation not in taken]


def _is_clean(operation: DataOperation) -> bool:
    return isinstance(operation, Write) and operation.is_clean


def _still_missing(lost: Write, later: Sequence[DataOperation]) -> Iterator[Write]:
    """Yields the sectors of a lost write that no later write or truncation has replaced on the disk."""
    end = min([lost.end, *(operation.size for operation in later if isinstance(operation, Resize))])
    sectors = range(lost.start, lost.start + len(lost.payload), SECTOR_BYTES)
    for is_replaced, run in groupby(sectors, lambda sector: any(operation.covers(sector) for operation in later)):
        if not is_replaced:
            run_sectors = list(run)
            start, after = run_sectors[0], run_sectors[-1] + SECTOR_BYTES
            payload = lost.payload[start - lost.start : after - lost.start]
            yield replace(lost, start=start, payload=payload, end=min(end, after))
