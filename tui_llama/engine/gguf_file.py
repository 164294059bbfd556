"""Reads a GGUF model file: header, metadata, tensor table, mapped data. Trusts nothing unchecked.

The format on a card (versions 2 and 3, little-endian, nothing padded before the data):

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

Every count, length, offset and type is compared with what is left of the file before anything is allocated
for it, in Python's unbounded integers. Whatever the bytes, the only exception is a `ModelFileError`. Limits
that no model comes near (the `MAX_…` below) bound the time and the memory that a hostile header can cost.

This module knows formats, not models: what a key means is for others to say.

Source: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md; what is refused follows llama.cpp's
ggml/src/gguf.cpp.
"""

import math
import mmap
import os
import stat
import struct
from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, IntEnum
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Any, Final, NoReturn, Self, TypeAlias, TypeVar, overload

import numpy as np
import numpy.typing as npt

from tui_llama.errors import CallerError, ModelFileError

MAGIC: Final = b"GGUF"
DEFAULT_ALIGNMENT: Final = 32

MAX_METADATA_ENTRIES: Final = 1 << 13
MAX_TENSORS: Final = 1 << 14
MAX_DIMENSIONS: Final = 4
MAX_KEY_BYTES: Final = (1 << 16) - 1
MAX_TENSOR_NAME_BYTES: Final = 63
MAX_STRING_BYTES: Final = 1 << 24
# All arrays of strings together; each string costs a step of the slowest loop.
MAX_ARRAY_STRINGS: Final = 3 << 19
MAX_ALIGNMENT: Final = 1 << 20
MAX_HEADER_BYTES: Final = 1 << 27

_MAX_ELEMENTS: Final = (1 << 63) - 1
_MIN_ENTRY_BYTES: Final = 8 + 1 + 4 + 1  # a one-byte key and a one-byte value
_MIN_TENSOR_BYTES: Final = 8 + 1 + 4 + 4 + 8  # a one-byte name and no dimensions

_DAMAGED_HINT: Final = "The file is damaged or incomplete; download it again."
_OTHER_TYPE_HINT: Final = "Choose a file of the same model with another quantization, such as Q4_K_M or Q8_0."

_U32 = struct.Struct("<I")
_U64 = struct.Struct("<Q")
_I64 = struct.Struct("<q")

NumericArray: TypeAlias = npt.NDArray[Any]


class ValueType(IntEnum):
    """The declared type of a metadata value."""

    UINT8 = 0
    INT8 = 1
    UINT16 = 2
    INT16 = 3
    UINT32 = 4
    INT32 = 5
    FLOAT32 = 6
    BOOL = 7
    STRING = 8
    ARRAY = 9
    UINT64 = 10
    INT64 = 11
    FLOAT64 = 12


_NUMERIC_DTYPES: Final[Mapping[ValueType, np.dtype[Any]]] = {
    ValueType.UINT8: np.dtype("<u1"),
    ValueType.INT8: np.dtype("<i1"),
    ValueType.UINT16: np.dtype("<u2"),
    ValueType.INT16: np.dtype("<i2"),
    ValueType.UINT32: np.dtype("<u4"),
    ValueType.INT32: np.dtype("<i4"),
    ValueType.FLOAT32: np.dtype("<f4"),
    ValueType.UINT64: np.dtype("<u8"),
    ValueType.INT64: np.dtype("<i8"),
    ValueType.FLOAT64: np.dtype("<f8"),
}


@dataclass(frozen=True, slots=True)
class TensorType:
    """How the elements of a tensor are stored: `block_elements` of a row in `block_bytes`."""

    name: str
    block_elements: int
    block_bytes: int


