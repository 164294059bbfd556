"""Reads segments: what their records say, and their keys and values. Damaged records are never returned.

`state_file.py` has the format.
"""

import zlib
from typing import Final

import numpy as np
from numpy.typing import NDArray

from tui_llama.engine.state_file import (
    CHECKSUM,
    DONE_KIND,
    MOST_HEADER_BYTES,
    RECORD,
    RECORD_HEAD_BYTES,
    TOKENS_KIND,
    Commit,
    PartPlace,
    RecordPlace,
    Segment,
    SegmentHeader,
    TokenIds,
    decoded_header,
    header_bytes,
    padded_bytes,
    record_head_bytes,
)
from tui_llama.engine.state_shape import QUANT_BLOCK_BYTES, RECORD_TOKENS, KvArray, StateShape
from tui_llama.errors import StateFileError
from tui_llama.files.storage import Storage

_SEARCH_BYTES: Final = 1 << 20
_INFINITE: Final = 0x7C00  # the exponent of float16 infinities and NaNs, and the smallest of their magnitudes
_MAGNITUDE: Final = 0x7FFF


def scan(storage: Storage, descriptor: int) -> Segment:
    """Reads all of a file but keys and values, up to its last good commit.

    Raises:
        StateFileError: it is no segment, or not one of this version, or nothing was ever committed. The text is the
            cause in a few words.
        OSError: as the storage says.
    """
    beginning = read_exactly(storage, descriptor, 0, min(MOST_HEADER_BYTES, storage.size(descriptor)))
    header, checksum = decoded_header(beginning)
    scanner = _Scanner(storage, descriptor, header, checksum)
    while scanner.take_record():
        pass
    return scanner.segment()


def still_holds(storage: Storage, descriptor: int, segment: Segment) -> bool:
    """Tells whether a file begins with a segment: the checksum of its last commit goes on from all those before.

    Raises:
        OSError: as the storage says.
    """
    try:
        checksum = read_exactly(storage, descriptor, segment.size - CHECKSUM.size, CHECKSUM.size)
    except StateFileError:  # the file is shorter, perhaps since a moment ago: some callers hold no lock
        return False
    return checksum == CHECKSUM.pack(segment.commits[-1].checksum)


