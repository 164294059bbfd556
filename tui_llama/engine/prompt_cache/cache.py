"""Keys and values of every chat and branch on disk: what was read once is not read again.

    cache = PromptCache(DiskStorage(folder), model.fingerprint, model.state_shape, budget_bytes)
    restored = cache.restore(sequence, token_ids)   # before a prompt is read
    cache.save(owner, sequence)                     # after an answer

Segments form a tree (segment_tree.py), whose paths are found by comparing tokens: a chat finds its own past, a new chat
whatever begins like it. Saving appends to the chat's own segment where that ends the path, else it begins a child. So a
turn costs what it adds, and branches share what they have in common.

Keys and values that another program computed are not those that we compute, to the last bit. They, and all that is
computed beside them, are marked and are for their owner alone.

It is a cache: the transcript is the truth. Whatever is wrong with a file, it is set aside, said in one line, and its
tokens are read again. Nothing is written behind keys and values that this program has neither read nor written: a power
cut may leave a commit whole and tear what it stands for. Locks are held for as long as something is read or written,
never from turn to turn; a program that finds a segment changed by another one begins a child of its own instead of
waiting.
"""

import errno
import hashlib
import secrets
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import takewhile
from typing import Final, Protocol

import numpy as np

from tui_llama.engine.prompt_cache.cache_files import PART_SUFFIX, SUFFIX
from tui_llama.engine.prompt_cache.eviction import KEPT_FREE_BYTES, make_room
from tui_llama.engine.prompt_cache.recompute_check import CanarySequence, is_reproduced
from tui_llama.engine.prompt_cache.segment_reader import Patience, SegmentRows
from tui_llama.engine.prompt_cache.segment_tree import (
    Known,
    Piece,
    SegmentTree,
    common_length,
    has_foreign,
    tokens_of,
)
from tui_llama.engine.state_file import (
    HEADER_BYTES,
    ID_BYTES,
    NO_PARENT,
    RECORD_TOKENS,
    Rows,
    Segment,
    SegmentHeader,
    StateFingerprint,
    StateShape,
    TokenIds,
    append,
    begin_segment,
    cut,
)
from tui_llama.files.locks import cause_of, lacks_locks
from tui_llama.files.storage import Storage
from tui_llama.files.token_digest import TokenChain

_ATTEMPTS: Final = 3
_MOST_RECORD_HEAD_BYTES: Final = 64 + 4 * RECORD_TOKENS + 64  # and padding
_LASTING: Final = {
    *(errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOENT, errno.ENOTDIR, errno.ELOOP)
}
"""What is told once, until something could be saved again."""

_CAUSES: Final = {errno.ENOSPC: "the disk is full", errno.EDQUOT: "the space allowed for it is used up"}


