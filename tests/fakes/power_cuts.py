"""Yields the states in which a power cut may leave a simulated disk.

Each operation that was not synced reaches the disk whole, not at all, or, for a write of more than one sector, torn.
All combinations are tried if there are at most `MOST_COMBINATIONS`. Else every subset of at most
`MOST_SUBSET_OPERATIONS` operations is tried. Of more operations, a sample of subsets is tried: none, all, the first
ones, the last ones, all but one, one alone, and `RANDOM_SUBSETS` random ones, the same in every run. In each of these
subsets the last write is torn in every way, and each write is torn with all others whole. Every combination comes with
three sizes of the files: as the writes on the disk made them, not grown yet, and grown already.
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
    """The recorded size of a file."""

    WITH_BYTES = "as the bytes"
    MISSING = "missing"
    EARLY = "before the bytes"


def crash_states(disk: SimulatedDisk) -> Iterator[SimulatedDisk]:
    """Yields every state that a power cut now may leave, each once.

    Yields:
        Independent disks on which everything is durable and nothing is open or locked. `history` tells the fate of
        each operation that was not synced. `marks` holds the marks that the disk has had so far.
    """
    yield from _states(disk.moment(), set(), _Contents())


def random_crash_state(moment: Moment, chance: random.Random) -> SimulatedDisk:
    """Returns a random one of the states that a power cut at a moment may leave.

    In half of the cases all operations but one reach the disk. If each operation were chosen independently, a state
    that looks almost whole would hardly ever occur.
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
    """Yields every state that a power cut may leave at any time of a script.

    A state that occurs twice comes once, unless the marks differ, because then the script's promises differ.

    Args:
        script: The script. It runs once, to its end, before the first state comes.
        start: The disk that the script finds, by default an empty one. It is not changed.
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
    """The description of a file's content, from which the content is made."""

    durable: bytes
    applied: _Applied
    size: int


class _Contents:
    """Makes contents of files and their digests, each only once, because moments of a script share most of them."""

    def __init__(self) -> None:
        self._sizes: dict[tuple[bytes, _Applied], int] = {}
        self._digests: dict[_Outcome, bytes] = {}
        # Only a few are kept, because files may be large.
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
