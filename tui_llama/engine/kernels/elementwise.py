"""Kernels of a plan for embedding, norms, quantising and adding; kernels/plan_loop.py runs them.

Every kernel of a plan has the same signature: `kernel(row, batch, first, last, scratch)` does the units of work `first`
… `last` - 1 of the plan row at address `row`, for the batch at address `batch`, with `scratch` as memory of its own.
Each docstring says what a unit is. Kernels take integers and addresses only, so that the loop can call them by address
and only the kernels that a model needs are compiled. They trust their rows: plan/plan.py checks shapes when it builds
them.

Naive twins of all of them are in tests/naive/ops.py.
"""

from typing import Any

import numpy as np
from numba import types
from numba.core import cgutils

from tui_llama.engine.kernels.ir import simd
from tui_llama.engine.kernels.ir.simd import (
    F32,
    Builder,
    Value,
    batch_at,
    constant,
    first_token,
    float32_at,
    int32_at,
    row_at,
)
from tui_llama.engine.kernels.matrix.quantize import are_interleaved, quantize_token_32, quantize_token_256
from tui_llama.engine.kernels.matrix.tile_rows import decode_float_row, decode_row
from tui_llama.engine.layouts.weight_tile import FORMATS, ROWS
from tui_llama.engine.toolchain.numba_codegen import helper, intrinsic

_FLOATS = tuple(layout.type_id for layout in FORMATS.values() if layout.is_float)

# --- vector helpers ---------------------------------------------------------------------------------------------------


@intrinsic
def _sum_of_squares(_: Any, address: Any, vectors: Any) -> Any:
    """Returns the sum of the squares of 16 × `vectors` float32 at an address, in one fixed order."""

    def generate(context: Any, b: Builder, signature: Any, arguments: Any) -> Value:
        address, vectors = arguments
        total = simd.lane_variable(b, constant(F32, 0.0))
        b.store(constant(F32, 0.0), total)
        with cgutils.for_range(b, vectors) as loop:
            value = simd.load(b, simd.pointer(b, address, b.mul(loop.index, simd.integer(64))), 0, F32)
            b.store(simd.fma(b, value, value, b.load(total)), total)
        return simd.sum_lanes(b, b.load(total))

    return types.float32(types.uintp, types.int64), generate


@intrinsic
def _sum(_: Any, address: Any, vectors: Any) -> Any:
    """Returns the sum of 16 × `vectors` float32 at an address, in one fixed order."""

    def generate(context: Any, b: Builder, signature: Any, arguments: Any) -> Value:
        address, vectors = arguments
        total = simd.lane_variable(b, constant(F32, 0.0))
        b.store(constant(F32, 0.0), total)
        with cgutils.for_range(b, vectors) as loop:
            value = simd.load(b, simd.pointer(b, address, b.mul(loop.index, simd.integer(64))), 0, F32)
            b.store(b.fadd(value, b.load(total)), total)
        return simd.sum_lanes(b, b.load(total))

    return types.float32(types.uintp, types.int64), generate


@helper
def _normalize(source: int, target: int, weight: int, count: int, epsilon: float) -> None:
    """Writes the root-mean-square norm of `count` float32.

    Whole vectors of 16 are summed first, the remaining elements one by one.
    """
    x, y, w = float32_at(np.uintp(source)), float32_at(np.uintp(target)), float32_at(np.uintp(weight))
    whole = count // 16
    total = _sum_of_squares(np.uintp(source), whole)
    for i in range(16 * whole, count):
        total += x[i] * x[i]
    scale = np.float32(1.0) / np.sqrt(total / np.float32(count) + epsilon)
    for i in range(count):
        y[i] = x[i] * scale * w[i]


@helper
def _subtract_mean(source: int, target: int, count: int) -> None:
    """Writes `count` float32 less their mean. The sum has 16 running parts, so that it does not lose small numbers."""
    x, y = float32_at(np.uintp(source)), float32_at(np.uintp(target))
    whole = count // 16
    total = _sum(np.uintp(source), whole)
    for i in range(16 * whole, count):
        total += x[i]
    mean = total / np.float32(count)
    for i in range(count):
        y[i] = x[i] - mean


@helper
def _add_bias(target: int, bias: int, count: int) -> None:
    """Adds `count` float32 at an address; nothing if that is 0."""
    if bias != 0:
        y, x = float32_at(np.uintp(target)), float32_at(np.uintp(bias))
        for i in range(count):
            y[i] += x[i]


# --- kernels of a plan ------------------------------------------------------------------------------------------------


@helper
def _multiply_by(address: int, columns: int, factor: float) -> None:
    """Multiplies float32 at an address by a factor, if it is not 1."""
    if factor != np.float32(1.0):
        numbers = float32_at(np.uintp(address))
        for column in range(columns):
            numbers[column] *= factor


@helper
def _decode(row: Any, tiles: int, lane: int, target: int) -> None:
    """Decodes one row of the tile row at an address; `row` is a plan row as `embed` describes it."""
    if row.mode in _FLOATS:
        decode_float_row(tiles, lane, target, row.columns, row.mode)
    else:
        decode_row(tiles, lane, target, row.columns, row.extra)


