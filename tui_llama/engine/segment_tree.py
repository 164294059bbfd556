"""All segments of a folder: which there are, how they hang together, and which hold a row of tokens.

Files are the truth and may change under us: another program appends, cuts and removes them too. What is known of them
is looked at again before it is used.
"""

from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

import numpy as np

from tui_llama.engine.state_file import NO_PARENT, Segment, StateFingerprint, TokenIds, cut, scan
from tui_llama.engine.storage import Storage
from tui_llama.errors import StateFileError, StateVersionError

SUFFIX: Final = ".tlk"
PART_SUFFIX: Final = ".part"
DAMAGED_SUFFIX: Final = ".damaged"


@dataclass(slots=True)
class Known:
    """A segment, its file, and when it was last used, in seconds since 1970."""

    name: str
    segment: Segment
    used_at: float

    @property
    def segment_id(self) -> bytes:
        """The segment's id."""
        return self.segment.header.segment_id

    @property
    def first(self) -> int:
        """The position of its first token."""
        return self.segment.header.first_position


@dataclass(frozen=True, slots=True)
class Piece:
    """The positions `first` … `last` - 1 of a row of tokens, which a segment holds."""

    known: Known
    first: int
    last: int


class SegmentTree:
    """The segments of one folder.

    Args:
        storage: Where the folder is.
        folder: Its name there.
        fingerprint: Segments of anything else are left alone; None takes them all.
    """

    def __init__(self, storage: Storage, folder: str, fingerprint: StateFingerprint | None = None) -> None:
        self._storage = storage
        self._folder = folder
        self._fingerprint = fingerprint
        self._known: dict[str, Known] = {}
        self._damages: list[str] = []

    def __iter__(self) -> Iterator[Known]:
        return iter(tuple(self._known.values()))

    def __len__(self) -> int:
        return len(self._known)

    def refresh(self) -> None:
        """Looks for files that came and went.

        Raises:
            OSError: the folder cannot be read.
        """
        names = {name for name in self._storage.list_folder(self._folder) if name.endswith(SUFFIX)}
        for name in self._known.keys() - names:
            del self._known[name]
        for name in sorted(names - self._known.keys()):
            self.look_at(name)

    def look_at(self, name: str) -> Known | None:
        """Reads again what a file holds; None if it is gone, or cannot be used and was set aside.

        What is of another version or another model is left alone.
        """
        self._known.pop(name, None)
        known = self._scanned(name)
        if known is None or self._fingerprint not in (None, known.segment.header.fingerprint):
            return None
        if known.segment.has_lost_tail:
            self._damages.append("damaged (its end is lost)")
        self._known[name] = known
        return known

    def _scanned(self, name: str) -> Known | None:
        try:
            descriptor = self._storage.open(f"{self._folder}/{name}")
            try:
                known = Known(name, scan(self._storage, descriptor), self._storage.used_at(descriptor))
            finally:
                self._storage.close(descriptor)
            if name != known.segment_id.hex() + SUFFIX:
                raise StateFileError("under another name")
        except (FileNotFoundError, StateVersionError):
            return None
        except OSError as error:
            self._damages.append(f"not readable ({error.strerror or type(error).__name__})")
            return None
        except StateFileError as error:
            self.set_aside(name, str(error))
            return None
        return known

    def add(self, known: Known) -> None:
        """Takes in what was just written."""
        self._known[known.name] = known

    def forget(self, name: str) -> None:
        """Leaves a file out from now on."""
        self._known.pop(name, None)

    def set_aside(self, name: str, cause: str) -> None:
        """Gives a file that must not be used another name, under which nobody looks for it; notes why."""
        self.forget(name)
        self._damages.append(cause)
        # Where that fails it is gone, or on a disk that cannot be written; then it is found damaged again next time.
        with suppress(OSError):
            self._storage.rename(f"{self._folder}/{name}", f"{self._folder}/{name}{DAMAGED_SUFFIX}")

    def cut_back(self, known: Known, position: int, cause: str) -> None:
        """Cuts a segment back to the last turn before a position where it is damaged; notes why.

        What comes before is good, and others may go on from it. Where there is no such turn, it is set aside.
        """
        good = [commit for commit in known.segment.commits if commit.position <= position]
        if not good:
            self.set_aside(known.name, cause)
            return
        self._damages.append(cause)
        with suppress(OSError):
            descriptor = self._storage.open(f"{self._folder}/{known.name}", writable=True)
            try:
                if self._storage.lock(descriptor, exclusive=True):
                    cut(self._storage, descriptor, good[-1].offset)
            finally:
                self._storage.close(descriptor)
        self.look_at(known.name)

    def take_damages(self) -> list[str]:
        """What was found wrong since the last call, in a few words each."""
        damages, self._damages = self._damages, []
        return damages

    def find(self, token_ids: TokenIds, owner: bytes | None = None) -> list[Piece]:
        """The segments that hold the longest beginning of the tokens, (tokens,) uint32, from the root on.

        What was computed elsewhere is found by its owner alone. Of beginnings that are equally long, one that was
        not is found first.
        """
        children = self._children()
        best: list[Piece] = []
        open_paths: list[tuple[Known, list[Piece]]] = [(root, []) for root in children.get(NO_PARENT, [])]
        while open_paths:
            known, before = open_paths.pop()
            if known.segment.header.is_foreign and known.segment.header.owner != owner:
                continue
            reach = known.first + _common_length(known.segment.token_ids, token_ids[known.first :])
            path = [*before, Piece(known, known.first, reach)]
            longest = best[-1].last if best else 0
            if reach > longest or (best and reach == longest and has_foreign(best) and not has_foreign(path)):
                best = path
            for child in children.get(known.segment_id, []):
                if known.first <= child.first <= reach and child.first < len(token_ids):
                    open_paths.append((child, [*before, Piece(known, known.first, child.first)]))
        return best

    def kept_until(self, known: Known) -> int:
        """The position up to which a segment is needed by those that go on from it; its first where by none."""
        children = self._children().get(known.segment_id, [])
        return max((child.first for child in children), default=known.first)

    def orphans(self) -> list[Known]:
        """Segments whose parent is not there any more, or no longer holds what they go on from."""
        by_id = {known.segment_id: known for known in self}
        lost: list[Known] = []
        for known in self:
            parent = by_id.get(known.segment.header.parent_id)
            if known.segment.header.parent_id != NO_PARENT and (
                parent is None or not parent.first <= known.first <= parent.segment.end
            ):
                lost.append(known)
        return lost

    def _children(self) -> dict[bytes, list[Known]]:
        children: dict[bytes, list[Known]] = {}
        for known in self._known.values():
            children.setdefault(known.segment.header.parent_id, []).append(known)
        return children


def has_foreign(pieces: Iterable[Piece]) -> bool:
    """Whether keys and values of any of them were computed elsewhere."""
    return any(piece.known.segment.header.is_foreign for piece in pieces)


def tokens_of(pieces: Iterable[Piece]) -> TokenIds:
    """The tokens that pieces from the root on hold, (tokens,) uint32."""
    parts = [
        piece.known.segment.token_ids[piece.first - piece.known.first : piece.last - piece.known.first]
        for piece in pieces
    ]
    return np.concatenate(parts) if parts else np.empty(0, np.uint32)


def _common_length(first: TokenIds, second: TokenIds) -> int:
    length = min(len(first), len(second))
    different = np.flatnonzero(first[:length] != second[:length])
    return int(different[0]) if len(different) else length
