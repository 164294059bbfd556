"""A `Storage` in memory that knows the states in which a power cut could leave it.

Programs see one state, as through the page cache. The disk also keeps the durable state and every operation between
the two (see `disk_operations` for the rules, and `power_cuts` for the states after a cut). Errors have the same
numbers as those of `DiskStorage`. A test sets space and time. There are no links, no files of other users and no
renaming of folders. The root is durable as soon as it is made, because no call could sync its name.

Several threads may read at the same time. All other calls are for one thread at a time.
"""

import errno
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from tests.fakes.disk_operations import (
    SECTOR_BYTES,
    File,
    Make,
    NameOperation,
    Names,
    Operation,
    Remove,
    Rename,
    Resize,
    Write,
    folder_of,
    lose_data,
    sync_data,
    sync_names,
)
from tui_llama.files.storage import FileStatus

_FIRST_DESCRIPTOR = 1000
_MOST_NAME_PARTS = 2


@dataclass(frozen=True)
class Stored:
    """The durable content of one file at one moment, and its length as programs saw it."""

    content: bytes
    used_at: float
    seen_size: int


@dataclass(frozen=True)
class Moment:
    """Everything that decides the state after a power cut. Shares its bytes with the disk."""

    names: Names
    unsynced: tuple[Operation, ...]
    stored: Mapping[File, Stored]
    marks: tuple[str, ...]
    now: float
    capacity_bytes: int


@dataclass(eq=False)
class _OpenFile:
    file: File
    is_writable: bool
    is_exclusive: bool | None = None
    """The kind of its lock; None without a lock."""