class _Scanner:
    """Goes through the records of a file, up to the first that is wrong."""

    def __init__(self, storage: Storage, descriptor: int, header: SegmentHeader, checksum: int) -> None:
        self._storage = storage
        self._descriptor = descriptor
        self._header = header
        self._size = storage.size(descriptor)
        self._offset, self._number, self._checksum = header_bytes(header.shape), 0, checksum
        self._position = header.first_position
        self._records: list[RecordPlace] = []
        self._token_ids: list[TokenIds] = []
        self._commits: list[Commit] = []
        self._end_digest = header.chain_digest

    def segment(self) -> Segment:
        if not self._commits:
            raise StateFileError("nothing was committed")
        count = self._commits[-1].record_count
        token_ids = np.concatenate(self._token_ids[:count]) if count else np.empty(0, np.uint32)
        return Segment(
            header=self._header,
            end_digest=self._end_digest,
            token_ids=token_ids,
            records=tuple(self._records[:count]),
            commits=tuple(self._commits),
            has_lost_tail=self._has_lost_tail(),
        )

    def take_record(self) -> bool:
        """Takes the next record; returns whether it is right."""
        shape = self._header.shape
        most = record_head_bytes(shape, RECORD_TOKENS)
        content = read_exactly(
            self._storage, self._descriptor, self._offset, max(0, min(most, self._size - self._offset))
        )
        if len(content) < RECORD_HEAD_BYTES:
            return False
        kind, count, position, part_of_id, number, digest, present = RECORD.unpack(content[: RECORD.size])
        is_ours = part_of_id == self._header.segment_id[:8] and (number, position) == (self._number, self._position)
        is_right = count == 0 if kind == DONE_KIND else kind == TOKENS_KIND and 0 < count <= RECORD_TOKENS
        if not (is_ours and is_right):
            return False
        head_bytes = record_head_bytes(shape, count)
        if head_bytes > len(content):
            return False
        (stated,) = CHECKSUM.unpack(content[RECORD.size : RECORD_HEAD_BYTES])
        checksum = zlib.crc32(content[: RECORD.size], self._checksum)
        if zlib.crc32(content[RECORD_HEAD_BYTES:head_bytes], checksum) != stated:
            return False
        if kind == DONE_KIND:
            end = self._offset + head_bytes
            self._commits.append(Commit(position, len(self._records), end, number + 1, stated))
            self._end_digest = digest
        else:
            place = self._place(position, count, present, content)
            if place is None or place.end > self._size:
                return False
            self._records.append(place)
            self._token_ids.append(np.frombuffer(content, "<u4", count, RECORD_HEAD_BYTES).astype(np.uint32))
            end = place.end
        self._offset, self._number, self._checksum, self._position = end, number + 1, stated, position + count
        return True

    def _place(self, position: int, count: int, present: int, content: bytes) -> RecordPlace | None:
        """Returns the place of a record that begins here; None if parts are missing that must be there."""
        shape = self._header.shape
        checksums = np.frombuffer(content, "<u4", len(shape.groups), RECORD_HEAD_BYTES + 4 * count).tolist()
        offset, parts = self._offset + record_head_bytes(shape, count), list[PartPlace | None]()
        for index, (group, checksum) in enumerate(zip(shape.groups, checksums, strict=True)):
            is_present = bool(present >> index & 1)
            if not is_present and not group.window:
                return None
            parts.append(PartPlace(offset, checksum) if is_present else None)
            offset += padded_bytes(count * shape.group_bytes(group)) if is_present else 0
        return None if present >> len(parts) else RecordPlace(position, count, self._offset, tuple(parts), offset)

    def _has_lost_tail(self) -> bool:
        """Tells whether a commit of this segment lies somewhere after the last good one."""
        part_of_id = self._header.segment_id[:8]
        for start in range(self._commits[-1].offset, self._size, _SEARCH_BYTES):
            content = read_exactly(self._storage, self._descriptor, start, min(_SEARCH_BYTES, self._size - start))
            at = content.find(part_of_id)
            while at >= 0:
                if content[at - 16 : at - 12] == DONE_KIND and at - 16 + RECORD_HEAD_BYTES <= len(content):
                    return True
                at = content.find(part_of_id, at + 1)
        return False


def read_kv(storage: Storage, descriptor: int, shape: StateShape, place: RecordPlace, group: int) -> KvArray:
    """Reads and checks the keys and values of one group of layers in one record. The caller holds a shared lock.

    Raises:
        StateFileError: "damaged (…)", "truncated", "not stored (…)"; nothing of the part may be used.
        OSError: as the storage says.
    """
    what = f"tokens {place.position}–{place.end_position - 1}"
    part = place.parts[group]
    if part is None:
        raise StateFileError(f"not stored ({what})")
    wanted = place.token_count * shape.group_bytes(shape.groups[group])
    content = np.empty(padded_bytes(wanted), np.uint8)
    _read_into(storage, descriptor, content.data, part.offset)
    if zlib.crc32(content.data) != part.checksum or content[wanted:].any():
        raise StateFileError(f"damaged ({what})")
    sizes = shape.kv_shape(shape.groups[group], place.token_count)
    kv: KvArray = content[:wanted].view(shape.element).reshape(sizes)
    if not is_finite(content[:wanted], shape.dtype):
        raise StateFileError(f"damaged ({what}: not finite)")
    return kv


def is_finite(content: NDArray[np.uint8], dtype: str) -> bool:
    """Tells whether no float16 among the bytes of keys and values is infinite or NaN."""
    bits = content.view("<u2")
    if dtype == "q8_0":
        bits = bits[:: QUANT_BLOCK_BYTES // 2]  # a block begins with its scale
    return not bits.size or int((bits & _MAGNITUDE).max()) < _INFINITE


def read_exactly(storage: Storage, descriptor: int, offset: int, count: int) -> bytes:
    """Reads `count` bytes.

    Raises:
        StateFileError: the file ends before.
        OSError: as the storage says.
    """
    content = bytearray(count)
    _read_into(storage, descriptor, memoryview(content), offset)
    return bytes(content)


def _read_into(storage: Storage, descriptor: int, out: memoryview, offset: int) -> None:
    """Fills a buffer; raises as `read_exactly`."""
    while out:
        count = storage.read(descriptor, out, offset)
        if count == 0:
            raise StateFileError("truncated")
        out, offset = out[count:], offset + count
