"""An open GGUF model: its metadata with checked types, and the bytes of its tensors.

header.py describes the format and reads the header, parts.py makes one of the files of a split model; the rest of the
engine uses this module. It knows formats, not models: other modules know what a key means.
"""

from collections.abc import Iterator, Mapping
from enum import Enum
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Final, Self, TypeVar, overload

import numpy as np
import numpy.typing as npt

from tui_llama import paths
from tui_llama.engine.gguf.header import FindStrings, find_strings
from tui_llama.engine.gguf.header_cursor import DAMAGED_HINT
from tui_llama.engine.gguf.parts import ModelParts, WholeHeader, missing_parts, read_parts
from tui_llama.engine.gguf.types import (
    TENSOR_TYPES,
    MetadataValue,
    NumericArray,
    SkippedValue,
    StringArray,
    TensorInfo,
    TensorType,
    ValueType,
    quoted,
    without_ones_behind,
)
from tui_llama.errors import CallerError, ModelFileError
from tui_llama.files.model_parts import first_part

__all__ = [
    "TENSOR_TYPES",
    "GgufFile",
    "MetadataValue",
    "NumericArray",
    "SkippedValue",
    "StringArray",
    "TensorInfo",
    "TensorType",
    "ValueType",
    "open_gguf",
    "quoted",
]

_CHUNK_BYTES: Final = 1 << 20
_OTHER_FILE_HINT: Final = "Choose another file of the same model."


class _Required(Enum):
    VALUE = "no default: the key must be there"


_REQUIRED: Final = _Required.VALUE
Default = TypeVar("Default")


