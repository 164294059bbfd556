"""Packs blocks of 32 columns of 16 rows into tiles."""

from collections.abc import Sequence

from tui_llama.engine.kernels.ir import simd
from tui_llama.engine.kernels.ir.simd import I8, I32, Builder, Value, constant, vector
from tui_llama.engine.kernels.matrix.file_words import BITS, SIGNS, four_words, halves, left, many_words, masked, right
from tui_llama.engine.layouts.weight_tile import ScaleType, TileFormat

_NIBBLE_TO_BYTES = 0x00204081  # a product with it has bit i of a nibble at bit 8·i; its other bits are masked away


def pack_32(b: Builder, layout: TileFormat, rows: Sequence[Value], tile: Value) -> None:
    """Packs a block of 32 columns: 4-bit codes are stored as in the file, 8-bit codes with their sign bit flipped."""
    first = four_words(b, rows, 0)
    if layout.scale_type is ScaleType.EXPONENT:
        quants_at = 1
        simd.store(b, b.trunc(first[0], vector(I8)), tile)
    else:
        quants_at = 4 if layout.has_minimum else 2
        simd.store(b, halves(b, first[0], 0), tile)
    if layout.has_minimum:
        simd.store(b, halves(b, first[0], 16), tile, layout.minimum_at)
    if layout.code_bits == 5:
        bits = four_words(b, rows, quants_at)[0]
        simd.store(b, _spread_bits(b, bits), tile, layout.high_at)
        quants_at += 4
    for q, word in enumerate(many_words(b, rows, quants_at, 8 if layout.code_bits == 8 else 4)):
        codes = b.xor(word, constant(I32, SIGNS)) if layout.code_bits == 8 else word
        simd.store(b, codes, tile, layout.codes_at + 64 * q)


def _spread_bits(b: Builder, bits: Value) -> Value:
    """Moves bit 4·q + i of every word to bit 8·i + q."""
    spread = constant(I32, 0)
    for q in range(8):
        nibble = masked(b, right(b, bits, 4 * q), 15)
        in_bytes = masked(b, b.mul(nibble, constant(I32, _NIBBLE_TO_BYTES)), BITS)
        spread = b.or_(spread, left(b, in_bytes, q))
    return spread
