"""What programs do to a disk, as separate operations of which a power cut may let some reach it and others not.

Rules, chosen so that no journalling file system (ext4, XFS, Btrfs) leaves more than they allow:

- A sector of `SECTOR_BYTES` at a multiple of its size in the file is written whole or not at all, and always with
  all that programs would have read in it at that moment: the page cache has one copy of it.
- The sectors of unsynced writes reach the disk in any choice, whatever the order of the writes was.
- The size of a file is recorded apart from its bytes, before or after them: what is missing reads as zeros, or the
  file is shorter.
- Making, renaming and removing names is atomic, and happens in any choice that has what each one needs: nothing
  is renamed that was not made.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from itertools import groupby
from typing import Final, TypeAlias

SECTOR_BYTES: Final = 512


class Reach(Enum):
    """How much of one operation the disk got."""

    NOTHING = "nothing"
    FIRST_HALF = "first half"
    ALL_BUT_FIRST = "all but the first sector"
    WHOLE = "whole"


@dataclass(eq=False)
class File:
    """A file, with or without a name: what programs see, what is durable, and what lies between the two."""

    name: str
    """The name it was made by, for messages."""
    content: bytes | bytearray
    durable: bytes
    used_at: float
    durable_used_at: float
    is_linked: bool = True
    unsynced: "list[Write | Resize]" = field(default_factory=list)


@dataclass(frozen=True, eq=False)
class Write:
    """Whole sectors of a file, as programs saw them after a write."""

    order: int
    file: File
    start: int
    payload: bytes
    """Whole sectors: what lies beyond the end of the file is zero."""
    end: int
    """Of the part of the file that they hold: it is at least that long."""
    is_clean: bool = False
    """A sync of it failed. The system believes since then that it is on the disk, so that no sync will write it."""

    @property
    def reaches(self) -> tuple[Reach, ...]:
        return tuple(Reach) if len(self.payload) > SECTOR_BYTES else (Reach.NOTHING, Reach.WHOLE)

    def span(self, reach: Reach) -> tuple[int, int]:
        """The first byte in the file that reached the disk, and the one after the last."""
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
    """A file cut off, or made longer with zeros."""

    order: int
    file: File
    size: int

    reaches = (Reach.NOTHING, Reach.WHOLE)

    def covers(self, sector: int) -> bool:
        return sector >= self.size

    def __str__(self) -> str:
        return f"truncate of {self.file.name} to {self.size}"


Names: TypeAlias = dict[str, File | None]
"""Files by path; a folder is None, the root "" is one of them."""


@dataclass(frozen=True, eq=False)
class Make:
    """A new name: of a file, or a folder."""

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
    """A file's other name, which may have been that of another file."""

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
    """A name that is gone."""

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
    """What a file's sectors hold after operations on its durable content, and the size that belongs to them."""
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
    """The content cut off or filled up with zeros."""
    return bytes(memoryview(content)[:size]).ljust(size, b"\0")


def sync_data(file: File) -> None:
    """Makes a file durable, but for what the system wrongly believes to be so already."""
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
    """What a failed sync does: the writes stay where they are, and no later sync takes them along."""
    file.unsynced = [
        replace(operation, is_clean=True) if isinstance(operation, Write) else operation for operation in file.unsynced
    ]


def sync_names(durable: Names, unsynced: list[NameOperation], folder: str) -> list[NameOperation]:
    """Makes what happened in a folder durable; returns what is not.

    A renaming from folder to folder is one step, hence durable when either is synced. What it needs goes along.
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
    """The sectors of a lost write that no later write or truncation has brought to the disk."""
    end = min([lost.end, *(operation.size for operation in later if isinstance(operation, Resize))])
    sectors = range(lost.start, lost.start + len(lost.payload), SECTOR_BYTES)
    for is_replaced, run in groupby(sectors, lambda sector: any(operation.covers(sector) for operation in later)):
        if not is_replaced:
            run_sectors = list(run)
            start, after = run_sectors[0], run_sectors[-1] + SECTOR_BYTES
            payload = lost.payload[start - lost.start : after - lost.start]
            yield replace(lost, start=start, payload=payload, end=min(end, after))
