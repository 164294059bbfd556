"""Packs blocks of 256 columns of 16 rows into tiles."""

from collections.abc import Sequence

from tui_llama.engine.kernels.ir import simd
from tui_llama.engine.kernels.ir.simd import I32, Builder, Value, constant
from tui_llama.engine.kernels.matrix.file_words import (
    BIT_PAIRS,
    BITS,
    NIBBLES,
    SIX_BITS,
    four_words,
    halves,
    joined_nibbles,
    left,
    many_words,
    masked,
    right,
)
from tui_llama.engine.layouts.weight_tile import ROWS, TileFormat


def _store_pairs(b: Builder, words: Sequence[Value], tile: Value, offset: int) -> None:
    """Stores four sub-block scales of each word as two pairs, one vector of pairs after the other."""
    for number, word in enumerate(words):
        for half in range(2):
            simd.store(b, halves(b, word, 16 * half), tile, offset + 2 * ROWS * (2 * number + half))


def pack_k(b: Builder, layout: TileFormat, rows: Sequence[Value], tile: Value) -> None:
    """Packs a block of Q4_K or Q5_K: scale and minimum, 12 bytes of sub-block scales, fifth bits of Q5_K, nibbles."""
    head, low_scales, low_minima, rest = four_words(b, rows, 0)
    simd.store(b, halves(b, head, 0), tile)
    simd.store(b, halves(b, head, 16), tile, 2 * ROWS)
    # Of the upper four scales, the low four bits are in `rest`; the other two lie above the lower four scales.
    for at, lower, shift in ((layout.scales_at, low_scales, 0), (layout.minima_at, low_minima, 4)):
        top = left(b, masked(b, right(b, lower, 6), BIT_PAIRS), 4)
        upper = b.or_(masked(b, right(b, rest, shift), NIBBLES), top)
        _store_pairs(b, [masked(b, lower, SIX_BITS), upper], tile, at)
    has_fifth_bit = layout.code_bits == 5
    for group in range(4):
        words = many_words(b, rows, (48 if has_fifth_bit else 16) + 32 * group, 8)
        for part in (2 * group, 2 * group + 1):
            for q in range(4):
                codes = joined_nibbles(b, words[q], words[q + 4], 4 * (part % 2))
                simd.store(b, codes, tile, layout.codes_at + 256 * part + 64 * q)
    if has_fifth_bit:
        fifth = many_words(b, rows, 16, 8)
        for part in range(8):
            bits = constant(I32, 0)
            for q in range(8):
                bits = b.or_(bits, left(b, masked(b, right(b, fifth[q], part), BITS), q))
            simd.store(b, bits, tile, layout.high_at + 64 * part)


def pack_q6(b: Builder, layout: TileFormat, rows: Sequence[Value], tile: Value) -> None:
    """Packs a block of Q6_K: nibbles, bit pairs, sub-block scales, scale."""
    simd.store(b, halves(b, four_words(b, rows, 194)[3], 16), tile)  # the block's last two bytes
    _store_pairs(b, four_words(b, rows, 192), tile, layout.scales_at)
    for half in range(2):
        nibbles = many_words(b, rows, 64 * half, 16)
        pairs = many_words(b, rows, 128 + 32 * half, 8)
        for quarter in range(4):
            part, at = 4 * half + quarter, 8 * (quarter % 2)
            for q in range(4):
                codes = joined_nibbles(b, nibbles[at + q], nibbles[at + q + 4], 4 * (quarter // 2))
                simd.store(b, codes, tile, layout.codes_at + 256 * part + 64 * q)
            for upper in range(2):
                bits = constant(I32, 0)
                for q in range(4):
                    pair = masked(b, right(b, pairs[4 * upper + q], 2 * quarter), BIT_PAIRS)
                    bits = b.or_(bits, left(b, pair, 2 * q))
                simd.store(b, bits, tile, layout.high_at + 128 * part + 64 * upper)