def embed(row_address: int, batch_address: int, first: int, last: int, scratch: int) -> None:
    """Decodes the embedding row of each token. Unit: a token.

    Plan row: `weight` is the matrix in tiles, `weight_stride` bytes a tile row, `mode` its GGUF type and `extra` the
    address of its format (layouts/tile_record.py); `output` is float32 (tokens, columns); `scale` multiplies every
    number.
    """
    row, batch = row_at(row_address), batch_at(batch_address)
    for token in range(first, last):
        token_id = int32_at(np.uintp(batch.token_ids))[token]
        tiles, lane = row.weight + token_id // ROWS * row.weight_stride, token_id % ROWS
        target = row.output + token * row.output_stride
        _decode(row, tiles, lane, target)
        _multiply_by(target, row.columns, row.scale)


def embed_positions(row_address: int, batch_address: int, first: int, last: int, scratch: int) -> None:
    """Decodes the row of each token's position in a matrix of floats. Unit: a token. Plan row: as for `embed`."""
    row, batch = row_at(row_address), batch_at(batch_address)
    for token in range(first, last):
        position = batch.first_position + batch.rotation_offset + token
        tiles, lane = row.weight + position // ROWS * row.weight_stride, position % ROWS
        decode_float_row(tiles, lane, row.output + token * row.output_stride, row.columns, row.mode)


def rms_norm(row_address: int, batch_address: int, first: int, last: int, scratch: int) -> None:
    """Divides vectors by their root mean square and multiplies by a weight. Unit: one of `heads` vectors of a token.

    Plan row: `input` and `output` are float32 (tokens, heads, columns) and may be the same; `weight` is float32
    (columns,), and `weight_stride` bytes further on for each next head; `extra` is float32 (columns,), which is added
    in the end, or 0.

    Source: Zhang and Sennrich 2019 (RMSNorm).
    """
    row, batch = row_at(row_address), batch_at(batch_address)
    start = first_token(row, batch)
    for unit in range(first, last):
        token, head = start + unit // row.heads, unit % row.heads
        offset = head * row.columns * 4
        source = row.input + token * row.input_stride + offset
        target = row.output + token * row.output_stride + offset
        _normalize(source, target, row.weight + head * row.weight_stride, row.columns, row.epsilon)
        _add_bias(target, row.extra, row.columns)


def layer_norm(row_address: int, batch_address: int, first: int, last: int, scratch: int) -> None:
    """Subtracts the mean of vectors, and then does as `rms_norm`. Unit: one of `heads` vectors of a token.

    Plan row: as for `rms_norm`.

    Source: Ba et al. 2016 (Layer normalization).
    """
    row, batch = row_at(row_address), batch_at(batch_address)
    start = first_token(row, batch)
    for unit in range(first, last):
        token, head = start + unit // row.heads, unit % row.heads
        offset = head * row.columns * 4
        source = row.input + token * row.input_stride + offset
        target = row.output + token * row.output_stride + offset
        _subtract_mean(source, target, row.columns)
        _normalize(target, target, row.weight + head * row.weight_stride, row.columns, row.epsilon)
        _add_bias(target, row.extra, row.columns)


def quantize_32(row_address: int, batch_address: int, first: int, last: int, scratch: int) -> None:
    """Quantises activations in blocks of 32; see layouts/activations.py. Unit: a token; `columns` counts blocks."""
    row, batch = row_at(row_address), batch_at(batch_address)
    start = first_token(row, batch)
    spare = scratch if are_interleaved(batch.token_count - start) else 0
    for token in range(start + first, start + last):
        source, index = row.input + token * row.input_stride, token - start if spare else token
        quantize_token_32(source, row.output, row.output_stride, index, row.columns, spare)


def quantize_256(row_address: int, batch_address: int, first: int, last: int, scratch: int) -> None:
    """Quantises activations in blocks of 256; see layouts/activations.py. Unit: a token; `columns` counts blocks."""
    row, batch = row_at(row_address), batch_at(batch_address)
    start = first_token(row, batch)
    spare = scratch if are_interleaved(batch.token_count - start) else 0
    for token in range(start + first, start + last):
        source, index = row.input + token * row.input_stride, token - start if spare else token
        quantize_token_256(source, row.output, row.output_stride, index, row.columns, spare)


def add(row_address: int, batch_address: int, first: int, last: int, scratch: int) -> None:
    """Adds `scale` × input to the output. Unit: a token.

    Plan row: `input` and `output` are float32 (tokens, columns).
    """
    row, batch = row_at(row_address), batch_at(batch_address)
    start = first_token(row, batch)
    for token in range(start + first, start + last):
        x = float32_at(np.uintp(row.input + token * row.input_stride))
        y = float32_at(np.uintp(row.output + token * row.output_stride))
        for i in range(row.columns):
            y[i] += x[i] * row.scale


def copy_heads(row_address: int, batch_address: int, first: int, last: int, scratch: int) -> None:
    """Copies a part of each head. Unit: a token.

    Plan row: `input` and `output` are the first such part of float32 (tokens, heads, …); in them parts are `head_dim`
    and `padded_head_dim` numbers apart; `columns` numbers are copied of each.
    """
    row, batch = row_at(row_address), batch_at(batch_address)
    start = first_token(row, batch)
    for token in range(start + first, start + last):
        x = float32_at(np.uintp(row.input + token * row.input_stride))
        y = float32_at(np.uintp(row.output + token * row.output_stride))
        for head in range(row.heads):
            for i in range(row.columns):
                y[head * row.padded_head_dim + i] = x[head * row.head_dim + i]
