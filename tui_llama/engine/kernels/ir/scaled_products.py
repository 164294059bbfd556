"""Integer dot products that are multiplied by a scale, of each instruction set, as LLVM IR; see dot_products.py.

They serve blocks with a whole scale for every 16 or 32 columns. The sums are exact, so all of them give the same bits.
"""

from collections.abc import Sequence
from functools import reduce

from llvmlite import ir

from tui_llama.engine.kernels.ir.dot_products import (
    Builder,
    Value,
    emit_dot2,
    emit_dot4,
    emit_intrinsic,
    joined,
    pieces,
)

_I8, _I16, _I32 = ir.IntType(8), ir.IntType(16), ir.IntType(32)
_LARGEST_I16 = 32767
_QUANT_LIMIT = 128  # no quant is larger


def multiplies_signed_bytes(name: str) -> bool:
    """Tells whether an instruction set multiplies signed bytes at less cost than unsigned bytes of eight bits.

    The others need unsigned bytes: what is added to make them so must be subtracted from the sums.
    """
    return name in ("avx2", "neon_dotprod", "portable")


def widens_with_scales(name: str) -> bool:
    """Tells whether an instruction set scales sums of products by the instruction that widens them, at no cost."""
    return name == "avx2"


def sums_bytes_exactly(name: str) -> bool:
    """Tells whether an instruction set adds products with bytes of eight bits to 32 bits by one instruction."""
    return name in ("amx_int8", "avx512_vnni", "avx_vnni")


def emit_scaled_dot4(
    b: Builder,
    name: str,
    accumulator: Value,
    codes: Sequence[Value],
    quants: Sequence[Value],
    scale: Value,
    largest: int,
    is_signed: bool,
) -> Value:
    """Writes the code of `simd.scaled_dot4_sum` for the instruction set `name`."""
    if widens_with_scales(name):
        both = b.or_(scale, b.shl(scale, _constant(_I32, 16, scale.type.count)))
        sums, scales = (pieces(b, value, _I32, 8) for value in (accumulator, both))
        code_parts, quant_parts = ([pieces(b, value, _I8, 32) for value in values] for values in (codes, quants))
        parts = zip(sums, scales, zip(*code_parts, strict=True), zip(*quant_parts, strict=True), strict=True)
        return joined(b, [_scaled_avx2(b, *part, largest, is_signed) for part in parts])
    zero = _constant(_I32, 0, accumulator.type.count)
    if is_signed:
        dot = _signed_dot4(b, name, zero, codes, quants)
    else:
        dot = emit_dot4(b, name, zero, codes, quants, largest.bit_length())
    if 4 * len(codes) * _QUANT_LIMIT * largest <= _LARGEST_I16:
        return emit_dot2(b, name, accumulator, dot, scale)
    sixteen = _constant(_I32, 16, scale.type.count)
    return b.add(accumulator, b.mul(dot, b.ashr(b.shl(scale, sixteen), sixteen)))


def _constant(element: ir.Type, value: int, count: int) -> Value:
    return ir.Constant(ir.VectorType(element, count), [value] * count)


def _scaled_avx2(
    b: Builder,
    total: Value,
    scale: Value,
    codes: Sequence[Value],
    quants: Sequence[Value],
    largest: int,
    is_signed: bool,
) -> Value:
    """Adds pairs in 16 bits as long as nothing can overflow; the instruction that widens them applies the scale, too.

    VPMADDUBSW multiplies unsigned by signed bytes. Where both have a sign, VPSIGNB moves that of the codes to the
    quants.
    """
    pairs, lanes = ir.VectorType(_I16, 16), ir.VectorType(_I8, 32)
    if is_signed:
        quants = [
            emit_intrinsic(b, "llvm.x86.avx2.psign.b", lanes, b.bitcast(quant, lanes), code)
            for code, quant in zip(codes, quants, strict=True)
        ]
        codes = [emit_intrinsic(b, "llvm.abs.v32i8", lanes, code, ir.Constant(ir.IntType(1), 0)) for code in codes]
    products = [
        emit_intrinsic(b, "llvm.x86.avx2.pmadd.ub.sw", pairs, code, quant)
        for code, quant in zip(codes, quants, strict=True)
    ]
    at_once = _LARGEST_I16 // (2 * _QUANT_LIMIT * largest)
    for first in range(0, len(products), at_once):
        together = reduce(b.add, products[first : first + at_once])
        scaled = emit_intrinsic(b, "llvm.x86.avx2.pmadd.wd", total.type, together, b.bitcast(scale, pairs))
        total = b.add(total, scaled)
    return total


def _signed_dot4(b: Builder, name: str, total: Value, codes: Sequence[Value], quants: Sequence[Value]) -> Value:
    """Adds to each lane its four products of signed bytes, for each pair of vectors."""
    if name == "neon_dotprod":
        sums = pieces(b, total, _I32, 4)
        for code, quant in zip(codes, quants, strict=True):
            parts = zip(sums, pieces(b, code, _I8, 16), pieces(b, quant, _I8, 16), strict=True)
            sums = [emit_intrinsic(b, "llvm.aarch64.neon.sdot.v4i32.v16i8", *[part[0].type], *part) for part in parts]
        return joined(b, sums)
    for code, quant in zip(codes, quants, strict=True):
        first, second = (b.bitcast(value, total.type) for value in (code, quant))
        for bits in (24, 16, 8, 0):
            left, right = _constant(_I32, bits, total.type.count), _constant(_I32, 24, total.type.count)
            total = b.add(total, b.mul(b.ashr(b.shl(first, left), right), b.ashr(b.shl(second, left), right)))
    return total
