"""Stores keys and values of every chat and branch on disk, so that the engine reads no prefix twice.

    cache = PromptCache(DiskStorage(folder), model.fingerprint, model.state_shape, budget_bytes)
    restored = cache.restore(sequence, token_ids)   # before a prompt is read
    cache.save(owner, sequence)                     # after an answer

Segments form a tree (segment_tree.py). The cache finds a path in it by comparing tokens, so a chat finds its own past,
and a new chat finds any prefix that it shares with another one. Saving appends to the chat's own segment where that
ends the path; if not, it begins a child. So a turn costs what it adds, and branches share their common prefix.

Keys and values of another program differ from ours in the last bits. They are foreign, and so is all that the model
computes after them: the cache marks those segments, and only their owner may use them.

It is a cache: the transcript is the truth. A damaged file is set aside, the user gets one line, and the model reads the
tokens again. The cache appends only to keys and values that this program has read or written: a power cut may leave a
commit whole and tear the keys and values before it. The cache holds locks only while it reads or writes, never from
turn to turn. Where another program has changed a segment, it begins a child of its own instead of waiting.
"""

import errno
import hashlib
import secrets
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import takewhile
from typing import Final

import numpy as np

from tui_llama.engine.prompt_cache.cache_files import PART_SUFFIX, SUFFIX
from tui_llama.engine.prompt_cache.common_prefix import common_prefix_length
from tui_llama.engine.prompt_cache.eviction import KEPT_FREE_BYTES, make_room
from tui_llama.engine.prompt_cache.recompute_check import is_reproduced
from tui_llama.engine.prompt_cache.restore_points import first_missing, first_needed
from tui_llama.engine.prompt_cache.segment_reader import LockBudget, SegmentReader
from tui_llama.engine.prompt_cache.segment_tree import (
    KnownSegment,
    PathPart,
    SegmentTree,
    cut_path,
    has_foreign,
    stored_parts_of,
    tokens_of,
)
from tui_llama.engine.prompt_cache.segment_writer import append, begin_segment, cut
from tui_llama.engine.state_file import (
    ID_BYTES,
    NO_PARENT,
    Segment,
    SegmentHeader,
    StateFingerprint,
    TokenIds,
    header_bytes,
    padded_bytes,
    record_head_bytes,
)
from tui_llama.engine.state_shape import RECORD_TOKENS, StateShape
from tui_llama.engine.token_sequence import TokenSequence, stored_kv
from tui_llama.files.locks import cause_of, lacks_locks
from tui_llama.files.storage import Storage
from tui_llama.files.token_digest import TokenChain

_ATTEMPTS: Final = 3
_LEAST_RESTORE_POINT_TOKENS: Final = 1024
_LASTING: Final = {
    *(errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOENT, errno.ENOTDIR, errno.ELOOP)
}
"""Errors of which the user is told once, until something could be saved again."""

_CAUSES: Final = {errno.ENOSPC: "the disk is full", errno.EDQUOT: "the disk quota is used up"}


@dataclass(frozen=True, slots=True)
class CacheResult:
    """The result of restoring or saving: how many tokens, and problems that the user should know, a few words each."""

    tokens: int
    problems: tuple[str, ...] = ()


