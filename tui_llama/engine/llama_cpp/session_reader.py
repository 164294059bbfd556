"""Reads session files of llama.cpp; `session_format` says what is in them.

A file may come from anywhere, so everything is checked before anything is returned, and every number is compared with
the rest of the file before memory is allocated. States with moved positions are refused, because nothing tells whether
the keys were moved with them.
"""

import struct
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tui_llama.engine.llama_cpp.session_format import (
    BODY,
    CELL,
    COUNT,
    F16,
    HALF,
    HEADER,
    LONG_COUNT,
    MAGIC,
    ROWS,
    TRANSPOSED_ROWS,
    VERSIONS,
    LlamaSession,
    Plane,
    StoredState,
    row_bytes,
    session_group,
)
from tui_llama.engine.prompt_cache.segment_scan import is_finite
from tui_llama.engine.state_file import TokenIds
from tui_llama.engine.state_shape import StateShape
from tui_llama.errors import StateFileError
from tui_llama.files.guarded_files import opened, read_bytes, read_into, regular_file_bytes


def read_llama_session(
    path: str | Path, architecture: str, shape: StateShape, max_tokens: int, vocab_size: int
) -> LlamaSession:
    """Reads a session of version 9 or 10, of float16 keys and values, transposed or not, after checking all of it.

    Args:
        path: A regular file; links are refused.
        architecture: The name that the file must give, as a model file has it in `general.architecture`.
        shape: The sizes that it must have; of float16.
        max_tokens: More are refused.
        vocab_size: Token ids from here on are refused.

    Raises:
        StateFileError: it must not be used. The text is the cause in a few words: "missing", "made with another
            architecture", "truncated", "damaged (layer 3 values: not finite)".
        CallerError: the shape is not of float16.
        EngineError: the layers are not all alike; see `session_group`.
    """
    session_group(shape)
    with opened(Path(path)) as descriptor:
        reader = _Reader(descriptor)
        version = _read_version(reader)
        token_ids = _read_token_ids(reader, max_tokens, vocab_size)
        _check_architecture(reader, architecture)
        if version == 9:
            _skip_outputs(reader, vocab_size)
        elif reader.number(COUNT) != 1:
            raise StateFileError("with several sequences")
        order = _read_cells(reader, max_tokens)
        _check_lengths(len(token_ids), len(order))
        layers = _read_layers(reader, shape, order)
        next_token_id = int(token_ids[-1]) if len(order) < len(token_ids) else None
        return LlamaSession(StoredState(token_ids[: len(order)], layers), next_token_id)


