"""Looks bytes up in a table of sixteen, as LLVM IR: one shuffle of bytes where an instruction set has it.

The functions take the name of an instruction set, as those of dot_products.py do.
"""

from collections.abc import Sequence

from llvmlite import ir

from tui_llama.engine.kernels.ir.dot_products import Builder, Value, emit_intrinsic, joined, pieces

_I8 = ir.IntType(8)
_SIXTEEN = 16

# For each instruction set with a shuffle: its name in LLVM, and the bytes that it looks up at once. The x86 shuffles
# have a table of their own in every 16 bytes.
_SHUFFLES = {
    "amx_int8": ("llvm.x86.avx512.pshuf.b.512", 64),
    "avx512_vnni": ("llvm.x86.avx512.pshuf.b.512", 64),
    "avx_vnni": ("llvm.x86.avx2.pshuf.b", 32),
    "avx2": ("llvm.x86.avx2.pshuf.b", 32),
    "neon_dotprod": ("llvm.aarch64.neon.tbl1.v16i8", 16),
}


def emit_look_up(b: Builder, name: str, table: Sequence[int], codes: Value) -> Value:
    """Writes the code of `simd.look_up` for the instruction set `name`."""
    full = [*table, *[0] * (_SIXTEEN - len(table))]
    if name not in _SHUFFLES:
        return _chosen_by_bits(b, full, codes)
    shuffle, count = _SHUFFLES[name]
    values = ir.Constant(ir.VectorType(_I8, count), full * (count // _SIXTEEN))
    return joined(b, [emit_intrinsic(b, shuffle, part.type, values, part) for part in pieces(b, codes, _I8, count)])


def _chosen_by_bits(b: Builder, table: list[int], codes: Value) -> Value:
    """Halves the table bit by bit: the lowest bit chooses between neighbours."""
    count = codes.type.count
    values = [ir.Constant(codes.type, [value] * count) for value in table]
    bit = 1
    while len(values) > 1:
        is_clear = b.icmp_unsigned(
            "==", b.and_(codes, ir.Constant(codes.type, [bit] * count)), ir.Constant(codes.type, [0] * count)
        )
        values = [b.select(is_clear, values[i], values[i + 1]) for i in range(0, len(values), 2)]
        bit *= 2
    return values[0]
