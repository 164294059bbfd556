"""A file of stored keys and values, a segment: the tokens of one branch from some position on, turn after turn.

A segment without a parent begins at position 0. Any other segment continues from a position of its parent, so that
branches share what they have in common. A segment is only appended to, or cut back to the end of a record: records of
up to 64 tokens (`TOKS`), then a record (`DONE`) that says that everything before it belongs together. Bytes after the
last `DONE` are ignored.

docs/state-file.md has the format, field by field, and the rules for reading and writing it. In short: everything is
little-endian, every part is a multiple of 64 bytes long, token ids are uint32 (tokens,), and a record has a part for
each group of layers, as `state_shape.KvArray` says. The part of a group with a window may be absent: such layers forget
what they no longer see.

A process that appends or cuts holds an exclusive lock on the file; one that reads keys and values a shared one. This
module knows no models and no chats, and of other segments only their ids.
"""

import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from tui_llama.engine.machine.memory import padded
from tui_llama.engine.state_shape import ELEMENT_TYPES, MOST_GROUPS, MOST_LAYERS, KvArray, LayerGroup, StateShape
from tui_llama.errors import CallerError, NoStateFileError, StateFileError, StateVersionError
from tui_llama.files.token_digest import TokenChain

# Here is the format; `prompt_cache/segment_writer.py` and `prompt_cache/segment_scan.py` write and read files of it.

TokenIds: TypeAlias = NDArray[np.uint32]

KvOf: TypeAlias = Callable[[int, int, int], KvArray | None]
"""Gives the keys and values of a group of layers at the positions from the second number to before the third.

None: a group with a window no longer has all of them.
"""

MAGIC: Final = b"\x89TLK\r\n\x1a\n"
MAJOR_VERSION: Final = 3
MINOR_VERSION: Final = 0
ID_BYTES: Final = 16
NO_PARENT: Final = bytes(ID_BYTES)

HEADER: Final = struct.Struct("<8sHHIII32s16sIIII8x16s16sQ16s16s24x")
GROUP: Final = struct.Struct("<IIIIII8x")
RECORD: Final = struct.Struct("<4sIQ8sI16sQ8x")
CHECKSUM: Final = struct.Struct("<I")
RECORD_HEAD_BYTES: Final = 64
TOKENS_KIND, DONE_KIND = b"TOKS", b"DONE"
ALIGNMENT_BYTES: Final = 64
KEYS_AND_VALUES: Final = 1  # kind of a group
FOREIGN_FEATURE: Final = 1  # of the compatible features
MOST_HEADER_BYTES: Final = padded(HEADER.size + MOST_GROUPS * GROUP.size + 4 * MOST_LAYERS + CHECKSUM.size, 64)


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
    """The place in a file of `token_count` tokens from `position` on: of the record and of its parts.

    There is a part for each group of layers; None where it is absent.
    """

    position: int
    token_count: int
    offset: int
    parts: "tuple[PartPlace | None, ...]"
    end: int

    @property
    def end_position(self) -> int:
        """The position after the last token."""
        return self.position + self.token_count


@dataclass(frozen=True, slots=True)
class PartPlace:
    """The place in a file of the keys and values of one group of layers, and their checksum."""

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


def header_bytes(shape: StateShape) -> int:
    """Returns the bytes of the header of a segment of that shape."""
    layers = sum(len(group.layers) for group in shape.groups)
    return padded_bytes(HEADER.size + GROUP.size * len(shape.groups) + 4 * layers + CHECKSUM.size)


def encoded_header(header: SegmentHeader) -> bytes:
    """Returns what a segment begins with."""
    shape, fingerprint, size = header.shape, header.fingerprint, header_bytes(header.shape)
    layers = [layer for group in shape.groups for layer in group.layers]
    fields = HEADER.pack(
        MAGIC, MAJOR_VERSION, MINOR_VERSION, size, 0, FOREIGN_FEATURE if header.is_foreign else 0,
        fingerprint.model, fingerprint.configuration, fingerprint.engine_abi,
        ELEMENT_TYPES[shape.dtype], len(shape.groups), len(layers),
        header.segment_id, header.parent_id, header.first_position, header.chain_digest, header.owner,
    )  # fmt: skip
    for group in shape.groups:
        sizes = (group.kv_heads, group.key_dim, group.value_dim, group.window)
        fields += GROUP.pack(KEYS_AND_VALUES, *sizes, len(group.layers))
    fields += np.array(layers, "<u4").tobytes()
    fields += bytes(size - CHECKSUM.size - len(fields))
    return fields + CHECKSUM.pack(zlib.crc32(fields))


