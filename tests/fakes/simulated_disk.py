"""A `Storage` in memory that knows what of it a power cut would leave.

Programs see one state, as from the page cache; what is durable is kept beside it, with every operation in between
(see `disk_operations` for the rules, `power_cuts` for the states that a cut leaves). Errors are those of
`DiskStorage`, with the same numbers; space and time are the test's to set. Links, other users' files and the
renaming of folders do not exist. The root is durable once made: no call could sync its name.

Reading is safe from several threads at once, the rest is for one thread at a time.
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
    """What is durable of one file at one moment, and how long programs saw it to be."""

    content: bytes
    used_at: float
    seen_size: int


@dataclass(frozen=True)
class Moment:
    """Everything that decides what a power cut leaves; shares its bytes with the disk."""

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
    """The kind of its lock, None without one."""


class SimulatedDisk:
    """A disk whose operations are known one by one.

    Args:
        contents: Files by path, folders as None; all durable. Empty: not even the root is there.
        used_at: When files were used, by path; `now` for those not named.
        now: The clock, in seconds since 1970, which only the test moves.
        capacity_bytes: Of all files together; writing more is short first and fails then (ENOSPC).

    Attributes:
        journal: Every change and sync in words, in order.
        marks: What `mark` was told.
        history: For a disk that a power cut left: what became of each operation that was not synced.
        on_change: Called after every entry of the journal and every mark.
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
        """Newest first, which nobody may rely on."""
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
        own.is_exclusive = None  # as flock does: a lock of the other kind is let go before the new one is asked for
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
        """What is left by a sync that failed: nothing is durable, yet the next sync has nothing to do."""
        file = self._opened(descriptor).file
        lose_data(file)
        self._note(f"failed sync {file.name}")

    def close_all(self) -> None:
        """What the system does when a program dies: files and locks are let go, and what was written stays."""
        self._open_files.clear()

    def mark(self, text: str) -> None:
        """Notes how far a script has come; a disk that a power cut leaves has the marks made before it."""
        self.marks = (*self.marks, text)
        if self.on_change is not None:
            self.on_change()

    def contents(self) -> dict[str, bytes | None]:
        """What programs see: files by path, folders as None, without the root."""
        return {path: None if file is None else bytes(file.content) for path, file in self._names.items() if path}

    def copy(self) -> "SimulatedDisk":
        """Another disk with all that programs see on this one, durable: as after shutting down properly."""
        used_at = {path: file.used_at for path, file in self._names.items() if file is not None}
        contents = self.contents() | ({"": None} if self._names else {})
        other = SimulatedDisk(contents, used_at, now=self.now, capacity_bytes=self.capacity_bytes)
        other.marks, other.history = self.marks, self.history
        return other

    def moment(self) -> Moment:
        """What a power cut now would have to start from."""
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
        # Never one that was closed, so that closing twice, or using a closed one, is found.
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
    # Copied at the first change only: most files of most disks that a power cut leaves are never changed.
    if isinstance(file.content, bytes):
        file.content = bytearray(file.content)
    return file.content


def _check_name(name: str) -> None:
    if name.count("/") >= _MOST_NAME_PARTS or (name and not all(name.split("/"))):
        raise ValueError(f"{name!r} is no name of a storage")


def _error(code: int, name: str | None = None) -> OSError:
    return OSError(code, os.strerror(code), name)
