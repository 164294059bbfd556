"""The states in which a power cut may leave a simulated disk.

Which operations of those that were not synced reached the disk is chosen for each: not at all, whole, or, for writes
of more than a sector, torn. All combinations are tried while they are at most `MOST_COMBINATIONS`. Else every subset
of at most `MOST_SUBSET_OPERATIONS` operations is; of more, a sample: none, all, what came first, what came last, all
but one, one alone, and `RANDOM_SUBSETS` at random, the same in every run. The last write of each of these subsets is
torn in every way, and so is each write with all others whole. Every combination comes with three sizes of the
files: as the writes that are there made them, not grown, and grown already.
"""

import hashlib
import math
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from enum import Enum
from functools import lru_cache
from itertools import product
from typing import Final, NamedTuple, TypeAlias

from tests.fakes.disk_operations import (
    DataOperation,
    File,
    Names,
    Operation,
    Reach,
    Resize,
    Write,
    apply_data,
    folder_of,
    of_size,
)
from tests.fakes.simulated_disk import Moment, SimulatedDisk, Stored

MOST_COMBINATIONS: Final = 1024
MOST_SUBSET_OPERATIONS: Final = 10
RANDOM_SUBSETS: Final = 64

_Choice: TypeAlias = tuple[Reach, ...]


class _Growth(Enum):
    """Which size of a file was recorded."""

    WITH_BYTES = "as the bytes"
    MISSING = "missing"
    EARLY = "before the bytes"


def crash_states(disk: SimulatedDisk) -> Iterator[SimulatedDisk]:
    """Every state that a power cut now may leave, once.

    Yields:
        Disks of their own, with all durable, nothing open and nothing locked. `history` tells what became of the
        operations that were not synced, `marks` what the disk had been told until now.
    """
    yield from _states(disk.moment(), set(), _Contents())


def random_crash_state(moment: Moment, chance: random.Random) -> SimulatedDisk:
    """One of the states that a power cut at a moment may leave.

    In half of them all is there but for one operation: of many that are chosen for one by one, hardly ever so much is
    there that what remains looks whole.
    """
    choice = tuple([chance.choice(operation.reaches) for operation in moment.unsynced])
    if choice and chance.random() < 0.5:
        place = chance.randrange(len(choice))
        choice = tuple([each if at == place else Reach.WHOLE for at, each in enumerate(choice)])
    growth, contents, applied = chance.choice(list(_Growth)), _Contents(), _applied(moment, choice)
    names = _names_after(moment, choice)
    found = {
        path: None if file is None else contents.outcome(moment.stored[file], applied.get(file, ()), growth)
        for path, file in names.items()
    }
    return _state(moment, names, found, contents, _history(moment, choice, growth))


def every_crash_point(
    script: Callable[[SimulatedDisk], None], start: SimulatedDisk | None = None
) -> Iterator[SimulatedDisk]:
    """Every state that a power cut may leave at any time of a script.

    A state that is reached twice comes once, but for different marks: what a script has promised by then differs.

    Args:
        script: Runs once, to its end, before the first state comes.
        start: What the script finds; it is not changed. By default an empty disk.
    """
    disk = start.copy() if start is not None else SimulatedDisk()
    moments = [disk.moment()]
    disk.on_change = lambda: moments.append(disk.moment())
    script(disk)
    seen: set[bytes] = set()
    contents = _Contents()
    for moment in moments:
        yield from _states(moment, seen, contents)


def _states(moment: Moment, seen: set[bytes], contents: "_Contents") -> Iterator[SimulatedDisk]:
    for choice in _choices(moment.unsynced):
        applied = _applied(moment, choice)
        names = _names_after(moment, choice)
        for growth in _Growth:
            found = {
                path: None if file is None else contents.outcome(moment.stored[file], applied.get(file, ()), growth)
                for path, file in names.items()
            }
            digest = _digest(moment.marks, found, contents)
            if digest not in seen:
                seen.add(digest)
                yield _state(moment, names, found, contents, _history(moment, choice, growth))


def _applied(moment: Moment, choice: _Choice) -> "dict[File, _Applied]":
    applied: dict[File, _Applied] = {}
    for operation, reach in zip(moment.unsynced, choice, strict=True):
        if isinstance(operation, Write | Resize) and reach is not Reach.NOTHING:
            applied[operation.file] = (*applied.get(operation.file, ()), (operation, reach))
    return applied