class _Reader:
    """Goes through a file from front to back and never past its end."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._offset = 0
        self._file_bytes = regular_file_bytes(descriptor)

    @property
    def left_bytes(self) -> int:
        return self._file_bytes - self._offset

    def skip(self, count: int) -> int:
        """Passes over so many bytes, and returns where they begin."""
        if count > self.left_bytes:
            raise StateFileError("truncated" if self._file_bytes else "empty")
        start = self._offset
        self._offset += count
        return start

    def take(self, count: int) -> bytes:
        return read_bytes(self._descriptor, self.skip(count), count)

    def fields(self, form: struct.Struct) -> tuple[Any, ...]:
        return form.unpack(self.take(form.size))

    def number(self, form: struct.Struct) -> int:
        """Reads the only field of a form."""
        (number,) = form.unpack(self.take(form.size))
        return int(number)

    def array(self, count: int, dtype: np.dtype[Any]) -> NDArray[Any]:
        """Reads (count,) elements; allocates memory only once the file is seen to be that long."""
        start = self.skip(count * dtype.itemsize)
        array = np.empty(count, dtype)
        read_into(self._descriptor, start, array.view(np.uint8).data)
        return array


def _read_version(reader: _Reader) -> int:
    magic, version = reader.fields(HEADER)
    if magic != MAGIC:
        raise StateFileError("not a session file of llama.cpp")
    if version not in VERSIONS:
        raise StateFileError(f"in version {version}, not 9 or 10")
    return int(version)


def _read_token_ids(reader: _Reader, max_tokens: int, vocab_size: int) -> TokenIds:
    count = reader.number(COUNT)
    if count > max_tokens:
        raise StateFileError(f"longer than the context ({count} of {max_tokens} tokens)")
    # Signed in the file; a negative one becomes larger than any vocabulary.
    token_ids = reader.array(count, np.dtype("<u4"))
    if count and int(token_ids.max()) >= vocab_size:
        raise StateFileError("made with another vocabulary")
    return token_ids


def _check_architecture(reader: _Reader, architecture: str) -> None:
    expected = architecture.encode()
    # The length first, so that no name of another length is read.
    if reader.number(COUNT) != len(expected) or reader.take(len(expected)) != expected:
        raise StateFileError("made with another architecture")


def _skip_outputs(reader: _Reader, vocab_size: int) -> None:
    """Passes over what the last batch computed: the last token is read again for its logits."""
    output_count = reader.number(COUNT)
    reader.skip(4 * output_count)
    logit_count = reader.number(LONG_COUNT)
    if logit_count > output_count * vocab_size:
        raise StateFileError("made with another vocabulary")
    reader.skip(4 * logit_count)
    reader.skip(4 * reader.number(LONG_COUNT))


def _read_cells(reader: _Reader, max_tokens: int) -> NDArray[np.intp]:
    """Checks the cells; returns (cells,) indices that put them in the order of their positions."""
    count = reader.number(COUNT)
    if count == 0:
        raise StateFileError("empty")
    if count > max_tokens:
        raise StateFileError(f"longer than the context ({count} of {max_tokens} tokens)")
    cells = reader.array(count, CELL)
    # A cell of two sequences is longer, so that all after it was read askew, and does not matter.
    if (cells["sequence_count"] != 1).any() or (cells["sequence_id"] != cells["sequence_id"][0]).any():
        raise StateFileError("with several sequences")
    order = np.argsort(cells["position"], kind="stable")
    if (cells["position"][order] != np.arange(count)).any():
        raise StateFileError(f"with positions that are not 0 to {count - 1}, as after a shift of the context")
    return order


def _check_lengths(token_count: int, cell_count: int) -> None:
    if not cell_count <= token_count <= cell_count + 1:
        raise StateFileError(f"inconsistent: {token_count} tokens, but keys and values of {cell_count}")


def _read_layers(reader: _Reader, shape: StateShape, order: NDArray[np.intp]) -> list[tuple[Plane, Plane]]:
    transposed, layer_count = reader.fields(BODY)
    if transposed > 1:
        raise StateFileError("damaged (transposition)")
    if layer_count != len(shape.groups[0].layers):
        raise StateFileError("made with keys and values of another shape")
    keys = [_read_plane(reader, shape, order, f"layer {layer} keys", False) for layer in range(layer_count)]
    values = [
        _read_plane(reader, shape, order, f"layer {layer} values", bool(transposed)) for layer in range(layer_count)
    ]
    if reader.left_bytes:
        raise StateFileError("longer than its header says")
    return list(zip(keys, values, strict=True))


def _read_plane(reader: _Reader, shape: StateShape, order: NDArray[np.intp], what: str, transposed: bool) -> Plane:
    """Reads the keys or values of a layer, (cells, kv_heads, head_dim) float16 in the order of positions."""
    group = shape.groups[0]
    row_elements = group.kv_heads * group.key_dim
    element_type, *sizes = reader.fields(TRANSPOSED_ROWS if transposed else ROWS)
    if element_type != F16:
        raise StateFileError(f"not in f16 ({what})")
    if sizes != ([HALF.itemsize, row_elements] if transposed else [row_bytes(shape)]):
        raise StateFileError("made with keys and values of another shape")
    elements = reader.array(len(order) * row_elements, HALF)
    if not is_finite(elements.view(np.uint8), shape.dtype):
        raise StateFileError(f"damaged ({what}: not finite)")
    rows = elements.reshape(row_elements, -1).T if transposed else elements.reshape(-1, row_elements)
    if (order[1:] < order[:-1]).any():
        rows = rows[order]
    return np.ascontiguousarray(rows).reshape(len(order), group.kv_heads, group.key_dim)
