"""Reads the header of a GGUF file: version, metadata, tensor table. Checks everything before using it.

The format on a card (versions 2 and 3, little-endian, no padding before that of the data):

    0   4 bytes  "GGUF"
    4   u32      version
    8   i64      number of tensors
    16  i64      number of metadata entries
    24           the entries: string key, u32 type, value
                     string = u64 length in bytes, UTF-8 bytes
                     array  = u32 element type, u64 count, elements; arrays of arrays are not read
                 the tensor table: string name, u32 number of dimensions, i64 sizes (the first is contiguous),
                     u32 type, u64 offset from the start of the data
                 zeros up to a multiple of `general.alignment` (32 where absent)
                 the data: tensors in the table's order, each padded to the alignment

Every count, length, offset and type is compared with the rest of the file before anything is allocated for it, in
Python's unbounded integers. Whatever the bytes are, the only exception is a `ModelFileError`. The limits below
(`MAX_…`), far above any real model, bound the time and the memory that a hostile header can cost. Values that this
program does not use are skipped, however long they are.

Source: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md; what is refused follows llama.cpp's
ggml/src/gguf.cpp.
"""

import math
import struct
from array import array
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt

from tui_llama.engine.gguf.header_cursor import Cursor
from tui_llama.engine.gguf.model_bytes import ModelBytes
from tui_llama.engine.gguf.types import (
    NUMERIC_DTYPES,
    TENSOR_TYPES,
    MetadataValue,
    NumericArray,
    SkippedValue,
    StringArray,
    TensorInfo,
    ValueType,
    quoted,
    without_ones_behind,
)
from tui_llama.engine.machine.memory import padded

MAGIC: Final = b"GGUF"
DEFAULT_ALIGNMENT: Final = 32

MAX_METADATA_ENTRIES: Final = 1 << 16
MAX_TENSORS: Final = 1 << 14
MAX_DIMENSIONS: Final = 4
MAX_KEY_BYTES: Final = (1 << 16) - 1
MAX_TENSOR_NAME_BYTES: Final = 63
MAX_STRING_BYTES: Final = 1 << 24
MAX_UNASKED_BYTES: Final = 1 << 16
"""Longest value that is kept under any key; longer values are kept only under keys that this program reads."""
MAX_KEPT_BYTES: Final = 5 << 23
"""Most bytes of all keys and kept values, with the starts of their strings; values beyond this are skipped."""
# Most strings of all arrays together; each string costs a step of the slowest loop.
MAX_ARRAY_STRINGS: Final = 3 << 19

_LONG_KEYS: Final = ("tokenizer.ggml.", "tokenizer.chat_template")
_MAX_ELEMENTS: Final = (1 << 63) - 1
_MIN_ENTRY_BYTES: Final = 8 + 1 + 4 + 1  # a one-byte key and a one-byte value
_MIN_TENSOR_BYTES: Final = 8 + 1 + 4 + 4 + 8  # a one-byte name and no dimensions

_OTHER_TYPE_HINT: Final = "Choose a file of the same model with another quantization, such as Q4_K_M or Q8_0."

_VALUE_TYPES: Final = tuple(ValueType)
_DTYPES: Final[Mapping[ValueType, np.dtype[Any]]] = {**NUMERIC_DTYPES, ValueType.BOOL: np.dtype("u1")}

_U64 = struct.Struct("<Q")
_I64 = struct.Struct("<q")

_FOREIGN_BEGINNINGS: Final[Mapping[bytes, str]] = {
    b"ggml": "it has the older GGML format",
    b"lmgg": "it has the older GGML format",
    b"fmgg": "it has the older GGML format",
    b"tjgg": "it has the older GGML format",
    b"FUGG": "its bytes are in reverse order",
    b"PK\x03\x04": "it is a ZIP archive; it may be a PyTorch model",
    b"vers": "it may be a Git LFS pointer instead of the file itself",
    b"<!DO": "it is a web page",
    b"<htm": "it is a web page",
}


@dataclass(frozen=True, slots=True)
class Header:
    """The checked header; tensor offsets count from the start of the file."""

    version: int
    alignment: int
    metadata: Mapping[str, MetadataValue]
    metadata_types: Mapping[str, ValueType]
    tensors: Mapping[str, TensorInfo]
    size_bytes: int
    """Bytes of the header, without the padding before the data."""


