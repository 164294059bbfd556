"""The files of a model as one: most models are a single file, others are split into several.

    NAME-00001-of-00003.gguf   its metadata is the model's; split.no is 0; it may hold no tensors
    NAME-00002-of-00003.gguf   split.no is 1; other metadata is not used
    NAME-00003-of-00003.gguf   split.no is 2

Every part is a GGUF file with its own header, tensor table, alignment and data. All have `split.count`, the number of
parts; the first has `split.tensors.count`, the tensors of all parts together. The bytes of the parts are taken as if
they followed one another, so that a tensor's offset says in which part it is. Nobody else knows of parts.

Source: llama.cpp, src/llama-model-loader.cpp (the constructor).
"""

from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from tui_llama import paths
from tui_llama.engine.gguf.header import MAX_TENSORS, FindStrings, Header, read_header
from tui_llama.engine.gguf.header_cursor import DAMAGED_HINT
from tui_llama.engine.gguf.model_bytes import ModelBytes
from tui_llama.engine.gguf.types import TensorInfo, quoted
from tui_llama.errors import ModelFileError
from tui_llama.files.model_parts import MOST_PARTS, all_parts, part_name

_NUMBER: Final = "split.no"
_COUNT: Final = "split.count"
_TENSOR_COUNT: Final = "split.tensors.count"

_MISSING_HINT: Final = "Download all parts into the same folder."
_NAMES_HINT: Final = "Give all parts the names that they had, or download the model again."
_MOST_NAMED: Final = 3


class ModelParts:
    """The open files of a model, read as if one followed the other.

    Attributes:
        size_bytes: The bytes of all files.
    """

    def __init__(self) -> None:
        self._files: list[ModelBytes] = []
        self._starts: list[int] = []
        self.size_bytes = 0

    def open(self, path: Path) -> ModelBytes:
        """Opens one more file behind the others and returns it.

        Raises:
            ModelFileError: as `ModelBytes`.
        """
        file = ModelBytes(path)
        self._files.append(file)
        self._starts.append(self.size_bytes)
        self.size_bytes += file.size_bytes
        return file

    def close(self) -> None:
        """Closes all files. May be called again."""
        for file in self._files:
            file.close()

    def read(self, offset_bytes: int, count: int) -> bytes:
        """Returns the `count` bytes from an offset on, which must lie in one file; raises as `ModelBytes.read`."""
        file, offset_bytes = self._place(offset_bytes)
        return file.read(offset_bytes, count)

    def read_into(self, offset_bytes: int, out: npt.NDArray[np.uint8]) -> None:
        """Fills `out`, (bytes,) uint8, from an offset on, within one file; raises as `ModelBytes.read_into`."""
        file, offset_bytes = self._place(offset_bytes)
        file.read_into(offset_bytes, out)

    def descriptor_and_offset(self, offset_bytes: int) -> tuple[int, int]:
        """Returns the descriptor of the file in which an offset lies, and the offset in that file.

        Raises:
            CallerError: the file is closed.
        """
        file, offset_bytes = self._place(offset_bytes)
        return file.descriptor, offset_bytes

    def check_unchanged(self) -> None:
        """Checks that nobody has written to any of the files; raises as `ModelBytes.check_unchanged`."""
        for file in self._files:
            file.check_unchanged()

    def _place(self, offset_bytes: int) -> tuple[ModelBytes, int]:
        index = bisect_right(self._starts, offset_bytes) - 1
        return self._files[index], offset_bytes - self._starts[index]


@dataclass(frozen=True, slots=True)
class WholeHeader:
    """The headers of all parts as one; offsets count from the start of the first file.

    Args:
        header: The first part's, with the tensors of all.
        spans: For each part, where in the bytes of all its header begins, and how many bytes it has.
    """

    header: Header
    spans: tuple[tuple[int, int], ...]


