"""Prepares panels for AMX: the bytes of a weight tile, with the scales inside a block of 256 columns multiplied in.

amx.py says what the bytes of each format stand for.
"""

from numba.core import cgutils

from tui_llama.engine.kernels.ir import simd
from tui_llama.engine.kernels.ir.simd import I8, I16, I32, Builder, Value, constant, vector
from tui_llama.engine.kernels.matrix.tile_values import scale_pairs, tile_codes
from tui_llama.engine.layouts.amx_panel import STEP_BYTES
from tui_llama.engine.layouts.weight_tile import TileFormat


def prepare_256(b: Builder, layout: TileFormat, source: Value, panel: Value) -> None:
    """Writes codes × scales as two bytes: four steps of 64 columns of lower bytes, then four of upper bytes."""
    with cgutils.for_range(b, simd.integer(8)) as loop:
        codes = tile_codes(b, source, layout, loop.index)
        lows, highs = (_products if layout.scales_are_halved else _products_signed)(
            b, layout, source, loop.index, codes
        )
        place = b.gep(panel, [b.mul(loop.index, simd.integer(512))])
        for q, (low, high) in enumerate(zip(lows, highs, strict=True)):
            simd.store(b, low, place, 64 * q)
            simd.store(b, high, place, 4 * STEP_BYTES + 64 * q)


def _products(
    b: Builder, layout: TileFormat, source: Value, part: Value, codes: list[Value]
) -> tuple[list[Value], list[Value]]:
    """Multiplies unsigned codes by both 3-bit parts of their scales.

    Codes have at most 5 bits, so a product stays within a byte, and one 16-bit product yields two of them.
    """
    scale = _scale_of_part(b, layout, source, part)
    twice = constant(I32, 0x00010001)
    low = b.bitcast(b.mul(b.and_(scale, constant(I32, 7)), twice), vector(I16, 32))
    high = b.bitcast(b.mul(b.lshr(scale, constant(I32, 3)), twice), vector(I16, 32))
    wide = [b.bitcast(code, vector(I16, 32)) for code in codes]
    return [b.mul(code, low) for code in wide], [b.mul(code, high) for code in wide]


def _scale_of_part(b: Builder, layout: TileFormat, source: Value, part: Value) -> Value:
    """Returns the scale of 32 columns that have only one, in the lower halves of 16 × i32."""
    pair = scale_pairs(b, layout, source, b.lshr(part, simd.integer(1)))
    odd = simd.splat(b, b.trunc(b.mul(b.and_(part, simd.integer(1)), simd.integer(16)), I32))
    return b.and_(b.lshr(pair, odd), constant(I32, 0xFFFF))


def _scales_of_part(b: Builder, layout: TileFormat, source: Value, part: Value) -> list[Value]:
    """Returns the scales of the first and the last 16 of 32 columns, as `_scale_of_part`."""
    if layout.scale_count == 0:
        return [constant(I32, 1)] * 2
    if layout.scale_count == 8:
        return [_scale_of_part(b, layout, source, part)] * 2
    pair = scale_pairs(b, layout, source, part)
    return [b.and_(pair, constant(I32, 0xFFFF)), b.lshr(pair, constant(I32, 16))]


def _products_signed(
    b: Builder, layout: TileFormat, source: Value, part: Value, codes: list[Value]
) -> tuple[list[Value], list[Value]]:
    """Multiplies signed codes by scales in 16 bits, split into an unsigned lower and a signed upper byte."""
    twice = constant(I32, 0x00010001)
    scales = [b.bitcast(b.mul(scale, twice), vector(I16, 32)) for scale in _scales_of_part(b, layout, source, part)]
    eight, byte = constant(I16, 8, 32), constant(I16, 255, 32)
    offset = constant(I16, layout.code_offset, 32)
    lows, highs = [], []
    for q, code in enumerate(codes):
        wide, scale = b.bitcast(code, vector(I16, 32)), scales[q // 4]
        even = b.mul(b.sub(b.and_(wide, byte), offset), scale)
        odd = b.mul(b.sub(b.lshr(wide, eight), offset), scale)
        lows.append(b.or_(b.and_(even, byte), b.shl(odd, eight)))
        highs.append(b.or_(b.lshr(even, eight), b.and_(odd, b.not_(byte))))
    return lows, highs


def prepare_32(b: Builder, layout: TileFormat, source: Value, panel: Value) -> None:
    """Writes codes as signed bytes."""
    for q, code in enumerate(tile_codes(b, source, layout, simd.integer(0))):
        # Subtracting 128 from an eight-bit code flips its upper bit, so no borrow between bytes is possible.
        simd.store(b, b.sub(code, constant(I8, layout.code_offset, 64)), panel, 64 * q)
