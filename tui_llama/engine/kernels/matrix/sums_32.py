"""Adds blocks of 32 columns to the totals of some tokens: integers inside of a block, then a fused multiply-add."""

from tui_llama.engine.kernels.ir import simd
from tui_llama.engine.kernels.ir.simd import F32, I32, Builder, Value, constant, vector
from tui_llama.engine.kernels.matrix.block_pass import Pass, dot_product
from tui_llama.engine.kernels.matrix.tile_values import half_row, tile_codes, tile_scale
from tui_llama.engine.layouts.activations import SCALED_SUM_AT, START_32_AT
from tui_llama.engine.layouts.weight_tile import TileFormat


def add_block_32(b: Builder, layout: TileFormat, tile: Value, block: Pass) -> None:
    """Adds a block of 32 columns to the totals."""
    d = tile_scale(b, tile, layout)
    codes = tile_codes(b, tile, layout, simd.integer(0))
    minimum = half_row(b, tile, layout.minimum_at) if layout.has_minimum else None
    for quants, summary, total in zip(block.quants, block.summaries, block.totals, strict=True):
        start = constant(I32, 0)
        if layout.code_offset:
            start = simd.load_splat(b, summary, START_32_AT[layout.code_offset], I32)
        dot = b.sitofp(dot_product(b, layout, start, codes, quants, 0, block.sum_count), vector(F32))
        scale = b.fmul(d, simd.load_splat(b, summary, 0, F32))
        value = simd.fma(b, dot, scale, b.load(total))
        if minimum is not None:
            value = simd.fma(b, minimum, simd.load_splat(b, summary, SCALED_SUM_AT, F32), value)
        b.store(value, total)
