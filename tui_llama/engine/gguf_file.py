"""An open GGUF model file: its metadata with types checked, its tensors mapped.

`gguf_header` has the format and reads the header; this is what the rest of the engine uses. It knows formats, not
models: what a key means is for others to say. A file that is cut short by someone else while it is mapped ends the
process that reads it, which is one reason why the engine has a process of its own.
"""

import mmap
import os
import stat
from collections.abc import Mapping
from enum import Enum
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Final, Self, TypeVar, overload

import numpy as np
import numpy.typing as npt

from tui_llama.engine.gguf_header import DAMAGED_HINT, FindStrings, Header, find_strings, read_header
from tui_llama.engine.gguf_types import (
    TENSOR_TYPES,
    MetadataValue,
    NumericArray,
    StringArray,
    TensorInfo,
    TensorType,
    ValueType,
    quoted,
)
from tui_llama.errors import CallerError, ModelFileError

__all__ = [
    "TENSOR_TYPES",
    "GgufFile",
    "MetadataValue",
    "NumericArray",
    "StringArray",
    "TensorInfo",
    "TensorType",
    "ValueType",
    "open_gguf",
]

_OTHER_FILE_HINT: Final = "Choose another file of the same model."
_PATH_HINT: Final = "Check the path of the model."


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

    def __init__(self, path: Path, mapped: mmap.mmap, header: Header) -> None:
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

    def refuse(self, message: str, hint: str = DAMAGED_HINT) -> ModelFileError:
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
            raise self.refuse(f"tensor {quoted(name)} is missing")
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
        if isinstance(value, np.ndarray):
            return f"an array of {len(value)} {value.dtype.name}"
        return f"{self.metadata_types[key].name.lower()} {quoted(value)}"


def open_gguf(path: str | Path, find: FindStrings = find_strings) -> GgufFile:
    """Opens a model file and checks its header and tensor table; no weights are read.

    Args:
        path: The file.
        find: As for `read_header`.

    Raises:
        ModelFileError: there is no such file, it cannot be read, or it is not a sound GGUF file of one part.
    """
    path = Path(path)
    mapped = _map_file(path)
    header = read_header(path.name, mapped, find)
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
            raise ModelFileError(f"{path} is {what}", "Give the path of a file whose name ends in .gguf.")
        with path.open("rb") as opened:
            if os.fstat(opened.fileno()).st_size == 0:
                raise ModelFileError(f"{path.name} is empty", DAMAGED_HINT)
            return mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ)
    except FileNotFoundError as error:
        raise ModelFileError(f"there is no file {path}", _PATH_HINT) from error
    except PermissionError as error:
        raise ModelFileError(f"{path.name} may not be read", "Check its owner and permissions.") from error
    except OSError as error:
        raise ModelFileError(f"{path.name[:80]} cannot be opened: {error.strerror}", _PATH_HINT) from error
    except ValueError as error:  # a zero byte in the path
        raise ModelFileError(f"{quoted(str(path))} cannot be a path", _PATH_HINT) from error
