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
def rotate_components(source: int, target: int, angles: int, head_dim: int, rotated_dim: int, mode: int) -> None:
    """Rotates pairs of the first `rotated_dim` components by the (cosine, sine) pairs at `angles`; copies the rest."""
    x, y, angle = float32_at(np.uintp(source)), float32_at(np.uintp(target)), float32_at(np.uintp(angles))
    half = rotated_dim // 2
    for i in range(half):
        a, b = (i, i + half) if mode == HALVES else (2 * i, 2 * i + 1)
        cosine, sine = angle[2 * i], angle[2 * i + 1]
        first, second = x[a], x[b]
        y[a] = first * cosine - second * sine
        y[b] = first * sine + second * cosine
    for i in range(rotated_dim, head_dim):
        y[i] = x[i]


@helper
def store_components(row: Any, batch: Any, memory: int, source: int, position: int, head: int, is_keys: bool) -> None:
    """Stores one head's components of one position in the cache; `memory` is the start of the keys or of the values."""
    width, head_dim = row.padded_head_dim, row.head_dim
    x = float32_at(np.uintp(source))
    quantised = row.cache_type == Q8_0_CACHE
    tile = ((row.layer * row.kv_heads + head) * batch.context_size + position) // 16
    lane = position % 16
    start = np.int64(memory) + tile * (17 if quantised else 32) * width
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
    with zeros, or the input itself where heads need no padding; `extra` the table of angles, float32 (positions,
    rotated_dim / 2, 2) cosine and sine; `mode` NEIGHBOURS or HALVES; `weight` is 0 or the address of float32
    (positions,), factors of the queries at each position.

    Source: Su et al. 2021 (RoFormer).
    """
    row, batch = row_at(row_address), batch_at(batch_address)
    start = first_token(row, batch)
    for token in range(start + first, start + last):
        angles = row.extra + (batch.first_position + batch.rotation_offset + token) * row.extra_stride
        for head in range(row.heads):
            source = row.input + token * row.input_stride + head * row.head_dim * 4
            target = row.output + token * row.output_stride + head * row.padded_head_dim * 4
            rotate_components(source, target, angles, row.head_dim, row.rotated_dim, row.mode)
            if row.weight != 0:
                factors, query = float32_at(np.uintp(row.weight)), float32_at(np.uintp(target))
                for i in range(row.head_dim):
                    query[i] *= factors[batch.first_position + batch.rotation_offset + token]


def store_keys(row_address: int, batch_address: int, first: int, last: int, scratch: int) -> None:
    """Rotates the keys of each token and stores them in the cache. Unit: a token.

    Plan row: as for `rotate_queries`, without an output; `cache_type` and `layer` say where and how.
    """
    row, batch = row_at(row_address), batch_at(batch_address)
    for token in range(first, last):
        position = batch.first_position + token
        angles = row.extra + (position + batch.rotation_offset) * row.extra_stride
        for head in range(row.kv_heads):
            source = row.input + token * row.input_stride + head * row.head_dim * 4
            rotate_components(source, scratch, angles, row.head_dim, row.rotated_dim, row.mode)
            store_components(row, batch, batch.keys, scratch, position, head, True)


def store_values(row_address: int, batch_address: int, first: int, last: int, scratch: int) -> None:
    """Stores the values of each token in the cache. Unit: a token.

    Plan row: `input` is float32 (tokens, kv_heads · head_dim); `cache_type` and `layer` say where and how.
    """
    row, batch = row_at(row_address), batch_at(batch_address)
    for token in range(first, last):
        position = batch.first_position + token
        for head in range(row.kv_heads):
            source = row.input + token * row.input_stride + head * row.head_dim * 4
            store_components(row, batch, batch.values, source, position, head, False)
