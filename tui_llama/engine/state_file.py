"""The file of stored keys and values: arrays to disk and back, bit by bit, or not at all.

    offset  bytes  everything little-endian, every part begins at a multiple of 64
         0      8  magic: 89 54 4C 4B 0D 0A 1A 0A
         8      2  major version: 1; another one is refused
        10      2  minor version: 0; a higher one is read
        12      4  length of the header in bytes: 192 + 4 × parts + 4, rounded up to 64
        16      4  incompatible features: an unknown bit is refused; none so far
        20      4  compatible features: an unknown bit is ignored; none so far
        24     32  fingerprint of the model
        56     16  fingerprint of the cache's configuration
        72      4  version of the engine's numerics and layout
        76      4  element type: 1 = float16, 2 = q8_0
        80      4  layers
        84      4  kv_heads
        88      4  head_dim
        92      4  parts: 1 + 2 × layers
        96      8  position of the first token: 0
       104      8  tokens
       112      8  length of the whole file in bytes
       120     72  reserved, zero
       192      4  for each part: CRC-32 of the part, its padding included
         …         zeros
    header − 4  4  CRC-32 of all of the header before it
    header         part 0: token ids, uint32 (tokens,)
         …         part 1 + 2 × layer: keys, float16 (tokens, kv_heads, head_dim), row-major; q8_0: (tokens, kv_heads,
                   blocks) of 34 bytes, float16 scale and 32 × int8, with head_dim rounded up to blocks of 32
         …         part 2 + 2 × layer: values, likewise; each part is padded with zeros to 64

Written beside the old file and renamed over it, so that what is read is the old state or the new one in
full. Everything is checked before anything is returned: the checksums find accidents, and the bounds and the
check for values that are not finite hold against a file that was made to harm. Knows no models and no chats.
"""

import os
import struct
import zlib
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from tui_llama.engine.guarded_files import opened, read_bytes, read_into, regular_file_bytes, replacing, write_all
from tui_llama.errors import CallerError, ShapeMismatchError, StateFileError

TokenIds: TypeAlias = NDArray[np.uint32]
Plane: TypeAlias = NDArray[np.float16] | NDArray[np.uint8]
"""Keys or values of a layer: (tokens, kv_heads, head_dim) float16; q8_0: (tokens, kv_heads, 34 · blocks) uint8."""

MAGIC: Final = b"\x89TLK\r\n\x1a\n"
MAJOR_VERSION: Final = 1
MINOR_VERSION: Final = 0

