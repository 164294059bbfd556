"""Writes session files of llama.cpp; `session_format` says what is in them."""

import os
from collections.abc import Iterable, Iterator
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
    LLAMA_SESSION,
    LONG_COUNT,
    MAGIC,
    ROWS,
    TRANSPOSED_ROWS,
    VERSIONS,
    Plane,
    SessionHead,
    row_bytes,
    session_group,
)
from tui_llama.engine.state_file import TokenIds
from tui_llama.engine.state_shape import StateShape
from tui_llama.errors import CallerError, ShapeMismatchError
from tui_llama.files.new_files import new_file, write_all


def write_llama_session(
    path: str | Path,
    head: SessionHead,
    layers: Iterable[tuple[Plane, Plane]],
    *,
    may_replace: bool = False,
    inputs: Iterable[Path] = (),
) -> None:
    """Writes a session that llama.cpp continues to a new file.

    Args:
        path: In a folder that is there; the file gets mode 0600.
        head: Everything but keys and values.
        layers: Keys and values of each layer, (tokens, kv_heads, head_dim) float16, row-major. Taken one by one.
        may_replace: Whether it may take the place of another session.
        inputs: Files that it must never replace, since it was made from them.

    Raises:
        ResultFileError: it could not be written, or must not be; see `new_file`.
        ShapeMismatchError: an array is not as described.
        CallerError: the version does not exist or cannot have what was given, or the shape is not of float16.
        EngineError: the layers are not all alike; see `session_group`.
    """
    session_group(head.shape)
    _require_array(head.token_ids, (len(head.token_ids),), "<u4", "token ids")
    all_ids, cell_count = _ids_and_cells(head.version, head.token_ids, head.next_token_id)
    head_bytes = _encode_head(head, all_ids, cell_count)
    with new_file(Path(path), LLAMA_SESSION, may_replace=may_replace, inputs=inputs) as descriptor:
        write_all(descriptor, head_bytes)
        _write_layers(descriptor, len(head_bytes), head, cell_count, layers)


def _encode_head(head: SessionHead, all_ids: TokenIds, cell_count: int) -> bytes:
    """Returns all that stands before the keys of the first layer."""
    name = head.architecture.encode()
    return b"".join(
        [
            HEADER.pack(MAGIC, head.version),
            COUNT.pack(len(all_ids)),
            all_ids.tobytes(),
            COUNT.pack(len(name)),
            name,
            _outputs_or_streams(head.version, head.logits),
            COUNT.pack(cell_count),
            _cells(cell_count).tobytes(),
            BODY.pack(not head.flash_attention, len(head.shape.groups[0].layers)),
        ]
    )


def _write_layers(
    descriptor: int, start_bytes: int, head: SessionHead, cell_count: int, layers: Iterable[tuple[Plane, Plane]]
) -> None:
    """Writes keys and values from `start_bytes` on: layers come one by one, but all keys stand before all values."""
    shape, write_values = head.shape, _write_rows if head.flash_attention else _write_transposed
    layer_count = len(shape.groups[0].layers)
    part_bytes = ROWS.size + cell_count * row_bytes(shape)
    for layer, (keys, values) in enumerate(_checked_layers(layers, shape, len(head.token_ids))):
        os.lseek(descriptor, start_bytes + layer * part_bytes, os.SEEK_SET)
        _write_rows(descriptor, keys[:cell_count])
        os.lseek(descriptor, start_bytes + (layer_count + layer) * part_bytes, os.SEEK_SET)
        write_values(descriptor, values[:cell_count])


def _ids_and_cells(version: int, token_ids: TokenIds, next_token_id: int | None) -> tuple[TokenIds, int]:
    """Returns the token ids that a file of the version has for these tokens, and how many of them have a cell."""
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
    """Returns what the last batch computed, as if it had been the last token alone; in version 10, one stream."""
    if version == 10:
        if logits is not None:
            raise CallerError("A session of version 10 has no logits.")
        return COUNT.pack(1)
    if logits is None:
        return COUNT.pack(0) + LONG_COUNT.pack(0) + LONG_COUNT.pack(0)
    _require_array(logits, (len(logits),), "<f4", "logits")
    output = COUNT.pack(1) + COUNT.pack(0)
    return output + LONG_COUNT.pack(len(logits)) + logits.tobytes() + LONG_COUNT.pack(0)


def _cells(count: int) -> NDArray[Any]:
    """Returns (count,) cells of one sequence, in order."""
    cells = np.zeros(count, CELL)
    cells["position"] = np.arange(count)
    cells["sequence_count"] = 1
    return cells


def _write_rows(descriptor: int, plane: Plane) -> None:
    write_all(descriptor, ROWS.pack(F16, plane[0].nbytes))
    write_all(descriptor, plane.reshape(-1).view(np.uint8).data)


def _write_transposed(descriptor: int, plane: Plane) -> None:
    columns = np.ascontiguousarray(plane.reshape(len(plane), -1).T)
    write_all(descriptor, TRANSPOSED_ROWS.pack(F16, HALF.itemsize, len(columns)))
    write_all(descriptor, columns.reshape(-1).view(np.uint8).data)


def _checked_layers(
    layers: Iterable[tuple[Plane, Plane]], shape: StateShape, token_count: int
) -> Iterator[tuple[Plane, Plane]]:
    """Passes on the keys and values of each layer, one by one."""
    group, count = shape.groups[0], 0
    expected = (token_count, group.kv_heads, group.key_dim)
    for keys, values in layers:
        _require_array(keys, expected, "<f2", f"keys of layer {count}")
        _require_array(values, expected, "<f2", f"values of layer {count}")
        yield keys, values
        count += 1
    if count != len(group.layers):
        raise ShapeMismatchError(f"{count} layers were given for a state of {len(group.layers)}.")


def _require_array(array: NDArray[Any], shape: tuple[int, ...], dtype: str, what: str) -> None:
    if array.shape != shape or array.dtype != np.dtype(dtype) or not array.flags.c_contiguous:
        raise ShapeMismatchError(
            f"The {what} must be {dtype} {shape}, row-major; they are {array.dtype.str} {array.shape}."
        )
