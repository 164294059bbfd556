"""Types of the values and tensors in a GGUF file, and the classes that hold them in this program.

Source: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md and ggml/include/ggml.h.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from types import MappingProxyType
from typing import Any, Final, TypeAlias, overload

import numpy as np
import numpy.typing as npt

NumericArray: TypeAlias = npt.NDArray[Any]

_LENGTH_BYTES: Final = 8  # before each string of an array


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


NUMERIC_DTYPES: Final[Mapping[ValueType, np.dtype[Any]]] = {
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
    """Storage of a tensor's elements: `block_elements` of a row take `block_bytes`."""

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
        42: TensorType("Q2_0", 64, 18),
    }
)


class StringArray(Sequence[str]):
    """The strings of a metadata array: found when the file was opened, decoded on access.

    They remain usable after the file is closed. Bytes that are not UTF-8 are decoded as U+FFFD; `raw` returns the
    original bytes.

    Args:
        data: The array's elements as they are in the file, lengths included.
        starts: (strings,) int64, where in `data` each string's own bytes begin.
    """

    __slots__ = ("_data", "_ends", "_starts")

    def __init__(self, data: bytes, starts: npt.NDArray[np.int64]) -> None:
        self._data = data
        self._starts = starts
        self._ends = np.append(starts[1:] - _LENGTH_BYTES, len(data))[: len(starts)]

    def raw(self, index: int) -> bytes:
        """Returns the bytes of one string."""
        return self._data[self._starts[index] : self._ends[index]]

    def raw_list(self) -> list[bytes]:
        """Returns the bytes of every string; faster than calling `raw` for each."""
        data = self._data
        return [data[start:end] for start, end in self._bounds()]

    def bounds(self) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Returns the bytes in which all strings lie, where each string begins in them, and where each one ends."""
        return np.frombuffer(self._data, np.uint8), self._starts, self._ends

    def joined(self, separator: int) -> bytes:
        """Returns the bytes of all strings with one byte between them; much faster than joining `raw_list`."""
        data = np.frombuffer(self._data, np.uint8).copy()
        kept = np.ones(len(data), np.bool_)
        for byte in range(2, _LENGTH_BYTES + 1):
            kept[self._starts - byte] = False
        data[self._starts - 1] = separator  # in place of the last byte of the length
        return data[kept].tobytes()[1:]

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

    def __repr__(self) -> str:
        return f"<StringArray of {len(self)} strings>"

    def _bounds(self) -> Iterator[tuple[int, int]]:
        return zip(self._starts.tolist(), self._ends.tolist(), strict=True)


@dataclass(frozen=True, slots=True)
class SkippedValue:
    """A value that was not read, because it is long and this program does not use it.

    Args:
        size_bytes: Its length.
    """

    size_bytes: int


MetadataValue: TypeAlias = int | float | bool | str | StringArray | NumericArray | SkippedValue


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """One entry of the tensor table, checked against the file.

    Args:
        name: As in the file; not safe to print.
        type_id: A key of `TENSOR_TYPES`.
        shape: In ggml's order: `shape[0]` elements are contiguous. Sizes of 1 at the end carry no information and are
            left out, so that the shape of a single number is empty.
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


def without_ones_behind(shape: Sequence[int]) -> tuple[int, ...]:
    """Returns a shape without sizes of 1 at the end: for ggml every tensor has four sizes, the last ones mostly 1."""
    count = len(shape)
    while count and shape[count - 1] == 1:
        count -= 1
    return tuple(shape[:count])


def quoted(value: object) -> str:
    """Returns `value` as Python would write it: short and in ASCII, so that nothing in it can act on a terminal."""
    text = ascii(value[:61] if isinstance(value, str | bytes) else value)
    return text if len(text) <= 80 else f"{text[:80]}..."
