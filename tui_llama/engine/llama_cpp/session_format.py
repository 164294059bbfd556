"""Session files of llama.cpp: tokens with their keys and values, as its `--prompt-cache` writes and reads them.

     bytes  everything little-endian and without padding
         4  magic: 6E 73 67 67
         4  version: 9 or 10
         4  tokens
         …  token ids, int32 (tokens,)
         4  length of the architecture's name in bytes
         …  the architecture's name, as the model file has it
            version 9 has what the last batch computed:
         4      outputs
         …      which token of the batch each output belongs to, int32 (outputs,)
         8      logits
         …      float32 (outputs, vocab)
         8      elements of embeddings; 0 where text is generated
         …      float32 (outputs, embedding)
            version 10 has instead:
         4      streams: 1
         4  cells
        12  for each cell: position, int32; sequences, uint32: 1; the sequence's id, int32
         4  1 when values are transposed, as without flash attention; else 0
         4  layers
            for each layer, its keys:
         4      element type: 1 = float16
         8      bytes of a row: 2 × kv_heads × head_dim
         …      float16 (cells, kv_heads, head_dim), after rotation
            for each layer, its values: likewise; but transposed values are:
         4      element type: 1 = float16
         4      bytes of an element: 2
         4      elements of a row: kv_heads × head_dim
         …      float16 (kv_heads, head_dim, cells)

Version 9 has a cell for every token. In version 10 the last token has no cell: the file has no logits, so llama.cpp
reads that token again to compute them, and this fails if its position is taken.

The format has no checksum. Apart from the architecture's name, nothing in it says which weights and which rotation the
keys and values belong to. A file may come from anywhere, so everything is checked before anything is returned, and
every number is compared with the rest of the file before memory is allocated. States with moved positions are refused,
because nothing tells whether the keys were moved with them. This module knows no models and no chats.

Sources: llama.cpp, src/llama-context.cpp (`state_save_file`, `state_write_data`) and src/llama-kv-cache.cpp
(`state_write_meta`, `state_write_data`), of February 2025 for version 9 and of October 2026 for version 10.
"""

import os
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from tui_llama.engine.state_file import Rows, StateShape, TokenIds, is_finite
from tui_llama.errors import CallerError, ShapeMismatchError, StateFileError
from tui_llama.files.guarded_files import opened, read_bytes, read_into, regular_file_bytes
from tui_llama.files.new_files import FileKind, new_file, write_all

Plane: TypeAlias = NDArray[np.float16]
"""Keys or values of a layer: (tokens, kv_heads, head_dim)."""

MAGIC: Final = b"nsgg"
VERSIONS: Final = (9, 10)
LLAMA_SESSION: Final = FileKind("a session of llama.cpp", MAGIC, "--force")

_HEADER: Final = struct.Struct("<4sI")
_COUNT: Final = struct.Struct("<I")
_LONG_COUNT: Final = struct.Struct("<Q")
_BODY: Final = struct.Struct("<II")
_ROWS: Final = struct.Struct("<IQ")
_TRANSPOSED_ROWS: Final = struct.Struct("<III")
_CELL: Final = np.dtype([("position", "<i4"), ("sequence_count", "<u4"), ("sequence_id", "<i4")])
_HALF: Final = np.dtype("<f2")
_F16: Final = 1  # ggml's number of the type


@dataclass(frozen=True, slots=True)
class StoredState:
    """Token ids, (tokens,) uint32, and for each layer their keys and values."""

    token_ids: TokenIds
    layers: list[tuple[Plane, Plane]]

    @property
    def rows(self) -> Rows:
        """Keys and values as a cache takes them: (layers, 2, tokens, kv_heads, head_dim) float16."""
        planes = [plane for layer in self.layers for plane in layer]
        rows: NDArray[np.float16] = np.stack(planes).reshape(len(self.layers), 2, *planes[0].shape)
        return rows


