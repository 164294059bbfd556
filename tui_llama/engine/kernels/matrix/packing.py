"""Packs blocks as the file has them into tiles (see layouts/weight_tile.py): the bytes of 16 rows move together.

Four columns of one row are one 32-bit word in the file as in the tile. The code loads four words of 16 rows and
transposes them into vectors that hold the same word of all rows. It then masks nibbles, bits and scales of 16 words at
a time. packing_kernels.py has the kernels.
"""

from collections.abc import Callable, Sequence
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils

from tui_llama.engine.kernels.ir import simd
from tui_llama.engine.kernels.ir.simd import I16, I32, Builder, Value, constant, vector
from tui_llama.engine.layouts import weight_tile
from tui_llama.engine.layouts.weight_tile import GROUP_BYTES, ROWS, TileFormat
from tui_llama.engine.toolchain.numba_codegen import intrinsic

# --- vectors --------------------------------------------------------------------------------------------------------

_QUARTERS = (0, 4, 8, 12)


def _joined(b: Builder, first: Value, second: Value, places: Sequence[int]) -> Value:
    """Returns a vector of elements of two others; places count through the first and go on in the second."""
    return b.shuffle_vector(first, second, ir.Constant(vector(I32, len(places)), list(places)))


def _in_quarters(b: Builder, vectors: Sequence[Value], places: tuple[int, int, int, int]) -> Value:
    """Picks the same four places of each quarter of two vectors; places from 16 on are in the second."""
    return _joined(b, vectors[0], vectors[1], [start + place for start in _QUARTERS for place in places])


def _words(b: Builder, rows: Sequence[Value], offset: int) -> list[Value]:
    """Loads four words from `offset` bytes on: one vector for each word, with the 16 rows in order."""
    vectors = []
    for row in range(4):
        # Quarter i holds row 4·i + row, so that shuffles inside quarters end with the rows in order.
        parts = [simd.load(b, rows[start + row], offset, I32, 4) for start in _QUARTERS]
        low, high = _joined(b, parts[0], parts[1], range(8)), _joined(b, parts[2], parts[3], range(8))
        vectors.append(_joined(b, low, high, range(16)))
    pairs = [
        [_in_quarters(b, two, places) for two in (vectors[:2], vectors[2:])]
        for places in ((0, 16, 1, 17), (2, 18, 3, 19))
    ]
    return [_in_quarters(b, pair, places) for pair in pairs for places in ((0, 1, 16, 17), (2, 3, 18, 19))]