_FIELDS: Final = struct.Struct("<8sHHIII32s16sIIIIIIQQQ72x")
_CHECKSUM: Final = struct.Struct("<I")
_ALIGNMENT: Final = 64
_ELEMENT_TYPES: Final = {"f16": 1, "q8_0": 2}
_QUANT_BLOCK: Final = 32
_QUANT_BLOCK_BYTES: Final = 34
_MOST_LAYERS: Final = 4096
_CHUNK_BYTES: Final = 1 << 20  # what a core's cache holds while a chunk is copied, summed and looked through
_READER_COUNT: Final = 4
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

    @property
    def head_bytes(self) -> int:
        """Bytes of one head of one token's keys."""
        if self.dtype == "f16":
            return 2 * self.head_dim
        return -(-self.head_dim // _QUANT_BLOCK) * _QUANT_BLOCK_BYTES

    @property
    def element(self) -> np.dtype[Any]:
        """What a plane is made of."""
        return np.dtype("<f2" if self.dtype == "f16" else "u1")

    def plane_shape(self, token_count: int) -> tuple[int, int, int]:
        """The shape of a plane of so many tokens."""
        return token_count, self.kv_heads, self.head_bytes // self.element.itemsize


@dataclass(frozen=True, slots=True)
class StoredState:
    """What a file held: the token ids and, for each layer, keys and values."""

    token_ids: TokenIds
    layers: list[tuple[Plane, Plane]]


@dataclass(frozen=True, slots=True)
class _Layout:
    """Where the parts of a file lie, from its shape and its number of tokens alone."""

    shape: StateShape
    token_count: int

    @property
    def part_count(self) -> int:
        return 1 + 2 * self.shape.layer_count

    @property
    def header_bytes(self) -> int:
        return _padded(_FIELDS.size + _CHECKSUM.size * (self.part_count + 1))

    @property
    def plane_bytes(self) -> int:
        return self.token_count * self.shape.kv_heads * self.shape.head_bytes

    @property
    def file_bytes(self) -> int:
        return self.plane_offset(self.part_count)

    def plane_offset(self, part: int) -> int:
        return self.header_bytes + _padded(4 * self.token_count) + (part - 1) * _padded(self.plane_bytes)


def write_state(
    path: str | Path,
    fingerprint: StateFingerprint,
    shape: StateShape,
    token_ids: TokenIds,
    layers: Iterable[tuple[Plane, Plane]],
) -> None:
    """Replaces the file at `path` in one step; when it returns, the new state is on the disk.

    Args:
        path: In a folder that is there; the file gets mode 0600.
        fingerprint: What the state belongs to.
        shape: Sizes of every plane.
        token_ids: (tokens,) uint32.
        layers: Keys and values of each layer, row-major. Taken one by one and never copied.

    Raises:
        StateFileError: it could not be written. The old file is still there, or, when only the last sync
            failed, the new one is, in full.
        ShapeMismatchError: an array is not as described.
    """
    require_array(token_ids, (len(token_ids),), "<u4", "token ids")
    layout = _Layout(shape, len(token_ids))
    with replacing(Path(path)) as descriptor:
        write_all(descriptor, bytes(layout.header_bytes))
        checksums = [_write_part(descriptor, token_ids)]
        for keys, values in checked_layers(layers, shape, layout.token_count):
            checksums.append(_write_part(descriptor, keys))
            checksums.append(_write_part(descriptor, values))
        # Last: a file without its header is none, should anyone find it.
        os.lseek(descriptor, 0, os.SEEK_SET)
        write_all(descriptor, _header(fingerprint, layout, checksums))


def read_state(
    path: str | Path, fingerprint: StateFingerprint, shape: StateShape, max_tokens: int, vocab_size: int
) -> StoredState:
    """Reads a whole state after checking all of it.

    Args:
        path: A regular file; links are refused.
        fingerprint: What the state must belong to.
        shape: The sizes that it must have.
        max_tokens: More are refused.
        vocab_size: Token ids from here on are refused.

    Raises:
        StateFileError: it must not be used. The text is the cause in a few words: "missing", "of another
            model", "truncated", "damaged (layer 3 values)".
    """
    with opened(Path(path)) as descriptor:
        layout, checksums = _read_header(descriptor, fingerprint, shape, max_tokens)
        token_ids = _read_token_ids(descriptor, layout, checksums[0], vocab_size)
        # Reading, summing and looking through all release the GIL, and one core alone is slower than a disk.
        with ThreadPoolExecutor(_READER_COUNT) as readers:
            parts = range(1, layout.part_count)
            planes = list(readers.map(partial(_read_plane, descriptor, layout, checksums), parts))
        return StoredState(token_ids, list(zip(planes[0::2], planes[1::2], strict=True)))


def read_state_tokens(
    path: str | Path, fingerprint: StateFingerprint, shape: StateShape, max_tokens: int, vocab_size: int
) -> TokenIds:
    """Reads only the token ids of a state, (tokens,) uint32, to see whether the rest is worth reading.

    Raises:
        StateFileError: as for `read_state`, as far as header and token ids can tell.
    """
    with opened(Path(path)) as descriptor:
        layout, checksums = _read_header(descriptor, fingerprint, shape, max_tokens)
        return _read_token_ids(descriptor, layout, checksums[0], vocab_size)


# --- planes, in this format or another ----------------------------------------------------------------------


def checked_layers(
    layers: Iterable[tuple[Plane, Plane]], shape: StateShape, token_count: int
) -> Iterator[tuple[Plane, Plane]]:
    """Passes on the keys and values of each layer, one by one.

    Raises:
        ShapeMismatchError: a plane is not as the shape says, or there are more or fewer layers.
    """
    expected, element = shape.plane_shape(token_count), shape.element.str
    count = 0
    for keys, values in layers:
        require_array(keys, expected, element, f"keys of layer {count}")
        require_array(values, expected, element, f"values of layer {count}")
        yield keys, values
        count += 1
    if count != shape.layer_count:
        raise ShapeMismatchError(f"{count} layers were given for a state of {shape.layer_count}.")


def require_array(array: NDArray[Any], shape: tuple[int, ...], dtype: str, what: str) -> None:
    """Raises `ShapeMismatchError` unless the array has that shape and element type and is row-major."""
    if array.shape != shape or array.dtype != np.dtype(dtype) or not array.flags.c_contiguous:
        raise ShapeMismatchError(
            f"The {what} must be {dtype} {shape}, row-major; they are {array.dtype.str} {array.shape}."
        )


def is_finite(plane: Plane) -> bool:
    """Whether no float16 is infinite or NaN; in pieces that stay in the cache, since a state is large."""
    bits = plane.reshape(-1).view("<u2")
    if plane.dtype == np.uint8:
        bits = bits[:: _QUANT_BLOCK_BYTES // 2]  # a block begins with its scale
    magnitudes = np.empty(min(bits.size, _CHUNK_BYTES // 4), dtype="<u2")
    for start in range(0, bits.size, max(magnitudes.size, 1)):
        piece = bits[start : start + magnitudes.size]
        if np.bitwise_and(piece, _MAGNITUDE, out=magnitudes[: piece.size]).max() >= _INFINITE:
            return False
    return True


# --- writing ------------------------------------------------------------------------------------------------


def _write_part(descriptor: int, array: NDArray[Any]) -> int:
    """Writes an array and its padding; returns the checksum of both."""
    content = array.reshape(-1).view(np.uint8).data
    checksum = 0
    for start in range(0, len(content), _CHUNK_BYTES):
        chunk = content[start : start + _CHUNK_BYTES]
        checksum = zlib.crc32(chunk, checksum)
        write_all(descriptor, chunk)
    padding = bytes(_padded(len(content)) - len(content))
    write_all(descriptor, padding)
    return zlib.crc32(padding, checksum)


def _header(fingerprint: StateFingerprint, layout: _Layout, checksums: list[int]) -> bytes:
    shape = layout.shape
    header = bytearray(layout.header_bytes)
    _FIELDS.pack_into(
        header,
        0,
        MAGIC,
        MAJOR_VERSION,
        MINOR_VERSION,
        layout.header_bytes,
        0,
        0,
        fingerprint.model,
        fingerprint.configuration,
        fingerprint.engine_abi,
        _ELEMENT_TYPES[shape.dtype],
        shape.layer_count,
        shape.kv_heads,
        shape.head_dim,
        layout.part_count,
        0,
        layout.token_count,
        layout.file_bytes,
    )
    struct.pack_into(f"<{len(checksums)}I", header, _FIELDS.size, *checksums)
    _CHECKSUM.pack_into(header, len(header) - _CHECKSUM.size, zlib.crc32(header[: -_CHECKSUM.size]))
    return bytes(header)


# --- reading ------------------------------------------------------------------------------------------------


def _read_header(
    descriptor: int, fingerprint: StateFingerprint, shape: StateShape, max_tokens: int
) -> tuple[_Layout, list[int]]:
    """Checks the header, and the length of the file against it; returns the layout and the parts' checksums."""
    actual_bytes = regular_file_bytes(descriptor)
    fields, header = _read_fields(descriptor, actual_bytes)
    (_, _, _, _, features, _, model, configuration, engine_abi, element_type, *sizes) = fields
    layer_count, kv_heads, head_dim, part_count, first_position, token_count, file_bytes = sizes
    if features:
        raise StateFileError("of a newer version")
    if model != fingerprint.model:
        raise StateFileError("of another model")
    if configuration != fingerprint.configuration:
        raise StateFileError("of another cache configuration")
    if engine_abi != fingerprint.engine_abi:
        raise StateFileError("of another version of the engine")
    if (element_type, layer_count, kv_heads, head_dim) != (
        _ELEMENT_TYPES[shape.dtype],
        shape.layer_count,
        shape.kv_heads,
        shape.head_dim,
    ):
        raise StateFileError("of another shape")
    if token_count > max_tokens:
        raise StateFileError(f"longer than the context ({token_count} of {max_tokens} tokens)")
    layout = _Layout(shape, token_count)
    stated = (len(header), part_count, first_position, file_bytes)
    if stated != (layout.header_bytes, layout.part_count, 0, layout.file_bytes):
        raise StateFileError("damaged (header)")
    if actual_bytes != layout.file_bytes:
        raise StateFileError("truncated" if actual_bytes < layout.file_bytes else "longer than it says")
    return layout, list(struct.unpack_from(f"<{part_count}I", header, _FIELDS.size))


def _read_fields(descriptor: int, file_bytes: int) -> tuple[tuple[Any, ...], bytes]:
    """The header's fields and all of its bytes, after its own checksum was found right."""
    if file_bytes < _FIELDS.size:
        raise StateFileError("truncated" if file_bytes else "empty")
    fields = _FIELDS.unpack(read_bytes(descriptor, 0, _FIELDS.size))
    magic, major_version, _, header_bytes = fields[:4]
    if magic != MAGIC:
        raise StateFileError("not a state file")
    if major_version != MAJOR_VERSION:
        raise StateFileError("of a newer version" if major_version > MAJOR_VERSION else "damaged (header)")
    if not _FIELDS.size < header_bytes <= _Layout(StateShape(_MOST_LAYERS, 1, 1), 0).header_bytes:
        raise StateFileError("damaged (header)")
    if file_bytes < header_bytes:
        raise StateFileError("truncated")
    header = read_bytes(descriptor, 0, header_bytes)
    if _CHECKSUM.pack(zlib.crc32(header[: -_CHECKSUM.size])) != header[-_CHECKSUM.size :]:
        raise StateFileError("damaged (header)")
    return _FIELDS.unpack_from(header), header


def _read_token_ids(descriptor: int, layout: _Layout, checksum: int, vocab_size: int) -> TokenIds:
    token_ids = np.empty(layout.token_count, dtype="<u4")
    _read_part(descriptor, layout.header_bytes, token_ids, checksum, "token ids")
    if layout.token_count and int(token_ids.max()) >= vocab_size:
        raise StateFileError("of another vocabulary")
    return token_ids


def _read_plane(descriptor: int, layout: _Layout, checksums: list[int], part: int) -> Plane:
    layer, is_values = divmod(part - 1, 2)
    what = f"layer {layer} {'values' if is_values else 'keys'}"
    plane: Plane = np.empty(layout.shape.plane_shape(layout.token_count), layout.shape.element)
    _read_part(descriptor, layout.plane_offset(part), plane, checksums[part], what)
    if not is_finite(plane):
        raise StateFileError(f"damaged ({what}: not finite)")
    return plane


def _read_part(descriptor: int, offset: int, out: NDArray[Any], expected_checksum: int, what: str) -> None:
    """Fills `out`, and checks it and the padding that follows."""
    content = out.reshape(-1).view(np.uint8).data
    checksum = 0
    for start in range(0, len(content), _CHUNK_BYTES):
        chunk = content[start : start + _CHUNK_BYTES]
        read_into(descriptor, offset + start, chunk)
        checksum = zlib.crc32(chunk, checksum)
    padding = read_bytes(descriptor, offset + len(content), _padded(len(content)) - len(content))
    if any(padding) or zlib.crc32(padding, checksum) != expected_checksum:
        raise StateFileError(f"damaged ({what})")


# --- both ---------------------------------------------------------------------------------------------------


def _padded(count: int) -> int:
    return -(-count // _ALIGNMENT) * _ALIGNMENT
