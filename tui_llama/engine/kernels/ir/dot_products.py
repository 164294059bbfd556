"""Integer dot products of each instruction set, as LLVM IR; see machine/instruction_sets.py.

Integer sums are exact, so all of them give the same bits.

The functions take the name of an instruction set, so that code for a processor can be written, and inspected, on any
other processor.
"""

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from llvmlite import ir

Value: TypeAlias = Any
"""An llvmlite value; the package carries no types."""
Builder: TypeAlias = Any
"""An llvmlite IRBuilder."""

_I8, _I16, _I32 = ir.IntType(8), ir.IntType(16), ir.IntType(32)

# --- pieces of vectors ----------------------------------------------------------------------------------------------


def _constant(element: ir.Type, value: int, count: int) -> Value:
    return ir.Constant(ir.VectorType(element, count), [value] * count)


def pieces(b: Builder, value: Value, element: ir.Type, count: int) -> list[Value]:
    """Cuts a vector into vectors of `count` lanes of `element`, with all bits in order."""
    lanes = value.type.count * value.type.element.width // element.width
    whole = b.bitcast(value, ir.VectorType(element, lanes))
    undefined = ir.Constant(whole.type, ir.Undefined)
    picks = [list(range(first, first + count)) for first in range(0, lanes, count)]
    return [b.shuffle_vector(whole, undefined, ir.Constant(ir.VectorType(_I32, count), pick)) for pick in picks]


def joined(b: Builder, parts: list[Value]) -> Value:
    """Concatenates vectors of equal length; their number must be a power of two."""
    while len(parts) > 1:
        order = list(range(2 * parts[0].type.count))
        mask = ir.Constant(ir.VectorType(_I32, len(order)), order)
        parts = [b.shuffle_vector(parts[i], parts[i + 1], mask) for i in range(0, len(parts), 2)]
    return parts[0]


def emit_intrinsic(b: Builder, name: str, result: ir.Type, *arguments: Value) -> Value:
    """Calls an intrinsic of LLVM by its name."""
    kind = ir.FunctionType(result, [argument.type for argument in arguments])
    return b.call(b.module.declare_intrinsic(name, fnty=kind), arguments)


# --- dot products ---------------------------------------------------------------------------------------------------

_Sum: TypeAlias = Callable[[Builder, Value, list[Value], list[Value], int], Value]


def has_many_registers(name: str) -> bool:
    """Tells whether an instruction set has registers for 32 vectors of 16 × i32; others have a quarter of that."""
    return _DOT_PRODUCTS[name][0] == 16 and name != "portable"


def emit_dot4(
    b: Builder, name: str, accumulator: Value, unsigned: Sequence[Value], signed: Sequence[Value], code_bits: int
) -> Value:
    """Writes the code of `simd.dot4_sum` for the instruction set `name`."""
    lanes, emit = _DOT_PRODUCTS[name]
    sums = pieces(b, accumulator, _I32, lanes)
    codes = [pieces(b, value, _I8, 4 * lanes) for value in unsigned]
    quants = [pieces(b, value, _I8, 4 * lanes) for value in signed]
    done = [
        emit(b, total, [code[i] for code in codes], [quant[i] for quant in quants], code_bits)
        for i, total in enumerate(sums)
    ]
    return joined(b, done)


def emit_dot2(b: Builder, name: str, accumulator: Value, first: Value, second: Value) -> Value:
    """Writes the code of `simd.dot2` for the instruction set `name`."""
    lanes, emit = _PAIR_PRODUCTS[name]
    cut = [pieces(b, value, _I32, lanes) for value in (accumulator, first, second)]
    return joined(b, [emit(b, *together) for together in zip(*cut, strict=True)])


def _dot_vnni(b: Builder, total: Value, codes: list[Value], quants: list[Value], code_bits: int) -> Value:
    """Adds four products of an unsigned and a signed byte to 32 bits (VPDPBUSD)."""
    # Operands are 32-bit lanes: older LLVMs require it, and newer ones still accept it.
    name = f"llvm.x86.avx512.vpdpbusd.{32 * total.type.count}"
    for code, quant in zip(codes, quants, strict=True):
        total = emit_intrinsic(b, name, total.type, total, b.bitcast(code, total.type), b.bitcast(quant, total.type))
    return total


def _dot_neon(b: Builder, total: Value, codes: list[Value], quants: list[Value], code_bits: int) -> Value:
    """Adds four products of signed bytes to 32 bits (SDOT).

    SDOT has no unsigned operand. A code of eight bits is therefore read as signed with its upper bit flipped, which
    makes it 128 less, and 128 times the sum of the other side is added. Where the other side has one value in all
    lanes, that sum is the same for all pieces and is computed once.
    """
    name, missing = "llvm.aarch64.neon.sdot.v4i32.v16i8", _constant(_I32, 0, 4)
    for code, quant in zip(codes, quants, strict=True):
        as_signed = b.xor(code, _constant(_I8, 128, 16)) if code_bits == 8 else code
        total = emit_intrinsic(b, name, total.type, total, as_signed, quant)
        if code_bits == 8:
            missing = emit_intrinsic(b, name, total.type, missing, _constant(_I8, 1, 16), quant)
    return b.add(total, b.shl(missing, _constant(_I32, 7, 4)))


