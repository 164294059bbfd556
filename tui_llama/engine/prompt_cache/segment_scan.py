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
    HEADER_BYTES,
    QUANT_BLOCK_BYTES,
    RECORD,
    RECORD_HEAD_BYTES,
    RECORD_TOKENS,
    TOKENS_KIND,
    Commit,
    KvArray,
    RecordPlace,
    Segment,
    SegmentHeader,
    StateShape,
    TokenIds,
    decoded_header,
    padded_bytes,
)
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
    beginning = read_exactly(storage, descriptor, 0, min(HEADER_BYTES, storage.size(descriptor)))
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
        self._offset, self._number, self._checksum = HEADER_BYTES, 0, checksum
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
        most = RECORD_HEAD_BYTES + 4 * RECORD_TOKENS
        content = read_exactly(
            self._storage, self._descriptor, self._offset, max(0, min(most, self._size - self._offset))
        )
        if len(content) < RECORD_HEAD_BYTES:
            return False
        kind, count, position, part_of_id, number, digest, payload_checksum = RECORD.unpack(content[: RECORD.size])
        head_bytes = RECORD_HEAD_BYTES + padded_bytes(4 * count)
        is_ours = part_of_id == self._header.segment_id[:8] and (number, position) == (self._number, self._position)
        is_right = count == 0 if kind == DONE_KIND else kind == TOKENS_KIND and 0 < count <= RECORD_TOKENS
        if not (is_ours and is_right and head_bytes <= len(content)):
            return False
        (stated,) = CHECKSUM.unpack(content[RECORD.size : RECORD_HEAD_BYTES])
        checksum = zlib.crc32(content[: RECORD.size], self._checksum)
        if zlib.crc32(content[RECORD_HEAD_BYTES:head_bytes], checksum) != stated:
            return False
        payload_at = self._offset + head_bytes
        end = payload_at + padded_bytes(count * self._header.shape.token_bytes)
        if end > self._size:
            return False
        self._offset, self._number, self._checksum, self._position = end, number + 1, stated, position + count
        if kind == DONE_KIND:
            self._commits.append(Commit(position, len(self._records), end, self._number, stated))
            self._end_digest = digest
        else:
            self._records.append(RecordPlace(position, count, payload_at, payload_checksum))
            self._token_ids.append(np.frombuffer(content, "<u4", count, RECORD_HEAD_BYTES).astype(np.uint32))
        return True

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


def read_kv(storage: Storage, descriptor: int, shape: StateShape, place: RecordPlace) -> KvArray:
    """Reads and checks the keys and values of one record. The caller holds a shared lock.

    Raises:
        StateFileError: "damaged (…)", "truncated"; nothing of the record may be used.
        OSError: as the storage says.
    """
    what = f"tokens {place.position}–{place.position + place.token_count - 1}"
    wanted = place.token_count * shape.token_bytes
    content = np.empty(padded_bytes(wanted), np.uint8)
    _read_into(storage, descriptor, content.data, place.offset)
    if zlib.crc32(content.data) != place.checksum or content[wanted:].any():
        raise StateFileError(f"damaged ({what})")
    kv: KvArray = content[:wanted].view(shape.element).reshape(shape.kv_shape(place.token_count))
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
