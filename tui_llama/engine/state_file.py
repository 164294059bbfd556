"""A file of stored keys and values, a segment: the tokens of one branch from some position on, turn after turn.

A segment without a parent begins at position 0. Any other segment continues from a position of its parent, so that
branches share what they have in common. A segment is only appended to, or cut back to the end of a record: records of
up to 64 tokens (`TOKS`), then a record (`DONE`) that says that everything before it belongs together. Bytes after the
last `DONE` are ignored.

docs/state-file.md has the format, field by field, and the rules for reading and writing it. In short: everything is
little-endian, every part is a multiple of 64 bytes long, token ids are uint32 (tokens,), and keys and values are
(layers, 2, tokens, kv_heads, head), keys before values. A head is float16 (head_dim,), or for q8_0 as many blocks of 34
bytes as it takes: a float16 scale and 32 × int8.

Whoever appends or cuts holds an exclusive lock on the file; whoever reads keys and values holds a shared one. This
module knows no models and no chats, and of other segments only their ids.
"""

import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from tui_llama.errors import CallerError, NoStateFileError, ShapeMismatchError, StateFileError, StateVersionError
from tui_llama.files.storage import Storage
from tui_llama.files.token_digest import BLOCK_TOKENS, TokenChain

TokenIds: TypeAlias = NDArray[np.uint32]
Rows: TypeAlias = NDArray[np.float16] | NDArray[np.uint8]
"""Keys and values of some tokens: (layers, 2, tokens, kv_heads, head), see above."""

RowsOf: TypeAlias = Callable[[int, int], Rows]
"""Gives the rows of the positions from the first number to before the second."""

MAGIC: Final = b"\x89TLK\r\n\x1a\n"
MAJOR_VERSION: Final = 2
MINOR_VERSION: Final = 0
ID_BYTES: Final = 16
NO_PARENT: Final = bytes(ID_BYTES)
RECORD_TOKENS: Final = BLOCK_TOKENS
HEADER_BYTES: Final = 256

_HEADER: Final = struct.Struct("<8sHHIII32s16sIIIIII16s16sQ16s16s84x")
_RECORD: Final = struct.Struct("<4sIQ8sI16sI12x")
_CHECKSUM: Final = struct.Struct("<I")
_HEAD_BYTES: Final = 64
_TOKENS, _DONE = b"TOKS", b"DONE"
_ALIGNMENT: Final = 64
_ELEMENT_TYPES: Final = {"f16": 1, "q8_0": 2}
_FOREIGN: Final = 1  # of the compatible features
_QUANT_BLOCK: Final = 32
_QUANT_BLOCK_BYTES: Final = 34
_MOST_LAYERS: Final = 4096
_MOST_RECORD_BYTES: Final = 1 << 30
_SEARCH_BYTES: Final = 1 << 20
_INFINITE: Final = 0x7C00  # the exponent of float16 infinities and NaNs, and the smallest of their magnitudes
_MAGNITUDE: Final = 0x7FFF


@dataclass(frozen=True, slots=True)
class StateFingerprint:
    """What keys and values belong to.

    `model` is a digest of the weights and `configuration` one of everything else that changes keys and values
    (rotation, element types); `engine_abi` rises whenever the engine's numerics or layout change.
    """

    model: bytes
    configuration: bytes
    engine_abi: int

    def __post_init__(self) -> None:
        if (len(self.model), len(self.configuration)) != (32, 16) or not 0 <= self.engine_abi < 1 << 32:
            raise CallerError("A state's fingerprint has 32 bytes, 16 bytes and an unsigned 32-bit number.")

    @property
    def chain(self) -> TokenChain:
        """The chain that tokens of this model begin with."""
        return TokenChain.beginning(self.model + self.configuration + self.engine_abi.to_bytes(4, "little"))


