"""Adds columns of float tiles to the totals of some tokens."""

from numba.core import cgutils

from tui_llama.engine.kernels.ir import simd
from tui_llama.engine.kernels.ir.simd import F32, I16, Builder, Value
from tui_llama.engine.kernels.matrix.block_pass import PREFETCH_BYTES, zero
from tui_llama.engine.kernels.matrix.tile_values import half_row
from tui_llama.engine.layouts import weight_tile
from tui_llama.engine.layouts.weight_tile import TileFormat

_FLOAT_SUMS = 4  # running sums of a token


def sum_columns(b: Builder, layout: TileFormat, row: Value, weights: Value, inputs: list[Value]) -> list[Value]:
    """Multiplies a row of float tiles with some tokens, in four running sums that hide the latency of adding.

    Each sum takes every fourth column.
    """
    columns = simd.field(b, row, "columns")
    totals = [[zero(b) for _ in range(_FLOAT_SUMS)] for _ in inputs]
    steps = b.sdiv(columns, simd.integer(_FLOAT_SUMS))
    done = b.mul(steps, simd.integer(_FLOAT_SUMS))
    with cgutils.for_range(b, steps) as loop:
        first = b.mul(loop.index, simd.integer(_FLOAT_SUMS))
        for k in range(_FLOAT_SUMS):
            _add_column(b, layout, weights, inputs, b.add(first, simd.integer(k)), [total[k] for total in totals])
        for line in range(0, _FLOAT_SUMS * layout.tile_bytes, 64):
            at = b.mul(first, simd.integer(layout.tile_bytes))
            simd.prefetch(b, simd.pointer(b, weights, at), PREFETCH_BYTES + line)
    with cgutils.for_range(b, b.sub(columns, done)) as loop:
        _add_column(b, layout, weights, inputs, b.add(done, loop.index), [total[0] for total in totals])
    return [
        b.fadd(b.fadd(b.load(total[0]), b.load(total[1])), b.fadd(b.load(total[2]), b.load(total[3])))
        for total in totals
    ]


def _add_column(
    b: Builder, layout: TileFormat, weights: Value, inputs: list[Value], column: Value, totals: list[Value]
) -> None:
    tile = simd.pointer(b, weights, b.mul(column, simd.integer(layout.tile_bytes)))
    if layout is weight_tile.F32_FORMAT:
        values = simd.load(b, tile, 0, F32)
    elif layout is weight_tile.F16_FORMAT:
        values = half_row(b, tile, 0)
    else:
        values = simd.bfloat_to_float(b, simd.load(b, tile, 0, I16))
    step = b.mul(column, simd.integer(4))
    for address, total in zip(inputs, totals, strict=True):
        activation = simd.load_splat(b, simd.pointer(b, address, step), 0, F32)
        b.store(simd.fma(b, values, activation, b.load(total)), total)
