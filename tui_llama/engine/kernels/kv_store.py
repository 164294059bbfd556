"""Kernels between the projections and attention: rotary positions, and storing keys and values in the KV cache.

tensors/kv_cache.py has the cache's layouts. Each component is stored as the nearest number of the cache's type, and
never as infinity: attention gives an invisible position the weight 0, and 0 × infinity would be NaN.
"""

from typing import Any

import numpy as np

from tui_llama.engine.kernels.attention.blocks import QUANT_COLUMNS
from tui_llama.engine.kernels.ir.simd import batch_at, first_token, float32_at, int8_at, load_half, row_at, store_half
from tui_llama.engine.layouts.plan_row import HALVES, Q8_0_CACHE
from tui_llama.engine.toolchain.numba_codegen import helper

_LARGEST_HALF = 65504.0


@helper
def rotate_components(row: Any, source: int, target: int, angles: int) -> None:
    """Rotates pairs of a head's components by the (cosine, sine) pairs at `angles`, and copies the others.

    The row says which: `rotated_dim` components from `first_rotated` on.
    """
    x, y, angle = float32_at(np.uintp(source)), float32_at(np.uintp(target)), float32_at(np.uintp(angles))
    half, begin, end = row.rotated_dim // 2, row.first_rotated, row.first_rotated + row.rotated_dim
    for i in range(begin):
        y[i] = x[i]
    for i in range(half):
        a, b = (begin + i, begin + i + half) if row.mode == HALVES else (begin + 2 * i, begin + 2 * i + 1)
        cosine, sine = angle[2 * i], angle[2 * i + 1]
        first, second = x[a], x[b]
        y[a] = first * cosine - second * sine
        y[b] = first * sine + second * cosine
    for i in range(end, row.head_dim):
        y[i] = x[i]


@helper
def tile_of(row: Any, memory: int, is_keys: bool, position: int, head: int) -> Any:
    """Returns the address of the tile that holds one head's components of a position; `memory` as a batch has it."""
    width = row.padded_head_dim if is_keys else row.padded_value_dim
    tile = (head * row.cache_positions + position % row.cache_positions) // 16
    offset = row.keys_offset if is_keys else row.values_offset
    return np.int64(memory) + offset + tile * (17 if row.cache_type == Q8_0_CACHE else 32) * width


@helper
def store_components(row: Any, memory: int, source: int, position: int, head: int, is_keys: bool) -> None:
    """Stores one head's components of one position in the cache; `memory` is the start of the keys or of the values."""
    width, head_dim = (row.padded_head_dim, row.head_dim) if is_keys else (row.padded_value_dim, row.value_dim)
    x = float32_at(np.uintp(source))
    quantised = row.cache_type == Q8_0_CACHE
    lane = position % 16
    start = tile_of(row, memory, is_keys, position, head)
    first, step = (lane, 16) if is_keys else (lane * width, 1)
    if not quantised:
        for i in range(head_dim):
            value = min(max(x[i], np.float32(-_LARGEST_HALF)), np.float32(_LARGEST_HALF))
            store_half(np.uintp(start + 2 * (first + i * step)), value)
        return
    quants = int8_at(np.uintp(start + width))
    for block in range(width // QUANT_COLUMNS):
        begin, end = block * QUANT_COLUMNS, min(head_dim, (block + 1) * QUANT_COLUMNS)
        peak = np.float32(0.0)
        for i in range(begin, end):
            peak = max(peak, abs(x[i]))
        scale_at = np.uintp(start + 32 * block + 2 * lane)
        store_half(scale_at, min(peak / np.float32(127.0), np.float32(_LARGEST_HALF)))
        scale = load_half(scale_at)  # as rounded to float16: attention multiplies the quants by this
        inverse = np.float32(1.0) / scale if scale > 0 else np.float32(0.0)
        for i in range(begin, end):
            quant = np.rint(min(max(x[i] * inverse, np.float32(-127.0)), np.float32(127.0)))
            quants[first + i * step] = np.int8(quant)


def rotate_queries(row_address: int, batch_address: int, first: int, last: int, scratch: int) -> None:
    """Rotates the queries (rotary position embedding). Unit: a token.

    Plan row: `input` is float32 (tokens, heads · head_dim); `output` float32 (tokens, heads, padded_head_dim), padded
    with zeros, or the input itself where heads need no padding; `rotated_dim` components of a head from `first_rotated`
    on are rotated; `extra` the table of angles, float32 (positions, rotated_dim / 2, 2) cosine and sine; `mode`
    NEIGHBOURS or HALVES; `weight` is 0 or the address of float32 (positions,), factors of the queries at each position.

    Source: Su et al. 2021 (RoFormer).
    """
    row, batch = row_at(row_address), batch_at(batch_address)
    start = first_token(row, batch)
    for token in range(start + first, start + last):
        angles = row.extra + (batch.first_position + batch.rotation_offset + token) * row.extra_stride
        for head in range(row.heads):
            source = row.input + token * row.input_stride + head * row.head_dim * 4
            target = row.output + token * row.output_stride + head * row.padded_head_dim * 4
            rotate_components(row, source, target, angles)
            if row.weight != 0:
                factors, query = float32_at(np.uintp(row.weight)), float32_at(np.uintp(target))
                for i in range(row.head_dim):
                    query[i] *= factors[batch.first_position + batch.rotation_offset + token]


def store_keys(row_address: int, batch_address: int, first: int, last: int, scratch: int) -> None:
    """Rotates the keys of each token and stores them in the cache. Unit: a token.

    Plan row: as for `rotate_queries`, without an output; `cache_type`, `cache_positions` and `keys_offset` say where
    and how. With `rotated_dim` 0 nothing is rotated: then `extra` is 0, or the table by which the keys were before.
    """
    row, batch = row_at(row_address), batch_at(batch_address)
    for token in range(first, last):
        position = batch.first_position + token
        angles = row.extra + (position + batch.rotation_offset) * row.extra_stride
        for head in range(row.kv_heads):
            source = row.input + token * row.input_stride + head * row.head_dim * 4
            rotate_components(row, source, scratch, angles)
            store_components(row, batch.keys, scratch, position, head, True)


def store_values(row_address: int, batch_address: int, first: int, last: int, scratch: int) -> None:
    """Stores the values of each token in the cache. Unit: a token.

    Plan row: `input` is float32 (tokens, kv_heads · value_dim); `cache_type`, `cache_positions` and `values_offset` say
    where and how.
    """
    row, batch = row_at(row_address), batch_at(batch_address)
    for token in range(first, last):
        position = batch.first_position + token
        for head in range(row.kv_heads):
            source = row.input + token * row.input_stride + head * row.value_dim * 4
            store_components(row, batch.values, source, position, head, False)
