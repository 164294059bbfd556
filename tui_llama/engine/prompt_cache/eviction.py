"""Measures what the prompt cache takes on disk, and evicts: for all models, without loading one.

Eviction begins at the leaves: the least recently used segment loses its last turn, then the one before, so that a
shared prefix outlives what follows it. Files that nobody can use go first. A file that another program is reading or
writing at the moment stays.
"""

import heapq
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Final, TypeAlias

import numpy as np

from tui_llama.engine.prompt_cache.cache_files import PART_SUFFIX, carries_mark, is_leftover, own_files, own_folders
from tui_llama.engine.prompt_cache.segment_scan import read_kv
from tui_llama.engine.prompt_cache.segment_tree import KnownSegment, SegmentTree
from tui_llama.engine.prompt_cache.segment_writer import append, begin_segment, cut
from tui_llama.engine.state_shape import KvArray
from tui_llama.errors import StateFileError
from tui_llama.files.storage import Storage

KEPT_FREE_BYTES: Final = 512 << 20
"""The cache leaves so many bytes of a disk free."""

_MOST_LOCKED: Final = 64  # files at once, of the few hundred that a process may have open
_MARK_BYTES: Final = 64
_Place: TypeAlias = tuple[float, str, str]
"""The time at which a segment was last used, its folder and its name: the cache evicts the smallest first."""
_LockedPlace: TypeAlias = tuple[str, str, int]
"""A segment's folder, its name and its descriptor."""

NOBODY: Final = bytes(16)
"""The owner under which files are listed that nobody can use."""

_MOST_DEFAULT_BYTES: Final = 10 << 30
_SPARE_PART: Final = 10  # a tenth of the budget is freed beyond what is needed, so that it need not be every turn


@dataclass(frozen=True, slots=True)
class CacheUse:
    """The bytes, tokens and files of one owner's segments."""

    owner: bytes
    bytes: int
    tokens: int
    segments: int
    used_at: float


