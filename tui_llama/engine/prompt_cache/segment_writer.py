"""Writes segments: begins them, appends to them, and cuts them back.

When `append` or `cut_to_records` returns, the commit is on the disk. `state_file.py` has the format.
"""

import zlib
from collections.abc import Collection, Iterator, Sequence

import numpy as np

from tui_llama.engine.machine.memory import padded
from tui_llama.engine.prompt_cache.segment_scan import read_exactly
from tui_llama.engine.state_file import (
    CHECKSUM,
    DONE_KIND,
    RECORD,
    RECORD_HEAD_BYTES,
    TOKENS_KIND,
    Commit,
    KvOf,
    PartPlace,
    RecordPlace,
    Segment,
    SegmentHeader,
    TokenIds,
    encoded_header,
    padded_bytes,
)
from tui_llama.engine.state_shape import RECORD_TOKENS, KvArray
from tui_llama.errors import ShapeMismatchError
from tui_llama.files.storage import Storage
from tui_llama.files.token_digest import TokenChain


def begin_segment(storage: Storage, descriptor: int, header: SegmentHeader) -> Segment:
    """Writes the header of a new, empty file; the segment has no commit yet and is only good for `append`."""
    content = encoded_header(header)
    _write_all(storage, descriptor, content, 0)
    start = Commit(header.first_position, 0, len(content), 0, CHECKSUM.unpack(content[-CHECKSUM.size :])[0])
    return Segment(header, header.chain_digest, np.empty(0, np.uint32), (), (start,))


def append(
    storage: Storage,
    descriptor: int,
    segment: Segment,
    chain: TokenChain,
    token_ids: TokenIds,
    kv_of: KvOf,
    cuts: Collection[int] = (),
) -> Segment:
    """Appends tokens and commits them; when it returns they are on the disk.

    The caller holds an exclusive lock and has made sure that the file holds `segment`. Bytes after its last commit are
    overwritten. If anything fails, the file is as good as before, and the caller may cut it back by `cut`.

    Args:
        storage: Where the file is.
        descriptor: The file, open for writing.
        segment: The segment in the file.
        chain: The chain of all tokens up to the segment's end.
        token_ids: (tokens,) uint32, at least one.
        kv_of: Gives their keys and values; called once for each group of layers and record.
        cuts: Positions at which a record must end, so that each has all of a part or nothing.

    Raises:
        OSError: as the storage says.
        ShapeMismatchError: keys and values do not have the shape in the header.
    """
    writer = _Writer(storage, descriptor, segment.header, segment.commits[-1])
    if storage.size(descriptor) > segment.size:
        storage.truncate(descriptor, segment.size)
    end = segment.end + len(token_ids)
    places = []
    for first, last in _records_between(segment.end, end, cuts):
        some = token_ids[first - segment.end : last - segment.end]
        chain = chain.extended(some)
        parts = [kv_of(group, first, last) for group in range(len(segment.header.shape.groups))]
        places.append(writer.add_tokens(first, some, chain.digest, parts))
    commit = writer.commit(end, len(segment.records) + len(places), chain.digest)
    storage.sync(descriptor)
    is_new = not segment.records
    return Segment(
        header=segment.header,
        end_digest=chain.digest,
        token_ids=np.concatenate([segment.token_ids, token_ids]),
        records=(*segment.records, *places),
        commits=(commit,) if is_new else (*segment.commits, commit),
    )


def _records_between(position: int, end: int, cuts: Collection[int]) -> Iterator[tuple[int, int]]:
    """Cuts positions into records, which end at multiples of 64 too; yields the first position and the end of each."""
    while position < end:
        last = min(padded(position + 1, RECORD_TOKENS), end, *(cut for cut in cuts if cut > position))
        yield position, last
        position = last


def cut(storage: Storage, descriptor: int, size: int) -> None:
    """Cuts a file back to the end of a commit. The caller holds an exclusive lock."""
    if storage.size(descriptor) > size:
        storage.truncate(descriptor, size)


