"""Knows all segments of a folder: which there are, which goes on from which, and which hold given tokens.

The files are the truth, and they may change: other programs append to them, cut them and remove them, too. So the tree
looks at a file again before anybody uses what it knows of it.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace

import numpy as np

from tui_llama.engine.prompt_cache.cache_files import DAMAGED_SUFFIX, SUFFIX, is_segment
from tui_llama.engine.prompt_cache.common_prefix import common_prefix_length
from tui_llama.engine.prompt_cache.owner import may_use
from tui_llama.engine.prompt_cache.restore_points import Stored, restore_point
from tui_llama.engine.prompt_cache.segment_scan import scan, still_holds
from tui_llama.engine.prompt_cache.segment_writer import cut_to_records
from tui_llama.engine.state_file import NO_PARENT, RecordPlace, Segment, StateFingerprint, TokenIds
from tui_llama.errors import NoStateFileError, StateFileError, StateVersionError
from tui_llama.files.locks import cause_of
from tui_llama.files.storage import FileStatus, Storage


@dataclass(frozen=True, slots=True)
class KnownSegment:
    """A segment as it was last seen in its file: the file's bytes, and its last use in seconds since 1970."""

    name: str
    segment: Segment
    file_bytes: int
    used_at: float

    @property
    def segment_id(self) -> bytes:
        """The segment's id."""
        return self.segment.header.segment_id

    @property
    def parent_id(self) -> bytes:
        """The id of the segment that it goes on from, or `NO_PARENT`."""
        return self.segment.header.parent_id

    @property
    def owner(self) -> bytes:
        """The owner of the segment."""
        return self.segment.header.owner

    @property
    def first(self) -> int:
        """The position of its first token."""
        return self.segment.header.first_position


@dataclass(frozen=True, slots=True)
class PathPart:
    """The positions `first` … `last` - 1 of a path of tokens, which one segment holds."""

    known: KnownSegment
    first: int
    last: int

    @property
    def places(self) -> list[RecordPlace]:
        """The places of the records that hold them."""
        return [
            place
            for place in self.known.segment.records
            if place.position < self.last and self.first < place.end_position
        ]


