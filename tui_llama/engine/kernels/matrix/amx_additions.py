"""Adds the integers of AMX to a token's running sums: applies the scales of tile rows and of the token in float32.

The operations and their order are those of sums_32.py and sums_256.py, so both give the same bits.
"""

from collections.abc import Callable
from dataclasses import dataclass

from tui_llama.engine.kernels.ir import simd
from tui_llama.engine.kernels.ir.simd import F32, I32, Builder, Value, constant, vector
from tui_llama.engine.kernels.matrix.tile_values import half_row, minimum_pairs, tile_scales
from tui_llama.engine.layouts.activations import GROUP_SUMMARY_BYTES, SUMS_OF_16_AT
from tui_llama.engine.layouts.amx_panel import STEP_BYTES
from tui_llama.engine.layouts.weight_tile import TileFormat


@dataclass(frozen=True, slots=True)
class Token:
    """Addresses of one token's data: its products with a tile row, its d, and the sums of its quants."""

    products: Value
    scale: Value
    sums: Value


def addition_256(b: Builder, layout: TileFormat, source: Value) -> Callable[[Token, Value], Value]:
    """Loads the scales of a tile's rows; returns a function that adds a token's products to its total."""
    (d,) = tile_scales(b, source, layout)
    shift = constant(I32, 3 if layout.scales_are_halved else 8)
    minima, d_minimum = [], None
    if layout.has_minimum:
        minima = [minimum_pairs(b, layout, source, simd.integer(i)) for i in range(layout.scale_count // 2)]
        d_minimum = half_row(b, source, layout.minimum_at)
    sums_at = SUMS_OF_16_AT if layout.scale_count == 16 else 0

    def add(token: Token, total: Value) -> Value:
        high = b.shl(simd.load(b, token.products, 2 * STEP_BYTES, I32), shift)
        value = b.fmul(b.sitofp(b.add(simd.load(b, token.products, 0, I32), high), vector(F32)), d)
        if d_minimum is not None:
            minimum = constant(I32, 0)
            for i, pair in enumerate(minima):
                minimum = simd.dot2(b, minimum, pair, simd.load_splat(b, token.sums, sums_at + 4 * i, I32))
            value = b.fsub(value, b.fmul(b.sitofp(minimum, vector(F32)), d_minimum))
        return simd.fma(b, value, simd.load_splat(b, token.scale, 0, F32), total)

    return add


def addition_32(b: Builder, layout: TileFormat, source: Value, blocks: int) -> Callable[[Token, Value], Value]:
    """Does the same as `addition_256`, for `blocks` blocks."""
    starts = [layout.tile_bytes * block for block in range(blocks)]
    scales = [tile_scales(b, source, layout, at) for at in starts]
    minima = [half_row(b, source, at + layout.minimum_at) for at in starts if layout.has_minimum]

    def add(token: Token, total: Value) -> Value:
        for block, of_columns in enumerate(scales):
            at = GROUP_SUMMARY_BYTES[32] * block
            for i, d in enumerate(of_columns):
                piece = len(of_columns) * block + i
                dot = b.sitofp(simd.load(b, token.products, STEP_BYTES * piece, I32), vector(F32))
                total = simd.fma(b, dot, b.fmul(d, simd.load_splat(b, token.scale, at, F32)), total)
            if minima:
                scaled_sum = simd.load_splat(b, token.sums, at, F32)
                total = simd.fma(b, minima[block], scaled_sum, total)
        return total

    return add