def read_parts(path: Path, parts: ModelParts, find: FindStrings) -> WholeHeader:
    """Opens the files of a model and reads and checks their headers.

    Args:
        path: The model's only file, or its first.
        parts: Receives the files; nothing is open yet.
        find: As for `read_header`.

    Raises:
        ModelFileError: a file is missing, is not a sound GGUF file, or is not the part that it should be.
    """
    header = read_header(path.name, parts.open(path), find)
    if not _is_split(path, header):
        return WholeHeader(header, ((0, header.size_bytes),))
    files = _checked_paths(path, header)
    expected = _number(path, header, _TENSOR_COUNT)
    tensors: dict[str, TensorInfo] = {}
    spans: list[tuple[int, int]] = []
    for number, file in enumerate(files):
        start = parts.size_bytes if number else 0
        of_part = read_header(file.name, parts.open(file), find) if number else header
        _check_part(file, of_part, number, len(files))
        _add_tensors(tensors, file, of_part.tensors, start)
        spans.append((start, of_part.size_bytes))
    if len(tensors) != expected:
        raise _refusal(path, f"the {len(files)} parts have {len(tensors)} tensors together, but should have {expected}")
    return WholeHeader(replace(header, tensors=tensors), tuple(spans))


def _is_split(path: Path, header: Header) -> bool:
    return _COUNT in header.metadata and _number(path, header, _COUNT) > 1


def _checked_paths(path: Path, header: Header) -> tuple[Path, ...]:
    """Returns the paths of all parts, of which none is missing."""
    count = _number(path, header, _COUNT)
    if count > MOST_PARTS:
        raise _refusal(path, f"the model is split into {count} files, more than the {MOST_PARTS} supported")
    name = part_name(path.name)
    if name is None or name.count != count:
        wanted = f"NAME-{1:05}-of-{count:05}.gguf"
        raise _refusal(
            path, f"this is a part of a model in {count} files; the first must be named {wanted}", _NAMES_HINT
        )
    files = all_parts(path)
    missing = [number for number, file in enumerate(files, 1) if not paths.is_file(file)]
    if missing:
        raise missing_parts(path, missing)
    return files


def missing_parts(path: Path, numbers: list[int]) -> ModelFileError:
    """Makes the error that names missing parts.

    Args:
        path: The path of the first part.
        numbers: Which ones are missing, counted from 1.
    """
    files = all_parts(path)
    named = ", ".join(files[number - 1].name for number in numbers[:_MOST_NAMED])
    more = f" and {len(numbers) - _MOST_NAMED} more" if len(numbers) > _MOST_NAMED else ""
    what = f"part {numbers[0]} of {len(files)} is" if len(numbers) == 1 else f"{len(numbers)} of {len(files)} parts are"
    return _refusal(path, f"{what} missing: {named}{more}", _MISSING_HINT)


def _check_part(path: Path, header: Header, number: int, count: int) -> None:
    found, of = _number(path, header, _NUMBER), _number(path, header, _COUNT)
    if (found, of) != (number, count):
        said = f"its header says part {found + 1} of {of}"
        raise _refusal(path, f"{said}, but its name says part {number + 1} of {count}", _NAMES_HINT)


def _add_tensors(tensors: dict[str, TensorInfo], path: Path, added: Mapping[str, TensorInfo], start: int) -> None:
    for name, tensor in added.items():
        if name in tensors:
            raise _refusal(path, f"tensor {quoted(name)} is in an earlier part too")
        tensors[name] = replace(tensor, offset_bytes=start + tensor.offset_bytes)
    if len(tensors) > MAX_TENSORS:
        raise _refusal(path, f"the parts have more than {MAX_TENSORS} tensors together")


def _number(path: Path, header: Header, key: str) -> int:
    """Returns the integer under a key; writers differ in its type."""
    value = header.metadata.get(key)
    if type(value) is not int:
        what = "is missing" if value is None else "is not an integer"
        raise _refusal(path, f"metadata key {quoted(key)} {what}")
    return value


def _refusal(path: Path, message: str, hint: str = DAMAGED_HINT) -> ModelFileError:
    return ModelFileError(f"{path.name}: {message}", hint)