class PromptCache:
    """The stored segments of one model in one configuration.

    Args:
        storage: Where all models' folders are.
        fingerprint: What keys and values belong to.
        shape: Their sizes.
        budget_bytes: The most that all files together may take.
    """

    def __init__(self, storage: Storage, fingerprint: StateFingerprint, shape: StateShape, budget_bytes: int) -> None:
        self._storage = storage
        self._fingerprint = fingerprint
        self._shape = shape
        self._budget_bytes = budget_bytes
        self._folder = folder_name(fingerprint, shape)
        self._tree = SegmentTree(storage, self._folder, fingerprint)
        self._reader = SegmentReader(storage, self._folder, shape, self._tree)
        self._told_problem = ""

    @property
    def folder(self) -> str:
        """The name of the folder of this model's segments."""
        return self._folder

    @property
    def restore_point_tokens(self) -> int:
        """Returns how many tokens to read, in a long prompt, until what was read so far is worth saving; 0: all.

        Where layers have windows, a model can later go on only where something was saved. Between two such points lie
        so many tokens that what layers without a window keep of them weighs as much as two windows of the others.
        """
        windows = sum(2 * group.window * self._shape.group_bytes(group) for group in self._shape.groups)
        if not windows:
            return 0
        return max(_LEAST_RESTORE_POINT_TOKENS, windows // max(1, self._shape.lasting_bytes))

    # --- out of the cache ---------------------------------------------------------------------------------------

    def stored_length(self, token_ids: Sequence[int], owner: bytes | None = None) -> int:
        """Returns the length of the longest prefix of the tokens that `restore` would find for this owner."""
        path = self._find(np.asarray(token_ids, np.uint32), owner, is_to_restore=True)
        return path[-1].last if path else 0

    def restore(self, sequence: TokenSequence, token_ids: Sequence[int], owner: bytes | None = None) -> CacheResult:
        """Makes a sequence hold the longest prefix of the tokens that it or the cache has.

        Where layers have windows it is the longest one after which the model can go on; see `restore_points`. What such
        layers have forgotten at its end is not read.

        The model computes the last token from the cache again, which must give the same keys and values, bit by bit;
        they depend on all tokens before it. If it does not, the sequence takes nothing from the cache. Foreign keys and
        values need only be as close as `recompute_check` says.

        Args:
            sequence: If it holds foreign keys and values, they are this owner's.
            token_ids: The tokens that it should hold.
            owner: The owner that asks; None finds only segments that everybody may use.

        Returns:
            How many tokens the sequence holds then, all of them a prefix of `token_ids`.
        """
        wanted = np.asarray(token_ids, np.uint32)
        held = np.asarray(sequence.token_ids[: sequence.exact_tokens], np.uint32)
        reached = _go_back(sequence, common_prefix_length(held, wanted))
        lock_budget, most = LockBudget(), len(wanted)
        for _ in range(_ATTEMPTS):  # another one where a file was cut, damaged or removed since we looked
            path = self._find(wanted[:most], owner, is_to_restore=True)
            if not path or path[-1].last <= reached:
                break
            end = path[-1].last
            firsts = [max(reached, first_needed(group, end)) for group in self._shape.groups]
            sequence.expect(end, firsts)
            loaded = self._reader.load(path, firsts, sequence.fill, lock_budget)
            if loaded < end and not self._shape.is_trimmable:
                most = loaded if loaded > reached else most
                reached = loaded = _go_back(sequence, reached)
            if loaded == reached:
                continue
            _adopt(sequence, path, wanted[:loaded], reached)
            must_be_equal = sequence.own_tokens == loaded
            if not is_reproduced(sequence, self._shape, loaded - 1, must_be_equal=must_be_equal):
                for part in path:
                    if part.last > reached:
                        self._tree.set_aside(part.known.name, "different from what the model computes")
                break
            reached, most = loaded, len(wanted)
        return CacheResult(_go_back(sequence, reached), tuple(self._tree.take_damages()))

    def _find(self, token_ids: TokenIds, owner: bytes | None, *, is_to_restore: bool = False) -> list[PathPart]:
        """Returns the path with the longest prefix for that owner; sets segments with wrong digests aside.

        Args:
            token_ids: The prefix is one of these.
            owner: Who asks.
            is_to_restore: Whether a model must be able to go on at its end.
        """
        with suppress(OSError):
            self._tree.refresh()
        find = self._tree.find_restorable if is_to_restore else self._tree.find
        while True:
            path = find(token_ids, owner)
            wrong = self._first_wrong(path)
            if wrong is None:
                return path
            self._tree.set_aside(wrong.name, "damaged (its tokens)")

    def _first_wrong(self, path: list[PathPart]) -> KnownSegment | None:
        """Returns the first segment whose tokens do not fit its digests."""
        chain = self._fingerprint.chain
        for part in path:
            segment = part.known.segment
            if (chain.length, chain.digest) != (segment.header.first_position, segment.header.chain_digest):
                return part.known
            whole = chain.extended(segment.token_ids)
            if whole.digest != segment.end_digest:
                return part.known
            chain = whole if part.last == segment.end else chain.extended(tokens_of([part]))
        return None

    # --- into the cache -----------------------------------------------------------------------------------------

    def save(self, owner: bytes, sequence: TokenSequence) -> CacheResult:
        """Stores the tokens of a sequence that the cache lacks; of tokens that have moved, nothing.

        Args:
            owner: The owner of the tokens: 16 bytes, the same for all branches of a chat.
            sequence: What to store.

        Returns:
            How many tokens were written, and why not all of them. A lasting problem is told once.
        """
        token_ids = np.asarray(sequence.token_ids[: sequence.exact_tokens], np.uint32)
        if not len(token_ids):
            return CacheResult(0)
        try:
            written = self._save(owner, token_ids, sequence)
        except OSError as error:
            problem = _CAUSES.get(error.errno or 0) or cause_of(error)
            problems = () if problem == self._told_problem else (problem,)
            self._told_problem = problem if error.errno in _LASTING or lacks_locks(error) else ""
            return CacheResult(0, (*self._tree.take_damages(), *problems))
        self._told_problem = ""
        return CacheResult(written, tuple(self._tree.take_damages()))

    def _save(self, owner: bytes, token_ids: TokenIds, sequence: TokenSequence) -> int:
        lock_budget = LockBudget()
        for _ in range(_ATTEMPTS):
            path = self._find_complete(token_ids, owner, sequence)
            if not self._reader.are_sound(path, len(token_ids), lock_budget):
                continue
            stored = path[-1].last if path else 0
            if stored == len(token_ids):
                return 0
            self._make_room(len(token_ids) - stored, path)
            if self._write(owner, path, token_ids, sequence, lock_budget):
                return len(token_ids) - stored
        # Another program holds the lock for longer than we wait, and a branch of our own needs no lock. If the other
        # program cuts off the parent meanwhile, the branch is an orphan, and its tokens are read again.
        path = self._find_complete(token_ids, owner, sequence)
        path = list(takewhile(lambda part: self._reader.is_sound(part, len(token_ids)), path))
        stored = path[-1].last if path else 0
        if stored < len(token_ids):
            self._begin(owner, path, token_ids, sequence)
        return len(token_ids) - stored

    def _find_complete(self, token_ids: TokenIds, owner: bytes, sequence: TokenSequence) -> list[PathPart]:
        """Returns the path up to where it lacks what going on after the tokens needs and the sequence has.

        A branch may leave its parent where layers with a window have stored nothing. It then begins before that, and
        stores a few tokens that its parent has, too.
        """
        path = self._find(token_ids, owner)
        kept_from = self._kept_from(sequence)
        return cut_path(path, first_missing(self._shape, stored_parts_of(path), len(token_ids), kept_from))

    def _kept_from(self, sequence: TokenSequence) -> list[int]:
        """Returns for each group of layers the first position that a sequence still has."""
        return [sequence.kept_from(group) for group in range(len(self._shape.groups))]

    def _write(
        self,
        owner: bytes,
        path: list[PathPart],
        token_ids: TokenIds,
        sequence: TokenSequence,
        lock_budget: LockBudget,
    ) -> bool:
        """Writes the tokens that are not stored; returns whether the end of the path was still as we knew it."""
        if not path:
            return self._begin(owner, path, token_ids, sequence)
        tip = path[-1].known
        goes_on = _can_grow(tip, owner, path[-1].last, _is_foreign(path, token_ids, sequence))
        with self._reader.locked(tip, lock_budget, to_append=goes_on) as descriptor:
            if descriptor is None:
                return False
            if not goes_on:
                # The lock keeps others from cutting the parent before they can see the child.
                return self._begin(owner, path, token_ids, sequence)
            self._append(descriptor, path, token_ids, sequence)
            return True

    def _append(self, descriptor: int, path: list[PathPart], token_ids: TokenIds, sequence: TokenSequence) -> None:
        """Appends to the segment that ends the path."""
        tip = path[-1].known
        chain, added = self._chain_of(path), token_ids[tip.segment.end :]
        try:
            segment = append(
                self._storage, descriptor, tip.segment, chain, added, stored_kv(sequence), self._kept_from(sequence)
            )
        except BaseException:
            # What was synced before is still there. The system forgets what it failed to write, so the next write
            # to that place is a new one.
            with suppress(OSError):
                cut(self._storage, descriptor, tip.segment.size)
            raise
        self._note_written(tip.name, segment, descriptor)

    def _note_written(self, name: str, segment: Segment, descriptor: int) -> None:
        """Notes a segment as it is now: this program has read or written all that it holds."""
        self._tree.add(KnownSegment(name, segment, segment.size, self._storage.used_at(descriptor)))
        self._reader.note_sound(name, segment.records)

    def _begin(self, owner: bytes, path: list[PathPart], token_ids: TokenIds, sequence: TokenSequence) -> bool:
        """Writes the tokens that are not stored to a new segment, a child of the one that ends the path.

        Returns:
            False if another program removed the file during the writing.
        """
        stored = path[-1].last if path else 0
        chain = self._chain_of(path)
        header = SegmentHeader(
            fingerprint=self._fingerprint, shape=self._shape, segment_id=secrets.token_bytes(ID_BYTES),
            parent_id=path[-1].known.segment_id if path else NO_PARENT, first_position=stored,
            chain_digest=chain.digest, owner=owner, is_foreign=_is_foreign(path, token_ids, sequence),
        )  # fmt: skip
        name = header.segment_id.hex() + SUFFIX
        part = name + PART_SUFFIX
        if self._folder not in self._storage.list_folder(""):
            self._storage.make_folder("")
            self._storage.make_folder(self._folder)
            self._storage.sync_folder("")
        descriptor = self._storage.create(f"{self._folder}/{part}")
        try:
            # The lock says that a program is writing the file. Without it others take the file for a dead program's.
            if not self._storage.lock(descriptor, exclusive=True) or not self._storage.is_linked(descriptor):
                return False
            try:
                segment = begin_segment(self._storage, descriptor, header)
                added = token_ids[stored:]
                kept_from = self._kept_from(sequence)
                segment = append(self._storage, descriptor, segment, chain, added, stored_kv(sequence), kept_from)
                self._storage.rename(f"{self._folder}/{part}", f"{self._folder}/{name}")
            except BaseException:
                with suppress(OSError):
                    self._storage.unlink(f"{self._folder}/{part}")
                raise
            self._note_written(name, segment, descriptor)
        finally:
            with suppress(OSError):  # it was synced
                self._storage.close(descriptor)
        self._storage.sync_folder(self._folder)
        return True

    def _make_room(self, token_count: int, path: list[PathPart]) -> None:
        """Evicts as much as the new tokens need; raises `OSError` if the disk or the budget still has no room."""
        records = token_count // RECORD_TOKENS + 2
        head_bytes = record_head_bytes(self._shape, RECORD_TOKENS) + padded_bytes(1) * len(self._shape.groups)
        needed_bytes = token_count * self._shape.token_bytes + records * head_bytes + header_bytes(self._shape)
        pinned = {(self._folder, part.known.name): part.last for part in path}
        if not make_room(self._storage, needed_bytes, self._budget_bytes, pinned):
            is_disk_full = self._storage.free_bytes()[0] < needed_bytes + KEPT_FREE_BYTES
            raise OSError(errno.ENOSPC if is_disk_full else errno.EDQUOT, "no room")

    def _chain_of(self, path: list[PathPart]) -> TokenChain:
        return self._fingerprint.chain.extended(tokens_of(path))


def folder_name(fingerprint: StateFingerprint, shape: StateShape) -> str:
    """Returns the folder of all segments of one model in one configuration: 32 hexadecimal digits."""
    text = repr((shape.groups, shape.dtype)).encode()
    meaning = fingerprint.model + fingerprint.configuration + fingerprint.engine_abi.to_bytes(4, "little") + text
    return hashlib.blake2b(meaning, digest_size=ID_BYTES).hexdigest()


def _go_back(sequence: TokenSequence, length: int) -> int:
    """Lets a sequence go back to a length, or to nothing where it cannot; returns how far.

    It cannot where what was filled in has taken the places of what layers with windows had.
    """
    reached = sequence.rewindable(length)
    sequence.rewind(reached)
    return reached


def _adopt(sequence: TokenSequence, path: list[PathPart], token_ids: TokenIds, first: int) -> None:
    """Appends the tokens from a position on, whose keys and values were filled in, as each part has them."""
    for part in path:
        start, end = max(part.first, first), min(part.last, len(token_ids))
        if start < end:
            sequence.adopt(token_ids[start:end].tolist(), is_foreign=part.known.segment.header.is_foreign)


def _is_foreign(path: list[PathPart], token_ids: TokenIds, sequence: TokenSequence) -> bool:
    """Tells whether the tokens after the path must be marked as foreign: they, or tokens before them, are foreign."""
    return has_foreign(path) or sequence.own_tokens < len(token_ids)


def _can_grow(tip: KnownSegment, owner: bytes, stored: int, is_foreign: bool) -> bool:
    """Tells whether the segment that ends the path may take the next tokens; else they need a segment of their own."""
    header = tip.segment.header
    return header.owner == owner and tip.segment.end == stored and header.is_foreign == is_foreign
