"""Codes, scales and minima of a tile as vectors, from which every way of multiplying starts."""

from collections.abc import Sequence
from dataclasses import dataclass

from tui_llama.engine.kernels.ir import simd
from tui_llama.engine.kernels.ir.simd import F16, F32, I8, I16, I32, Builder, Value, constant, vector
from tui_llama.engine.kernels.matrix.block_pass import ask_ahead
from tui_llama.engine.layouts.unpacked_tile import PART_BYTES as UNPACKED_PART_BYTES
from tui_llama.engine.layouts.weight_tile import ROWS, ScaleType, TileFormat


def _shift_left(b: Builder, value: Value, bits: int) -> Value:
    """Shifts every byte pair of a 64-byte vector; the caller masks bits that cross a byte."""
    if bits == 0:
        return value
    pairs = b.bitcast(value, vector(I16, 32))
    shifted = b.shl(pairs, constant(I16, bits, 32)) if bits >= 0 else b.lshr(pairs, constant(I16, -bits, 32))
    return b.bitcast(shifted, vector(I8, 64))


def tile_codes(
    b: Builder,
    tile: Value,
    layout: TileFormat,
    part: Value,
    *,
    groups: Sequence[int] = range(8),
    with_signs: bool = False,
) -> list[Value]:
    """Returns codes of 32 columns as vectors of 64 bytes, four columns of 16 rows each: those of some of eight groups.

    Where the format has a table, returns what stands in it for the codes: unsigned bytes, to which the offset is added,
    or the values themselves, `with_signs`. Codes of eight bits have their offset subtracted then.
    """
    codes = _stored_codes(b, tile, layout, part, groups)
    if not layout.values:
        # Of eight bits, the offset is 128: subtracting it flips the upper bit.
        return [b.xor(code, constant(I8, 128, 64)) for code in codes] if with_signs else codes
    table = [value & 0xFF for value in layout.values] if with_signs else layout.table
    return [simd.look_up(b, table, code) for code in codes]


def _stored_codes(b: Builder, tile: Value, layout: TileFormat, part: Value, groups: Sequence[int]) -> list[Value]:
    low = b.gep(tile, [b.mul(part, simd.integer(layout.code_stride))])
    codes = _plane(b, low, layout.codes_at, layout.low_bits, 0, groups)
    if layout.high_bits:
        upper = b.gep(tile, [b.mul(part, simd.integer(layout.high_stride))])
        highs = _plane(b, upper, layout.high_at, layout.high_bits, layout.low_bits, groups)
        codes = [b.or_(code, high) for code, high in zip(codes, highs, strict=True)]
    return codes


