"""A file of stored keys and values, a segment: the tokens of one branch from some position on, turn after turn.

A segment without a parent begins at position 0. Any other segment continues from a position of its parent, so that
branches share what they have in common. A segment is only appended to, or cut back to the end of a record: records of
up to 64 tokens (`TOKS`), then a record (`DONE`) that says that everything before it belongs together. Bytes after the
last `DONE` are ignored.

docs/state-file.md has the format, field by field, and the rules for reading and writing it. In short: everything is
little-endian, every part is a multiple of 64 bytes long, token ids are uint32 (tokens,), and keys and values are
(layers, 2, tokens, kv_heads, head), keys before values. A head is float16 (head_dim,), or for q8_0 as many blocks of 34
bytes as it takes: a float16 scale and 32 × int8.

A process that appends or cuts holds an exclusive lock on the file; one that reads keys and values a shared one. This
module knows no models and no chats, and of other segments only their ids.
"""

import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from tui_llama.engine.machine.memory import padded
from tui_llama.errors import CallerError, NoStateFileError, StateFileError, StateVersionError
from tui_llama.files.token_digest import BLOCK_TOKENS, TokenChain

# Here is the format; `prompt_cache/segment_writer.py` and `prompt_cache/segment_scan.py` write and read files of it.

TokenIds: TypeAlias = NDArray[np.uint32]
KvArray: TypeAlias = NDArray[np.float16] | NDArray[np.uint8]
"""Keys and values of some tokens: (layers, 2, tokens, kv_heads, head), see above."""

KvOf: TypeAlias = Callable[[int, int], KvArray]
"""Gives the keys and values of the positions from the first number to before the second."""

MAGIC: Final = b"\x89TLK\r\n\x1a\n"
MAJOR_VERSION: Final = 2
MINOR_VERSION: Final = 0
ID_BYTES: Final = 16
NO_PARENT: Final = bytes(ID_BYTES)
RECORD_TOKENS: Final = BLOCK_TOKENS
HEADER_BYTES: Final = 256

HEADER: Final = struct.Struct("<8sHHIII32s16sIIIIII16s16sQ16s16s84x")
RECORD: Final = struct.Struct("<4sIQ8sI16sI12x")
CHECKSUM: Final = struct.Struct("<I")
RECORD_HEAD_BYTES: Final = 64
TOKENS_KIND, DONE_KIND = b"TOKS", b"DONE"
ALIGNMENT_BYTES: Final = 64
ELEMENT_TYPES: Final = {"f16": 1, "q8_0": 2}
QUANT_BLOCK: Final = 32
"""Elements of a block of q8_0. The kernels name it `QUANT_COLUMNS`, since they may not import this module."""
QUANT_BLOCK_BYTES: Final = 34
FOREIGN_FEATURE: Final = 1  # of the compatible features
_MOST_LAYERS: Final = 4096
_MOST_RECORD_BYTES: Final = 1 << 30


@dataclass(frozen=True, slots=True)
class StateFingerprint:
    """The identity that keys and values carry: only an engine with the same one may use them.

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
        if self.dtype not in ELEMENT_TYPES:
            raise CallerError(f"No state can have elements of type {self.dtype!r}.")
        if self.token_bytes * RECORD_TOKENS > _MOST_RECORD_BYTES:
            raise CallerError(f"No state can have {self.token_bytes} bytes a token.")

    @property
    def head_bytes(self) -> int:
        """Bytes of one head of one token's keys."""
        if self.dtype == "f16":
            return 2 * self.head_dim
        return padded(self.head_dim, QUANT_BLOCK) // QUANT_BLOCK * QUANT_BLOCK_BYTES

    @property
    def token_bytes(self) -> int:
        """Bytes of one token's keys and values in all layers."""
        return self.layer_count * 2 * self.kv_heads * self.head_bytes

    @property
    def element(self) -> np.dtype[Any]:
        """The dtype of the elements of keys and values."""
        return np.dtype("<f2" if self.dtype == "f16" else "u1")

    def kv_shape(self, token_count: int) -> tuple[int, int, int, int, int]:
        """Returns the shape of the keys and values of so many tokens."""
        return self.layer_count, 2, token_count, self.kv_heads, self.head_bytes // self.element.itemsize