# The types that files hold. Q8_1 and Q8_K exist for activations only; the missing numbers were withdrawn.
TENSOR_TYPES: Final[Mapping[int, TensorType]] = MappingProxyType(
    {
        0: TensorType("F32", 1, 4),
        1: TensorType("F16", 1, 2),
        2: TensorType("Q4_0", 32, 18),
        3: TensorType("Q4_1", 32, 20),
        6: TensorType("Q5_0", 32, 22),
        7: TensorType("Q5_1", 32, 24),
        8: TensorType("Q8_0", 32, 34),
        10: TensorType("Q2_K", 256, 84),
        11: TensorType("Q3_K", 256, 110),
        12: TensorType("Q4_K", 256, 144),
        13: TensorType("Q5_K", 256, 176),
        14: TensorType("Q6_K", 256, 210),
        16: TensorType("IQ2_XXS", 256, 66),
        17: TensorType("IQ2_XS", 256, 74),
        18: TensorType("IQ3_XXS", 256, 98),
        19: TensorType("IQ1_S", 256, 50),
        20: TensorType("IQ4_NL", 32, 18),
        21: TensorType("IQ3_S", 256, 110),
        22: TensorType("IQ2_S", 256, 82),
        23: TensorType("IQ4_XS", 256, 136),
        24: TensorType("I8", 1, 1),
        25: TensorType("I16", 1, 2),
        26: TensorType("I32", 1, 4),
        27: TensorType("I64", 1, 8),
        28: TensorType("F64", 1, 8),
        29: TensorType("IQ1_M", 256, 56),
        30: TensorType("BF16", 1, 2),
        34: TensorType("TQ1_0", 256, 54),
        35: TensorType("TQ2_0", 256, 66),
        39: TensorType("MXFP4", 32, 17),
        40: TensorType("NVFP4", 64, 36),
        41: TensorType("Q1_0", 128, 18),
    }
)

_FOREIGN_BEGINNINGS: Final[Mapping[bytes, str]] = {
    b"ggml": "it has the older GGML format",
    b"lmgg": "it has the older GGML format",
    b"fmgg": "it has the older GGML format",
    b"tjgg": "it has the older GGML format",
    b"FUGG": "its bytes are in reverse order",
    b"PK\x03\x04": "it is a ZIP archive, perhaps a PyTorch model",
    b"vers": "it is perhaps a Git LFS pointer instead of the file itself",
    b"<!DO": "it is a web page",
    b"<htm": "it is a web page",
}


class StringArray(Sequence[str]):
    """The strings of a metadata array: found when the file was opened, decoded when asked for.

    Lives on after the file is closed. Bytes that are no UTF-8 come out as U+FFFD; `raw` has them as they are.

    Args:
        data: The array's elements as they stand in the file, lengths included.
        starts: (strings,) int64, where in `data` each string's own bytes begin.
    """

    __slots__ = ("_data", "_ends", "_starts")

    def __init__(self, data: bytes, starts: npt.NDArray[np.int64]) -> None:
        self._data = data
        self._starts = starts
        self._ends = np.append(starts[1:] - _U64.size, len(data))

    def raw(self, index: int) -> bytes:
        """The bytes of one string."""
        return self._data[self._starts[index] : self._ends[index]]

    def raw_list(self) -> list[bytes]:
        """The bytes of every string; faster than asking one by one."""
        data = self._data
        return [data[start:end] for start, end in self._bounds()]

    def __len__(self) -> int:
        return len(self._starts)

    def __iter__(self) -> Iterator[str]:
        data = self._data
        return (data[start:end].decode("utf-8", "replace") for start, end in self._bounds())

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> list[str]: ...
    def __getitem__(self, index: int | slice) -> str | list[str]:
        if isinstance(index, slice):
            return [self[position] for position in range(*index.indices(len(self)))]
        return self.raw(index).decode("utf-8", "replace")

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence) or isinstance(other, str | bytes):
            return NotImplemented
        return list(self) == list(other)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"<StringArray of {len(self)} strings>"

    def _bounds(self) -> Iterator[tuple[int, int]]:
        return zip(self._starts.tolist(), self._ends.tolist(), strict=True)


MetadataValue: TypeAlias = int | float | bool | str | StringArray | NumericArray


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """One row of the tensor table, checked against the file.

    Args:
        name: As the file has it; not safe to print.
        type_id: A key of `TENSOR_TYPES`.
        shape: In ggml's order: `shape[0]` elements are contiguous. Empty for a single number.
        offset_bytes: From the start of the file.
        size_bytes: Without padding.
    """

    name: str
    type_id: int
    shape: tuple[int, ...]
    offset_bytes: int
    size_bytes: int

    @property
    def type_name(self) -> str:
        """The name of the type, such as "Q4_K"."""
        return TENSOR_TYPES[self.type_id].name