def cut_to_records(storage: Storage, descriptor: int, segment: Segment, count: int) -> None:
    """Cuts a file back to its first records and commits them; when it returns that is on the disk.

    The caller holds an exclusive lock and has made sure that the file holds `segment`.

    Args:
        storage: Where the file is.
        descriptor: The file, open for writing.
        segment: The segment in the file.
        count: How many records to keep, at least one.

    Raises:
        OSError: as the storage says.
    """
    commit = next((commit for commit in segment.commits if commit.record_count == count), None)
    if commit is not None:
        storage.truncate(descriptor, commit.offset)
    else:
        last = segment.records[count - 1]
        head = read_exactly(storage, descriptor, last.offset, RECORD_HEAD_BYTES)
        *_, number, digest, _ = RECORD.unpack(head[: RECORD.size])
        (checksum,) = CHECKSUM.unpack(head[RECORD.size :])
        storage.truncate(descriptor, last.end)
        commit = Commit(last.end_position, count, last.end, number + 1, checksum)
        _Writer(storage, descriptor, segment.header, commit).commit(last.end_position, count, digest)
    storage.sync(descriptor)


class _Writer:
    """Writes records one after the other."""

    def __init__(self, storage: Storage, descriptor: int, header: SegmentHeader, last: Commit) -> None:
        self._storage = storage
        self._descriptor = descriptor
        self._header = header
        self._offset, self._number, self._checksum = last.offset, last.number, last.checksum

    def add_tokens(
        self, position: int, token_ids: TokenIds, digest: bytes, parts: Sequence[KvArray | None]
    ) -> RecordPlace:
        contents = [self._content(group, len(token_ids), kv) for group, kv in enumerate(parts)]
        checksums = [0 if content is None else zlib.crc32(content) for content in contents]
        start = self._offset
        self._write_head(TOKENS_KIND, position, token_ids, digest, contents, checksums)
        places = []
        for content, checksum in zip(contents, checksums, strict=True):
            places.append(None if content is None else PartPlace(self._offset, checksum))
            self._write(b"" if content is None else content)
        return RecordPlace(position, len(token_ids), start, tuple(places), self._offset)

    def _content(self, group: int, token_count: int, kv: KvArray | None) -> memoryview | None:
        """Returns the bytes of a part, padded; None for one that is absent."""
        shape = self._header.shape
        if kv is None and shape.groups[group].window:
            return None
        expected = shape.kv_shape(shape.groups[group], token_count)
        if kv is None or kv.shape != expected or kv.dtype != shape.element or not kv.flags.c_contiguous:
            given = "none" if kv is None else f"{kv.dtype} {kv.shape}"
            raise ShapeMismatchError(f"keys and values must be {shape.element} {expected}, row-major, not {given}")
        content = kv.reshape(-1).view(np.uint8)
        padding = padded_bytes(len(content)) - len(content)
        return (np.pad(content, (0, padding)) if padding else content).data

    def commit(self, position: int, record_count: int, digest: bytes) -> Commit:
        self._write_head(DONE_KIND, position, np.empty(0, np.uint32), digest, (), ())
        return Commit(position, record_count, self._offset, self._number, self._checksum)

    def _write_head(
        self,
        kind: bytes,
        position: int,
        token_ids: TokenIds,
        digest: bytes,
        contents: Sequence[memoryview | None],
        checksums: Sequence[int],
    ) -> None:
        part_of_id = self._header.segment_id[:8]
        present = sum(1 << group for group, content in enumerate(contents) if content is not None)
        fixed = RECORD.pack(kind, len(token_ids), position, part_of_id, self._number, digest, present)
        rest = token_ids.astype("<u4").tobytes() + np.array(checksums, "<u4").tobytes()
        rest += bytes(padded_bytes(len(rest)) - len(rest))
        self._checksum = zlib.crc32(rest, zlib.crc32(fixed, self._checksum))
        self._number += 1
        self._write(fixed + CHECKSUM.pack(self._checksum) + rest)

    def _write(self, content: bytes | memoryview) -> None:
        _write_all(self._storage, self._descriptor, content, self._offset)
        self._offset += len(content)


def _write_all(storage: Storage, descriptor: int, content: bytes | memoryview, offset: int) -> None:
    rest = memoryview(content)
    while rest:
        count = storage.write(descriptor, rest, offset)
        rest, offset = rest[count:], offset + count
