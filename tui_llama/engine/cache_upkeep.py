"""What the prompt cache takes on disk, and how it is made to take less: for all models, without one being loaded.

Room is made from the leaves: what was longest not used loses its last turn, then the one before, so that a beginning
that others share outlives what follows it. Files that nobody can use go first. Whatever somebody else is reading or
writing at the moment is left alone.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Final

from tui_llama.engine.segment_tree import DAMAGED_SUFFIX, PART_SUFFIX, SUFFIX, Known, SegmentTree
from tui_llama.engine.state_file import Commit, Rows, append, begin_segment, cut, read_rows
from tui_llama.engine.storage import Storage
from tui_llama.engine.token_chain import TokenChain
from tui_llama.errors import StateFileError

KEPT_FREE_BYTES: Final = 512 << 20
"""The cache does not take a disk's last bytes."""

_MOST_DEFAULT_BYTES: Final = 10 << 30
_SPARE_PART: Final = 10  # a tenth of the budget is freed beyond what is needed, so that it need not be every turn


@dataclass(frozen=True, slots=True)
class CacheUse:
    """What one owner's segments take: bytes, tokens and files."""

    owner: bytes
    bytes: int
    tokens: int
    segments: int
    used_at: float


def default_budget_bytes(storage: Storage) -> int:
    """What all files may take where nobody says otherwise: 10 GiB, or a tenth of what is free without them."""
    return min(_MOST_DEFAULT_BYTES, (storage.free_bytes()[0] + used_bytes(storage)) // 10)


def used_bytes(storage: Storage) -> int:
    """Bytes of all files.

    Raises:
        OSError: as the storage says.
    """
    return sum(size for _, _, size in _files(storage))


def cache_uses(storage: Storage) -> list[CacheUse]:
    """What each owner's segments take, the last used first. What nobody can use counts for the owner of 16 zeros."""
    uses: dict[bytes, list[CacheUse]] = defaultdict(list)
    sizes = {(folder, name): size for folder, name, size in _files(storage)}
    for folder in _folders(storage):
        for known in _tree(storage, folder):
            size = sizes.pop((folder, known.name), known.segment.size)
            header = known.segment.header
            tokens = known.segment.end - header.first_position
            uses[header.owner].append(CacheUse(header.owner, size, tokens, 1, known.used_at))
    rest = sum(sizes.values())
    if rest:
        uses[bytes(16)].append(CacheUse(bytes(16), rest, 0, len(sizes), 0.0))
    summed = [
        CacheUse(
            owner, sum(use.bytes for use in parts), sum(use.tokens for use in parts),
            sum(use.segments for use in parts), max(use.used_at for use in parts),
        )
        for owner, parts in uses.items()
    ]  # fmt: skip
    return sorted(summed, key=lambda use: -use.used_at)


def make_room(storage: Storage, needed_bytes: int, budget_bytes: int, pinned: Mapping[tuple[str, str], int]) -> bool:
    """Removes as much as it takes for `needed_bytes` more to fit; returns whether they do.

    Args:
        storage: Where all folders are.
        needed_bytes: What is to be written.
        budget_bytes: The most that all files together may take then.
        pinned: Of which files, by folder and name, the tokens up to which position must stay.

    Raises:
        OSError: as the storage says.
    """
    used, (free, _) = used_bytes(storage), storage.free_bytes()
    excess = max(used + needed_bytes - budget_bytes, needed_bytes + KEPT_FREE_BYTES - free)
    if excess <= 0:
        return True
    aim, freed = excess + budget_bytes // _SPARE_PART, 0
    for size in _removals(storage, pinned):
        freed += size
        if freed >= aim:
            break
    return freed >= excess


def remove_owner(storage: Storage, owner: bytes) -> None:
    """Removes all that belongs to an owner, but for what the segments of others go on from.

    Raises:
        OSError: as the storage says.
        StateFileError: what others go on from is damaged; it was removed too.
    """
    for folder in _folders(storage):
        tree = _tree(storage, folder)
        owned = [known for known in tree if known.segment.header.owner == owner]
        # Children begin behind what their parents begin with, or at the same place and then are looked at twice.
        for _ in range(len(owned)):
            for known in [each for each in owned if tree.kept_until(each) == each.first and not _has_child(tree, each)]:
                storage.unlink(f"{folder}/{known.name}")
                tree.forget(known.name)
                owned.remove(known)
        for known in owned:
            _shorten(storage, folder, tree, known)
        if storage.list_folder(folder):
            storage.sync_folder(folder)


def clear(storage: Storage) -> None:
    """Removes everything.

    Raises:
        OSError: as the storage says.
    """
    for folder, name, _ in list(_files(storage)):
        with suppress(FileNotFoundError):
            storage.unlink(f"{folder}/{name}")


def _has_child(tree: SegmentTree, known: Known) -> bool:
    return any(other.segment.header.parent_id == known.segment_id for other in tree)


def _shorten(storage: Storage, folder: str, tree: SegmentTree, known: Known) -> None:
    """Writes a segment anew with only what others go on from, as one of theirs."""
    children = [each for each in tree if each.segment.header.parent_id == known.segment_id]
    heir = max(children, key=lambda each: each.first)
    header = replace(known.segment.header, owner=heir.segment.header.owner)
    part = f"{folder}/{known.name}{PART_SUFFIX}"
    with suppress(FileNotFoundError):
        storage.unlink(part)
    source, target = storage.open(f"{folder}/{known.name}"), storage.create(part)
    try:
        storage.lock(source, exclusive=False)

        def rows_of(first: int, last: int) -> Rows:
            place = next(
                each for each in known.segment.records if each.position <= first < each.position + each.token_count
            )
            rows = read_rows(storage, source, header.shape, place)
            return rows[:, :, first - place.position : last - place.position].copy()

        segment = begin_segment(storage, target, header)
        token_ids = known.segment.token_ids[: heir.first - known.first]
        append(storage, target, segment, _chain_before(tree, known), token_ids, rows_of)
        storage.rename(part, f"{folder}/{known.name}")
    except (OSError, StateFileError):
        for name in (part, f"{folder}/{known.name}"):
            with suppress(OSError):
                storage.unlink(name)
        raise
    finally:
        storage.close(source)
        storage.close(target)
    tree.look_at(known.name)


def _chain_before(tree: SegmentTree, known: Known) -> TokenChain:
    """The chain of all tokens before a segment."""
    by_id = {each.segment_id: each for each in tree}
    parts = []
    first, header = known.first, known.segment.header
    while header.parent_id in by_id:
        parent = by_id[header.parent_id]
        parts.append(parent.segment.token_ids[: first - parent.first])
        first, header = parent.first, parent.segment.header
    chain = header.fingerprint.chain
    for part in reversed(parts):
        chain = chain.extended(part)
    return chain


def _removals(storage: Storage, pinned: Mapping[tuple[str, str], int]) -> Iterator[int]:
    """Removes one thing after the other, the most dispensable first; yields the bytes of each."""
    for folder, name, size in list(_files(storage)):
        if not name.endswith(SUFFIX) and _remove(storage, folder, name):
            yield size
    trees = {folder: _tree(storage, folder) for folder in _folders(storage)}
    for folder, tree in trees.items():
        while orphans := [known for known in tree.orphans() if (folder, known.name) not in pinned]:
            for known in orphans:
                tree.forget(known.name)
                if _remove(storage, folder, known.name):
                    yield known.segment.size
    while True:
        leaves = [
            (known.used_at, folder, known)
            for folder, tree in trees.items()
            for known in tree
            if known.segment.end > _needed_until(tree, known, pinned.get((folder, known.name), 0))
        ]
        if not leaves:
            return
        _, folder, known = min(leaves, key=lambda leaf: leaf[:2])
        yield _take_last_turn(storage, folder, trees[folder], known, pinned.get((folder, known.name), 0))


def _needed_until(tree: SegmentTree, known: Known, pinned_until: int) -> int:
    """The position that must stay: the end of the first commit that holds all that is needed; the first one if none."""
    needed = max(tree.kept_until(known), pinned_until)
    if needed <= known.first and not _has_child(tree, known):
        return known.first
    return next(
        commit.position for commit in known.segment.commits if commit.position >= min(needed, known.segment.end)
    )


def _take_last_turn(storage: Storage, folder: str, tree: SegmentTree, known: Known, pinned_until: int) -> int:
    """Cuts a segment back by one commit, or removes it; returns the bytes. Forgets it where it is in use."""
    needed = _needed_until(tree, known, pinned_until)
    commits: list[Commit] = [
        commit for commit in known.segment.commits[:-1] if commit.position >= max(needed, known.first + 1)
    ]
    if not commits:
        tree.forget(known.name)
        if needed > known.first:
            return 0
        return known.segment.size if _remove(storage, folder, known.name) else 0
    size = known.segment.size
    try:
        descriptor = storage.open(f"{folder}/{known.name}", writable=True)
    except OSError:
        tree.forget(known.name)
        return 0
    try:
        if not storage.lock(descriptor, exclusive=True):
            tree.forget(known.name)
            return 0
        used_at = storage.used_at(descriptor)
        cut(storage, descriptor, commits[-1].offset)
        storage.touch(descriptor, used_at)
    finally:
        storage.close(descriptor)
    tree.look_at(known.name)
    return size - commits[-1].offset


def _remove(storage: Storage, folder: str, name: str) -> bool:
    """Removes a file unless somebody is at it."""
    try:
        descriptor = storage.open(f"{folder}/{name}", writable=True)
    except OSError:
        return False
    try:
        if not storage.lock(descriptor, exclusive=True):
            return False
        storage.unlink(f"{folder}/{name}")
        return True
    except FileNotFoundError:
        return False
    finally:
        storage.close(descriptor)


def _tree(storage: Storage, folder: str) -> SegmentTree:
    tree = SegmentTree(storage, folder)
    tree.refresh()
    return tree


def _folders(storage: Storage) -> list[str]:
    return sorted(storage.list_folder(""))


def _files(storage: Storage) -> Iterator[tuple[str, str, int]]:
    """Every file: its folder, its name and its bytes."""
    for folder in _folders(storage):
        for name in sorted(storage.list_folder(folder)):
            if not name.endswith((SUFFIX, PART_SUFFIX, DAMAGED_SUFFIX)):
                continue
            with suppress(OSError):
                descriptor = storage.open(f"{folder}/{name}")
                try:
                    yield folder, name, storage.size(descriptor)
                finally:
                    storage.close(descriptor)