def find_strings(content: bytes, at: int, limit: int, count: int) -> tuple[npt.NDArray[np.int64], int]:
    """Finds the strings of an array.

    Args:
        content: A part of the file.
        at: Where in it the first string's length is.
        limit: Where in it the strings must end.
        count: Number of strings to find.

    Returns:
        (strings,) int64, where each string begins, and where the last one ends. If the array goes on after `content`,
        there are fewer than `count` strings, or the end is beyond `limit`.
    """
    unpack, length_bytes = _U64.unpack_from, _U64.size
    starts = array("q")
    append = starts.append
    for _ in range(count):
        if at > limit - length_bytes:
            break
        (length,) = unpack(content, at)
        at += length_bytes
        append(at)
        at += length
    return np.array(starts, np.int64), at


FindStrings: TypeAlias = Callable[[bytes, int, int, int], tuple[npt.NDArray[np.int64], int]]
"""`find_strings`, or a faster function that does the same."""


def read_header(name: str, source: ModelBytes, find: FindStrings = find_strings) -> Header:
    """Reads and checks everything before the data, and checks that the data is complete.

    Args:
        name: What errors call the file.
        source: The file.
        find: Finds the strings of arrays; a vocabulary has hundreds of thousands.

    Raises:
        ModelFileError: this is not a sound GGUF file.
    """
    cursor = Cursor(name, source)
    version = _read_version(cursor)
    tensor_count = _read_count(cursor, "tensors", MAX_TENSORS)
    entry_count = _read_count(cursor, "metadata entries", MAX_METADATA_ENTRIES)
    cursor.check_left(entry_count * _MIN_ENTRY_BYTES + tensor_count * _MIN_TENSOR_BYTES, "header")
    entries = _MetadataReader(cursor, find)
    for _ in range(entry_count):
        entries.read_entry()
    alignment = entries.alignment()
    table = _read_tensor_table(cursor, tensor_count)
    return Header(
        version=version,
        alignment=alignment,
        metadata=entries.metadata,
        metadata_types=entries.types,
        tensors=_placed(cursor, table, alignment),
        size_bytes=cursor.at,
    )


def _read_version(cursor: Cursor) -> int:
    beginning = cursor.take(len(MAGIC), "magic number")
    if beginning != MAGIC:
        what = _FOREIGN_BEGINNINGS.get(beginning, f"it begins with {beginning!a}")
        cursor.refuse(f"this is not a GGUF file: {what}", "Choose a file in the GGUF format.")
    version = cursor.unsigned32("version")
    if version != 0 and version & 0xFFFF == 0:
        cursor.refuse("the file was written for big-endian machines", "Choose a little-endian file of the model.")
    if version not in (2, 3):
        cursor.refuse(
            f"GGUF version {version} is not supported, only 2 and 3",
            "Choose a newer file of the model." if version < 2 else "Update this program, or choose another file.",
        )
    return version


def _read_count(cursor: Cursor, what: str, most: int) -> int:
    (count,) = _I64.unpack(cursor.take(_I64.size, f"number of {what}"))
    if not 0 <= count <= most:
        cursor.refuse(f"{count} {what} are not allowed, at most {most} are")
    return int(count)


