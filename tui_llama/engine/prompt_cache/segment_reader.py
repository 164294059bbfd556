"""Reads keys and values from the segments of a folder: locks files, checks them, and remembers which records are sound.

`segment_tree` cuts damaged segments back. A record is sound once this program has read it without an error, or has
written it. A commit alone says nothing of the keys and values before it, since a power cut may tear them.
"""

import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import Final, TypeAlias

from tui_llama.engine.prompt_cache.restore_points import first_needed
from tui_llama.engine.prompt_cache.segment_scan import read_kv, still_holds
from tui_llama.engine.prompt_cache.segment_tree import KnownSegment, PathPart, SegmentTree
from tui_llama.engine.state_file import PartPlace, RecordPlace
from tui_llama.engine.state_shape import KvArray, StateShape
from tui_llama.errors import StateFileError
from tui_llama.files.storage import Storage

_READERS: Final = 2
_FEW_BYTES: Final = 4 << 20  # are loaded before a second thread would have begun
_LOCK_SECONDS: Final = 1.0
_LOCK_STEP_SECONDS: Final = 0.005

Fill: TypeAlias = Callable[[int, int, KvArray], None]
"""Takes the keys and values of a group of layers at the positions from the second number on. In any thread."""


@dataclass(frozen=True, slots=True)
class _Job:
    """The positions `first` … `last` - 1 of a record that are to be loaded, of one group of layers."""

    known: KnownSegment
    descriptor: int
    place: RecordPlace
    group: int
    first: int
    last: int
    is_last_of_record: bool


class LockBudget:
    """The time that one call may wait for the locks of other programs, all of them together."""

    def __init__(self) -> None:
        self._deadline = time.monotonic() + _LOCK_SECONDS

    def wait(self) -> bool:
        """Waits for a moment; returns False once the time is used up."""
        if time.monotonic() > self._deadline:
            return False
        time.sleep(_LOCK_STEP_SECONDS)
        return True


class SegmentReader:
    """The keys and values of one folder's segments.

    Args:
        storage: Where the folder is.
        folder: Its name there.
        shape: The sizes of keys and values.
        tree: Its segments; is told which are damaged or changed.
    """

    def __init__(self, storage: Storage, folder: str, shape: StateShape, tree: SegmentTree) -> None:
        self._storage = storage
        self._folder = folder
        self._shape = shape
        self._tree = tree
        self._sound: dict[str, set[PartPlace | None]] = {}

    def load(self, path: list[PathPart], firsts: Sequence[int], fill: Fill, lock_budget: LockBudget) -> int:
        """Fills in keys and values of a path, of each group of layers those from a first position on.

        Returns:
            The position up to which all are right.
        """
        reached, damage = min(firsts), None
        with ExitStack() as opened:
            jobs = list(self._reading_jobs(path, firsts, opened, lock_budget))
            loads = opened.enter_context(closing(self._loads(fill, jobs)))
            for job in jobs:
                try:
                    next(loads)
                except (StateFileError, OSError) as error:
                    cause = str(error) if isinstance(error, StateFileError) else f"not readable ({error.strerror})"
                    damage = job, cause
                    break
                self._sound.setdefault(job.known.name, set()).add(job.place.parts[job.group])
                if job.is_last_of_record:
                    reached = job.last
            for descriptor in {job.descriptor for job in jobs}:
                with suppress(OSError):
                    self._storage.touch(descriptor)
        if damage is not None:
            job, cause = damage
            self._tree.cut_back(job.known, job.place.position, cause)
        return reached

    def _loads(self, fill: Fill, jobs: list[_Job]) -> Generator[None, None, None]:
        """Fills in one record for each step; a step raises the error of its record."""
        groups = self._shape.groups
        if sum(self._shape.group_bytes(groups[job.group]) * (job.last - job.first) for job in jobs) < _FEW_BYTES:
            for job in jobs:
                self._load_record(fill, job)
                yield
            return
        # Reading, summing, looking through and copying all release the interpreter.
        with ThreadPoolExecutor(_READERS) as readers:
            yield from readers.map(partial(self._load_record, fill), jobs)

    def _reading_jobs(
        self, path: list[PathPart], firsts: Sequence[int], opened: ExitStack, lock_budget: LockBudget
    ) -> Iterator[_Job]:
        """Yields the parts that hold the wanted positions, up to a file that cannot be read now."""
        for part in path:
            if part.last <= min(firsts):
                continue
            descriptor = opened.enter_context(self.locked(part.known, lock_budget))
            if descriptor is None:
                return
            for place in part.places:
                end = min(part.last, place.end_position)
                starts = [(group, max(first, part.first, place.position)) for group, first in enumerate(firsts)]
                wanted = [(group, start) for group, start in starts if start < end]
                for group, start in wanted:
                    yield _Job(part.known, descriptor, place, group, start, end, group == wanted[-1][0])

    def _load_record(self, fill: Fill, job: _Job) -> None:
        kv = read_kv(self._storage, job.descriptor, self._shape, job.place, job.group)
        fill(job.group, job.first, kv[:, job.first - job.place.position : job.last - job.place.position])

    def are_sound(self, path: list[PathPart], position: int, lock_budget: LockBudget) -> bool:
        """Tells whether all is sound that going on at a position needs; reads what it does not know of."""
        unread = [part for part in path if not self.is_sound(part, position)]
        if not unread:
            return True
        firsts = [first_needed(group, position) for group in self._shape.groups]
        return self.load(unread, firsts, lambda group, first, kv: None, lock_budget) == unread[-1].last

    def is_sound(self, part: PathPart, position: int) -> bool:
        """Tells whether this program has read or written all of a part that going on at a position needs."""
        needed = {
            place.parts[index]
            for index, group in enumerate(self._shape.groups)
            for place in part.places
            if min(part.last, place.end_position) > first_needed(group, position)
        }
        return needed <= self._sound.get(part.known.name, set())

    def note_sound(self, name: str, places: Iterable[RecordPlace]) -> None:
        """Notes that these records of a file are sound, and no others."""
        self._sound[name] = {part for place in places for part in place.parts}

    @contextmanager
    def locked(self, known: KnownSegment, lock_budget: LockBudget, *, to_append: bool = False) -> Iterator[int | None]:
        """Opens a segment with a lock, exclusive to append; yields None where its file has changed or is in use."""
        try:
            descriptor = self._storage.open(f"{self._folder}/{known.name}", writable=to_append)
        except OSError:
            self._tree.forget(known.name)
            yield None
            return
        try:
            is_ours = False
            with suppress(OSError):
                is_ours = self._is_locked(descriptor, lock_budget, exclusive=to_append) and self._is_known(
                    descriptor, known, is_all=to_append
                )
            if not is_ours:
                self._tree.look_at(known.name)
            yield descriptor if is_ours else None
        finally:
            with suppress(OSError):  # all that must be on the disk was synced before
                self._storage.close(descriptor)

    def _is_locked(self, descriptor: int, lock_budget: LockBudget, *, exclusive: bool) -> bool:
        """Locks a file; waits where another program has locked it."""
        while not self._storage.lock(descriptor, exclusive=exclusive):
            if not lock_budget.wait():
                return False
        return True

    def _is_known(self, descriptor: int, known: KnownSegment, *, is_all: bool) -> bool:
        """Tells whether a file, or its beginning, is still as the tree knows it."""
        is_as_long = not is_all or self._storage.size(descriptor) == known.file_bytes
        return (
            is_as_long and self._storage.is_linked(descriptor) and still_holds(self._storage, descriptor, known.segment)
        )
