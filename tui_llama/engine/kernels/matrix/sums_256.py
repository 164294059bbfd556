"""Adds blocks of 256 columns to the totals of some tokens: integers with the sub-blocks' scales, then floats.

All sums before the product with d are exact. Codes go into them in one of these ways:

    scaled at once   products go to a scaled sum as they are; what the offset has added is subtracted in the end. So do
                     codes of fewer than four bits, those of a table, and all where widening a sum scales it, too
    from a start     other codes, of 4 to 6 bits: sums start from -offset × sum, which makes the codes signed, so that a
                     sum stays within 16 bits and one product of 16-bit lanes applies a scale and adds
    unscaled         formats without sub-block scales
"""

from collections.abc import Callable, Sequence
from functools import reduce
from typing import Any

from numba.core import cgutils

from tui_llama.engine.kernels.ir import simd
from tui_llama.engine.kernels.ir.simd import F32, I32, Builder, Value, constant, vector
from tui_llama.engine.kernels.matrix.block_pass import Pass, dot_product, zero
from tui_llama.engine.kernels.matrix.tile_values import Tile, half_row, minimum_pairs, scale_pairs, tile_scales
from tui_llama.engine.layouts.activations import START_256_AT, STARTS_128_AT, SUMS_AT, SUMS_OF_16_AT
from tui_llama.engine.layouts.weight_tile import TileFormat


def add_block_256(b: Builder, tile: Tile, block: Pass) -> None:
    """Adds a block of 256 columns to the totals."""
    layout = tile.layout
    if layout.scale_count == 0:
        scaled = _unscaled_sums(b, tile, block)
    elif layout.values or layout.code_bits < min(_OFFSETS) or simd.widens_with_scales():
        scaled = _sums_scaled_at_once(b, tile, block)
    else:
        scaled = _sums_from_a_start(b, tile, block)
    add_scaled_sums(b, tile, block, scaled)


def add_scaled_sums(b: Builder, tile: Tile, block: Pass, scaled: Sequence[Value]) -> None:
    """Adds to the totals d × the sums of some tokens, and subtracts what the minima amount to."""
    layout = tile.layout
    (d,), minima = tile_scales(b, tile.place, layout), None
    if layout.has_minimum:
        minima = _weighted_sums(b, tile, block, minimum_pairs)
    for m, (summary, total) in enumerate(zip(block.summaries, block.totals, strict=True)):
        value = b.fmul(b.sitofp(scaled[m], vector(F32)), d)
        if minima is not None:
            value = b.fsub(value, b.fmul(b.sitofp(minima[m], vector(F32)), half_row(b, tile.place, layout.minimum_at)))
        b.store(simd.fma(b, value, simd.load_splat(b, summary, 0, F32), b.load(total)), total)