class _Required(Enum):
    VALUE = "no default: the key must be there"


_REQUIRED: Final = _Required.VALUE
Default = TypeVar("Default")


class GgufFile:
    """An open model file, mapped read-only. A context manager; made by `open_gguf`.

    `metadata` maps keys to numbers, strings, `StringArray`s and read-only numpy arrays of the declared
    element type, `metadata_types` maps them to the types that the file declares; `tensors` maps names to
    `TensorInfo`, in the file's order. All three live on after `close`.
    """

    def __init__(self, path: Path, mapped: mmap.mmap, header: "_Header") -> None:
        self.path = path
        self.version = header.version
        self.alignment = header.alignment
        self.metadata: Mapping[str, MetadataValue] = MappingProxyType(header.metadata)
        self.metadata_types: Mapping[str, ValueType] = MappingProxyType(header.metadata_types)
        self.tensors: Mapping[str, TensorInfo] = MappingProxyType(header.tensors)
        self.header_size_bytes = header.size_bytes
        self._mapped: mmap.mmap | None = mapped

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Lets go of the map, which goes away with the last array from `tensor_bytes`. May be repeated."""
        self._mapped = None

    @property
    def header_bytes(self) -> bytes:
        """A copy of everything before the data's padding: what a fingerprint of the model is made of."""
        return self._map[: self.header_size_bytes]

    def tensor_bytes(self, name: str) -> npt.NDArray[np.uint8]:
        """The stored bytes of a tensor, without a copy.

        Returns:
            (size_bytes,) uint8, a read-only view of the map.

        Raises:
            ModelFileError: the file has no such tensor.
        """
        tensor = self._tensor(name)
        whole = np.frombuffer(self._map, np.uint8)
        return whole[tensor.offset_bytes : tensor.offset_bytes + tensor.size_bytes]

    def drop_pages(self, name: str) -> None:
        """Tells the system that a tensor's pages are not needed for now; reading them again is still right.

        Raises:
            ModelFileError: the file has no such tensor.
        """
        tensor = self._tensor(name)
        if tensor.size_bytes == 0 or not hasattr(mmap, "MADV_DONTNEED"):
            return
        start = tensor.offset_bytes // mmap.PAGESIZE * mmap.PAGESIZE
        self._map.madvise(mmap.MADV_DONTNEED, start, tensor.offset_bytes + tensor.size_bytes - start)

    @overload
    def get_int(self, key: str) -> int: ...
    @overload
    def get_int(self, key: str, default: Default) -> int | Default: ...
    def get_int(self, key: str, default: object = _REQUIRED) -> object:
        """The integer, of any width, under `key`, or `default` where the key is absent.

        Raises:
            ModelFileError: the value is no integer, or the key is absent and there is no default.
        """
        return self._get(key, int, "an integer", default)

    @overload
    def get_float(self, key: str) -> float: ...
    @overload
    def get_float(self, key: str, default: Default) -> float | Default: ...
    def get_float(self, key: str, default: object = _REQUIRED) -> object:
        """The floating-point number under `key`, maybe infinite or NaN, or `default` where the key is absent.

        Raises:
            ModelFileError: the value is no such number, or the key is absent and there is no default.
        """
        return self._get(key, float, "a floating-point number", default)

    @overload
    def get_str(self, key: str) -> str: ...
    @overload
    def get_str(self, key: str, default: Default) -> str | Default: ...
    def get_str(self, key: str, default: object = _REQUIRED) -> object:
        """The text under `key`, or `default` where the key is absent. Not safe to print as it is.

        Raises:
            ModelFileError: the value is no text, or the key is absent and there is no default.
        """
        return self._get(key, str, "a string", default)

    @overload
    def get_bool(self, key: str) -> bool: ...
    @overload
    def get_bool(self, key: str, default: Default) -> bool | Default: ...
    def get_bool(self, key: str, default: object = _REQUIRED) -> object:
        """The truth value under `key`, or `default` where the key is absent.

        Raises:
            ModelFileError: the value is no truth value, or the key is absent and there is no default.
        """
        return self._get(key, bool, "true or false", default)

    @overload
    def get_strings(self, key: str) -> StringArray: ...
    @overload
    def get_strings(self, key: str, default: Default) -> StringArray | Default: ...
    def get_strings(self, key: str, default: object = _REQUIRED) -> object:
        """The array of strings under `key`, or `default` where the key is absent.

        Raises:
            ModelFileError: the value is no such array, or the key is absent and there is no default.
        """
        return self._get(key, StringArray, "an array of strings", default)

    @overload
    def get_int_array(self, key: str) -> NumericArray: ...
    @overload
    def get_int_array(self, key: str, default: Default) -> NumericArray | Default: ...
    def get_int_array(self, key: str, default: object = _REQUIRED) -> object:
        """The array of integers under `key` (one dimension, the file's own integer type), or `default`.

        Raises:
            ModelFileError: the value is no such array, or the key is absent and there is no default.
        """
        return self._get_array(key, "iu", "an array of integers", default)

    @overload
    def get_float_array(self, key: str) -> NumericArray: ...
    @overload
    def get_float_array(self, key: str, default: Default) -> NumericArray | Default: ...
    def get_float_array(self, key: str, default: object = _REQUIRED) -> object:
        """The array of floating-point numbers under `key` (one dimension, float32 or float64), or `default`.

        Raises:
            ModelFileError: the value is no such array, or the key is absent and there is no default.
        """
        return self._get_array(key, "f", "an array of floating-point numbers", default)

    def refuse(self, message: str, hint: str = _DAMAGED_HINT) -> ModelFileError:
        """The error that says that this file cannot be used, for the caller to raise."""
        return ModelFileError(f"{self.path.name}: {message}", hint)

    @property
    def _map(self) -> mmap.mmap:
        if self._mapped is None:
            raise CallerError(f"{self.path.name} is closed")
        return self._mapped

    def _tensor(self, name: str) -> TensorInfo:
        tensor = self.tensors.get(name)
        if tensor is None:
            raise self.refuse(f"tensor {_quote(name)} is missing")
        return tensor

    def _get_array(self, key: str, kinds: str, wanted: str, default: object) -> object:
        value = self._get(key, np.ndarray, wanted, default)
        if isinstance(value, np.ndarray) and value is not default and value.dtype.kind not in kinds:
            raise self._wrong_type(key, wanted)
        return value

    def _get(self, key: str, kind: type, wanted: str, default: object) -> object:
        if key not in self.metadata:
            if default is _REQUIRED:
                raise self.refuse(
                    f"metadata key {_quote(key)} is missing", "Choose another file of the same model."
                )
            return default
        value = self.metadata[key]
        if type(value) is not kind:
            raise self._wrong_type(key, wanted)
        return value

    def _wrong_type(self, key: str, wanted: str) -> ModelFileError:
        return self.refuse(
            f"metadata key {_quote(key)} should be {wanted}, but the file has {self._describe(key)}",
            "Choose another file of the same model.",
        )

    def _describe(self, key: str) -> str:
        value = self.metadata[key]
        if isinstance(value, StringArray):
            return f"an array of {len(value)} strings"
        if isinstance(value, np.ndarray):
            return f"an array of {len(value)} {value.dtype.name}"
        return f"{self.metadata_types[key].name.lower()} {_quote(value)}"