def _many_words(b: Builder, rows: Sequence[Value], offset: int, count: int) -> list[Value]:
    """Loads `count` words, a multiple of four, from `offset` bytes on."""
    return [word for group in range(count // 4) for word in _words(b, rows, offset + GROUP_BYTES * group)]


def _masked(b: Builder, words: Value, mask: int) -> Value:
    return b.and_(words, constant(I32, mask))


def _right(b: Builder, words: Value, bits: int) -> Value:
    return b.lshr(words, constant(I32, bits)) if bits else words


def _left(b: Builder, words: Value, bits: int) -> Value:
    return b.shl(words, constant(I32, bits)) if bits else words


def _halves(b: Builder, words: Value, bits: int) -> Value:
    """Returns the 16 bits from bit `bits` on of every word."""
    return b.trunc(_right(b, words, bits), vector(I16))


_NIBBLES, _UPPER_NIBBLES, _BIT_PAIRS, _BITS, _SIGNS = 0x0F0F0F0F, 0xF0F0F0F0, 0x03030303, 0x01010101, 0x80808080
_SIX_BITS = 0x3F3F3F3F
_NIBBLE_TO_BYTES = 0x00204081  # a product with it has bit i of a nibble at bit 8·i; its other bits are masked away


# --- one tile -------------------------------------------------------------------------------------------------------


def _pack_floats(b: Builder, layout: TileFormat, rows: Sequence[Value], tile: Value) -> None:
    """Packs 16 bytes of each row: four or eight columns."""
    words = _words(b, rows, 0)
    columns = words if layout.block_bytes == 4 else [_halves(b, word, bits) for word in words for bits in (0, 16)]
    for number, column in enumerate(columns):
        simd.store(b, column, tile, number * ROWS * layout.block_bytes)


def _pack_32(b: Builder, layout: TileFormat, rows: Sequence[Value], tile: Value) -> None:
    """Packs a block of 32 columns: 4-bit codes are stored as in the file, 8-bit codes with their sign bit flipped."""
    quants_at = 4 if layout.has_minimum else 2
    first = _words(b, rows, 0)
    simd.store(b, _halves(b, first[0], 0), tile)
    if layout.has_minimum:
        simd.store(b, _halves(b, first[0], 16), tile, 2 * ROWS)
    if layout.code_bits == 5:
        bits = _words(b, rows, quants_at)[0]
        simd.store(b, _spread_bits(b, bits), tile, layout.high_at)
        quants_at += 4
    for q, word in enumerate(_many_words(b, rows, quants_at, 8 if layout.code_bits == 8 else 4)):
        codes = b.xor(word, constant(I32, _SIGNS)) if layout.code_bits == 8 else word
        simd.store(b, codes, tile, layout.codes_at + 64 * q)


def _spread_bits(b: Builder, bits: Value) -> Value:
    """Moves bit 4·q + i of every word to bit 8·i + q."""
    spread = constant(I32, 0)
    for q in range(8):
        nibble = _masked(b, _right(b, bits, 4 * q), 15)
        in_bytes = _masked(b, b.mul(nibble, constant(I32, _NIBBLE_TO_BYTES)), _BITS)
        spread = b.or_(spread, _left(b, in_bytes, q))
    return spread


def _store_pairs(b: Builder, words: Sequence[Value], tile: Value, offset: int) -> None:
    """Stores four sub-block scales of each word as two pairs, one vector of pairs after the other."""
    for number, word in enumerate(words):
        for half in range(2):
            simd.store(b, _halves(b, word, 16 * half), tile, offset + 2 * ROWS * (2 * number + half))


def _joined_nibbles(b: Builder, low: Value, high: Value, shift: int) -> Value:
    """Joins the nibbles at bit `shift` (0 or 4) of the words of groups q and q + 4."""
    if shift == 0:
        return b.or_(_masked(b, low, _NIBBLES), _left(b, _masked(b, high, _NIBBLES), 4))
    return b.or_(_masked(b, _right(b, low, 4), _NIBBLES), _masked(b, high, _UPPER_NIBBLES))


def _pack_k(b: Builder, layout: TileFormat, rows: Sequence[Value], tile: Value) -> None:
    """Packs a block of Q4_K or Q5_K: scale and minimum, 12 bytes of sub-block scales, fifth bits of Q5_K, nibbles."""
    head, low_scales, low_minima, rest = _words(b, rows, 0)
    simd.store(b, _halves(b, head, 0), tile)
    simd.store(b, _halves(b, head, 16), tile, 2 * ROWS)
    # Of the upper four scales, the low four bits are in `rest`; the other two lie above the lower four scales.
    for at, lower, shift in ((layout.scales_at, low_scales, 0), (layout.minima_at, low_minima, 4)):
        top = _left(b, _masked(b, _right(b, lower, 6), _BIT_PAIRS), 4)
        upper = b.or_(_masked(b, _right(b, rest, shift), _NIBBLES), top)
        _store_pairs(b, [_masked(b, lower, _SIX_BITS), upper], tile, at)
    has_fifth_bit = layout.code_bits == 5
    for group in range(4):
        words = _many_words(b, rows, (48 if has_fifth_bit else 16) + 32 * group, 8)
        for part in (2 * group, 2 * group + 1):
            for q in range(4):
                codes = _joined_nibbles(b, words[q], words[q + 4], 4 * (part % 2))
                simd.store(b, codes, tile, layout.codes_at + 256 * part + 64 * q)
    if has_fifth_bit:
        fifth = _many_words(b, rows, 16, 8)
        for part in range(8):
            bits = constant(I32, 0)
            for q in range(8):
                bits = b.or_(bits, _left(b, _masked(b, _right(b, fifth[q], part), _BITS), q))
            simd.store(b, bits, tile, layout.high_at + 64 * part)


def _pack_q6(b: Builder, layout: TileFormat, rows: Sequence[Value], tile: Value) -> None:
    """Packs a block of Q6_K: nibbles, bit pairs, sub-block scales, scale."""
    simd.store(b, _halves(b, _words(b, rows, 194)[3], 16), tile)  # the block's last two bytes
    _store_pairs(b, _words(b, rows, 192), tile, layout.scales_at)
    for half in range(2):
        nibbles = _many_words(b, rows, 64 * half, 16)
        pairs = _many_words(b, rows, 128 + 32 * half, 8)
        for quarter in range(4):
            part, at = 4 * half + quarter, 8 * (quarter % 2)
            for q in range(4):
                codes = _joined_nibbles(b, nibbles[at + q], nibbles[at + q + 4], 4 * (quarter // 2))
                simd.store(b, codes, tile, layout.codes_at + 256 * part + 64 * q)
            for upper in range(2):
                bits = constant(I32, 0)
                for q in range(4):
                    pair = _masked(b, _right(b, pairs[4 * upper + q], 2 * quarter), _BIT_PAIRS)
                    bits = b.or_(bits, _left(b, pair, 2 * q))
                simd.store(b, bits, tile, layout.high_at + 128 * part + 64 * upper)


def packer(layout: TileFormat, name: str) -> Callable[..., Any]:
    """Makes the intrinsic that packs blocks one after the other: (source, row bytes, target, blocks)."""
    pack = _pack_floats if layout.is_float else _pack_32 if layout.columns == 32 else _pack_k
    if layout is weight_tile.Q6_K_FORMAT:
        pack = _pack_q6
    step_bytes, tile_bytes = layout.packed_at_once

    def pack_blocks(_: Any, source: Any, row_bytes: Any, target: Any, blocks: Any) -> Any:
        def generate(context: Any, b: Builder, signature: Any, arguments: Any) -> Value:
            first, stride, to, count = arguments
            starts = [b.add(first, b.mul(stride, simd.integer(row))) for row in range(ROWS)]
            with cgutils.for_range(b, count) as loop:
                at = b.mul(loop.index, simd.integer(step_bytes))
                rows = [simd.pointer(b, start, at) for start in starts]
                pack(b, layout, rows, simd.pointer(b, to, b.mul(loop.index, simd.integer(tile_bytes))))
            return context.get_dummy_value()

        return types.void(types.int64, types.int64, types.int64, types.int64), generate

    pack_blocks.__name__ = f"pack_{name}"
    return intrinsic(pack_blocks)