def default_budget_bytes(storage: Storage) -> int:
    """Returns the default budget of all files: 10 GiB, or, if less, a tenth of what is free without them."""
    return min(_MOST_DEFAULT_BYTES, (storage.free_bytes()[0] + used_bytes(storage)) // 10)


def used_bytes(storage: Storage) -> int:
    """Returns the bytes of all files.

    Raises:
        OSError: as the storage says.
    """
    return sum(size for _, _, size in _files(storage))


def folder_bytes(storage: Storage) -> dict[str, int]:
    """Returns the bytes of each folder, that is, of each model in one configuration.

    Raises:
        OSError: as the storage says.
    """
    sizes: dict[str, int] = defaultdict(int)
    for folder, _, size in _files(storage):
        sizes[folder] += size
    return dict(sizes)


def cache_uses(storage: Storage) -> list[CacheUse]:
    """Returns what each owner's segments take, the last used first; files that nobody can use count for `NOBODY`.

    Raises:
        OSError: as the storage says.
    """
    uses: dict[bytes, list[CacheUse]] = defaultdict(list)
    sizes = {(folder, name): size for folder, name, size in _files(storage)}
    for folder in own_folders(storage):
        tree = _tree(storage, folder)
        for path in tree.paths():
            known = path[-1]
            size = sizes.pop((folder, known.name), known.file_bytes)
            uses[known.owner].append(CacheUse(known.owner, size, known.segment.end - known.first, 1, known.used_at))
    rest = sum(sizes.values())
    if rest:
        uses[NOBODY].append(CacheUse(NOBODY, rest, 0, len(sizes), 0.0))
    summed = [
        CacheUse(
            owner, sum(use.bytes for use in parts), sum(use.tokens for use in parts),
            sum(use.segments for use in parts), max(use.used_at for use in parts),
        )
        for owner, parts in uses.items()
    ]  # fmt: skip
    return sorted(summed, key=lambda use: -use.used_at)


def make_room(storage: Storage, needed_bytes: int, budget_bytes: int, pinned: Mapping[tuple[str, str], int]) -> bool:
    """Evicts as much as it takes for `needed_bytes` more to fit; returns whether they do.

    Args:
        storage: Where all folders are.
        needed_bytes: Bytes that are to be written.
        budget_bytes: The most that all files together may take then.
        pinned: Files, by folder and name, and the position up to which their tokens must stay.

    Raises:
        OSError: as the storage says.
    """
    used, (free, _) = used_bytes(storage), storage.free_bytes()
    excess = max(used + needed_bytes - budget_bytes, needed_bytes + KEPT_FREE_BYTES - free)
    if excess <= 0:
        return True
    eviction = _Eviction(storage, pinned)
    eviction.free(excess + budget_bytes // _SPARE_PART)
    return eviction.freed_bytes >= excess


def remove_owner(storage: Storage, owner: bytes) -> None:
    """Removes an owner's segments, except the tokens that segments of other owners go on from.

    Such tokens are removed too if they are damaged. Files that nobody can use go as well: they may be the owner's.

    Raises:
        OSError: as the storage says, once everything is removed that can be.
    """
    errors: list[OSError] = []
    for folder in own_folders(storage):
        tree = _tree(storage, folder)
        for path in list(tree.paths()):
            if path[-1].owner != owner:
                continue
            try:
                # Paths come children first, so the owner's own children are gone by now.
                if tree.children(path[-1]):
                    _shorten(storage, folder, tree, path)
                else:
                    storage.unlink(f"{folder}/{path[-1].name}")
                    tree.forget(path[-1].name)
            except FileNotFoundError:
                tree.forget(path[-1].name)
            except OSError as error:
                errors.append(error)
        try:
            _remove_unusable(storage, folder, tree)
            storage.sync_folder(folder)
        except OSError as error:
            errors.append(error)
    if errors:
        raise errors[0]


def clear(storage: Storage) -> None:
    """Removes everything.

    Raises:
        OSError: as the storage says.
    """
    for folder, name, _ in list(_files(storage)):
        if carries_mark(storage, f"{folder}/{name}"):
            with suppress(FileNotFoundError):
                storage.unlink(f"{folder}/{name}")


def _shorten(storage: Storage, folder: str, tree: SegmentTree, path: list[KnownSegment]) -> None:
    """Rewrites a segment with only the tokens that others go on from, as one of theirs; removes a damaged one."""
    known = path[-1]
    heir = max(tree.children(known), key=lambda each: each.first)
    name, part = f"{folder}/{known.name}", f"{folder}/{known.name}{PART_SUFFIX}"
    with suppress(FileNotFoundError):
        storage.unlink(part)
    source, target = storage.open(name), storage.create(part)
    try:
        storage.lock(target, exclusive=True)  # tells others that a program is writing it
        storage.lock(source, exclusive=False)  # keeps others from cutting it; appending does no harm
        _copy_beginning(storage, (source, target), path, heir)
        if storage.size(target) == storage.size(source):
            # Other programs see by its size that a file has changed. Bytes after the last commit are ignored.
            storage.write(target, memoryview(bytes(_MARK_BYTES)), storage.size(target))
        storage.rename(part, name)
    except StateFileError:
        storage.unlink(part)
        storage.unlink(name)
    except BaseException:
        with suppress(OSError):
            storage.unlink(part)
        raise
    finally:
        storage.close(source)
        storage.close(target)
    tree.look_at(known.name)


def _copy_beginning(
    storage: Storage, descriptors: tuple[int, int], path: list[KnownSegment], heir: KnownSegment
) -> None:
    """Copies the tokens of a segment that come before its heir, from one file to another."""
    source, target = descriptors
    known = path[-1]

    def kv_of(group: int, first: int, last: int) -> KvArray | None:
        parts = []
        for place in known.segment.records:
            start, end = max(first, place.position), min(last, place.end_position)
            if start < end:
                if place.parts[group] is None:
                    return None
                kv = read_kv(storage, source, known.segment.header.shape, place, group)
                parts.append(kv[:, start - place.position : end - place.position])
        return _joined(parts)

    chain = known.segment.header.fingerprint.chain
    for ancestor, child in pairwise(path):
        chain = chain.extended(ancestor.segment.token_ids[: child.first - ancestor.first])
    segment = begin_segment(storage, target, replace(known.segment.header, owner=heir.owner))
    kept = known.segment.token_ids[: heir.first - known.first]
    append(storage, target, segment, chain, kept, kv_of, [place.position for place in known.segment.records])


def _joined(parts: list[KvArray]) -> KvArray:
    """Returns keys and values of consecutive tokens as one array."""
    joined: KvArray = np.concatenate([part.view(np.uint8) for part in parts], axis=1).view(parts[0].dtype)
    return joined


class _Eviction:
    """Frees bytes, the least recently used first; leaves files alone that another program is reading or writing."""

    def __init__(self, storage: Storage, pinned: Mapping[tuple[str, str], int]) -> None:
        self._storage = storage
        self._pinned = pinned
        self._trees = {folder: _tree(storage, folder) for folder in own_folders(storage)}
        self.freed_bytes = 0

    def free(self, wanted_bytes: int) -> None:
        """Evicts until so many bytes are freed, or nothing is left that may go."""
        for folder, tree in self._trees.items():
            self.freed_bytes += _remove_unusable(self._storage, folder, tree)
        queue = [(known.used_at, folder, known.name) for folder, tree in self._trees.items() for known in tree]
        heapq.heapify(queue)
        while queue and self.freed_bytes < wanted_bytes:
            with ExitStack() as locks:
                parents = self._shrink(self._next_locked(queue, wanted_bytes - self.freed_bytes, locks), wanted_bytes)
            for folder, parent in parents:
                heapq.heappush(queue, (parent.used_at, folder, parent.name))

    def _next_locked(self, queue: "list[_Place]", wanted_bytes: int, locks: ExitStack) -> "list[_LockedPlace]":
        """Takes segments from the queue and locks them, until together they can give so many bytes."""
        places: list[_LockedPlace] = []
        while queue and wanted_bytes > 0 and len(places) < _MOST_LOCKED:
            _, folder, name = heapq.heappop(queue)
            known = self._trees[folder].get(name)
            if known is None or (kept_bytes := self._kept_bytes(folder, known, 0)) >= known.file_bytes:
                continue
            descriptor = locks.enter_context(_locked(self._storage, f"{folder}/{name}"))
            if descriptor is not None:
                places.append((folder, name, descriptor))
                wanted_bytes -= known.file_bytes - kept_bytes
        return places

    def _shrink(self, places: "list[_LockedPlace]", wanted_bytes: int) -> list[tuple[str, KnownSegment]]:
        """Cuts turns off segments until so many bytes are freed in all; returns the parents of removed ones."""
        for folder in {folder for folder, _, _ in places}:
            self._trees[folder].refresh()  # other programs may have begun children since
        parents = []
        for folder, name, descriptor in places:
            tree = self._trees[folder]
            known = tree.get(name)
            if known is None or self.freed_bytes >= wanted_bytes:
                continue
            size = self._storage.size(descriptor)
            kept_bytes = self._kept_bytes(folder, known, size - (wanted_bytes - self.freed_bytes))
            if kept_bytes == 0:
                self._storage.unlink(f"{folder}/{name}")
                tree.forget(name)
                parent = tree.parent(known)
                parents += [] if parent is None else [(folder, parent)]
            elif kept_bytes < size:
                cut(self._storage, descriptor, kept_bytes)
                self._storage.touch(descriptor, known.used_at)
            self.freed_bytes += max(0, size - kept_bytes)
        return parents

    def _kept_bytes(self, folder: str, known: KnownSegment, wanted_bytes: int) -> int:
        """Returns the bytes to keep of a segment: whole turns, at most `wanted_bytes`, but at least what must stay."""
        tree, pinned_until = self._trees[folder], self._pinned.get((folder, known.name), 0)
        needed_until, possible = max(tree.kept_until(known), pinned_until), [0]
        if needed_until > known.first or tree.children(known):
            needed_until, possible = min(needed_until, known.segment.end), []
        possible += [commit.offset for commit in known.segment.commits if commit.position >= needed_until]
        return max((size for size in possible if size <= wanted_bytes), default=possible[0])


def _remove_unusable(storage: Storage, folder: str, tree: SegmentTree) -> int:
    """Removes files that nobody can use any more; returns their bytes."""
    freed = 0
    orphans = {known.name for known in tree.orphans()}
    for name, status in own_files(storage, folder).items():
        if name in orphans or (is_leftover(name) and carries_mark(storage, f"{folder}/{name}")):
            tree.forget(name)
            with suppress(FileNotFoundError), _locked(storage, f"{folder}/{name}") as descriptor:
                if descriptor is not None:
                    storage.unlink(f"{folder}/{name}")
                    freed += status.size_bytes
    return freed


@contextmanager
def _locked(storage: Storage, name: str) -> Iterator[int | None]:
    """Opens a file with an exclusive lock; yields None where another program has it, or it has lost this name."""
    try:
        descriptor = storage.open(name, writable=True)
    except OSError:
        yield None
        return
    try:
        is_ours = storage.lock(descriptor, exclusive=True) and storage.is_linked(descriptor)
        yield descriptor if is_ours else None
    finally:
        storage.close(descriptor)


def _tree(storage: Storage, folder: str) -> SegmentTree:
    tree = SegmentTree(storage, folder)
    tree.refresh()
    return tree


def _files(storage: Storage) -> Iterator[tuple[str, str, int]]:
    """Yields every file: its folder, its name and its bytes."""
    for folder in own_folders(storage):
        for name, status in sorted(own_files(storage, folder).items()):
            yield folder, name, status.size_bytes
