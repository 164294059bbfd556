"""Adds blocks of 256 columns to the totals of some tokens: integers with the sub-blocks' scales, then floats."""

from collections.abc import Sequence
from functools import reduce
from typing import Any

from numba.core import cgutils

from tui_llama.engine.kernels.ir import simd
from tui_llama.engine.kernels.ir.simd import F32, I32, Builder, Value, constant, vector
from tui_llama.engine.kernels.matrix.block_pass import Pass, ask_ahead, dot_product, zero
from tui_llama.engine.kernels.matrix.tile_values import half_row, scale_pairs, tile_codes
from tui_llama.engine.layouts.activations import START_256_AT, SUMS_AT
from tui_llama.engine.layouts.weight_tile import TileFormat

# Columns between two scales that can be summed up in 16 bits, by the bits of a code, once the offset has made the
# codes of Q4_K, Q5_K and Q6_K signed. One product of 16-bit lanes then applies a scale and adds.
_OFFSETS = {4: 8, 5: 16, 6: 32}
_COLUMNS_IN_16_BITS = {4: 32, 5: 16, 6: 8}


def add_block_256(b: Builder, layout: TileFormat, tile: Value, block: Pass) -> None:
    """Adds a block of 256 columns to the totals. All sums before the product with d are exact, in integers."""
    pieces = 32 // _COLUMNS_IN_16_BITS[layout.code_bits]
    places = [[zero(b, I32) for _ in range(min(block.sum_count, pieces))] for _ in block.totals]
    parts_of_a_pair = 512 // layout.scale_count // 32
    part_bytes = layout.tile_bytes * 32 // layout.columns
    with cgutils.for_range(b, simd.integer(layout.scale_count // 2)) as loop:
        pair = scale_pairs(b, layout, tile, layout.scales_at, loop.index)
        scales = (b.and_(pair, constant(I32, 0xFFFF)), b.lshr(pair, constant(I32, 16)))
        for j in range(parts_of_a_pair):
            part = b.add(b.mul(loop.index, simd.integer(parts_of_a_pair)), simd.integer(j))
            codes = tile_codes(b, tile, layout, part)
            ask_ahead(b, b.gep(tile, [b.mul(part, simd.integer(part_bytes))]), part_bytes)
            mine = scales if parts_of_a_pair == 1 else scales[j : j + 1]
            for quants, summary, sums in zip(block.quants, block.summaries, places, strict=True):
                _add_part(b, layout, (part, codes), mine, quants, summary, sums, block.sum_count // len(sums))
    scaled = [reduce(b.add, [b.load(place) for place in sums]) for sums in places]
    d, minima = half_row(b, tile, 0), None
    if layout.has_minimum:
        minima = _minima(b, layout, tile, block, scaled)
    for m, (summary, total) in enumerate(zip(block.summaries, block.totals, strict=True)):
        value = b.fmul(b.sitofp(scaled[m], vector(F32)), d)
        if minima is not None:
            value = b.fsub(value, b.fmul(b.sitofp(minima[m], vector(F32)), half_row(b, tile, 32)))
        b.store(simd.fma(b, value, simd.load_splat(b, summary, 0, F32), b.load(total)), total)


def _add_part(
    b: Builder,
    layout: TileFormat,
    part_and_codes: Any,
    scales: Sequence[Value],
    quants: Value,
    summary: Value,
    places: Sequence[Value],
    sum_count: int,
) -> None:
    """Adds 32 columns of one token, scaled, to the sums at `places` in turn."""
    part, codes = part_and_codes
    columns = _COLUMNS_IN_16_BITS[layout.code_bits]
    pieces = 32 // columns
    quants = b.gep(quants, [b.mul(part, simd.integer(32))])
    starts = b.gep(summary, [b.mul(part, simd.integer(4 * pieces))])
    for piece in range(pieces):
        place = places[piece % len(places)]
        start = simd.load_splat(b, starts, START_256_AT[_OFFSETS[layout.code_bits]] + 4 * piece, I32)
        mine = codes[piece * columns // 4 : (piece + 1) * columns // 4]
        dot = dot_product(b, layout, start, mine, quants, piece * columns, sum_count)
        b.store(simd.dot2(b, b.load(place), dot, scales[piece * len(scales) // pieces]), place)


def _minima(b: Builder, layout: TileFormat, tile: Value, block: Pass, scaled: list[Value]) -> list[Value]:
    """Returns the sums of the minima, and adds to `scaled` what the codes' offset had subtracted."""
    zero = constant(I32, 0)
    minima, offsets = [zero] * len(scaled), [zero] * len(scaled)
    for index in range(layout.scale_count // 2):
        scale = scale_pairs(b, layout, tile, layout.scales_at, simd.integer(index))
        minimum = scale_pairs(b, layout, tile, layout.minima_at, simd.integer(index))
        for m, summary in enumerate(block.summaries):
            sums = simd.load_splat(b, summary, SUMS_AT + 4 * index, I32)
            offsets[m] = simd.dot2(b, offsets[m], scale, sums)
            minima[m] = simd.dot2(b, minima[m], minimum, sums)
    shift = constant(I32, _OFFSETS[layout.code_bits].bit_length() - 1)
    for m, offset in enumerate(offsets):
        scaled[m] = b.add(scaled[m], b.shl(offset, shift))
    return minima