class _MetadataReader:
    """Reads metadata entries one by one; keeps values that are short or used, and skips the others."""

    def __init__(self, cursor: Cursor, find: FindStrings) -> None:
        self._cursor = cursor
        self._find = find
        self._strings_left = MAX_ARRAY_STRINGS
        self._kept_bytes_left = MAX_KEPT_BYTES
        self.metadata: dict[str, MetadataValue] = {}
        self.types: dict[str, ValueType] = {}

    def read_entry(self) -> None:
        key = self._cursor.identifier("metadata key", MAX_KEY_BYTES)
        if key in self.metadata:
            self._cursor.refuse(f"metadata key {quoted(key)} appears twice")
        self._kept_bytes_left -= len(key)
        if self._kept_bytes_left < 0:
            self._cursor.refuse(f"metadata keys and values are longer than {MAX_KEPT_BYTES} bytes")
        kind = self._value_type(key)
        if kind is ValueType.ARRAY:
            self.metadata[key] = self._read_array(key)
        elif kind is ValueType.STRING:
            self.metadata[key] = self._read_string(key)
        else:
            self.metadata[key] = self._read_scalar(kind)
        self.types[key] = kind

    def _value_type(self, key: str) -> ValueType:
        number = self._cursor.unsigned32("type of a value")
        if number > ValueType.FLOAT64:
            self._cursor.refuse(f"{_named(key)} has the unknown type {number}")
        return _VALUE_TYPES[number]

    def _read_scalar(self, kind: ValueType) -> int | float | bool:
        dtype = _DTYPES[kind]
        number: int | float = np.frombuffer(self._cursor.take(dtype.itemsize, "number"), dtype)[0].item()
        return bool(number) if kind is ValueType.BOOL else number  # a writer may store any number for true

    def _read_string(self, key: str) -> str | SkippedValue:
        length = self._cursor.unsigned64("length of a string")
        self._check_left(length, key)
        if not self._is_kept(key, length, MAX_STRING_BYTES):
            return self._skipped(length)
        return self._cursor.take(length, "string").decode("utf-8", "replace")

    def _read_array(self, key: str) -> StringArray | NumericArray | SkippedValue:
        kind = self._value_type(key)
        count = self._cursor.unsigned64("length of an array")
        if kind is ValueType.ARRAY:
            self._cursor.refuse(f"{_named(key)} is an array of arrays, which is not supported")
        return self._read_strings(count, key) if kind is ValueType.STRING else self._read_numbers(kind, count, key)

    def _read_numbers(self, kind: ValueType, count: int, key: str) -> NumericArray | SkippedValue:
        dtype = _DTYPES[kind]
        size = count * dtype.itemsize
        self._check_left(size, key)
        if not self._is_kept(key, size, MAX_KEPT_BYTES):
            return self._skipped(size)
        values = np.frombuffer(self._cursor.take(size, "array"), dtype)
        if kind is ValueType.BOOL:
            values = values != 0
            values.flags.writeable = False
        return values

    def _read_strings(self, count: int, key: str) -> StringArray | SkippedValue:
        cursor = self._cursor
        self._check_left(count * _U64.size, key)
        if count > self._strings_left:
            cursor.refuse(f"{_named(key)} has {count} strings; all arrays together may have {MAX_ARRAY_STRINGS}")
        self._strings_left -= count
        first = cursor.at
        starts = self._walk_strings(count, key)
        size = cursor.at - first
        if self._is_kept(key, size + 2 * starts.nbytes, MAX_KEPT_BYTES):
            return StringArray(cursor.source.read(first, size), starts - first)
        return SkippedValue(size)

    def _walk_strings(self, count: int, key: str) -> npt.NDArray[np.int64]:
        """Moves past the next `count` strings; returns where in the file the bytes of each string begin."""
        cursor, found = self._cursor, 0
        starts = np.empty(count, np.int64)
        while found < count:
            chunk, begin = cursor.chunk(min(_U64.size, cursor.limit - cursor.at))
            chunk_at = cursor.at - begin
            places, end = self._find(chunk, begin, len(chunk), count - found)
            starts[found : found + len(places)] = places + chunk_at
            found += len(places)
            if len(places) and end > len(chunk):
                (length,) = _U64.unpack_from(chunk, int(places[-1]) - _U64.size)
                end = int(places[-1]) + length
            if not len(places) or chunk_at + end > cursor.limit:
                cursor.refuse(f"{_named(key)} ends after the end of the file, at string {found} of {count}")
            cursor.at = chunk_at + end
        return starts

    def _check_left(self, size: int, key: str) -> None:
        if size > self._cursor.limit - self._cursor.at:
            self._cursor.check_left(size, _named(key))

    def _is_kept(self, key: str, size: int, most_bytes: int) -> bool:
        """Tells whether a value is kept, and counts its bytes if so."""
        wanted = size <= MAX_UNASKED_BYTES or (size <= most_bytes and key.startswith(_LONG_KEYS))
        if not wanted or size > self._kept_bytes_left:
            return False
        self._kept_bytes_left -= size
        return True

    def _skipped(self, size: int) -> SkippedValue:
        self._cursor.at += size
        return SkippedValue(size)

    def alignment(self) -> int:
        kind = self.types.get("general.alignment")
        if kind is None:
            return DEFAULT_ALIGNMENT
        alignment = self.metadata["general.alignment"]
        if kind is not ValueType.UINT32 or not isinstance(alignment, int):
            self._cursor.refuse(f"general.alignment should be of type uint32, not {kind.name.lower()}")
        if alignment == 0 or alignment & (alignment - 1):
            self._cursor.refuse(f"general.alignment is {alignment}, which is not a power of two")
        return alignment