def decoded_header(content: bytes) -> tuple[SegmentHeader, int]:
    """Reads and checks what a file says of itself.

    Args:
        content: The first `MOST_HEADER_BYTES` of the file, or all that it has.

    Returns:
        The header, and its checksum, from which that of the first record goes on.

    Raises:
        StateFileError: it is no segment, or not one of this version. The text is the cause in a few words.
    """
    if content[:8] != MAGIC[: len(content)]:
        raise NoStateFileError("not a state file")
    if len(content) < 16:
        raise StateFileError("truncated" if content else "empty")
    major_version = int.from_bytes(content[8:10], "little")
    if major_version != MAJOR_VERSION:
        raise StateVersionError(f"of {'a newer' if major_version > MAJOR_VERSION else 'an older'} version")
    size = int.from_bytes(content[12:16], "little")
    if not HEADER.size + CHECKSUM.size <= size <= MOST_HEADER_BYTES:
        raise StateFileError("damaged (header)")
    if len(content) < size:
        raise StateFileError("truncated")
    (checksum,) = CHECKSUM.unpack(content[size - CHECKSUM.size : size])
    if zlib.crc32(content[: size - CHECKSUM.size]) != checksum:
        raise StateFileError("damaged (header)")
    return _header_from(content[:size]), checksum


def _header_from(content: bytes) -> SegmentHeader:
    """Reads the fields of a header whose checksum is right. It checks them, because a hostile header has one, too."""
    fields = HEADER.unpack(content[: HEADER.size])
    features, compatible_features, model, configuration, engine_abi = fields[4:9]
    element_type, group_count, layer_count, segment_id, parent_id, first_position, chain_digest, owner = fields[9:]
    if features:
        raise StateVersionError("of a newer version")
    if first_position >= 1 << 32 or (parent_id == NO_PARENT and first_position > 0):
        raise StateFileError("damaged (header)")
    try:
        shape = StateShape(_groups_from(content, group_count, layer_count), _element_type(element_type))
        fingerprint = StateFingerprint(model, configuration, engine_abi)
    except CallerError as error:
        raise StateFileError("damaged (header)") from error
    if header_bytes(shape) != len(content):
        raise StateFileError("damaged (header)")
    is_foreign = bool(compatible_features & FOREIGN_FEATURE)
    return SegmentHeader(fingerprint, shape, segment_id, parent_id, first_position, chain_digest, owner, is_foreign)


def _element_type(number: int) -> str:
    return next((name for name, own in ELEMENT_TYPES.items() if own == number), "")


def _groups_from(content: bytes, group_count: int, layer_count: int) -> tuple[LayerGroup, ...]:
    layers_at = HEADER.size + group_count * GROUP.size
    if layers_at + 4 * layer_count > len(content):
        raise StateFileError("damaged (header)")
    layers: list[int] = np.frombuffer(content, "<u4", layer_count, layers_at).tolist()
    groups = []
    for kind, *sizes, count in GROUP.iter_unpack(content[HEADER.size : layers_at]):
        if kind != KEYS_AND_VALUES or count > len(layers):
            raise StateFileError("damaged (header)")
        groups.append(LayerGroup(tuple(layers[:count]), *sizes))
        layers = layers[count:]
    if layers:
        raise StateFileError("damaged (header)")
    return tuple(groups)


def padded_bytes(size: int) -> int:
    """Returns the size of a part of a file with its padding."""
    return padded(size, ALIGNMENT_BYTES)


def record_head_bytes(shape: StateShape, token_count: int) -> int:
    """Returns the bytes of a record before its parts: the fixed ones, token ids and the checksums of the parts."""
    return RECORD_HEAD_BYTES + (padded_bytes(4 * (token_count + len(shape.groups))) if token_count else 0)