@dataclass(frozen=True, slots=True)
class StateShape:
    """The sizes of one token's keys (and values) in every layer."""

    layer_count: int
    kv_heads: int
    head_dim: int
    dtype: str = "f16"  # or "q8_0"

    def __post_init__(self) -> None:
        sizes = (self.layer_count, self.kv_heads, self.head_dim)
        if not all(0 < size < 1 << 32 for size in sizes) or self.layer_count > _MOST_LAYERS:
            raise CallerError(f"No state can have {self.layer_count} layers of {self.kv_heads} × {self.head_dim}.")
        if self.dtype not in _ELEMENT_TYPES:
            raise CallerError(f"No state can have elements of type {self.dtype!r}.")
        if self.token_bytes * RECORD_TOKENS > _MOST_RECORD_BYTES:
            raise CallerError(f"No state can have {self.token_bytes} bytes a token.")

    @property
    def head_bytes(self) -> int:
        """Bytes of one head of one token's keys."""
        if self.dtype == "f16":
            return 2 * self.head_dim
        return -(-self.head_dim // _QUANT_BLOCK) * _QUANT_BLOCK_BYTES

    @property
    def token_bytes(self) -> int:
        """Bytes of one token's keys and values in all layers."""
        return self.layer_count * 2 * self.kv_heads * self.head_bytes

    @property
    def element(self) -> np.dtype[Any]:
        """What rows are made of."""
        return np.dtype("<f2" if self.dtype == "f16" else "u1")

    def rows_shape(self, token_count: int) -> tuple[int, int, int, int, int]:
        """The shape of the rows of so many tokens."""
        return self.layer_count, 2, token_count, self.kv_heads, self.head_bytes // self.element.itemsize


@dataclass(frozen=True, slots=True)
class SegmentHeader:
    """What never changes of a segment.

    Attributes:
        fingerprint: What keys and values belong to.
        shape: Their sizes.
        segment_id: 16 random bytes.
        parent_id: The segment that this one goes on from, or `NO_PARENT`.
        first_position: That of the first token: where the parent is left.
        chain_digest: 16 bytes that stand for all tokens before.
        owner: 16 bytes of the writer's choice.
        is_foreign: Whether another program computed keys and values of it, or of what it goes on from.
    """

    fingerprint: StateFingerprint
    shape: StateShape
    segment_id: bytes
    parent_id: bytes
    first_position: int
    chain_digest: bytes
    owner: bytes
    is_foreign: bool = False


@dataclass(frozen=True, slots=True)
class RecordPlace:
    """Where keys and values of `token_count` tokens from `position` on lie in a file."""

    position: int
    token_count: int
    offset: int
    checksum: int


@dataclass(frozen=True, slots=True)
class Commit:
    """Up to where a segment was complete at some time: tokens, records and bytes, and how to go on from there."""

    position: int
    record_count: int
    offset: int
    number: int
    checksum: int


@dataclass(frozen=True, slots=True)
class Segment:
    """What is known of a segment without its keys and values; only what is committed.

    Attributes:
        header: See there.
        end_digest: 16 bytes that stand for all tokens up to the end, those before the segment among them.
        token_ids: (tokens,) uint32, from the first position on.
        records: In order.
        commits: In order, at least one.
        has_lost_tail: Whether committed records follow that cannot be read any more.
    """

    header: SegmentHeader
    end_digest: bytes
    token_ids: TokenIds
    records: tuple[RecordPlace, ...]
    commits: tuple[Commit, ...]
    has_lost_tail: bool = False

    @property
    def end(self) -> int:
        """The position after the last token."""
        return self.commits[-1].position

    @property
    def size(self) -> int:
        """Bytes of the file that count."""
        return self.commits[-1].offset


# --- writing --------------------------------------------------------------------------------------------------------


def begin_segment(storage: Storage, descriptor: int, header: SegmentHeader) -> Segment:
    """Writes the header of a new, empty file; what is returned has no commit yet and is only good for `append`."""
    content = _encoded_header(header)
    _write_all(storage, descriptor, content, 0)
    start = Commit(header.first_position, 0, len(content), 0, _CHECKSUM.unpack(content[-_CHECKSUM.size :])[0])
    return Segment(header, header.chain_digest, np.empty(0, np.uint32), (), (start,))


def append(
    storage: Storage, descriptor: int, segment: Segment, chain: TokenChain, token_ids: TokenIds, rows_of: RowsOf
) -> Segment:
    """Appends tokens and commits them; when it returns they are on the disk.

    The caller holds an exclusive lock and has made sure that `segment` is what the file holds. What lies behind its
    last commit is overwritten. If anything fails the file is as good as before, and may be cut back by `cut`.

    Args:
        storage: Where the file is.
        descriptor: The file, open for writing.
        segment: What the file holds.
        chain: The chain of all tokens up to the segment's end.
        token_ids: (tokens,) uint32, at least one.
        rows_of: Gives their rows; asked once for each record.

    Raises:
        OSError: as the storage says.
        ShapeMismatchError: rows are not as the header has them.
    """
    writer = _Writer(storage, descriptor, segment.header, segment.commits[-1])
    if storage.size(descriptor) > segment.size:
        storage.truncate(descriptor, segment.size)
    position, last = segment.end, segment.end + len(token_ids)
    places = []
    while position < last:
        count = min(RECORD_TOKENS - position % RECORD_TOKENS, last - position)
        some = token_ids[position - segment.end : position - segment.end + count]
        chain = chain.extended(some)
        places.append(writer.add_tokens(position, some, chain.digest, rows_of(position, position + count)))
        position += count
    commit = writer.commit(position, len(segment.records) + len(places), chain.digest)
    storage.sync(descriptor)
    is_new = not segment.records
    return Segment(
        header=segment.header,
        end_digest=chain.digest,
        token_ids=np.concatenate([segment.token_ids, token_ids]),
        records=(*segment.records, *places),
        commits=(commit,) if is_new else (*segment.commits, commit),
    )


def still_holds(storage: Storage, descriptor: int, segment: Segment) -> bool:
    """Whether a file begins with what is known of it: the last commit's checksum goes on from all those before it.

    Raises:
        OSError: as the storage says.
    """
    try:
        checksum = _read(storage, descriptor, segment.size - _CHECKSUM.size, _CHECKSUM.size)
    except StateFileError:  # it is shorter, maybe since a moment ago only: not everybody who asks holds a lock
        return False
    return checksum == _CHECKSUM.pack(segment.commits[-1].checksum)


def cut(storage: Storage, descriptor: int, size: int) -> None:
    """Cuts a file back to the end of a commit. The caller holds an exclusive lock."""
    if storage.size(descriptor) > size:
        storage.truncate(descriptor, size)


def cut_to_records(storage: Storage, descriptor: int, segment: Segment, count: int) -> None:
    """Cuts a file back to its first records and commits them; when it returns that is on the disk.

    The caller holds an exclusive lock and has made sure that `segment` is what the file holds.

    Args:
        storage: Where the file is.
        descriptor: The file, open for writing.
        segment: What the file holds.
        count: How many records to keep, at least one.

    Raises:
        OSError: as the storage says.
    """
    commit = next((commit for commit in segment.commits if commit.record_count == count), None)
    if commit is not None:
        storage.truncate(descriptor, commit.offset)
    else:
        last = segment.records[count - 1]
        head = _read(storage, descriptor, last.offset - _padded(4 * last.token_count) - _HEAD_BYTES, _HEAD_BYTES)
        *_, number, digest, _ = _RECORD.unpack(head[: _RECORD.size])
        (checksum,) = _CHECKSUM.unpack(head[_RECORD.size :])
        position = last.position + last.token_count
        end = last.offset + _padded(last.token_count * segment.header.shape.token_bytes)
        storage.truncate(descriptor, end)
        writer = _Writer(storage, descriptor, segment.header, Commit(position, count, end, number + 1, checksum))
        writer.commit(position, count, digest)
    storage.sync(descriptor)


class _Writer:
    """Writes records one behind the other."""

    def __init__(self, storage: Storage, descriptor: int, header: SegmentHeader, last: Commit) -> None:
        self._storage = storage
        self._descriptor = descriptor
        self._header = header
        self._offset, self._number, self._checksum = last.offset, last.number, last.checksum

    def add_tokens(self, position: int, token_ids: TokenIds, digest: bytes, rows: Rows) -> RecordPlace:
        shape = self._header.shape
        expected = shape.rows_shape(len(token_ids))
        if rows.shape != expected or rows.dtype != shape.element or not rows.flags.c_contiguous:
            raise ShapeMismatchError(
                f"rows must be {shape.element} {expected}, row-major, not {rows.dtype} {rows.shape}"
            )
        content = rows.reshape(-1).view(np.uint8).data
        padding = bytes(_padded(len(content)) - len(content))
        checksum = zlib.crc32(padding, zlib.crc32(content))
        self._write_head(_TOKENS, position, token_ids, digest, checksum)
        place = RecordPlace(position, len(token_ids), self._offset, checksum)
        self._write(content)
        self._write(padding)
        return place

    def commit(self, position: int, record_count: int, digest: bytes) -> Commit:
        self._write_head(_DONE, position, np.empty(0, np.uint32), digest, 0)
        return Commit(position, record_count, self._offset, self._number, self._checksum)

    def _write_head(self, kind: bytes, position: int, token_ids: TokenIds, digest: bytes, checksum: int) -> None:
        part_of_id = self._header.segment_id[:8]
        fixed = _RECORD.pack(kind, len(token_ids), position, part_of_id, self._number, digest, checksum)
        ids = token_ids.astype("<u4").tobytes()
        ids += bytes(_padded(len(ids)) - len(ids))
        self._checksum = zlib.crc32(ids, zlib.crc32(fixed, self._checksum))
        self._number += 1
        self._write(fixed + _CHECKSUM.pack(self._checksum) + ids)

    def _write(self, content: bytes | memoryview) -> None:
        _write_all(self._storage, self._descriptor, content, self._offset)
        self._offset += len(content)


def _encoded_header(header: SegmentHeader) -> bytes:
    shape, fingerprint = header.shape, header.fingerprint
    fields = _HEADER.pack(
        MAGIC, MAJOR_VERSION, MINOR_VERSION, HEADER_BYTES, 0, _FOREIGN if header.is_foreign else 0,
        fingerprint.model, fingerprint.configuration, fingerprint.engine_abi,
        _ELEMENT_TYPES[shape.dtype], shape.layer_count, shape.kv_heads, shape.head_dim, 0,
        header.segment_id, header.parent_id, header.first_position, header.chain_digest, header.owner,
    )  # fmt: skip
    return fields + _CHECKSUM.pack(zlib.crc32(fields))


def _write_all(storage: Storage, descriptor: int, content: bytes | memoryview, offset: int) -> None:
    rest = memoryview(content)
    while rest:
        count = storage.write(descriptor, rest, offset)
        rest, offset = rest[count:], offset + count


# --- reading --------------------------------------------------------------------------------------------------------


def _header_and_checksum(storage: Storage, descriptor: int) -> tuple[SegmentHeader, int]:
    """Reads and checks what a file says of itself, its checksum beside it.

    Raises:
        StateFileError: it is no segment, or not one of this version. The text is the cause in a few words.
        OSError: as the storage says.
    """
    content = _read(storage, descriptor, 0, min(HEADER_BYTES, storage.size(descriptor)))
    if content[:8] != MAGIC[: len(content)]:
        raise NoStateFileError("not a state file")
    if len(content) < 12:
        raise StateFileError("truncated" if content else "empty")
    major_version = int.from_bytes(content[8:10], "little")
    if major_version != MAJOR_VERSION:
        raise StateVersionError(f"of {'a newer' if major_version > MAJOR_VERSION else 'an older'} version")
    if len(content) < HEADER_BYTES:
        raise StateFileError("truncated")
    (checksum,) = _CHECKSUM.unpack(content[-_CHECKSUM.size :])
    if zlib.crc32(content[: -_CHECKSUM.size]) != checksum:
        raise StateFileError("damaged (header)")
    return _header_from(_HEADER.unpack(content[: _HEADER.size])), checksum


def _header_from(fields: tuple[Any, ...]) -> SegmentHeader:
    """The fields of a header whose checksum is right; it may still have been made to harm."""
    header_bytes, features, compatible_features = fields[3:6]
    model, configuration, engine_abi, element_type, layer_count, kv_heads, head_dim, _, *rest = fields[6:]
    segment_id, parent_id, first_position, chain_digest, owner = rest
    if features:
        raise StateVersionError("of a newer version")
    dtype = next((name for name, number in _ELEMENT_TYPES.items() if number == element_type), "")
    if header_bytes != HEADER_BYTES or first_position >= 1 << 32 or (parent_id == NO_PARENT and first_position > 0):
        raise StateFileError("damaged (header)")
    try:
        shape = StateShape(layer_count, kv_heads, head_dim, dtype)
        fingerprint = StateFingerprint(model, configuration, engine_abi)
    except CallerError as error:
        raise StateFileError("damaged (header)") from error
    is_foreign = bool(compatible_features & _FOREIGN)
    return SegmentHeader(fingerprint, shape, segment_id, parent_id, first_position, chain_digest, owner, is_foreign)


def scan(storage: Storage, descriptor: int) -> Segment:
    """Reads all of a file but keys and values, up to its last good commit.

    Raises:
        StateFileError: as `_header_and_checksum`, or nothing was ever committed.
        OSError: as the storage says.
    """
    header, checksum = _header_and_checksum(storage, descriptor)
    scanner = _Scanner(storage, descriptor, header, checksum)
    while scanner.take_record():
        pass
    return scanner.segment()


class _Scanner:
    """Goes through the records of a file as far as they are good."""

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
        """Takes the next record; returns whether it is good."""
        most = _HEAD_BYTES + 4 * RECORD_TOKENS
        content = _read(self._storage, self._descriptor, self._offset, max(0, min(most, self._size - self._offset)))
        if len(content) < _HEAD_BYTES:
            return False
        kind, count, position, part_of_id, number, digest, payload_checksum = _RECORD.unpack(content[: _RECORD.size])
        head_bytes = _HEAD_BYTES + _padded(4 * count)
        is_ours = part_of_id == self._header.segment_id[:8] and (number, position) == (self._number, self._position)
        is_right = count == 0 if kind == _DONE else kind == _TOKENS and 0 < count <= RECORD_TOKENS
        if not (is_ours and is_right and head_bytes <= len(content)):
            return False
        (stated,) = _CHECKSUM.unpack(content[_RECORD.size : _HEAD_BYTES])
        checksum = zlib.crc32(content[: _RECORD.size], self._checksum)
        if zlib.crc32(content[_HEAD_BYTES:head_bytes], checksum) != stated:
            return False
        payload_at = self._offset + head_bytes
        end = payload_at + _padded(count * self._header.shape.token_bytes)
        if end > self._size:
            return False
        self._offset, self._number, self._checksum, self._position = end, number + 1, stated, position + count
        if kind == _DONE:
            self._commits.append(Commit(position, len(self._records), end, self._number, stated))
            self._end_digest = digest
        else:
            self._records.append(RecordPlace(position, count, payload_at, payload_checksum))
            self._token_ids.append(np.frombuffer(content, "<u4", count, _HEAD_BYTES).astype(np.uint32))
        return True

    def _has_lost_tail(self) -> bool:
        """Whether a commit of this segment lies somewhere behind the last good one."""
        part_of_id = self._header.segment_id[:8]
        for start in range(self._commits[-1].offset, self._size, _SEARCH_BYTES):
            content = _read(self._storage, self._descriptor, start, min(_SEARCH_BYTES, self._size - start))
            at = content.find(part_of_id)
            while at >= 0:
                if content[at - 16 : at - 12] == _DONE and at - 16 + _HEAD_BYTES <= len(content):
                    return True
                at = content.find(part_of_id, at + 1)
        return False


def read_rows(storage: Storage, descriptor: int, shape: StateShape, place: RecordPlace) -> Rows:
    """Reads and checks the keys and values of one record. The caller holds a shared lock.

    Raises:
        StateFileError: "damaged (…)", "truncated"; nothing of it may be used.
        OSError: as the storage says.
    """
    what = f"tokens {place.position}–{place.position + place.token_count - 1}"
    wanted = place.token_count * shape.token_bytes
    content = np.empty(_padded(wanted), np.uint8)
    _read_into(storage, descriptor, content.data, place.offset)
    if zlib.crc32(content.data) != place.checksum or content[wanted:].any():
        raise StateFileError(f"damaged ({what})")
    rows: Rows = content[:wanted].view(shape.element).reshape(shape.rows_shape(place.token_count))
    if not is_finite(content[:wanted], shape.dtype):
        raise StateFileError(f"damaged ({what}: not finite)")
    return rows


def is_finite(content: NDArray[np.uint8], dtype: str) -> bool:
    """Whether no float16 is infinite or NaN."""
    bits = content.view("<u2")
    if dtype == "q8_0":
        bits = bits[:: _QUANT_BLOCK_BYTES // 2]  # a block begins with its scale
    return not bits.size or int((bits & _MAGNITUDE).max()) < _INFINITE


def _read(storage: Storage, descriptor: int, offset: int, count: int) -> bytes:
    content = bytearray(count)
    _read_into(storage, descriptor, memoryview(content), offset)
    return bytes(content)


def _read_into(storage: Storage, descriptor: int, out: memoryview, offset: int) -> None:
    while out:
        count = storage.read(descriptor, out, offset)
        if count == 0:
            raise StateFileError("truncated")
        out, offset = out[count:], offset + count


def _padded(count: int) -> int:
    return -(-count // _ALIGNMENT) * _ALIGNMENT