def _names_after(moment: Moment, choice: _Choice) -> Names:
    names = dict(moment.names)
    for operation, reach in zip(moment.unsynced, choice, strict=True):
        if reach is Reach.WHOLE and not isinstance(operation, Write | Resize):
            operation.apply(names)
    return {path: file for path, file in names.items() if not path or folder_of(path) in names}


def _digest(marks: tuple[str, ...], found: "Mapping[str, _Outcome | None]", contents: "_Contents") -> bytes:
    parts: list[object] = [marks]
    for path in sorted(found):
        outcome = found[path]
        parts.append((path, None if outcome is None else contents.digest(outcome)))
    return hashlib.blake2b(repr(parts).encode(), digest_size=16).digest()


def _state(
    moment: Moment,
    names: Names,
    found: "Mapping[str, _Outcome | None]",
    contents: "_Contents",
    history: tuple[str, ...],
) -> SimulatedDisk:
    disk = SimulatedDisk(
        {path: None if outcome is None else contents.content(outcome) for path, outcome in found.items()},
        {path: moment.stored[file].used_at for path, file in names.items() if file is not None},
        now=moment.now,
        capacity_bytes=moment.capacity_bytes,
    )
    disk.marks = moment.marks
    disk.history = history
    return disk


def _history(moment: Moment, choice: _Choice, growth: _Growth) -> tuple[str, ...]:
    reached = [f"{operation}: {reach.value}" for operation, reach in zip(moment.unsynced, choice, strict=True)]
    return (*reached, f"growth of files: {growth.value}")


_Applied: TypeAlias = tuple[tuple[DataOperation, Reach], ...]


class _Outcome(NamedTuple):
    """A file's content, before it is made."""

    durable: bytes
    applied: _Applied
    size: int


class _Contents:
    """Makes files' contents, and their digests once only: moments of a script have most of them in common."""

    def __init__(self) -> None:
        self._sizes: dict[tuple[bytes, _Applied], int] = {}
        self._digests: dict[_Outcome, bytes] = {}
        # Few of them, for files may be large.
        self._apply = lru_cache(maxsize=16)(apply_data)

    def outcome(self, stored: Stored, applied: _Applied, growth: _Growth) -> _Outcome:
        key = stored.content, applied
        if key not in self._sizes:
            _, self._sizes[key] = self._apply(*key)
        size = self._sizes[key]
        if growth is _Growth.MISSING:
            size = min(size, len(stored.content))
        elif growth is _Growth.EARLY:
            size = max(size, stored.seen_size)
        return _Outcome(stored.content, applied, size)

    def digest(self, outcome: _Outcome) -> bytes:
        if outcome not in self._digests:
            self._digests[outcome] = hashlib.sha256(self.content(outcome)).digest()
        return self._digests[outcome]

    def content(self, outcome: _Outcome) -> bytes:
        if not outcome.applied and outcome.size == len(outcome.durable):
            return outcome.durable
        sectors, _ = self._apply(outcome.durable, outcome.applied)
        return of_size(sectors, outcome.size)


def _choices(operations: Sequence[Operation]) -> Iterator[_Choice]:
    reaches = [operation.reaches for operation in operations]
    if math.prod(len(kinds) for kinds in reaches) <= MOST_COMBINATIONS:
        yield from product(*reaches)
        return
    for subset in _subsets(len(operations)):
        choice = tuple([Reach.WHOLE if is_there else Reach.NOTHING for is_there in subset])
        yield choice
        torn = [place for place, is_there in enumerate(subset) if is_there and _is_tearable(operations[place])]
        if torn:
            yield from _tear(choice, torn[-1])
    for place, operation in enumerate(operations):
        if _is_tearable(operation):
            yield from _tear((Reach.WHOLE,) * len(operations), place)


def _subsets(count: int) -> Iterator[tuple[bool, ...]]:
    if count <= MOST_SUBSET_OPERATIONS:
        yield from product((False, True), repeat=count)
        return
    for border in range(count + 1):
        yield tuple([place < border for place in range(count)])
        yield tuple([place >= border for place in range(count)])
    for single in range(count):
        yield tuple([place == single for place in range(count)])
        yield tuple([place != single for place in range(count)])
    chance = random.Random(count)
    for _ in range(RANDOM_SUBSETS):
        yield tuple([chance.random() < 0.5 for _ in range(count)])


def _is_tearable(operation: Operation) -> bool:
    return Reach.FIRST_HALF in operation.reaches


def _tear(choice: _Choice, place: int) -> Iterator[_Choice]:
    for reach in (Reach.FIRST_HALF, Reach.ALL_BUT_FIRST):
        yield (*choice[:place], reach, *choice[place + 1 :])