def _plane(b: Builder, place: Value, at: int, bits: int, to: int, groups: Sequence[int]) -> list[Value]:
    """Returns the bits of a plane (see layouts/weight_tile.py) for some groups, moved to bit `to`."""
    # Of four bits, groups q and q + 4 are together; of fewer, neighbours.
    places = {q: (q % 4, 4 * (q // 4)) if bits == 4 else (q * bits // 8, q * bits % 8) for q in groups}
    vectors = {i: simd.load(b, place, at + 64 * i, I8, 64) for i in dict.fromkeys(i for i, _ in places.values())}
    if bits == 8:
        return list(vectors.values())
    mask = constant(I8, (2**bits - 1) << to, 64)
    return [b.and_(_shift_left(b, vectors[i], to - bit), mask) for i, bit in places.values()]


@dataclass(frozen=True, slots=True)
class Tile:
    """A tile of weights that a product reads: its codes as they are packed.

    Args:
        layout: Its format.
        place: Where it begins.
    """

    layout: TileFormat
    place: Value

    def codes(self, b: Builder, part: Value, groups: Sequence[int] = range(8), *, with_signs: bool) -> list[Value]:
        """Returns what `tile_codes` does."""
        return tile_codes(b, self.place, self.layout, part, groups=groups, with_signs=with_signs)

    def ask_ahead(self, b: Builder, part: Value) -> None:
        """Prefetches what is needed a while after 32 columns."""
        part_bytes = self.layout.tile_bytes * 32 // self.layout.columns
        ask_ahead(b, b.gep(self.place, [b.mul(part, simd.integer(part_bytes))]), part_bytes)


@dataclass(frozen=True, slots=True)
class UnpackedTile(Tile):
    """The same, whose codes have been written out: 512 bytes for every 32 columns, with signs if products want them.

    Args:
        written: Where they are.
    """

    written: Value

    def codes(self, b: Builder, part: Value, groups: Sequence[int] = range(8), *, with_signs: bool) -> list[Value]:
        """Loads codes of 32 columns."""
        place = b.gep(self.written, [b.mul(part, simd.integer(UNPACKED_PART_BYTES))])
        return [simd.load(b, place, 64 * group, I8, 64) for group in groups]

    def ask_ahead(self, b: Builder, part: Value) -> None:
        """Does nothing: unpacking has read the tile."""


def tile_scales(b: Builder, tile: Value, layout: TileFormat, at: int = 0) -> list[Value]:
    """Loads all d of the tile that begins `at` bytes after an address: for each part of its columns 16 float32.

    Where a format multiplies them by a power of two, that is done.
    """
    load, size = {
        ScaleType.FLOAT16: (half_row, 2 * ROWS),
        ScaleType.EXPONENT: (_powers_of_two, ROWS),
        ScaleType.SMALL_FLOAT: (_small_floats, ROWS),
    }[layout.scale_type]
    scales = [load(b, tile, at + size * i) for i in range(layout.scales_of_columns)]
    if layout.d_factor == 1.0:
        return scales
    return [b.fmul(scale, constant(F32, layout.d_factor)) for scale in scales]


def _powers_of_two(b: Builder, tile: Value, at: int) -> Value:
    exponent = b.zext(simd.load(b, tile, at, I8), vector(I32))
    # A float32 with exponent bits E is 2^(E - 127); 2^-127 and 2^-128 have none, but a bit of the fraction.
    usual = b.shl(b.sub(exponent, constant(I32, 1)), constant(I32, 23))
    small = b.shl(constant(I32, 1 << 21), b.and_(exponent, constant(I32, 1)))
    is_small = b.icmp_unsigned("<", exponent, constant(I32, 2))
    return b.bitcast(b.select(is_small, small, usual), vector(F32))


def _small_floats(b: Builder, tile: Value, at: int) -> Value:
    # The same bits in the places of a float16 have 15 as bias: they mean 2^-8 of the float, of which a half is wanted.
    bits = b.shl(b.zext(simd.load(b, tile, at, I8), vector(I16)), constant(I16, 7))
    return b.fmul(simd.half_to_float(b, b.bitcast(bits, vector(F16))), constant(F32, 2.0**7))


def half_row(b: Builder, tile: Value, at: int) -> Value:
    """Loads 16 float16 of a tile as float32."""
    return simd.half_to_float(b, simd.load(b, tile, at, F16))


def scale_pairs(b: Builder, layout: TileFormat, tile: Value, index: Value) -> Value:
    """Loads pair number `index` of the sub-block scales as 16 × i32 holding two i16 each."""
    pairs = _byte_pairs(b, layout, tile, layout.scales_at, index)
    return b.and_(pairs, constant(I32, 0x000F000F)) if layout.scales_are_nibbles else pairs


def minimum_pairs(b: Builder, layout: TileFormat, tile: Value, index: Value) -> Value:
    """Does the same as `scale_pairs`, for the minima of the sub-blocks."""
    if not layout.scales_are_nibbles:
        return _byte_pairs(b, layout, tile, layout.minima_at, index)
    pairs = _byte_pairs(b, layout, tile, layout.scales_at, index)
    return b.and_(b.lshr(pairs, constant(I32, 4)), constant(I32, 0x000F000F))


def _byte_pairs(b: Builder, layout: TileFormat, tile: Value, at: int, index: Value) -> Value:
    place = b.gep(tile, [b.mul(index, simd.integer(32))])
    widen = b.zext if layout.has_minimum else b.sext
    return b.bitcast(widen(simd.load(b, place, at, I8, 32), vector(I16, 32)), vector(I32))