def open_gguf(path: str | Path) -> GgufFile:
    """Opens a model file and checks its header and tensor table; no weights are read.

    Raises:
        ModelFileError: there is no such file, it cannot be read, or it is not a sound GGUF file of one part.
    """
    path = Path(path)
    mapped = _map_file(path)
    header = _HeaderReader(path, mapped).read()
    file = GgufFile(path, mapped, header)
    if file.get_int("split.count", 0) > 1:
        raise file.refuse(
            "the model is split into several files, which is not supported yet",
            "Join the parts with `llama-gguf-split --merge`, or choose a model in one file.",
        )
    return file


def _map_file(path: Path) -> mmap.mmap:
    try:
        # Asked before opening: opening a pipe would wait for its other end.
        if not stat.S_ISREG(path.stat().st_mode):
            what = "a folder" if path.is_dir() else "no regular file"
            raise ModelFileError(
                f"{path.name} is {what}", "Give the path of a file whose name ends in .gguf."
            )
        with path.open("rb") as opened:
            if os.fstat(opened.fileno()).st_size == 0:
                raise ModelFileError(f"{path.name} is empty", _DAMAGED_HINT)
            return mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ)
    except FileNotFoundError as error:
        raise ModelFileError(f"there is no file {path}", "Check the path of the model.") from error
    except PermissionError as error:
        raise ModelFileError(
            f"{path.name} may not be read", "Check who owns the file and its permissions."
        ) from error
    except (OSError, ValueError) as error:  # ValueError: a path with a zero byte
        raise ModelFileError(
            f"{path.name} cannot be opened: {error}", "Check the path of the model."
        ) from error