class RowSequence(CanarySequence, Protocol):
    """Tokens with their keys and values, as the cache needs them."""

    @property
    def exact_tokens(self) -> int:
        """How many tokens at the start are cached as reading them leaves them; others are never stored nor shared."""
        ...

    @property
    def own_tokens(self) -> int:
        """How many tokens at the start have keys and values of this program: all, unless foreign ones were adopted."""
        ...

    def expect(self, length: int) -> None:
        """Says that rows up to a position will be filled in soon."""
        ...

    def fill(self, first: int, rows: Rows) -> None:
        """Writes keys and values behind the tokens; nobody reads them before `adopt`. Any thread may call it."""
        ...

    def adopt(self, token_ids: Sequence[int], *, is_foreign: bool = False) -> None:
        """Appends tokens whose keys and values were filled in; `is_foreign` where another program computed them."""
        ...


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of restoring or saving: how many tokens, and what the user should know, a few words each."""

    tokens: int
    troubles: tuple[str, ...] = ()


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
        self._rows = SegmentRows(storage, self._folder, shape, self._tree)
        self._told_trouble = ""

    # --- out of the cache ---------------------------------------------------------------------------------------

    def stored_length(self, token_ids: Sequence[int], owner: bytes | None = None) -> int:
        """How many of the tokens' beginning are stored, and may be used by this owner."""
        pieces = self._find(np.asarray(token_ids, np.uint32), owner)
        return pieces[-1].last if pieces else 0

    def restore(self, sequence: RowSequence, token_ids: Sequence[int], owner: bytes | None = None) -> Outcome:
        """Lets a sequence hold the longest beginning of the tokens that it or the cache has.

        The last token that comes from the cache is computed again and must give the same keys and values, bit by bit;
        they depend on all tokens before it. Where they do not, nothing is taken from the cache. Where some were
        computed elsewhere, they must be as close as `recompute_check` demands.

        Args:
            sequence: What it holds that was computed elsewhere is the owner's too.
            token_ids: What it should hold.
            owner: Who asks; None finds only what may be shared.

        Returns:
            How many tokens the sequence holds then: those that it has in common with `token_ids`.
        """
        wanted = np.asarray(token_ids, np.uint32)
        held = np.asarray(sequence.token_ids[: sequence.exact_tokens], np.uint32)
        reached = common_length(held, wanted)
        sequence.rewind(reached)
        patience = Patience()
        for _ in range(_ATTEMPTS):  # another one where a file was cut, damaged or removed since we looked
            pieces = self._find(wanted, owner)
            if not pieces or pieces[-1].last <= reached:
                break
            sequence.expect(pieces[-1].last)
            loaded = self._rows.load(pieces, reached, sequence.fill, patience)
            if loaded == reached:
                continue
            for piece in pieces:
                first, last = max(piece.first, reached), min(piece.last, loaded)
                if first < last:
                    some = [int(token_id) for token_id in wanted[first:last]]
                    sequence.adopt(some, is_foreign=piece.known.segment.header.is_foreign)
            if not is_reproduced(sequence, loaded - 1, must_be_equal=sequence.own_tokens == loaded):
                sequence.rewind(reached)
                for piece in pieces:
                    if piece.last > reached:
                        self._tree.set_aside(piece.known.name, "not what the model computes")
                break
            reached = loaded
        return Outcome(reached, tuple(self._tree.take_damages()))

    def _find(self, token_ids: TokenIds, owner: bytes | None) -> list[Piece]:
        """The path that holds the longest beginning of the tokens, for that owner, whose digests are right."""
        with suppress(OSError):
            self._tree.refresh()
        while True:
            pieces = self._tree.find(token_ids, owner)
            wrong = self._first_wrong(pieces)
            if wrong is None:
                return pieces
            self._tree.set_aside(wrong.name, "damaged (its tokens)")

    def _first_wrong(self, pieces: list[Piece]) -> Known | None:
        """The first segment whose tokens are not those that its digests stand for."""
        chain = self._fingerprint.chain
        for piece in pieces:
            segment = piece.known.segment
            if (chain.length, chain.digest) != (segment.header.first_position, segment.header.chain_digest):
                return piece.known
            whole = chain.extended(segment.token_ids)
            if whole.digest != segment.end_digest:
                return piece.known
            chain = whole if piece.last == segment.end else chain.extended(tokens_of([piece]))
        return None

    # --- into the cache -----------------------------------------------------------------------------------------

    def save(self, owner: bytes, sequence: RowSequence) -> Outcome:
        """Stores what a sequence holds and the cache does not; of tokens that have moved, nothing.

        Args:
            owner: Whose it is: 16 bytes, the same for all branches of a chat.
            sequence: What to store.

        Returns:
            How many tokens were written, and why not all of them; of what lasts that is told once.
        """
        token_ids = np.asarray(sequence.token_ids[: sequence.exact_tokens], np.uint32)
        if not len(token_ids):
            return Outcome(0)
        try:
            written = self._save(owner, token_ids, sequence)
        except OSError as error:
            trouble = _CAUSES.get(error.errno or 0) or cause_of(error)
            troubles = () if trouble == self._told_trouble else (trouble,)
            self._told_trouble = trouble if error.errno in _LASTING or lacks_locks(error) else ""
            return Outcome(0, (*self._tree.take_damages(), *troubles))
        self._told_trouble = ""
        return Outcome(written, tuple(self._tree.take_damages()))

    def _save(self, owner: bytes, token_ids: TokenIds, sequence: RowSequence) -> int:
        patience = Patience()
        for _ in range(_ATTEMPTS):
            pieces = self._find(token_ids, owner)
            if not self._rows.are_sound(pieces, patience):
                continue
            stored = pieces[-1].last if pieces else 0
            if stored == len(token_ids):
                return 0
            self._make_room(len(token_ids) - stored, pieces)
            if self._write(owner, pieces, token_ids, sequence, patience):
                return len(token_ids) - stored
        # Somebody else is at it for as long as we would wait: a branch of our own needs no waiting. Should what it
        # goes on from be cut off meanwhile, it is an orphan, and what it holds is read again.
        pieces = list(takewhile(self._rows.is_sound, self._find(token_ids, owner)))
        stored = pieces[-1].last if pieces else 0
        if stored < len(token_ids):
            self._begin(owner, pieces, token_ids, sequence)
        return len(token_ids) - stored

    def _write(
        self,
        owner: bytes,
        pieces: list[Piece],
        token_ids: TokenIds,
        sequence: RowSequence,
        patience: Patience,
    ) -> bool:
        """Writes what is not stored; returns whether what it goes on from was still as we knew it."""
        if not pieces:
            return self._begin(owner, pieces, token_ids, sequence)
        tip = pieces[-1].known
        goes_on = _can_grow(tip, owner, pieces[-1].last, _is_foreign(pieces, token_ids, sequence))
        with self._rows.locked(tip, patience, to_append=goes_on) as descriptor:
            if descriptor is None:
                return False
            if not goes_on:
                # The lock keeps others from cutting off what this goes on from before they can see it.
                return self._begin(owner, pieces, token_ids, sequence)
            self._append(descriptor, pieces, token_ids, sequence)
            return True

    def _append(self, descriptor: int, pieces: list[Piece], token_ids: TokenIds, sequence: RowSequence) -> None:
        """Appends to the segment that ends the path."""
        tip = pieces[-1].known
        chain, added = self._chain_of(pieces), token_ids[tip.segment.end :]
        try:
            segment = append(self._storage, descriptor, tip.segment, chain, added, sequence.rows)
        except BaseException:
            # What was synced before is still there. What is written there next is new to the system, which
            # forgets what it failed to write.
            with suppress(OSError):
                cut(self._storage, descriptor, tip.segment.size)
            raise
        self._note_written(tip.name, segment, descriptor)

    def _note_written(self, name: str, segment: Segment, descriptor: int) -> None:
        """Knows a segment as it is now; whatever it holds was read or written by this program."""
        self._tree.add(Known(name, segment, segment.size, self._storage.used_at(descriptor)))
        self._rows.note_sound(name, segment.records)

    def _begin(self, owner: bytes, pieces: list[Piece], token_ids: TokenIds, sequence: RowSequence) -> bool:
        """Writes what is not stored to a segment of its own, which goes on from where the path ends.

        Returns:
            Whether nobody removed it while it was being written.
        """
        stored = pieces[-1].last if pieces else 0
        chain = self._chain_of(pieces)
        header = SegmentHeader(
            fingerprint=self._fingerprint, shape=self._shape, segment_id=secrets.token_bytes(ID_BYTES),
            parent_id=pieces[-1].known.segment_id if pieces else NO_PARENT, first_position=stored,
            chain_digest=chain.digest, owner=owner, is_foreign=_is_foreign(pieces, token_ids, sequence),
        )  # fmt: skip
        name = header.segment_id.hex() + SUFFIX
        part = name + PART_SUFFIX
        if self._folder not in self._storage.list_folder(""):
            self._storage.make_folder("")
            self._storage.make_folder(self._folder)
            self._storage.sync_folder("")
        descriptor = self._storage.create(f"{self._folder}/{part}")
        try:
            # The lock says that somebody is writing it. Until then others take it for what a dead program left.
            if not self._storage.lock(descriptor, exclusive=True) or not self._storage.is_linked(descriptor):
                return False
            try:
                segment = begin_segment(self._storage, descriptor, header)
                segment = append(self._storage, descriptor, segment, chain, token_ids[stored:], sequence.rows)
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

    def _make_room(self, token_count: int, pieces: list[Piece]) -> None:
        """Raises `OSError` where neither the disk nor the budget has room, though all else was removed."""
        records = token_count // RECORD_TOKENS + 2
        needed_bytes = token_count * self._shape.token_bytes + records * _MOST_RECORD_HEAD_BYTES + HEADER_BYTES
        pinned = {(self._folder, piece.known.name): piece.last for piece in pieces}
        if not make_room(self._storage, needed_bytes, self._budget_bytes, pinned):
            is_disk_full = self._storage.free_bytes()[0] < needed_bytes + KEPT_FREE_BYTES
            raise OSError(errno.ENOSPC if is_disk_full else errno.EDQUOT, "no room")

    def _chain_of(self, pieces: list[Piece]) -> TokenChain:
        return self._fingerprint.chain.extended(tokens_of(pieces))


def folder_name(fingerprint: StateFingerprint, shape: StateShape) -> str:
    """The folder of everything that can be used together: 32 hexadecimal digits."""
    text = f"{shape.layer_count} {shape.kv_heads} {shape.head_dim} {shape.dtype}".encode()
    meaning = fingerprint.model + fingerprint.configuration + fingerprint.engine_abi.to_bytes(4, "little") + text
    return hashlib.blake2b(meaning, digest_size=ID_BYTES).hexdigest()


def _is_foreign(pieces: list[Piece], token_ids: TokenIds, sequence: RowSequence) -> bool:
    """Whether what is written behind the pieces was computed elsewhere or beside such, or would be read beside it."""
    return has_foreign(pieces) or sequence.own_tokens < len(token_ids)


def _can_grow(tip: Known, owner: bytes, stored: int, is_foreign: bool) -> bool:
    """Whether what comes behind the stored tokens may be appended to the segment that ends them."""
    header = tip.segment.header
    return header.owner == owner and tip.segment.end == stored and header.is_foreign == is_foreign