def _weighted_sums(b: Builder, tile: Tile, block: Pass, pairs: Callable[..., Value]) -> list[Value]:
    """Returns, for each token, the sum of the quants of all sub-blocks, each times its scale or its minimum."""
    layout = tile.layout
    weighted = [constant(I32, 0)] * len(block.summaries)
    sums_at = SUMS_AT + (SUMS_OF_16_AT if layout.scale_count == 16 else 0)
    for index in range(layout.scale_count // 2):
        weights = pairs(b, layout, tile.place, simd.integer(index))
        for m, summary in enumerate(block.summaries):
            weighted[m] = simd.dot2(b, weighted[m], weights, simd.load_splat(b, summary, sums_at + 4 * index, I32))
    return weighted


def sub_block_scales(b: Builder, tile: Tile, index: Value) -> tuple[Value, Value]:
    """Returns both scales of a pair, each in the lower halves of 16 × i32."""
    pair = scale_pairs(b, tile.layout, tile.place, index)
    return b.and_(pair, constant(I32, 0xFFFF)), b.lshr(pair, constant(I32, 16))


def _added(b: Builder, places: Sequence[Sequence[Value]]) -> list[Value]:
    return [reduce(b.add, [b.load(place) for place in sums]) for sums in places]


# --- unscaled ---------------------------------------------------------------------------------------------------------


def _unscaled_sums(b: Builder, tile: Tile, block: Pass) -> list[Value]:
    layout = tile.layout
    places = [[zero(b, I32)] for _ in block.totals]
    with cgutils.for_range(b, simd.integer(8)) as loop:
        codes = tile.codes(b, loop.index, with_signs=False)
        tile.ask_ahead(b, loop.index)
        for token_quants, (place,) in zip(block.quants, places, strict=True):
            quants = b.gep(token_quants, [b.mul(loop.index, simd.integer(32))])
            b.store(dot_product(b, layout, b.load(place), codes, quants, 0, block.sum_count), place)
    offset, sums = constant(I32, -layout.code_offset & 0xFFFF | -layout.code_offset << 16), _added(b, places)
    for m, summary in enumerate(block.summaries):
        for index in range(4):
            sums[m] = simd.dot2(b, sums[m], offset, simd.load_splat(b, summary, SUMS_AT + 4 * index, I32))
    return sums


# --- scaled at once ---------------------------------------------------------------------------------------------------


def wants_signs(layout: TileFormat) -> bool:
    """Tells whether products take codes of this format with their signs."""
    return layout.value_bits == 8 and simd.prefers_signed_bytes()


def _sums_scaled_at_once(b: Builder, tile: Tile, block: Pass) -> list[Value]:
    layout = tile.layout
    with_signs = wants_signs(layout)
    if layout.code_offset == 128 and not with_signs and simd.has_many_registers():
        return _sums_from_starts_of_128(b, tile, block)
    largest = max(map(abs, layout.values)) if with_signs else layout.largest_code
    columns = 256 // layout.scale_count
    parts_of_a_pair = columns // 16
    # Codes of so many groups find room in the registers while all tokens use them; with signs they take two each.
    at_once = 2 if with_signs else 4
    # Groups of four columns, those of one scale together, and of these the ones that share bytes.
    order = [0, 4, 1, 5, 2, 6, 3, 7] if columns == 32 and layout.low_bits == 4 else list(range(8))
    places = [[zero(b, I32) for _ in range(block.sum_count)] for _ in block.totals]
    with cgutils.for_range(b, simd.integer(layout.scale_count // 2)) as loop:
        scales = sub_block_scales(b, tile, loop.index)
        for j in range(parts_of_a_pair):
            part = b.add(b.mul(loop.index, simd.integer(parts_of_a_pair)), simd.integer(j))
            tile.ask_ahead(b, part)
            quants = [b.gep(token_quants, [b.mul(part, simd.integer(32))]) for token_quants in block.quants]
            for first in range(0, 8, at_once):
                scale, groups = scales[j + 4 * first // columns], order[first : first + at_once]
                codes = tile.codes(b, part, groups, with_signs=with_signs)
                for token_quants, sums in zip(quants, places, strict=True):
                    splats = [simd.load_splat(b, token_quants, 4 * group, I32) for group in groups]
                    place = sums[first // at_once % len(sums)]
                    total = simd.scaled_dot4_sum(b, b.load(place), codes, splats, scale, largest, is_signed=with_signs)
                    b.store(total, place)
    scaled = _added(b, places)
    if layout.code_offset and not with_signs:
        offset = constant(I32, layout.code_offset)
        offsets = _weighted_sums(b, tile, block, scale_pairs)
        scaled = [b.sub(total, b.mul(added, offset)) for total, added in zip(scaled, offsets, strict=True)]
    return scaled


def _sums_from_starts_of_128(b: Builder, tile: Tile, block: Pass) -> list[Value]:
    """Does what the others do for codes of eight bits in eight sub-blocks; two of them and all tokens take turns.

    None of these sums waits for another, which hides the latency of adding.
    """
    places, sixteen = [zero(b, I32) for _ in block.totals], constant(I32, 16)
    with cgutils.for_range(b, simd.integer(4)) as loop:
        scales = [b.ashr(b.shl(scale, sixteen), sixteen) for scale in sub_block_scales(b, tile, loop.index)]
        parts = [b.add(b.mul(loop.index, simd.integer(2)), simd.integer(j)) for j in range(2)]
        dots: list[list[Value]] = []
        for part in parts:
            tile.ask_ahead(b, part)
            starts = [b.gep(summary, [b.mul(part, simd.integer(4))]) for summary in block.summaries]
            dots.append([simd.load_splat(b, start, STARTS_128_AT, I32) for start in starts])
        quants = [b.gep(token_quants, [b.mul(loop.index, simd.integer(64))]) for token_quants in block.quants]
        for group in (0, 4, 1, 5, 2, 6, 3, 7):  # those that share bytes together
            for j, (part, sums) in enumerate(zip(parts, dots, strict=True)):
                code = tile.codes(b, part, [group], with_signs=False)
                for m, token_quants in enumerate(quants):
                    splat = simd.load_splat(b, token_quants, 32 * j + 4 * group, I32)
                    sums[m] = simd.dot4_sum(b, sums[m], code, [splat])
        for m, place in enumerate(places):
            scaled = [b.mul(sums[m], scale) for sums, scale in zip(dots, scales, strict=True)]
            b.store(b.add(b.load(place), b.add(*scaled)), place)
    return [b.load(place) for place in places]


# --- from a start -----------------------------------------------------------------------------------------------------

# Columns between two scales that can be summed up in 16 bits, by the bits of a code, once the offset has made the
# codes of Q4_K, Q5_K and Q6_K signed.
_OFFSETS = {4: 8, 5: 16, 6: 32}
_COLUMNS_IN_16_BITS = {4: 32, 5: 16, 6: 8}


def _sums_from_a_start(b: Builder, tile: Tile, block: Pass) -> list[Value]:
    layout = tile.layout
    pieces = 32 // _COLUMNS_IN_16_BITS[layout.code_bits]
    places = [[zero(b, I32) for _ in range(min(block.sum_count, pieces))] for _ in block.totals]
    parts_of_a_pair = 512 // layout.scale_count // 32
    with cgutils.for_range(b, simd.integer(layout.scale_count // 2)) as loop:
        scales = sub_block_scales(b, tile, loop.index)
        for j in range(parts_of_a_pair):
            part = b.add(b.mul(loop.index, simd.integer(parts_of_a_pair)), simd.integer(j))
            codes = tile.codes(b, part, with_signs=False)
            tile.ask_ahead(b, part)
            mine = scales if parts_of_a_pair == 1 else scales[j : j + 1]
            for quants, summary, sums in zip(block.quants, block.summaries, places, strict=True):
                _add_part(b, layout, (part, codes), mine, quants, summary, sums, block.sum_count // len(sums))
    scaled = _added(b, places)
    if layout.has_minimum:  # these codes have no offset of their own
        shift = constant(I32, _OFFSETS[layout.code_bits].bit_length() - 1)
        offsets = _weighted_sums(b, tile, block, scale_pairs)
        scaled = [b.add(total, b.shl(missing, shift)) for total, missing in zip(scaled, offsets, strict=True)]
    return scaled


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