def _quote(value: object) -> str:
    """`value` as Python would write it: short, in ASCII, so that nothing in it can act on a terminal."""
    text = ascii(value[:61] if isinstance(value, str | bytes) else value)
    return text if len(text) <= 80 else f"{text[:80]}..."


@dataclass(frozen=True, slots=True)
class _Header:
    version: int
    alignment: int
    metadata: dict[str, MetadataValue]
    metadata_types: dict[str, ValueType]
    tensors: dict[str, TensorInfo]
    size_bytes: int


class _HeaderReader:
    """Walks over the header once; `_at` never passes `_limit`."""

    def __init__(self, path: Path, mapped: mmap.mmap) -> None:
        self._path = path
        self._mapped = mapped
        self._file_size = len(mapped)
        self._limit = min(self._file_size, MAX_HEADER_BYTES)
        self._at = 0
        self._strings_left = MAX_ARRAY_STRINGS
        self._metadata: dict[str, MetadataValue] = {}
        self._metadata_types: dict[str, ValueType] = {}

    def read(self) -> _Header:
        version = self._read_version()
        tensor_count = self._count("tensors", MAX_TENSORS)
        entry_count = self._count("metadata entries", MAX_METADATA_ENTRIES)
        self._check_left(entry_count * _MIN_ENTRY_BYTES + tensor_count * _MIN_TENSOR_BYTES, "header")
        for _ in range(entry_count):
            self._read_entry()
        alignment = self._alignment()
        rows = self._read_tensor_table(tensor_count)
        size_bytes = self._at
        tensors = self._place(rows, size_bytes, alignment)
        return _Header(version, alignment, self._metadata, self._metadata_types, tensors, size_bytes)

    # --- what the header consists of ---

    def _read_version(self) -> int:
        beginning = self._take(4, "magic number")
        if beginning != MAGIC:
            what = _FOREIGN_BEGINNINGS.get(beginning, f"it begins with {beginning!a}")
            raise ModelFileError(
                f"{self._path.name} is not a GGUF file: {what}", "Choose a file in the GGUF format."
            )
        version = self._unsigned32("version")
        if version != 0 and version & 0xFFFF == 0:
            self._refuse(
                "the file was written for big-endian machines", "Choose a little-endian file of the model."
            )
        if version not in (2, 3):
            self._refuse(
                f"GGUF version {version} is not supported, only 2 and 3",
                "Choose a newer file of the model."
                if version < 2
                else "Update this program, or choose another file.",
            )
        return version

    def _count(self, what: str, most: int) -> int:
        (count,) = _I64.unpack(self._take(8, f"number of {what}"))
        if not 0 <= count <= most:
            self._refuse(f"{count} {what} are not possible, at most {most}")
        return int(count)

    def _read_entry(self) -> None:
        key = self._name("metadata key", MAX_KEY_BYTES)
        if key in self._metadata:
            self._refuse(f"metadata key {_quote(key)} appears twice")
        where = f"metadata key {_quote(key)}"
        kind = self._value_type(where)
        self._metadata[key] = (
            self._read_array(where) if kind is ValueType.ARRAY else self._read_scalar(kind, where)
        )
        self._metadata_types[key] = kind

    def _value_type(self, where: str) -> ValueType:
        number = self._unsigned32(f"type of {where}")
        if number > ValueType.FLOAT64:
            self._refuse(f"{where} has the unknown type {number}")
        return ValueType(number)

    def _read_scalar(self, kind: ValueType, where: str) -> int | float | bool | str:
        if kind is ValueType.STRING:
            return self._string(where, MAX_STRING_BYTES).decode("utf-8", "replace")
        if kind is ValueType.BOOL:
            return bool(self._booleans(1, where)[0])
        number: int | float = self._numbers(kind, 1, where)[0].item()
        return number

    def _read_array(self, where: str) -> StringArray | NumericArray:
        kind = self._value_type(f"{where} (elements)")
        count = self._unsigned64(f"length of {where}")
        if kind is ValueType.ARRAY:
            self._refuse(f"{where} is an array of arrays, which is not supported")
        if kind is ValueType.STRING:
            return self._strings(count, where)
        values = self._booleans(count, where) if kind is ValueType.BOOL else self._numbers(kind, count, where)
        values.flags.writeable = False
        return values

    def _numbers(self, kind: ValueType, count: int, where: str) -> NumericArray:
        dtype = _NUMERIC_DTYPES[kind]
        return np.frombuffer(self._take(count * dtype.itemsize, where), dtype)

    def _booleans(self, count: int, where: str) -> npt.NDArray[np.bool_]:
        values = np.frombuffer(self._take(count, where), np.uint8)
        if values.size and values.max() > 1:
            self._refuse(f"{where} has a truth value that is neither 0 nor 1")
        return values.astype(np.bool_)

    def _strings(self, count: int, where: str) -> StringArray:
        """Finds `count` strings; written out, since this one loop runs hundreds of thousands of times."""
        self._check_left(count * _U64.size, where)
        if count > self._strings_left:
            self._refuse(f"{where} has {count} strings; all arrays together may have {MAX_ARRAY_STRINGS}")
        self._strings_left -= count
        first = at = self._at
        mapped, unpack, last = self._mapped, _U64.unpack_from, self._limit - _U64.size
        starts = array("q")
        append = starts.append
        for _ in range(count):
            if at > last:
                break
            (length,) = unpack(mapped, at)
            at += 8
            append(at)
            at += length
        if len(starts) < count or at > self._limit:
            self._refuse(f"{where} ends after the end of the file, at string {len(starts)} of {count}")
        self._at = at
        return StringArray(mapped[first:at], np.array(starts, np.int64) - first)

    def _alignment(self) -> int:
        kind = self._metadata_types.get("general.alignment")
        if kind is None:
            return DEFAULT_ALIGNMENT
        alignment = self._metadata["general.alignment"]
        if kind is not ValueType.UINT32 or not isinstance(alignment, int):
            self._refuse(f"general.alignment should be of type uint32, not {kind.name.lower()}")
        if not 0 < alignment <= MAX_ALIGNMENT or alignment & (alignment - 1):
            self._refuse(
                f"general.alignment is {alignment}, which is not a power of two up to {MAX_ALIGNMENT}"
            )
        return alignment

    def _read_tensor_table(self, count: int) -> dict[str, TensorInfo]:
        """The rows, their offsets still counted from the start of the data."""
        rows: dict[str, TensorInfo] = {}
        for _ in range(count):
            row = self._read_tensor()
            if row.name in rows:
                self._refuse(f"tensor {_quote(row.name)} appears twice")
            rows[row.name] = row
        return rows

    def _read_tensor(self) -> TensorInfo:
        name = self._name("tensor name", MAX_TENSOR_NAME_BYTES)
        where = f"tensor {_quote(name)}"
        dimension_count = self._unsigned32(where)
        if dimension_count > MAX_DIMENSIONS:
            self._refuse(f"{where} has {dimension_count} dimensions, at most {MAX_DIMENSIONS} are possible")
        row = self._take(8 * dimension_count + 12, where)
        *sizes, type_id, offset_bytes = struct.unpack(f"<{dimension_count}qIQ", row)
        shape = tuple(sizes)
        return TensorInfo(name, type_id, shape, offset_bytes, self._size_bytes(where, type_id, shape))

    def _size_bytes(self, where: str, type_id: int, shape: tuple[int, ...]) -> int:
        kind = TENSOR_TYPES.get(type_id)
        if kind is None:
            self._refuse(
                f"{where} has the type {type_id}, which this program does not know", _OTHER_TYPE_HINT
            )
        if min(shape, default=0) < 0 or math.prod(filter(None, shape)) > _MAX_ELEMENTS:
            self._refuse(f"{where} has the impossible shape {_quote(shape)}")
        row_elements = shape[0] if shape else 1
        if row_elements % kind.block_elements:
            self._refuse(
                f"{where} has rows of {row_elements} elements, "
                f"not a multiple of the {kind.block_elements} of a {kind.name} block"
            )
        size_bytes = math.prod(shape) // kind.block_elements * kind.block_bytes
        if size_bytes > self._file_size:
            self._refuse(f"{where} has {size_bytes} bytes, the file only {self._file_size}")
        return size_bytes

    def _place(self, rows: dict[str, TensorInfo], header_bytes: int, alignment: int) -> dict[str, TensorInfo]:
        """Turns offsets within the data into offsets within the file.

        As in llama.cpp, tensors follow one another in the table's order without gaps, so none can overlap.
        """
        data_start = _padded(header_bytes, alignment)
        expected, end = data_start, header_bytes
        tensors: dict[str, TensorInfo] = {}
        for row in rows.values():
            offset_bytes = data_start + row.offset_bytes
            if offset_bytes != expected:
                self._refuse(
                    f"tensor {_quote(row.name)} is said to begin at byte {offset_bytes}, "
                    f"but the one before it ends at {end} and the alignment is {alignment}"
                )
            end = offset_bytes + row.size_bytes
            expected = _padded(end, alignment)
            tensors[row.name] = TensorInfo(row.name, row.type_id, row.shape, offset_bytes, row.size_bytes)
        # Some writers leave the last padding out; part of it means that the file was cut.
        if tensors and self._file_size != end and self._file_size < expected:
            self._refuse(f"the file has {self._file_size} bytes, but the tensors reach to byte {expected}")
        return tensors

    # --- what everything consists of ---

    def _name(self, what: str, most_bytes: int) -> str:
        raw = self._string(what, most_bytes)
        if not raw:
            self._refuse(f"a {what} is empty")
        try:
            return raw.decode()
        except UnicodeDecodeError:
            self._refuse(f"the {what} {_quote(raw)} is not UTF-8")

    def _string(self, what: str, most_bytes: int) -> bytes:
        length = self._unsigned64(what)
        if length > most_bytes:
            self._refuse(f"{what} has a length of {length} bytes, at most {most_bytes} are possible")
        return self._take(length, what)

    def _unsigned32(self, what: str) -> int:
        (number,) = _U32.unpack(self._take(4, what))
        return int(number)

    def _unsigned64(self, what: str) -> int:
        (number,) = _U64.unpack(self._take(8, what))
        return int(number)

    def _take(self, size: int, what: str) -> bytes:
        self._check_left(size, what)
        begin = self._at
        self._at = begin + size
        return self._mapped[begin : self._at]

    def _check_left(self, size: int, what: str) -> None:
        if size <= self._limit - self._at:
            return
        if self._limit < self._file_size:
            self._refuse(f"{what} of {size} bytes makes the header longer than {MAX_HEADER_BYTES} bytes")
        self._refuse(f"{what} needs {size} bytes, but the file ends after {self._limit - self._at}")

    def _refuse(self, message: str, hint: str = _DAMAGED_HINT) -> NoReturn:
        raise ModelFileError(f"{self._path.name}: {message} (at byte {self._at})", hint)


def _padded(size: int, alignment: int) -> int:
    return -(-size // alignment) * alignment
