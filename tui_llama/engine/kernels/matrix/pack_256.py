"""Packs blocks of 256 columns of 16 rows into tiles."""

from collections.abc import Sequence
from functools import reduce

from tui_llama.engine.kernels.ir import simd
from tui_llama.engine.kernels.ir.simd import I8, I32, Builder, Value, constant, vector
from tui_llama.engine.kernels.matrix.file_words import (
    BIT_PAIRS,
    BITS,
    NIBBLES,
    SIX_BITS,
    four_words,
    gathered,
    halves,
    joined_nibbles,
    left,
    many_words,
    masked,
    right,
)
from tui_llama.engine.layouts.weight_tile import ROWS, TileFormat

_EVERY_SECOND_BYTE = 0x00FF00FF


def store_pairs(b: Builder, words: Sequence[Value], tile: Value, offset: int) -> None:
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
        store_pairs(b, [masked(b, lower, SIX_BITS), upper], tile, at)
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
            simd.store(b, gathered(b, fifth, part, BITS, 1), tile, layout.high_at + 64 * part)


def pack_q6(b: Builder, layout: TileFormat, rows: Sequence[Value], tile: Value) -> None:
    """Packs a block of Q6_K: nibbles, bit pairs, sub-block scales, scale."""
    simd.store(b, halves(b, four_words(b, rows, 194)[3], 16), tile)  # the block's last two bytes
    store_pairs(b, four_words(b, rows, 192), tile, layout.scales_at)
    for half in range(2):
        nibbles = many_words(b, rows, 64 * half, 16)
        pairs = many_words(b, rows, 128 + 32 * half, 8)
        for quarter in range(4):
            part, at = 4 * half + quarter, 8 * (quarter % 2)
            for q in range(4):
                codes = joined_nibbles(b, nibbles[at + q], nibbles[at + q + 4], 4 * (quarter // 2))
                simd.store(b, codes, tile, layout.codes_at + 256 * part + 64 * q)
            for upper in range(2):
                bits = gathered(b, pairs[4 * upper : 4 * upper + 4], 2 * quarter, BIT_PAIRS, 2)
                simd.store(b, bits, tile, layout.high_at + 128 * part + 64 * upper)


# --- codes of two and three bits --------------------------------------------------------------------------------------


def _store_bit_pairs(b: Builder, layout: TileFormat, words: Sequence[Value], first_part: int, tile: Value) -> None:
    """Stores the bit pairs of 128 columns, for each 32 columns at other bits of the same eight words."""
    for quarter in range(4):
        for upper in range(2):
            bits = gathered(b, words[4 * upper : 4 * upper + 4], 2 * quarter, BIT_PAIRS, 2)
            at = layout.codes_at + layout.code_stride * (first_part + quarter) + 64 * upper
            simd.store(b, bits, tile, at)


def _store_signed_scales(b: Builder, words: Sequence[Value], tile: Value, offset: int) -> None:
    """Stores scales of six bits, less 32, as pairs."""
    thirty_two = constant(I8, 32, 64)
    signed = [b.bitcast(b.sub(b.bitcast(word, vector(I8, 64)), thirty_two), vector(I32)) for word in words]
    store_pairs(b, signed, tile, offset)


def pack_q2(b: Builder, layout: TileFormat, rows: Sequence[Value], tile: Value) -> None:
    """Packs a block of Q2_K: 16 bytes of sub-block scales and minima, bit pairs, scale and scale of the minima."""
    head = four_words(b, rows, 68)[3]  # the block's last four bytes
    simd.store(b, halves(b, head, 0), tile)
    simd.store(b, halves(b, head, 16), tile, layout.minimum_at)
    store_pairs(b, four_words(b, rows, 0), tile, layout.scales_at)
    for half in range(2):
        _store_bit_pairs(b, layout, many_words(b, rows, 16 + 32 * half, 8), 4 * half, tile)


def pack_q3(b: Builder, layout: TileFormat, rows: Sequence[Value], tile: Value) -> None:
    """Packs a block of Q3_K: third bits, bit pairs, 12 bytes of sub-block scales, scale."""
    simd.store(b, halves(b, four_words(b, rows, 94)[3], 16), tile)  # the block's last two bytes
    _, *lower, upper = four_words(b, rows, 92)
    scales = []
    for group in range(4):  # of four scales: the lowest four bits in one word, the other two in the last word
        low = masked(b, right(b, lower[group % 2], 4 * (group // 2)), NIBBLES)
        scales.append(b.or_(low, left(b, masked(b, right(b, upper, 2 * group), BIT_PAIRS), 4)))
    _store_signed_scales(b, scales, tile, layout.scales_at)
    third = many_words(b, rows, 0, 8)
    for part in range(8):
        simd.store(b, gathered(b, third, part, BITS, 1), tile, layout.high_at + layout.high_stride * part)
    for half in range(2):
        _store_bit_pairs(b, layout, many_words(b, rows, 32 + 32 * half, 8), 4 * half, tile)


# --- IQ4_XS -----------------------------------------------------------------------------------------------------------


def pack_iq4_xs(b: Builder, layout: TileFormat, rows: Sequence[Value], tile: Value) -> None:
    """Packs a block of IQ4_XS: scale, the upper two bits and the lower four of eight sub-block scales, nibbles."""
    head, lower, *_ = four_words(b, rows, 0)
    simd.store(b, halves(b, head, 0), tile)
    scales = []
    for first in (0, 4):
        fields = []
        for i in range(4):
            low = masked(b, right(b, lower, 4 * (first + i)), 15)
            high = masked(b, right(b, head, 16 + 2 * (first + i)), 3)
            fields += [left(b, low, 8 * i), left(b, high, 8 * i + 4)]
        scales.append(reduce(b.or_, fields))
    _store_signed_scales(b, scales, tile, layout.scales_at)
    for i, word in enumerate(many_words(b, rows, 8, 32)):
        simd.store(b, word, tile, layout.codes_at + 64 * i)


# --- ternary ----------------------------------------------------------------------------------------------------------


def pack_tq2(b: Builder, layout: TileFormat, rows: Sequence[Value], tile: Value) -> None:
    """Packs a block of TQ2_0: bit pairs, scale."""
    simd.store(b, halves(b, four_words(b, rows, 50)[3], 16), tile)  # the block's last two bytes
    for half in range(2):
        _store_bit_pairs(b, layout, many_words(b, rows, 32 * half, 8), 4 * half, tile)


def pack_tq1(b: Builder, layout: TileFormat, rows: Sequence[Value], tile: Value) -> None:
    """Packs a block of TQ1_0, whose bytes hold five digits (the last four bytes: four) of base 3, then the scale."""
    last = four_words(b, rows, 38)  # the block's last sixteen bytes
    simd.store(b, halves(b, last[3], 16), tile)
    first, second = many_words(b, rows, 0, 8), four_words(b, rows, 32)
    four_digits = b.or_(right(b, last[2], 16), left(b, last[3], 16))
    groups = [_digits(b, word, place) for place in range(5) for word in first]
    groups += [_digits(b, word, place) for place in range(5) for word in second]
    groups += [_digits(b, four_digits, place) for place in range(4)]
    for i in range(16):
        bits = gathered(b, groups[4 * i : 4 * i + 4], 0, BIT_PAIRS, 2)
        simd.store(b, bits, tile, layout.codes_at + 64 * i)


def _digits(b: Builder, words: Value, place: int) -> Value:
    """Returns a digit of base 3 of every byte; a byte is a fraction of 256, and place 0 its first digit."""
    digits = constant(I32, 0)
    for shift in (0, 8):  # of every second byte, each with room for 16 bits
        fractions = masked(b, right(b, words, shift), _EVERY_SECOND_BYTE)
        rest = masked(b, b.mul(fractions, constant(I32, 3**place)), _EVERY_SECOND_BYTE)
        digit = masked(b, right(b, b.mul(rest, constant(I32, 3)), 8), _EVERY_SECOND_BYTE)
        digits = b.or_(digits, left(b, digit, shift))
    return digits
