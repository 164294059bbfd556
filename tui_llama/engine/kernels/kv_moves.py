"""Kernel that moves cached keys and values to other positions: it rotates keys and copies values.

Keys are stored rotated for their position. Rotations add up, so rotating a key by the difference makes it a key of the
new position. The kernel does this in float32 and rounds to the cache's type again, as llama.cpp does; every move loses
some precision.

Source: Su et al. 2021 (RoFormer), eq. 16, for why rotations add up; llama.cpp's K-shift.
"""

from typing import Any

import numpy as np

from tui_llama.engine.kernels.attention.blocks import QUANT_COLUMNS
from tui_llama.engine.kernels.ir.simd import batch_at, float32_at, int8_at, int32_at, load_half, row_at, store_half
from tui_llama.engine.kernels.kv_store import rotate_components, store_components, tile_of
from tui_llama.engine.layouts.plan_row import Q8_0_CACHE, ROW, UNTURNED
from tui_llama.engine.toolchain.numba_codegen import helper

_ROW_BYTES = ROW.itemsize


@helper
def _load_keys(row: Any, batch: Any, target: int, position: int, head: int) -> None:
    """Widens the keys of one position and head to float32; the inverse of `store_components`."""
    x = float32_at(np.uintp(target))
    lane = position % 16
    start = tile_of(row, batch.keys, True, position, head)
    if row.cache_type != Q8_0_CACHE:
        for i in range(row.head_dim):
            x[i] = load_half(np.uintp(start + 2 * (lane + 16 * i)))
        return
    quants = int8_at(np.uintp(start + row.padded_head_dim))
    for i in range(row.head_dim):
        scale = load_half(np.uintp(start + 32 * (i // QUANT_COLUMNS) + 2 * lane))
        x[i] = np.float32(quants[lane + 16 * i]) * scale


@helper
def _move_values(row: Any, batch: Any, source: int, target: int, head: int) -> None:
    """Copies the values of one head from position `source` to position `target`."""
    width, quantised = row.padded_value_dim, row.cache_type == Q8_0_CACHE
    from_tile = tile_of(row, batch.values, False, source, head)
    to_tile = tile_of(row, batch.values, False, target, head)
    from_lane, to_lane = source % 16, target % 16
    if quantised:
        for block in range(width // QUANT_COLUMNS):
            scale = load_half(np.uintp(from_tile + 32 * block + 2 * from_lane))
            store_half(np.uintp(to_tile + 32 * block + 2 * to_lane), scale)
    bytes_each, start = (1, width) if quantised else (2, 0)
    old = int8_at(np.uintp(from_tile + start + from_lane * width * bytes_each))
    new = int8_at(np.uintp(to_tile + start + to_lane * width * bytes_each))
    for i in range(width * bytes_each):
        new[i] = old[i]


def move_positions(
    rows: int, row_count: int, batch_address: int, first: int, count: int, distance: int, turns: int, angles: int,
    scratch: int,
) -> None:  # fmt: skip
    """Fills positions of the cache from later positions, in all layers and heads, and rotates the keys.

    Args:
        rows: Address of the plan rows that store keys, one for each layer.
        row_count: Number of these rows.
        batch_address: Address of a batch that says where the cache is.
        first: The first position that is filled.
        count: Number of positions to fill.
        distance: How many positions further on the source is, at least 0.
        turns: Address of int32 (count,): which of the rotations is applied to each key; `UNTURNED` leaves a key and
            its value as they are, and requires distance 0.
        angles: Address of float32 (rotations, rotated_dim / 2, 2), cosine and sine.
        scratch: Address of float32 (2, head_dim), scratch memory.

    Naive twin: tests/naive/ops.py.
    """
    batch = batch_at(np.uintp(batch_address))
    turn_of = int32_at(np.uintp(turns))
    for index in range(row_count):
        row = row_at(np.uintp(rows + index * _ROW_BYTES))
        turned = scratch + 4 * row.head_dim
        for head in range(row.kv_heads):
            for i in range(count):
                if turn_of[i] == UNTURNED:
                    continue
                target, source = first + i, first + i + distance
                angles_at = angles + turn_of[i] * row.rotated_dim * 4
                _load_keys(row, batch, scratch, source, head)
                rotate_components(row, scratch, turned, angles_at)
                store_components(row, batch.keys, turned, target, head, True)
                if distance > 0:
                    _move_values(row, batch, source, target, head)