class SegmentTree:
    """The segments of one folder.

    Args:
        storage: Where the folder is.
        folder: Its name there.
        fingerprint: The tree leaves segments of another fingerprint alone; None takes them all.
    """

    def __init__(self, storage: Storage, folder: str, fingerprint: StateFingerprint | None = None) -> None:
        self._storage = storage
        self._folder = folder
        self._fingerprint = fingerprint
        self._known: dict[str, KnownSegment] = {}
        self._children: dict[bytes, dict[str, KnownSegment]] = defaultdict(dict)
        self._damages: list[str] = []

    def __iter__(self) -> Iterator[KnownSegment]:
        return iter(tuple(self._known.values()))

    def __len__(self) -> int:
        return len(self._known)

    def get(self, name: str) -> KnownSegment | None:
        """Returns the segment in the file of that name."""
        return self._known.get(name)

    def refresh(self) -> None:
        """Looks at files that are new, gone or changed.

        Raises:
            OSError: the folder cannot be read.
        """
        files = self._storage.files(self._folder)
        for name in self._known.keys() - files.keys():
            self.forget(name)
        for name in sorted(filter(is_segment, files)):
            known = self._known.get(name)
            if known is None or not self._is_unchanged(known, files[name]):
                self.look_at(name)

    def _is_unchanged(self, known: KnownSegment, status: FileStatus) -> bool:
        """Tells whether a file is unchanged: it is as long as before, and was at most used, not written."""
        if known.file_bytes != status.size_bytes:
            return False
        if known.used_at == status.used_at:
            return True
        if known.file_bytes > known.segment.size:
            return False  # bytes that were not committed may be so now
        try:
            descriptor = self._storage.open(f"{self._folder}/{known.name}")
            try:
                is_unchanged = still_holds(self._storage, descriptor, known.segment)
            finally:
                self._storage.close(descriptor)
        except OSError:
            return False
        if is_unchanged:
            self.add(replace(known, used_at=status.used_at))
        return is_unchanged

    def look_at(self, name: str) -> KnownSegment | None:
        """Reads a file again; returns None if it is gone, or cannot be used and was set aside.

        Files of another version or another model stay as they are.
        """
        self.forget(name)
        known = self._scanned(name)
        if known is None or self._fingerprint not in (None, known.segment.header.fingerprint):
            return None
        self.add(known)
        return known

    def _scanned(self, name: str) -> KnownSegment | None:
        is_calm = False
        try:
            descriptor = self._storage.open(f"{self._folder}/{name}")
            try:
                # While another program cuts and writes, a reader may see half of the old and half of the new.
                is_calm = self._storage.lock(descriptor, exclusive=False)
                size, segment = self._storage.size(descriptor), scan(self._storage, descriptor)
                known = KnownSegment(name, segment, size, self._storage.used_at(descriptor))
            finally:
                self._storage.close(descriptor)
            if name != known.segment_id.hex() + SUFFIX:
                raise StateFileError("stored under a wrong name")
        except (FileNotFoundError, StateVersionError, NoStateFileError):
            return None
        except OSError as error:
            self._damages.append(f"not readable ({cause_of(error)})")
            return None
        except StateFileError as error:
            if is_calm:
                self.set_aside(name, str(error))
            return None
        if is_calm and segment.has_lost_tail:
            self._damages.append("damaged (its end is lost)")
        return known

    def add(self, known: KnownSegment) -> None:
        """Takes in a segment that was just written."""
        self._known[known.name] = known
        self._children[known.parent_id][known.name] = known

    def forget(self, name: str) -> None:
        """Drops a file from the tree."""
        known = self._known.pop(name, None)
        if known is not None:
            del self._children[known.parent_id][name]

    def set_aside(self, name: str, cause: str) -> None:
        """Renames a file that must not be used, so that nobody finds it any more; notes the cause."""
        self.forget(name)
        self._damages.append(cause)
        # Renaming fails if the file is gone or the disk cannot be written; then the file is found damaged next time.
        with suppress(OSError):
            self._storage.rename(f"{self._folder}/{name}", f"{self._folder}/{name}{DAMAGED_SUFFIX}")

    def cut_back(self, known: KnownSegment, position: int, cause: str) -> None:
        """Cuts a segment back to the records before a position, from which on it is damaged; notes the cause.

        The records before are good, and other segments may go on from them. Without any, the file is set aside.
        """
        kept = sum(place.position < position for place in known.segment.records)
        if not kept:
            self.set_aside(known.name, cause)
            return
        self._damages.append(cause)
        with suppress(OSError):
            descriptor = self._storage.open(f"{self._folder}/{known.name}", writable=True)
            try:
                is_locked = self._storage.lock(descriptor, exclusive=True)
                if is_locked and still_holds(self._storage, descriptor, known.segment):
                    cut_to_records(self._storage, descriptor, known.segment, kept)
            finally:
                self._storage.close(descriptor)
        self.look_at(known.name)

    def take_damages(self) -> list[str]:
        """Returns the causes of all damages since the last call, in a few words each, equal ones once."""
        damages, self._damages = list(dict.fromkeys(self._damages)), []
        return damages

    def find(self, token_ids: TokenIds, owner: bytes | None = None) -> list[PathPart]:
        """Returns the path from the root that holds the longest prefix of the tokens, (tokens,) uint32.

        Only their owner finds foreign segments, and a served program finds none of chats; see `owner`. Of equally long
        paths, one without foreign segments wins, and then one at whose end a model can go on.
        """

        def worth(path: list[PathPart]) -> tuple[int, bool, int]:
            return path[-1].last, not has_foreign(path), path_restore_point(path)

        return max(self._matching_paths(token_ids, owner), key=worth, default=[])

    def find_restorable(self, token_ids: TokenIds, owner: bytes | None = None) -> list[PathPart]:
        """Returns the path with the longest prefix of the tokens after which a model can go on; as `find`."""

        def worth(path: list[PathPart]) -> tuple[int, bool]:
            return path[-1].last, not has_foreign(path)

        paths = self._matching_paths(token_ids, owner)
        return max(filter(None, (cut_path(path, path_restore_point(path)) for path in paths)), key=worth, default=[])

    def _matching_paths(self, token_ids: TokenIds, owner: bytes | None) -> Iterator[list[PathPart]]:
        """Yields the paths that hold a prefix of the tokens, each as far as it does."""
        open_paths: list[tuple[KnownSegment, list[PathPart]]] = [(root, []) for root in self._with_parent(NO_PARENT)]
        while open_paths:
            known, before = open_paths.pop()
            if (known.segment.header.is_foreign and known.owner != owner) or not may_use(owner, known.owner):
                continue
            own = known.segment.token_ids
            # The first token rules most of them out: then they hold nothing that their parent does not.
            if known.first >= len(token_ids) or not len(own) or own[0] != token_ids[known.first]:
                continue
            reach = known.first + common_prefix_length(own, token_ids[known.first :])
            yield [*before, PathPart(known, known.first, reach)]
            for child in self.children(known):
                if child.first <= reach:
                    whole = PathPart(known, known.first, child.first)
                    open_paths.append((child, [*before, whole] if whole.first < whole.last else before))

    def children(self, known: KnownSegment) -> list[KnownSegment]:
        """Returns the segments that go on from one, except those that begin after its end: nobody can use those."""
        children = self._with_parent(known.segment_id)
        return [child for child in children if known.first <= child.first <= known.segment.end]

    def parent(self, known: KnownSegment) -> KnownSegment | None:
        """Returns the segment that one goes on from."""
        return self._known.get(known.parent_id.hex() + SUFFIX)

    def _with_parent(self, parent_id: bytes) -> list[KnownSegment]:
        # A defaultdict's own index would add an entry for each id that is asked for.
        return list(self._children.get(parent_id, {}).values())

    def kept_until(self, known: KnownSegment) -> int:
        """Returns the position up to which the children of a segment need it; its first position if it has none."""
        return max((child.first for child in self.children(known)), default=known.first)

    def paths(self) -> Iterator[list[KnownSegment]]:
        """Yields the path from the root to every usable segment, children before their parents."""
        open_paths = [([root], False) for root in self._with_parent(NO_PARENT)]
        while open_paths:
            path, is_below_done = open_paths.pop()
            if is_below_done:
                yield path
                continue
            open_paths.append((path, True))
            open_paths += [([*path, child], False) for child in self.children(path[-1])]

    def orphans(self) -> list[KnownSegment]:
        """Returns the segments that nobody can use: their parent is gone, or ends before they begin."""
        usable = {path[-1].name for path in self.paths()}
        return [known for known in self if known.name not in usable]


def path_restore_point(path: list[PathPart]) -> int:
    """Returns the last position of a path at which a model can go on; 0 if there is none."""
    shape = path[-1].known.segment.header.shape
    return path[-1].last if shape.is_trimmable else restore_point(shape, stored_parts_of(path))


def stored_parts_of(path: list[PathPart]) -> Stored:
    """Returns what a path holds, for `restore_points`."""
    return [(part.first, part.last, part.places) for part in path]


def cut_path(path: list[PathPart], position: int) -> list[PathPart]:
    """Returns a path up to a position."""
    return [replace(part, last=min(part.last, position)) for part in path if part.first < position]


def has_foreign(path: Iterable[PathPart]) -> bool:
    """Tells whether any of them holds foreign keys and values."""
    return any(part.known.segment.header.is_foreign for part in path)


def tokens_of(path: Iterable[PathPart]) -> TokenIds:
    """Returns the tokens of a path from the root on, (tokens,) uint32."""
    parts = [
        part.known.segment.token_ids[part.first - part.known.first : part.last - part.known.first] for part in path
    ]
    return np.concatenate(parts) if parts else np.empty(0, np.uint32)
