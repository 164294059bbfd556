"""Packs blocks of 32 to 128 columns of 16 rows into tiles of 32 columns."""

from collections.abc import Sequence

from tui_llama.engine.kernels.ir import simd
from tui_llama.engine.kernels.ir.simd import I8, I32, Builder, Value, constant, vector
from tui_llama.engine.kernels.matrix.file_words import (
    BIT_PAIRS,
    BITS,
    SIGNS,
    four_words,
    halves,
    joined_nibbles,
    left,
    many_words,
    masked,
    right,
)
from tui_llama.engine.layouts.weight_tile import ROWS, ScaleType, TileFormat

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


def pack_nvfp4(b: Builder, layout: TileFormat, rows: Sequence[Value], tile: Value) -> None:
    """Packs a block of NVFP4 into two tiles: four scales of 16 columns each, then bytes of 8 + 8 columns."""
    scales = four_words(b, rows, 0)[0]
    words = many_words(b, rows, 4, 8)
    for number in range(2):
        target = b.gep(tile, [simd.integer(number * layout.tile_bytes)])
        for part in range(2):
            bits = masked(b, right(b, scales, 8 * (2 * number + part)), 255)
            # A scale of 127 means zero, and the upper bit nothing; see `ue4m3_to_fp32` in the gguf package.
            is_zero = b.icmp_unsigned("==", bits, constant(I32, 127))
            scale = b.select(is_zero, constant(I32, 0), masked(b, bits, 127))
            simd.store(b, b.trunc(scale, vector(I8)), target, ROWS * part)
        first, second = words[4 * number : 4 * number + 2], words[4 * number + 2 : 4 * number + 4]
        for q in range(4):
            codes = joined_nibbles(b, first[q % 2], second[q % 2], 4 * (q // 2))
            simd.store(b, codes, target, layout.codes_at + 64 * q)


def pack_few_bits(b: Builder, layout: TileFormat, rows: Sequence[Value], tile: Value) -> None:
    """Packs a block of Q1_0 or Q2_0 into four or two tiles: scale, then 16 bytes of codes, lower bits first."""
    d = halves(b, four_words(b, rows, 0)[0], 0)
    words = four_words(b, rows, 2)
    for number in range(layout.tiles_of_block):
        target = b.gep(tile, [simd.integer(number * layout.tile_bytes)])
        simd.store(b, d, target)
        for i in range(layout.code_bits):
            word = words[layout.code_bits * number + i]
            codes = _spread_bits(b, word) if layout.code_bits == 1 else _spread_pairs(b, word)
            simd.store(b, codes, target, layout.codes_at + 64 * i)


def _spread_pairs(b: Builder, pairs: Value) -> Value:
    """Moves the pair of bits at 8·q + 2·i of every word to bit 8·i + 2·q."""
    spread = constant(I32, 0)
    for q in range(4):
        byte = masked(b, right(b, pairs, 8 * q), 255)
        in_bytes = byte
        for i in range(1, 4):
            in_bytes = b.or_(in_bytes, left(b, byte, 6 * i))
        spread = b.or_(spread, left(b, masked(b, in_bytes, BIT_PAIRS), 2 * q))
    return spread


def _spread_bits(b: Builder, bits: Value) -> Value:
    """Moves bit 4·q + i of every word to bit 8·i + q."""
    spread = constant(I32, 0)
    for q in range(8):
        nibble = masked(b, right(b, bits, 4 * q), 15)
        in_bytes = masked(b, b.mul(nibble, constant(I32, _NIBBLE_TO_BYTES)), BITS)
        spread = b.or_(spread, left(b, in_bytes, q))
    return spread