def _read_tensor_table(cursor: Cursor, count: int) -> dict[str, TensorInfo]:
    """Reads the entries of the tensor table; their offsets still count from the start of the data."""
    tensors: dict[str, TensorInfo] = {}
    for _ in range(count):
        tensor = _read_tensor(cursor)
        if tensor.name in tensors:
            cursor.refuse(f"tensor {quoted(tensor.name)} appears twice")
        tensors[tensor.name] = tensor
    return tensors


def _read_tensor(cursor: Cursor) -> TensorInfo:
    name = cursor.identifier("tensor name", MAX_TENSOR_NAME_BYTES)
    where = f"tensor {quoted(name)}"
    dimension_count = cursor.unsigned32(where)
    if dimension_count > MAX_DIMENSIONS:
        cursor.refuse(f"{where} has {dimension_count} dimensions, at most {MAX_DIMENSIONS} are possible")
    entry = cursor.take(8 * dimension_count + 12, where)
    *sizes, type_id, offset_bytes = struct.unpack(f"<{dimension_count}qIQ", entry)
    shape = without_ones_behind(sizes)
    return TensorInfo(name, type_id, shape, offset_bytes, _size_bytes(cursor, where, type_id, shape))


def _size_bytes(cursor: Cursor, where: str, type_id: int, shape: tuple[int, ...]) -> int:
    kind = TENSOR_TYPES.get(type_id)
    if kind is None:
        cursor.refuse(f"{where} has the type {type_id}, which this program does not know", _OTHER_TYPE_HINT)
    if min(shape, default=0) < 0 or math.prod(filter(None, shape)) > _MAX_ELEMENTS:
        cursor.refuse(f"{where} has the impossible shape {quoted(shape)}")
    row_elements = shape[0] if shape else 1
    if row_elements % kind.block_elements:
        cursor.refuse(
            f"{where} has rows of {row_elements} elements, "
            f"not a multiple of the {kind.block_elements} of a {kind.name} block"
        )
    size_bytes = math.prod(shape) // kind.block_elements * kind.block_bytes
    if size_bytes > cursor.limit:
        cursor.refuse(f"{where} has {size_bytes} bytes, the file only {cursor.limit}")
    return size_bytes


def _placed(cursor: Cursor, table: Mapping[str, TensorInfo], alignment: int) -> dict[str, TensorInfo]:
    """Turns offsets within the data into offsets within the file.

    As in llama.cpp, tensors must follow one another in the table's order without gaps, so none can overlap.
    """
    data_start = padded(cursor.at, alignment)
    expected, end = data_start, cursor.at
    tensors: dict[str, TensorInfo] = {}
    for tensor in table.values():
        offset_bytes = data_start + tensor.offset_bytes
        if offset_bytes != expected:
            cursor.refuse(
                f"the file places tensor {quoted(tensor.name)} at byte {offset_bytes}, "
                f"but the one before it ends at {end} and the alignment is {alignment}"
            )
        end = offset_bytes + tensor.size_bytes
        expected = padded(end, alignment)
        tensors[tensor.name] = TensorInfo(tensor.name, tensor.type_id, tensor.shape, offset_bytes, tensor.size_bytes)
    # The padding after the last tensor may be missing: some writers leave it out, some tools cut it.
    if tensors and cursor.limit < end:
        cursor.refuse(f"the file has {cursor.limit} bytes, but the tensors reach to byte {end}")
    return tensors


def _named(key: str) -> str:
    return f"metadata key {quoted(key)}"
