"""Model files that run, although something in them is odd."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from tests.fakes.gguf_bytes import array, gguf_bytes, scalar, tensor
from tui_llama.engine.gguf.file import GgufFile, StringArray, ValueType, open_gguf

_ALIGNMENT = 32
_ELEMENT_TYPES = {
    np.dtype("bool"): ValueType.BOOL,
    np.dtype("int32"): ValueType.INT32,
    np.dtype("uint32"): ValueType.UINT32,
    np.dtype("float32"): ValueType.FLOAT32,
}

Tensor = tuple[str, Sequence[int], int, bytes]
"""The name, shape, type and content of a tensor."""


def odd_model(
    sound: Path,
    path: Path,
    keys: Mapping[str, bytes | None] | None = None,
    extra_tensors: Sequence[Tensor] = (),
    change: Callable[[list[Tensor]], list[Tensor]] = lambda tensors: tensors,
) -> Path:
    """Writes a changed copy of a model.

    Args:
        sound: The original model.
        path: The path of the copy.
        keys: Metadata entries, made by `gguf_bytes`, to add or to replace others; None removes one.
        extra_tensors: Tensors to add after the others.
        change: Changes the list of tensors.
    """
    with open_gguf(sound) as file:
        entries: dict[str, bytes | None] = {key: metadata_entry(file, key) for key in file.metadata}
        tensors: list[Tensor] = [
            (name, info.shape, info.type_id, file.tensor_bytes(name).tobytes()) for name, info in file.tensors.items()
        ]
    entries |= keys or {}
    rows, data = [], b""
    for name, shape, type_id, content in [*change(tensors), *extra_tensors]:
        rows.append(tensor(name, shape, type_id, len(data)))
        data += content + bytes(-len(content) % _ALIGNMENT)
    path.write_bytes(gguf_bytes([entry for entry in entries.values() if entry is not None], rows, data))
    return path


def metadata_entry(file: GgufFile, key: str, part: slice = slice(None)) -> bytes:
    """Returns the entry of a key, of an array perhaps only some elements."""
    value = file.metadata[key]
    if isinstance(value, StringArray):
        return array(key, ValueType.STRING, value.raw_list()[part])
    if isinstance(value, np.ndarray):
        return array(key, _ELEMENT_TYPES[value.dtype], value[part].tolist())
    assert isinstance(value, int | float | str)
    return scalar(key, file.metadata_types[key], value)