class GgufFile:
    """An open model, made by `open_gguf`; a context manager. `path` is that of its first file.

    `metadata` maps keys to numbers, strings, `StringArray`s, read-only NumPy arrays of the declared element type, and
    `SkippedValue`s. `metadata_types` maps keys to the types that the file declares. `tensors` maps names to
    `TensorInfo`, in the file's order. All three remain usable after `close`.
    """

    def __init__(self, path: Path, source: ModelParts, whole: WholeHeader) -> None:
        header = whole.header
        self.path = path
        self.version = header.version
        self.alignment = header.alignment
        self.metadata: Mapping[str, MetadataValue] = MappingProxyType(header.metadata)
        self.metadata_types: Mapping[str, ValueType] = MappingProxyType(header.metadata_types)
        self.tensors: Mapping[str, TensorInfo] = MappingProxyType(header.tensors)
        self.part_count = len(whole.spans)
        self.size_bytes = source.size_bytes
        self._header_spans = whole.spans
        self._source = source

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Closes the file. May be called again."""
        self._source.close()

    def header_chunks(self) -> Iterator[bytes]:
        """Yields all bytes before the data's padding, chunk by chunk; a model's fingerprint is made of them.

        Of a split model these are the headers of all parts.

        Raises:
            ModelFileError: as `read_tensor`.
        """
        for start, size_bytes in self._header_spans:
            for at in range(0, size_bytes, _CHUNK_BYTES):
                yield self._source.read(start + at, min(_CHUNK_BYTES, size_bytes - at))

    def tensor_bytes(self, name: str) -> npt.NDArray[np.uint8]:
        """Returns a copy of the stored bytes of a tensor: (size_bytes,) uint8.

        Raises:
            ModelFileError: the file has no such tensor, or as `read_tensor`.
        """
        out = np.empty(self._tensor(name).size_bytes, np.uint8)
        self.read_tensor(name, 0, out)
        return out

    def read_tensor(self, name: str, first_byte: int, out: npt.NDArray[np.uint8]) -> None:
        """Fills `out`, (bytes,) uint8, from a part of a tensor. Any thread may call it.

        Args:
            name: The tensor.
            first_byte: Where in the tensor the part begins.
            out: Receives the part; as long as the part.

        Raises:
            ModelFileError: the file has no such tensor, was cut short meanwhile, or cannot be read.
            CallerError: the tensor has no such part, or the file is closed.
        """
        tensor = self._tensor(name)
        if not 0 <= first_byte <= tensor.size_bytes - len(out):
            raise CallerError(f"tensor {quoted(name)} has no {len(out)} bytes from {first_byte} on")
        self._source.read_into(tensor.offset_bytes + first_byte, out)

    def descriptor_and_offset(self, name: str) -> tuple[int, int]:
        """Returns the descriptor of the file that has a tensor, valid until `close`, and where in it the tensor begins.

        Raises:
            ModelFileError: the file has no such tensor.
            CallerError: the file is closed.
        """
        return self._source.descriptor_and_offset(self._tensor(name).offset_bytes)

    def tensor_of_shape(self, name: str, shape: tuple[int, ...]) -> TensorInfo:
        """Returns the tensor's entry in the file if it has this shape; sizes of 1 at the end are ignored.

        Raises:
            ModelFileError: the file has no such tensor, or one of another shape.
        """
        tensor = self._tensor(name)
        if tensor.shape != without_ones_behind(shape):
            raise self.refuse(
                f"tensor {quoted(name)} has shape {quoted(tensor.shape)}, but the model's sizes require {shape}",
                _OTHER_FILE_HINT,
            )
        return tensor

    def check_unchanged(self) -> None:
        """Checks that nobody has written to the file, or to a part, since it was opened.

        Raises:
            ModelFileError: somebody has written to it.
        """
        self._source.check_unchanged()

    @overload
    def get_int(self, key: str) -> int: ...
    @overload
    def get_int(self, key: str, default: Default) -> int | Default: ...
    def get_int(self, key: str, default: object = _REQUIRED) -> object:
        """Returns the integer, of any width, under `key`, or `default` if the key is absent.

        Raises:
            ModelFileError: the value is not an integer, or the key is absent and there is no default.
        """
        return self._get(key, int, "an integer", default)

    @overload
    def get_float(self, key: str) -> float: ...
    @overload
    def get_float(self, key: str, default: Default) -> float | Default: ...
    def get_float(self, key: str, default: object = _REQUIRED) -> object:
        """Returns the floating-point number under `key`, maybe infinite or NaN, or `default` if the key is absent.

        Raises:
            ModelFileError: the value is not such a number, or the key is absent and there is no default.
        """
        return self._get(key, float, "a floating-point number", default)

    @overload
    def get_str(self, key: str) -> str: ...
    @overload
    def get_str(self, key: str, default: Default) -> str | Default: ...
    def get_str(self, key: str, default: object = _REQUIRED) -> object:
        """Returns the text under `key`, or `default` if the key is absent. The text is not safe to print as it is.

        Raises:
            ModelFileError: the value is not a text, or the key is absent and there is no default.
        """
        return self._get(key, str, "a string", default)

    @overload
    def get_bool(self, key: str) -> bool: ...
    @overload
    def get_bool(self, key: str, default: Default) -> bool | Default: ...
    def get_bool(self, key: str, default: object = _REQUIRED) -> object:
        """Returns the boolean under `key`, or `default` if the key is absent.

        Raises:
            ModelFileError: the value is not a boolean, or the key is absent and there is no default.
        """
        return self._get(key, bool, "true or false", default)

    @overload
    def get_strings(self, key: str) -> StringArray: ...
    @overload
    def get_strings(self, key: str, default: Default) -> StringArray | Default: ...
    def get_strings(self, key: str, default: object = _REQUIRED) -> object:
        """Returns the array of strings under `key`, or `default` if the key is absent.

        Raises:
            ModelFileError: the value is not such an array, or the key is absent and there is no default.
        """
        return self._get(key, StringArray, "an array of strings", default)

    @overload
    def get_int_array(self, key: str) -> NumericArray: ...
    @overload
    def get_int_array(self, key: str, default: Default) -> NumericArray | Default: ...
    def get_int_array(self, key: str, default: object = _REQUIRED) -> object:
        """Returns the array of integers under `key` (one dimension, the file's own integer type), or `default`.

        Raises:
            ModelFileError: the value is not such an array, or the key is absent and there is no default.
        """
        return self._get_array(key, "iu", "an array of integers", default)

    @overload
    def get_float_array(self, key: str) -> NumericArray: ...
    @overload
    def get_float_array(self, key: str, default: Default) -> NumericArray | Default: ...
    def get_float_array(self, key: str, default: object = _REQUIRED) -> object:
        """Returns the array of floating-point numbers under `key` (one dimension, float32 or float64), or `default`.

        Raises:
            ModelFileError: the value is not such an array, or the key is absent and there is no default.
        """
        return self._get_array(key, "f", "an array of floating-point numbers", default)

    def refuse(self, message: str, hint: str = DAMAGED_HINT) -> ModelFileError:
        """Makes the error that says why this file cannot be used, for the caller to raise."""
        return ModelFileError(f"{self.path.name}: {message}", hint)

    def _tensor(self, name: str) -> TensorInfo:
        tensor = self.tensors.get(name)
        if tensor is None:
            raise self.refuse(f"tensor {quoted(name)} is missing", _OTHER_FILE_HINT)
        return tensor

    def _get_array(self, key: str, kinds: str, wanted: str, default: object) -> object:
        value = self._get(key, np.ndarray, wanted, default)
        if isinstance(value, np.ndarray) and value is not default and value.dtype.kind not in kinds:
            raise self._wrong_type(key, wanted)
        return value

    def _get(self, key: str, kind: type, wanted: str, default: object) -> object:
        if key not in self.metadata:
            if default is _REQUIRED:
                raise self.refuse(f"metadata key {quoted(key)} is missing", _OTHER_FILE_HINT)
            return default
        value = self.metadata[key]
        if type(value) is not kind:
            raise self._wrong_type(key, wanted)
        return value

    def _wrong_type(self, key: str, wanted: str) -> ModelFileError:
        return self.refuse(
            f"metadata key {quoted(key)} should be {wanted}, but the file has {self._describe(key)}",
            _OTHER_FILE_HINT,
        )

    def _describe(self, key: str) -> str:
        value = self.metadata[key]
        if isinstance(value, StringArray):
            return f"an array of {len(value)} strings"
        if isinstance(value, SkippedValue):
            return f"a value of {value.size_bytes} bytes, which is too long"
        if isinstance(value, np.ndarray):
            return f"an array of {len(value)} {value.dtype.name}"
        return f"{self.metadata_types[key].name.lower()} {quoted(value)}"


def open_gguf(path: str | Path, find: FindStrings = find_strings) -> GgufFile:
    """Opens a model and checks its headers and tensor tables; no weights are read.

    Args:
        path: Its file. Of a split model any part: all are opened.
        find: As for `read_header`.

    Raises:
        ModelFileError: there is no such file, it cannot be read, or it is not a sound GGUF file, or not all parts of
            a split model are there and fit together.
    """
    given = Path(path)
    path = first_part(given)
    if path != given and paths.is_file(given) and not paths.is_file(path):
        raise missing_parts(path, [1])
    source = ModelParts()
    try:
        file = GgufFile(path, source, read_parts(path, source, find))
        if path != given and file.part_count == 1:
            raise file.refuse(f"this is not a part of a split model, so {given.name} cannot be one", _OTHER_FILE_HINT)
    except ModelFileError:
        try:
            source.check_unchanged()  # a file that is being written gets this error instead
        finally:
            source.close()
        raise
    except BaseException:
        source.close()
        raise
    return file
