"""Codes, scales and minima of a tile as vectors, from which every way of multiplying starts."""

from tui_llama.engine.kernels.ir import simd
from tui_llama.engine.kernels.ir.simd import F16, F32, I8, I16, I32, Builder, Value, constant, vector
from tui_llama.engine.layouts.weight_tile import ScaleType, TileFormat


def _shift_left(b: Builder, value: Value, bits: int) -> Value:
    """Shifts every byte pair of a 64-byte vector; the caller masks bits that cross a byte."""
    pairs = b.bitcast(value, vector(I16, 32))
    shifted = b.shl(pairs, constant(I16, bits, 32)) if bits >= 0 else b.lshr(pairs, constant(I16, -bits, 32))
    return b.bitcast(shifted, vector(I8, 64))


def tile_codes(b: Builder, tile: Value, layout: TileFormat, part: Value) -> list[Value]:
    """Returns the codes of 32 columns as eight vectors of 64 unsigned bytes, four columns of 16 rows each.

    Where the format has a table, returns what stands in it for the codes.
    """
    codes = _stored_codes(b, tile, layout, part)
    return [simd.look_up(b, layout.table, code) for code in codes] if layout.values else codes


def _stored_codes(b: Builder, tile: Value, layout: TileFormat, part: Value) -> list[Value]:
    low = b.gep(tile, [b.mul(part, simd.integer(layout.code_stride))])
    upper = b.gep(tile, [b.mul(part, simd.integer(layout.high_stride))])
    if layout.code_bits == 8:
        return [simd.load(b, low, layout.codes_at + 64 * q, I8, 64) for q in range(8)]
    packed = [simd.load(b, low, layout.codes_at + 64 * q, I8, 64) for q in range(4)]
    nibble = constant(I8, 15, 64)
    codes = [b.and_(value, nibble) for value in packed]
    codes += [b.and_(_shift_left(b, value, -4), nibble) for value in packed]
    if layout.code_bits == 5:
        high = simd.load(b, upper, layout.high_at, I8, 64)
        bit = constant(I8, 16, 64)
        codes = [b.or_(code, b.and_(_shift_left(b, high, 4 - q), bit)) for q, code in enumerate(codes)]
    elif layout.code_bits == 6:
        highs = [simd.load(b, upper, layout.high_at + 64 * h, I8, 64) for h in range(2)]
        bits = constant(I8, 48, 64)
        codes = [
            b.or_(code, b.and_(_shift_left(b, highs[q // 4], 4 - 2 * (q % 4)), bits)) for q, code in enumerate(codes)
        ]
    return codes


def tile_scale(b: Builder, tile: Value, layout: TileFormat, at: int = 0) -> Value:
    """Loads d of the tile that begins `at` bytes after an address, as 16 float32."""
    if layout.scale_type is ScaleType.FLOAT16:
        return half_row(b, tile, at)
    exponent = b.zext(simd.load(b, tile, at, I8), vector(I32))
    # A float32 with exponent bits E is 2^(E - 127); 2^-127 and 2^-128 have none, but a bit of the fraction.
    usual = b.shl(b.sub(exponent, constant(I32, 1)), constant(I32, 23))
    small = b.shl(constant(I32, 1 << 21), b.and_(exponent, constant(I32, 1)))
    is_small = b.icmp_unsigned("<", exponent, constant(I32, 2))
    return b.bitcast(b.select(is_small, small, usual), vector(F32))


def half_row(b: Builder, tile: Value, at: int) -> Value:
    """Loads 16 float16 of a tile as float32."""
    return simd.half_to_float(b, simd.load(b, tile, at, F16))


def scale_pairs(b: Builder, layout: TileFormat, tile: Value, at: int, index: Value) -> Value:
    """Loads pair number `index` of the scales or minima as 16 × i32 holding two i16 each."""
    place = b.gep(tile, [b.mul(index, simd.integer(32))])
    widen = b.zext if layout.has_minimum else b.sext
    return b.bitcast(widen(simd.load(b, place, at, I8, 32), vector(I16, 32)), vector(I32))