class SimulatedDisk:
    """A disk that records its operations one by one.

    Args:
        contents: The files by path, with None for folders, all durable. If it is empty, there is not even the root.
        used_at: The times at which files were used, by path; `now` for the others.
        now: The clock, in seconds since 1970, which only the test moves.
        capacity_bytes: The capacity for all files together. A write beyond it is short first, and then fails (ENOSPC).

    Attributes:
        journal: Every change and sync in words, in order.
        marks: The texts that `mark` was given.
        history: The fate of each operation that was not synced, for a disk after a power cut.
        on_change: Is called after every entry of the journal and every mark.
    """

    def __init__(
        self,
        contents: Mapping[str, bytes | None] | None = None,
        used_at: Mapping[str, float] | None = None,
        *,
        now: float = 1e9,
        capacity_bytes: int = 1 << 40,
    ) -> None:
        self.now = now
        self.capacity_bytes = capacity_bytes
        self.journal: list[str] = []
        self.marks: tuple[str, ...] = ()
        self.history: tuple[str, ...] = ()
        self.on_change: Callable[[], None] | None = None
        self._names: Names = {}
        for path, content in (contents or {}).items():
            time = (used_at or {}).get(path, now)
            self._names[path] = None if content is None else File(path, content, content, time, time)
        if self._names:
            self._names[""] = None
        self._durable_names = dict(self._names)
        self._unsynced_names: list[NameOperation] = []
        self._open_files: dict[int, _OpenFile] = {}
        self._last_descriptor = _FIRST_DESCRIPTOR
        self._last_order = 0

    # The protocol

    def make_folder(self, name: str) -> None:
        _check_name(name)
        if name in self._names:
            if self._names[name] is not None:
                raise _error(errno.ENOTDIR, name)
            return
        if name:
            self.make_folder(folder_of(name))
        else:
            self._durable_names[""] = None
        self._names[name] = None
        if name:
            self._unsynced_names.append(Make(self._next_order(), name, None))
        self._note(f"make folder {name!r}")

    def list_folder(self, name: str) -> list[str]:
        """Returns the names, newest first. Nobody may rely on that order."""
        _check_name(name)
        if self._names.get(name, self) is not None:
            return []
        return [path.rpartition("/")[2] for path in reversed(self._names) if path and folder_of(path) == name]

    def files(self, name: str) -> dict[str, FileStatus]:
        prefix = f"{name}/" if name else ""
        files = {each: self._names[prefix + each] for each in self.list_folder(name)}
        return {each: FileStatus(len(file.content), file.used_at) for each, file in files.items() if file is not None}

    def create(self, name: str) -> int:
        self._check_folder_of(name)
        if name in self._names:
            raise _error(errno.EEXIST, name)
        file = File(name, b"", b"", self.now, self.now)
        self._names[name] = file
        self._unsynced_names.append(Make(self._next_order(), name, file))
        descriptor = self._new_descriptor(file, is_writable=True)
        self._note(f"create {name}")
        return descriptor

    def open(self, name: str, *, writable: bool = False) -> int:
        file = self._look_up(name)
        if file is None:
            raise _error(errno.EISDIR if writable else errno.EACCES, name)
        return self._new_descriptor(file, writable)

    def close(self, descriptor: int) -> None:
        self._opened(descriptor)
        del self._open_files[descriptor]

    def size(self, descriptor: int) -> int:
        return len(self._opened(descriptor).file.content)

    def used_at(self, descriptor: int) -> float:
        return self._opened(descriptor).file.used_at

    def is_linked(self, descriptor: int) -> bool:
        return self._opened(descriptor).file.is_linked

    def read(self, descriptor: int, out: memoryview, offset: int) -> int:
        content = self._opened(descriptor).file.content
        if offset < 0:
            raise _error(errno.EINVAL)
        piece = content[offset : offset + out.nbytes]
        if piece:
            out.cast("B")[: len(piece)] = piece
        return len(piece)

    def write(self, descriptor: int, content: memoryview, offset: int) -> int:
        if offset < 0:
            raise _error(errno.EINVAL)
        file = self._opened_to_write(descriptor, errno.EBADF)
        added = bytes(content)
        missing_bytes = offset + len(added) - len(file.content) - self.free_bytes()[0]
        if added and missing_bytes > 0:
            added = added[: max(0, len(added) - missing_bytes)]
            if not added:
                raise _error(errno.ENOSPC)
        if not added:
            return 0
        end = offset + len(added)
        seen = _changeable(file)
        seen.extend(bytes(max(0, offset - len(seen))))
        seen[offset:end] = added
        file.used_at = self.now
        start, after = offset // SECTOR_BYTES * SECTOR_BYTES, -(-end // SECTOR_BYTES) * SECTOR_BYTES
        payload = bytes(seen[start:after]).ljust(after - start, b"\0")
        file.unsynced.append(Write(self._next_order(), file, start, payload, min(after, len(seen))))
        self._note(f"write {file.name} {offset}+{len(added)}")
        return len(added)

    def truncate(self, descriptor: int, size: int) -> None:
        if size < 0:
            raise _error(errno.EINVAL)
        file = self._opened_to_write(descriptor, errno.EINVAL)
        if size - len(file.content) > self.free_bytes()[0]:
            raise _error(errno.ENOSPC)
        seen = _changeable(file)
        del seen[size:]
        seen.extend(bytes(size - len(seen)))
        file.used_at = self.now
        file.unsynced.append(Resize(self._next_order(), file, size))
        self._note(f"truncate {file.name} {size}")

    def sync(self, descriptor: int) -> None:
        file = self._opened(descriptor).file
        sync_data(file)
        self._note(f"sync {file.name}")

    def rename(self, name: str, new_name: str) -> None:
        self._check_folder_of(name)
        self._check_folder_of(new_name)
        file = self._look_up(name)
        if new_name == folder_of(name):
            raise _error(errno.ENOTEMPTY, name)
        if file is None or self._names.get(new_name, file) is None:
            raise _error(errno.EISDIR, name)
        if name == new_name:
            return
        replaced = self._names.pop(new_name, None)
        if replaced is not None:
            replaced.is_linked = False
        self._names[new_name] = self._names.pop(name)
        self._unsynced_names.append(Rename(self._next_order(), name, new_name, file))
        self._note(f"rename {name} {new_name}")

    def unlink(self, name: str) -> None:
        file = self._look_up(name)
        if file is None:
            raise _error(errno.EISDIR, name)
        del self._names[name]
        file.is_linked = False
        self._unsynced_names.append(Remove(self._next_order(), name, file))
        self._note(f"unlink {name}")

    def sync_folder(self, name: str) -> None:
        if self._look_up(name) is not None:
            raise _error(errno.ENOTDIR, name)
        self._unsynced_names = sync_names(self._durable_names, self._unsynced_names, name)
        self._note(f"sync folder {name!r}")

    def lock(self, descriptor: int, *, exclusive: bool) -> bool:
        own = self._opened(descriptor)
        if own.is_exclusive is exclusive:
            return True
        own.is_exclusive = None  # as flock does: it releases a lock of the other kind before it asks for the new one
        for other in self._open_files.values():
            if other.file is own.file and other.is_exclusive is not None and (exclusive or other.is_exclusive):
                return False
        own.is_exclusive = exclusive
        return True

    def touch(self, descriptor: int, seconds: float | None = None) -> None:
        self._opened(descriptor).file.used_at = self.now if seconds is None else seconds

    def free_bytes(self) -> tuple[int, int]:
        files = {file for file in self._names.values() if file is not None}
        files.update(open_file.file for open_file in self._open_files.values())
        return max(0, self.capacity_bytes - sum(len(file.content) for file in files)), self.capacity_bytes

    # What only tests call

    def fail_sync(self, descriptor: int) -> None:
        """Does what a failed sync does: nothing becomes durable, but the next sync has nothing to do."""
        file = self._opened(descriptor).file
        lose_data(file)
        self._note(f"failed sync {file.name}")

    def close_all(self) -> None:
        """Does what the system does when a program dies: closes files and releases locks. Written bytes stay."""
        self._open_files.clear()

    @property
    def has_open_files(self) -> bool:
        """Whether a program has not closed every file that it has opened."""
        return bool(self._open_files)

    def mark(self, text: str) -> None:
        """Records the progress of a script. A disk after a power cut has the marks that were made before the cut."""
        self.marks = (*self.marks, text)
        if self.on_change is not None:
            self.on_change()

    def contents(self) -> dict[str, bytes | None]:
        """Returns the files that programs see, by path, with None for folders, without the root."""
        return {path: None if file is None else bytes(file.content) for path, file in self._names.items() if path}

    def copy(self) -> "SimulatedDisk":
        """Returns another disk on which everything that programs see here is durable, as after a clean shutdown."""
        used_at = {path: file.used_at for path, file in self._names.items() if file is not None}
        contents = self.contents() | ({"": None} if self._names else {})
        other = SimulatedDisk(contents, used_at, now=self.now, capacity_bytes=self.capacity_bytes)
        other.marks, other.history = self.marks, self.history
        return other

    def moment(self) -> Moment:
        """Returns the data from which the states after a power cut now can be made."""
        unsynced: list[Operation] = list(self._unsynced_names)
        files = {file for file in self._durable_names.values() if file is not None}
        files.update(operation.file for operation in self._unsynced_names if operation.file is not None)
        for file in files:
            unsynced.extend(file.unsynced)
        unsynced.sort(key=lambda operation: operation.order)
        stored = {file: Stored(file.durable, file.durable_used_at, len(file.content)) for file in files}
        return Moment(dict(self._durable_names), tuple(unsynced), stored, self.marks, self.now, self.capacity_bytes)

    def _look_up(self, name: str) -> File | None:
        self._check_folder_of(name)
        if name not in self._names:
            raise _error(errno.ENOENT, name)
        return self._names[name]

    def _check_folder_of(self, name: str) -> None:
        _check_name(name)
        folder = folder_of(name)
        if not name or self._names.get(folder, self) is None:
            return
        raise _error(errno.ENOTDIR if folder in self._names else errno.ENOENT, name)

    def _new_descriptor(self, file: File, is_writable: bool) -> int:
        # Never a descriptor that was closed, so that closing twice, or using a closed one, is found.
        self._last_descriptor += 1
        self._open_files[self._last_descriptor] = _OpenFile(file, is_writable)
        return self._last_descriptor

    def _opened(self, descriptor: int) -> _OpenFile:
        if descriptor not in self._open_files:
            raise _error(errno.EBADF)
        return self._open_files[descriptor]

    def _opened_to_write(self, descriptor: int, refusal: int) -> File:
        open_file = self._opened(descriptor)
        if not open_file.is_writable:
            raise _error(refusal)
        return open_file.file

    def _next_order(self) -> int:
        self._last_order += 1
        return self._last_order

    def _note(self, text: str) -> None:
        self.journal.append(text)
        if self.on_change is not None:
            self.on_change()


def _changeable(file: File) -> bytearray:
    # Copied only at the first change, because most files on most disks after a power cut are never changed.
    if isinstance(file.content, bytes):
        file.content = bytearray(file.content)
    return file.content


def _check_name(name: str) -> None:
    if name.count("/") >= _MOST_NAME_PARTS or (name and not all(name.split("/"))):
        raise ValueError(f"{name!r} is no name of a storage")


def _error(code: int, name: str | None = None) -> OSError:
    return OSError(code, os.strerror(code), name)