@dataclass(frozen=True, slots=True)
class LlamaSession:
    """What a session file held."""

    state: StoredState
    """The tokens that have keys and values, in the order of their positions."""
    next_token_id: int | None
    """The token after them, which was written down but has no keys and values; None when every token has them."""


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
        StateFileError: it must not be used. The text is the cause in a few words: "missing", "of another
            architecture", "truncated", "damaged (layer 3 values: not finite)".
        CallerError: the shape is not of float16.
    """
    _require_f16(shape)
    with opened(Path(path)) as descriptor:
        reader = _Reader(descriptor)
        version = _read_version(reader)
        token_ids = _read_token_ids(reader, max_tokens, vocab_size)
        _check_architecture(reader, architecture)
        if version == 9:
            _skip_outputs(reader, vocab_size)
        elif reader.number(_COUNT) != 1:
            raise StateFileError("of several sequences")
        order = _read_cells(reader, max_tokens)
        _check_lengths(len(token_ids), len(order))
        layers = _read_layers(reader, shape, order)
        next_token_id = int(token_ids[-1]) if len(order) < len(token_ids) else None
        return LlamaSession(StoredState(token_ids[: len(order)], layers), next_token_id)


def write_llama_session(
    path: str | Path,
    version: int,
    architecture: str,
    shape: StateShape,
    token_ids: TokenIds,
    layers: Iterable[tuple[Plane, Plane]],
    *,
    next_token_id: int | None = None,
    logits: NDArray[np.float32] | None = None,
    flash_attention: bool = True,
    may_replace: bool = False,
    inputs: Iterable[Path] = (),
) -> None:
    """Writes a session that llama.cpp continues to a new file.

    Args:
        path: In a folder that is there; the file gets mode 0600.
        version: 9 or 10.
        architecture: The model's name for it, as in `general.architecture`.
        shape: Sizes of every plane; of float16.
        token_ids: (tokens,) uint32; at least one, and two for version 10 without `next_token_id`.
        layers: Keys and values of each layer, (tokens, kv_heads, head_dim) float16, row-major. Taken one by one.
        next_token_id: The token after them. Version 10 alone can have it; without it, the last token's keys and
            values are left out, see the top.
        logits: (vocab,) float32 after the last token. Version 9 alone can have them, and its program samples from
            them when the prompt ends with the session; without them, the prompt must go on.
        flash_attention: Whether llama.cpp is run with it; a file for the other way is refused there. On a
            processor it is by default for version 10, and is not for version 9.
        may_replace: Whether it may take the place of another session.
        inputs: Files that it must never replace, since it was made from them.

    Raises:
        ResultFileError: it could not be written, or must not be; see `new_file`.
        ShapeMismatchError: an array is not as described.
        CallerError: the version does not exist or cannot have what was given, or the shape is not of float16.
    """
    _require_f16(shape)
    _require_array(token_ids, (len(token_ids),), "<u4", "token ids")
    token_count, name = len(token_ids), architecture.encode()
    all_ids, cell_count = _ids_and_cells(version, token_ids, next_token_id)
    head = b"".join(
        [
            _HEADER.pack(MAGIC, version),
            _COUNT.pack(len(all_ids)),
            all_ids.tobytes(),
            _COUNT.pack(len(name)),
            name,
            _outputs_or_streams(version, logits),
            _COUNT.pack(cell_count),
            _cells(cell_count).tobytes(),
            _BODY.pack(not flash_attention, shape.layer_count),
        ]
    )
    part_bytes = _ROWS.size + cell_count * _row_bytes(shape)
    with new_file(Path(path), LLAMA_SESSION, may_replace=may_replace, inputs=inputs) as descriptor:
        write_all(descriptor, head)
        # Layers come one by one, but in the file all keys stand before all values.
        for layer, (keys, values) in enumerate(_checked_layers(layers, shape, token_count)):
            os.lseek(descriptor, len(head) + layer * part_bytes, os.SEEK_SET)
            _write_rows(descriptor, keys[:cell_count])
            os.lseek(descriptor, len(head) + (shape.layer_count + layer) * part_bytes, os.SEEK_SET)
            (_write_rows if flash_attention else _write_transposed)(descriptor, values[:cell_count])


# --- writing ------------------------------------------------------------------------------------------------


def _ids_and_cells(version: int, token_ids: TokenIds, next_token_id: int | None) -> tuple[TokenIds, int]:
    """The token ids that a file of the version has for these tokens, and how many of them have a cell."""
    if version not in VERSIONS:
        raise CallerError(f"Sessions are written in version 9 or 10, not {version}.")
    if version == 9 and next_token_id is not None:
        raise CallerError("A session of version 9 has no token without keys and values.")
    if next_token_id is not None:
        token_ids = np.append(token_ids, np.uint32(next_token_id))
    cell_count = len(token_ids) - (version == 10)
    if cell_count < 1:
        raise CallerError(f"A session of version {version} cannot have {len(token_ids)} tokens.")
    return token_ids, cell_count


def _outputs_or_streams(version: int, logits: NDArray[np.float32] | None) -> bytes:
    """Version 9: what the last batch computed, as if it had been the last token alone. Version 10: one stream."""
    if version == 10:
        if logits is not None:
            raise CallerError("A session of version 10 has no logits.")
        return _COUNT.pack(1)
    if logits is None:
        return _COUNT.pack(0) + _LONG_COUNT.pack(0) + _LONG_COUNT.pack(0)
    _require_array(logits, (len(logits),), "<f4", "logits")
    output = _COUNT.pack(1) + _COUNT.pack(0)
    return output + _LONG_COUNT.pack(len(logits)) + logits.tobytes() + _LONG_COUNT.pack(0)


def _cells(count: int) -> NDArray[Any]:
    """(count,) cells of one sequence, in order."""
    cells = np.zeros(count, _CELL)
    cells["position"] = np.arange(count)
    cells["sequence_count"] = 1
    return cells


def _write_rows(descriptor: int, plane: Plane) -> None:
    write_all(descriptor, _ROWS.pack(_F16, plane[0].nbytes))
    write_all(descriptor, plane.reshape(-1).view(np.uint8).data)


def _write_transposed(descriptor: int, plane: Plane) -> None:
    columns = np.ascontiguousarray(plane.reshape(len(plane), -1).T)
    write_all(descriptor, _TRANSPOSED_ROWS.pack(_F16, _HALF.itemsize, len(columns)))
    write_all(descriptor, columns.reshape(-1).view(np.uint8).data)


# --- reading ------------------------------------------------------------------------------------------------


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
        """The only field of a form."""
        (number,) = form.unpack(self.take(form.size))
        return int(number)

    def array(self, count: int, dtype: np.dtype[Any]) -> NDArray[Any]:
        """(count,) elements; memory is asked for once the file is seen to be that long."""
        start = self.skip(count * dtype.itemsize)
        array = np.empty(count, dtype)
        read_into(self._descriptor, start, array.view(np.uint8).data)
        return array


def _read_version(reader: _Reader) -> int:
    magic, version = reader.fields(_HEADER)
    if magic != MAGIC:
        raise StateFileError("not a session file of llama.cpp")
    if version not in VERSIONS:
        raise StateFileError(f"of version {version}, not 9 or 10")
    return int(version)


def _read_token_ids(reader: _Reader, max_tokens: int, vocab_size: int) -> TokenIds:
    count = reader.number(_COUNT)
    if count > max_tokens:
        raise StateFileError(f"longer than the context ({count} of {max_tokens} tokens)")
    # Signed in the file; a negative one becomes larger than any vocabulary.
    token_ids = reader.array(count, np.dtype("<u4"))
    if count and int(token_ids.max()) >= vocab_size:
        raise StateFileError("of another vocabulary")
    return token_ids


def _check_architecture(reader: _Reader, architecture: str) -> None:
    expected = architecture.encode()
    # The length first, so that no name of another length is read.
    if reader.number(_COUNT) != len(expected) or reader.take(len(expected)) != expected:
        raise StateFileError("of another architecture")


def _skip_outputs(reader: _Reader, vocab_size: int) -> None:
    """Passes over what the last batch computed: the last token is read again for its logits."""
    output_count = reader.number(_COUNT)
    reader.skip(4 * output_count)
    logit_count = reader.number(_LONG_COUNT)
    if logit_count > output_count * vocab_size:
        raise StateFileError("of another vocabulary")
    reader.skip(4 * logit_count)
    reader.skip(4 * reader.number(_LONG_COUNT))


def _read_cells(reader: _Reader, max_tokens: int) -> NDArray[np.intp]:
    """Checks the cells; returns (cells,) indices that put them in the order of their positions."""
    count = reader.number(_COUNT)
    if count == 0:
        raise StateFileError("empty")
    if count > max_tokens:
        raise StateFileError(f"longer than the context ({count} of {max_tokens} tokens)")
    cells = reader.array(count, _CELL)
    # A cell of two sequences is longer, so that all after it was read askew, and does not matter.
    if (cells["sequence_count"] != 1).any() or (cells["sequence_id"] != cells["sequence_id"][0]).any():
        raise StateFileError("of several sequences")
    order = np.argsort(cells["position"], kind="stable")
    if (cells["position"][order] != np.arange(count)).any():
        raise StateFileError(f"with positions that are not 0 to {count - 1}, as after a shift of the context")
    return order


def _check_lengths(token_count: int, cell_count: int) -> None:
    if not cell_count <= token_count <= cell_count + 1:
        raise StateFileError(f"of {token_count} tokens, but with keys and values of {cell_count}")


def _read_layers(reader: _Reader, shape: StateShape, order: NDArray[np.intp]) -> list[tuple[Plane, Plane]]:
    transposed, layer_count = reader.fields(_BODY)
    if transposed > 1:
        raise StateFileError("damaged (transposition)")
    if layer_count != shape.layer_count:
        raise StateFileError("of another shape")
    keys = [_read_plane(reader, shape, order, f"layer {layer} keys", False) for layer in range(layer_count)]
    values = [
        _read_plane(reader, shape, order, f"layer {layer} values", bool(transposed)) for layer in range(layer_count)
    ]
    if reader.left_bytes:
        raise StateFileError("longer than it says")
    return list(zip(keys, values, strict=True))


def _read_plane(reader: _Reader, shape: StateShape, order: NDArray[np.intp], what: str, transposed: bool) -> Plane:
    """Reads the keys or values of a layer, (cells, kv_heads, head_dim) float16 in the order of positions."""
    row_elements = shape.kv_heads * shape.head_dim
    element_type, *sizes = reader.fields(_TRANSPOSED_ROWS if transposed else _ROWS)
    if element_type != _F16:
        raise StateFileError(f"not of f16 ({what})")
    if sizes != ([_HALF.itemsize, row_elements] if transposed else [_row_bytes(shape)]):
        raise StateFileError("of another shape")
    elements = reader.array(len(order) * row_elements, _HALF)
    if not is_finite(elements.view(np.uint8), shape.dtype):
        raise StateFileError(f"damaged ({what}: not finite)")
    rows = elements.reshape(row_elements, -1).T if transposed else elements.reshape(-1, row_elements)
    if (order[1:] < order[:-1]).any():
        rows = rows[order]
    return np.ascontiguousarray(rows).reshape(len(order), shape.kv_heads, shape.head_dim)


# --- both ---------------------------------------------------------------------------------------------------


def _checked_layers(
    layers: Iterable[tuple[Plane, Plane]], shape: StateShape, token_count: int
) -> Iterator[tuple[Plane, Plane]]:
    """Passes on the keys and values of each layer, one by one."""
    expected, count = (token_count, shape.kv_heads, shape.head_dim), 0
    for keys, values in layers:
        _require_array(keys, expected, "<f2", f"keys of layer {count}")
        _require_array(values, expected, "<f2", f"values of layer {count}")
        yield keys, values
        count += 1
    if count != shape.layer_count:
        raise ShapeMismatchError(f"{count} layers were given for a state of {shape.layer_count}.")


def _require_array(array: NDArray[Any], shape: tuple[int, ...], dtype: str, what: str) -> None:
    if array.shape != shape or array.dtype != np.dtype(dtype) or not array.flags.c_contiguous:
        raise ShapeMismatchError(
            f"The {what} must be {dtype} {shape}, row-major; they are {array.dtype.str} {array.shape}."
        )


def _row_bytes(shape: StateShape) -> int:
    return shape.kv_heads * shape.head_bytes


def _require_f16(shape: StateShape) -> None:
    if shape.dtype != "f16":
        raise CallerError(f"Sessions of llama.cpp are read and written as f16, not {shape.dtype}.")
