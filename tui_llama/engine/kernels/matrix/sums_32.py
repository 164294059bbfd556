"""Adds blocks of 32 columns to the totals of some tokens: integers inside of a block, then a fused multiply-add."""

from tui_llama.engine.kernels.ir import simd
from tui_llama.engine.kernels.ir.simd import F32, I32, Builder, Value, constant, vector
from tui_llama.engine.kernels.matrix.block_pass import Pass, dot_product, signed_dot_product
from tui_llama.engine.kernels.matrix.tile_values import half_row, tile_codes, tile_scales
from tui_llama.engine.layouts.activations import SCALED_SUM_AT, START_32_AT, STARTS_16_AT
from tui_llama.engine.layouts.weight_tile import TileFormat


def add_block_32(b: Builder, layout: TileFormat, tile: Value, block: Pass) -> None:
    """Adds a block of 32 columns to the totals."""
    scales = tile_scales(b, tile, layout)
    with_signs = layout.value_bits == 8 and simd.prefers_signed_bytes()
    codes = tile_codes(b, tile, layout, simd.integer(0), with_signs=with_signs)
    minimum = half_row(b, tile, layout.minimum_at) if layout.has_minimum else None
    for quants, summary, total in zip(block.quants, block.summaries, block.totals, strict=True):
        value = b.load(total)
        groups = len(codes) // len(scales)
        starts_at = START_32_AT if len(scales) == 1 else STARTS_16_AT
        for i, d in enumerate(scales):
            mine, at = codes[groups * i : groups * (i + 1)], 4 * groups * i
            if with_signs:
                dot = signed_dot_product(b, mine, quants, at, block.sum_count)
            else:
                start = constant(I32, 0)
                if layout.code_offset:
                    start = simd.load_splat(b, summary, starts_at[layout.code_offset] + 4 * i, I32)
                dot = dot_product(b, layout, start, mine, quants, at, block.sum_count)
            scale = b.fmul(d, simd.load_splat(b, summary, 0, F32))
            value = simd.fma(b, b.sitofp(dot, vector(F32)), scale, value)
        if minimum is not None:
            value = simd.fma(b, minimum, simd.load_splat(b, summary, SCALED_SUM_AT, F32), value)
        b.store(value, total)