@dataclass(frozen=True, slots=True)
class SegmentHeader:
    """The part of a segment that never changes.

    Attributes:
        fingerprint: The identity of the keys and values.
        shape: Their sizes.
        segment_id: 16 random bytes.
        parent_id: The segment that this one goes on from, or `NO_PARENT`.
        first_position: That of the first token: where the parent is left.
        chain_digest: 16 bytes that stand for all tokens before.
        owner: 16 bytes of the writer's choice.
        is_foreign: Whether another program computed keys and values of it, or of a segment before it.
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
    """The place in a file of the keys and values of `token_count` tokens from `position` on."""

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
    """The committed content of a segment, without its keys and values.

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


def encoded_header(header: SegmentHeader) -> bytes:
    """Returns the 256 bytes that a segment begins with."""
    shape, fingerprint = header.shape, header.fingerprint
    fields = HEADER.pack(
        MAGIC, MAJOR_VERSION, MINOR_VERSION, HEADER_BYTES, 0, FOREIGN_FEATURE if header.is_foreign else 0,
        fingerprint.model, fingerprint.configuration, fingerprint.engine_abi,
        ELEMENT_TYPES[shape.dtype], shape.layer_count, shape.kv_heads, shape.head_dim, 0,
        header.segment_id, header.parent_id, header.first_position, header.chain_digest, header.owner,
    )  # fmt: skip
    return fields + CHECKSUM.pack(zlib.crc32(fields))


def decoded_header(content: bytes) -> tuple[SegmentHeader, int]:
    """Reads and checks what a file says of itself.

    Args:
        content: The first 256 bytes of the file, or all that it has.

    Returns:
        The header, and its checksum, from which that of the first record goes on.

    Raises:
        StateFileError: it is no segment, or not one of this version. The text is the cause in a few words.
    """
    if content[:8] != MAGIC[: len(content)]:
        raise NoStateFileError("not a state file")
    if len(content) < 12:
        raise StateFileError("truncated" if content else "empty")
    major_version = int.from_bytes(content[8:10], "little")
    if major_version != MAJOR_VERSION:
        raise StateVersionError(f"of {'a newer' if major_version > MAJOR_VERSION else 'an older'} version")
    if len(content) < HEADER_BYTES:
        raise StateFileError("truncated")
    (checksum,) = CHECKSUM.unpack(content[-CHECKSUM.size :])
    if zlib.crc32(content[: -CHECKSUM.size]) != checksum:
        raise StateFileError("damaged (header)")
    return _header_from(HEADER.unpack(content[: HEADER.size])), checksum


def _header_from(fields: tuple[Any, ...]) -> SegmentHeader:
    """Reads the fields of a header whose checksum is right. It checks them, because a hostile header has one, too."""
    header_bytes, features, compatible_features = fields[3:6]
    model, configuration, engine_abi, element_type, layer_count, kv_heads, head_dim, _, *rest = fields[6:]
    segment_id, parent_id, first_position, chain_digest, owner = rest
    if features:
        raise StateVersionError("of a newer version")
    dtype = next((name for name, number in ELEMENT_TYPES.items() if number == element_type), "")
    if header_bytes != HEADER_BYTES or first_position >= 1 << 32 or (parent_id == NO_PARENT and first_position > 0):
        raise StateFileError("damaged (header)")
    try:
        shape = StateShape(layer_count, kv_heads, head_dim, dtype)
        fingerprint = StateFingerprint(model, configuration, engine_abi)
    except CallerError as error:
        raise StateFileError("damaged (header)") from error
    is_foreign = bool(compatible_features & FOREIGN_FEATURE)
    return SegmentHeader(fingerprint, shape, segment_id, parent_id, first_position, chain_digest, owner, is_foreign)


def padded_bytes(size: int) -> int:
    """Returns the size of a part of a file with its padding."""
    return padded(size, ALIGNMENT_BYTES)