def _pair_sums_avx2(b: Builder, code: Value, quant: Value) -> Value:
    """Sums two products in 16 bits (VPMADDUBSW); the sum must fit."""
    return emit_intrinsic(b, "llvm.x86.avx2.pmadd.ub.sw", ir.VectorType(_I16, code.type.count // 2), code, quant)


def _widened_avx2(b: Builder, pairs: Value, factor: int) -> Value:
    """Sums two 16-bit lanes, times a factor, in 32 bits (VPMADDWD)."""
    count = pairs.type.count
    return emit_intrinsic(
        b, "llvm.x86.avx2.pmadd.wd", ir.VectorType(_I32, count // 2), pairs, _constant(_I16, factor, count)
    )


def _pair_sums_portable(b: Builder, code: Value, quant: Value) -> Value:
    pairs = ir.VectorType(_I16, code.type.count // 2)
    low, eight = _constant(_I16, 255, pairs.count), _constant(_I16, 8, pairs.count)
    u, s = b.bitcast(code, pairs), b.bitcast(quant, pairs)
    even = b.mul(b.and_(u, low), b.ashr(b.shl(s, eight), eight))
    return b.add(even, b.mul(b.lshr(u, eight), b.ashr(s, eight)))


def _widened_portable(b: Builder, pairs: Value, factor: int) -> Value:
    both = b.bitcast(pairs, ir.VectorType(_I32, pairs.type.count // 2))
    sixteen = _constant(_I32, 16, both.type.count)
    total = b.add(b.ashr(b.shl(both, sixteen), sixteen), b.ashr(both, sixteen))
    return b.mul(total, _constant(_I32, factor, both.type.count))


_LARGEST_I16 = 32767


def _dot_by_pairs(pair_sums: Callable[..., Value], widened: Callable[..., Value]) -> _Sum:
    """Makes a dot product that adds in 16 bits as long as nothing can overflow, and then in 32.

    Codes of eight bits are split into two of four bits: two sums in 16 bits cost less than widening every product.
    """

    def dot(b: Builder, total: Value, codes: list[Value], quants: list[Value], code_bits: int) -> Value:
        factors = {1: codes}
        if code_bits == 8:
            nibble, four = _constant(_I8, 15, codes[0].type.count), _constant(_I16, 4, codes[0].type.count // 2)
            pairs = four.type
            upper = [b.bitcast(b.lshr(b.bitcast(code, pairs), four), code.type) for code in codes]
            factors = {1: [b.and_(code, nibble) for code in codes], 16: [b.and_(code, nibble) for code in upper]}
            code_bits = 4
        # A lane of pair sums holds two products, each of a quant of at most 128 and a code.
        at_once = _LARGEST_I16 // (2 * 128 * (2**code_bits - 1))
        for factor, parts in factors.items():
            for first in range(0, len(parts), at_once):
                products = [
                    pair_sums(b, part, quant)
                    for part, quant in zip(parts[first : first + at_once], quants[first : first + at_once], strict=True)
                ]
                pairs_total = products[0]
                for product in products[1:]:
                    pairs_total = b.add(pairs_total, product)
                total = b.add(total, widened(b, pairs_total, factor))
        return total

    return dot


_DOT_PRODUCTS: dict[str, tuple[int, _Sum]] = {
    "amx_int8": (16, _dot_vnni),
    "avx512_vnni": (16, _dot_vnni),
    "avx_vnni": (8, _dot_vnni),
    "avx2": (8, _dot_by_pairs(_pair_sums_avx2, _widened_avx2)),
    "neon_dotprod": (4, _dot_neon),
    "portable": (16, _dot_by_pairs(_pair_sums_portable, _widened_portable)),
}
"""For each instruction set: the 32-bit lanes of its registers, and the function that writes its code."""


def _pairs_vnni(b: Builder, total: Value, first: Value, second: Value) -> Value:
    """Adds two products of 16-bit lanes to 32 bits (VPDPWSSD)."""
    return emit_intrinsic(b, f"llvm.x86.avx512.vpdpwssd.{32 * total.type.count}", total.type, total, first, second)


def _pairs_avx2(b: Builder, total: Value, first: Value, second: Value) -> Value:
    pairs = ir.VectorType(_I16, 2 * total.type.count)
    products = emit_intrinsic(
        b, "llvm.x86.avx2.pmadd.wd", total.type, b.bitcast(first, pairs), b.bitcast(second, pairs)
    )
    return b.add(total, products)


def _pairs_portable(b: Builder, total: Value, first: Value, second: Value) -> Value:
    sixteen = _constant(_I32, 16, total.type.count)
    low = b.mul(b.ashr(b.shl(first, sixteen), sixteen), b.ashr(b.shl(second, sixteen), sixteen))
    high = b.mul(b.ashr(first, sixteen), b.ashr(second, sixteen))
    return b.add(total, b.add(low, high))


_PAIR_PRODUCTS: dict[str, tuple[int, Callable[..., Value]]] = {
    "amx_int8": (16, _pairs_vnni),
    "avx512_vnni": (16, _pairs_vnni),
    "avx_vnni": (8, _pairs_vnni),
    "avx2": (8, _pairs_avx2),
    "neon_dotprod": (4, _pairs_portable),
    "portable": (16, _pairs_portable),
}
"""Same as `_DOT_PRODUCTS`, for products of 16-bit lanes."""
