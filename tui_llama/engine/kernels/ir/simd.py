"""Vector building blocks: small functions that write LLVM IR.

A kernel is a Python function that calls these while Numba compiles. Vectors are SSA values; Python loops unroll. All
float sums are written out in one order and use fused multiply-adds everywhere, so that a result does not depend on the
number of tokens or threads. The same IR serves every processor; only the integer dot products and look-ups
differ between instruction sets (see dot_products.py and look_up.py).
"""

from collections.abc import Callable, Sequence
from typing import Any

import numba
from llvmlite import ir
from numba import types
from numba.core import cgutils

from tui_llama.engine.kernels.ir import dot_products, scaled_products
from tui_llama.engine.kernels.ir.look_up import emit_look_up
from tui_llama.engine.layouts.plan_row import BATCH, OUTPUT_TOKENS, ROW
from tui_llama.engine.machine.instruction_sets import INSTRUCTION_SET
from tui_llama.engine.toolchain.numba_codegen import helper, intrinsic

Value = dot_products.Value
Builder = dot_products.Builder

I8, I16, I32, I64 = ir.IntType(8), ir.IntType(16), ir.IntType(32), ir.IntType(64)
F16, F32 = ir.HalfType(), ir.FloatType()
LANES = 16

# --- constants, loads and stores ------------------------------------------------------------------------------------


def vector(element: ir.Type, count: int = LANES) -> ir.VectorType:
    """Returns the type of `count` lanes of `element`."""
    return ir.VectorType(element, count)


def constant(element: ir.Type, value: float, count: int = LANES) -> Value:
    """Returns a vector with one constant in all lanes."""
    return ir.Constant(vector(element, count), [value] * count)


def integer(value: int) -> Value:
    """Returns a 64-bit integer constant."""
    return ir.Constant(I64, value)


def pointer(b: Builder, address: Value, offset: Value | int = 0) -> Value:
    """Turns an integer address plus an offset in bytes into a byte pointer."""
    offset = integer(offset) if isinstance(offset, int) else offset
    return b.inttoptr(b.add(address, offset), I8.as_pointer())


def load(b: Builder, base: Value, offset: int, element: ir.Type, count: int = LANES) -> Value:
    """Loads `count` lanes from `offset` bytes after a byte pointer; no alignment is needed."""
    place = b.gep(base, [integer(offset)])
    value = b.load(b.bitcast(place, vector(element, count).as_pointer()))
    value.align = 1
    return value


def load_scalar(b: Builder, base: Value, offset: int, element: ir.Type) -> Value:
    """Loads one element from `offset` bytes after a byte pointer."""
    value = b.load(b.bitcast(b.gep(base, [integer(offset)]), element.as_pointer()))
    value.align = 1
    return value


def store(b: Builder, value: Value, base: Value, offset: int = 0) -> None:
    """Stores a value `offset` bytes after a byte pointer; no alignment is needed."""
    place = b.gep(base, [integer(offset)])
    b.store(value, b.bitcast(place, value.type.as_pointer())).align = 1


def prefetch(b: Builder, base: Value, offset: int) -> None:
    """Prefetches the cache line `offset` bytes after a byte pointer; the line may lie outside any allocation."""
    hints = [ir.Constant(I32, hint) for hint in (0, 3, 1)]  # a read, kept in all caches, of data
    call(b, "llvm.prefetch.p0", ir.VoidType(), [b.gep(base, [integer(offset)]), *hints])


def splat(b: Builder, scalar: Value, count: int = LANES) -> Value:
    """Returns a vector with `scalar` in every lane."""
    undefined = ir.Constant(vector(scalar.type, count), ir.Undefined)
    first = b.insert_element(undefined, scalar, ir.Constant(I32, 0))
    return b.shuffle_vector(first, undefined, constant(I32, 0, count))


def load_splat(b: Builder, base: Value, offset: int, element: ir.Type) -> Value:
    """Loads one element and spreads it over all lanes."""
    return splat(b, load_scalar(b, base, offset, element))


def lane_variable(b: Builder, initial: Value) -> Value:
    """Makes a stack variable that LLVM turns into a register, for a value carried around a loop."""
    return cgutils.alloca_once_value(b, initial)


def stack_memory(b: Builder, size_bytes: int) -> Value:
    """Returns a byte pointer to memory that a function has on its stack, whatever lies there.

    Numba's `alloca_once` would fill it with zeros in a single store, which takes LLVM seconds to compile.
    """
    with b.goto_entry_block():
        return b.bitcast(b.alloca(ir.ArrayType(I8, size_bytes)), I8.as_pointer())


# --- arithmetic -----------------------------------------------------------------------------------------------------


def call(b: Builder, name: str, result: ir.Type, arguments: Sequence[Value]) -> Value:
    """Calls an LLVM intrinsic or an external C function by name."""
    kind = ir.FunctionType(result, [argument.type for argument in arguments])
    return b.call(cgutils.get_or_insert_function(b.module, kind, name), arguments)


def fma(b: Builder, x: Value, y: Value, z: Value) -> Value:
    """Returns x * y + z, rounded once."""
    return call(b, "llvm.fma.v16f32", z.type, [x, y, z])


def maximum(b: Builder, x: Value, y: Value) -> Value:
    """Returns the larger of each pair of lanes; no operand may be NaN."""
    return b.select(b.fcmp_ordered(">", x, y), x, y)


def horizontal(b: Builder, combine: Callable[[Builder, Value, Value], Value], value: Value) -> Value:
    """Folds the 16 lanes of `value` in one fixed order (halves onto each other) and returns a scalar."""
    count = LANES
    while count > 1:
        count //= 2
        undefined = ir.Constant(value.type, ir.Undefined)
        low = b.shuffle_vector(value, undefined, ir.Constant(vector(I32, count), list(range(count))))
        high = b.shuffle_vector(value, undefined, ir.Constant(vector(I32, count), list(range(count, 2 * count))))
        value = combine(b, low, high)
    return b.extract_element(value, ir.Constant(I32, 0))


def sum_lanes(b: Builder, value: Value) -> Value:
    """Returns the sum of 16 lanes, added in one fixed order."""
    return horizontal(
        b, lambda b, x, y: b.fadd(x, y) if isinstance(x.type.element, ir.FloatType) else b.add(x, y), value
    )


def maximum_lane(b: Builder, value: Value) -> Value:
    """Returns the largest of 16 lanes."""
    return horizontal(b, maximum, value)


def absolute(b: Builder, value: Value) -> Value:
    """Returns the absolute value of each lane."""
    return call(b, "llvm.fabs.v16f32", value.type, [value])


def round_to_even(b: Builder, value: Value) -> Value:
    """Rounds each lane to the nearest whole number, ties to even."""
    return call(b, "llvm.nearbyint.v16f32", value.type, [value])


# Cephes' single-precision exponential: 2^n times a polynomial of the remainder, relative error below 2e-7.
_EXP_POLYNOMIAL = (
    1.9875691500e-4,
    1.3981999507e-3,
    8.3334519073e-3,
    4.1665795894e-2,
    1.6666665459e-1,
    5.0000001201e-1,
)
_LOG2_E = 1.44269504088896341
_LN2_HIGH, _LN2_LOW = 0.693359375, -2.12194440e-4
_EXP_LOWEST, _EXP_HIGHEST = -87.0, 88.0


def exponential(b: Builder, x: Value) -> Value:
    """Returns e to the power of each lane; 0 below -87 (minus infinity too), e^88 above 88.

    Source: S. Moshier, Cephes mathematical library, expf.
    """
    low, high = constant(F32, _EXP_LOWEST), constant(F32, _EXP_HIGHEST)
    too_low = b.fcmp_ordered("<", x, low)
    clamped = b.select(too_low, low, b.select(b.fcmp_ordered(">", x, high), high, x))
    power = round_to_even(b, b.fmul(clamped, constant(F32, _LOG2_E)))
    rest = fma(b, power, constant(F32, -_LN2_HIGH), clamped)
    rest = fma(b, power, constant(F32, -_LN2_LOW), rest)
    value = constant(F32, _EXP_POLYNOMIAL[0])
    for coefficient in _EXP_POLYNOMIAL[1:]:
        value = fma(b, value, rest, constant(F32, coefficient))
    value = fma(b, value, b.fmul(rest, rest), b.fadd(rest, constant(F32, 1.0)))
    exponent = b.shl(b.add(b.fptosi(power, vector(I32)), constant(I32, 127)), constant(I32, 23))
    return b.select(too_low, constant(F32, 0.0), b.fmul(value, b.bitcast(exponent, vector(F32))))


def half_to_float(b: Builder, value: Value) -> Value:
    """Widens float16 lanes to float32."""
    return b.fpext(value, vector(F32, value.type.count))


def bfloat_to_float(b: Builder, value: Value) -> Value:
    """Widens bfloat16 lanes, held as 16-bit integers, to float32."""
    wide = b.zext(value, vector(I32))
    return b.bitcast(b.shl(wide, constant(I32, 16)), vector(F32))


def dot4_sum(
    b: Builder, accumulator: Value, unsigned: Sequence[Value], signed: Sequence[Value], code_bits: int = 8
) -> Value:
    """Adds to each 32-bit lane the exact sums of its four products of an unsigned and a signed byte, for each pair.

    Several pairs of vectors at once are faster where the processor has no dot product instruction.

    Args:
        b: Builder that receives the code.
        accumulator: 16 × i32.
        unsigned: Vectors of 64 × u8, four for each lane.
        signed: As many vectors of 64 × i8, or of 16 × i32 holding four each.
        code_bits: Bits of the unsigned bytes in use: 4, 5, 6 or 8. Fewer bits are faster on some instruction sets.
    """
    return dot_products.emit_dot4(b, INSTRUCTION_SET, accumulator, unsigned, signed, code_bits)


def scaled_dot4_sum(
    b: Builder,
    accumulator: Value,
    codes: Sequence[Value],
    quants: Sequence[Value],
    scale: Value,
    largest: int,
    *,
    is_signed: bool = False,
) -> Value:
    """Adds to each 32-bit lane the exact sum of its products of bytes, of all pairs of vectors, times its scale.

    Args:
        b: Builder that receives the code.
        accumulator: 16 × i32.
        codes: Vectors of 64 bytes, four for each lane.
        quants: As many vectors of 16 × i32 holding four i8 each, from -127 on.
        scale: 16 × i32, an i16 in the lower half of each and zeros in the upper half.
        largest: The largest absolute value of a code, at most 127.
        is_signed: True if codes have signs; only if `prefers_signed_bytes`.
    """
    return scaled_products.emit_scaled_dot4(b, INSTRUCTION_SET, accumulator, codes, quants, scale, largest, is_signed)


def widens_with_scales() -> bool:
    """Tells whether `scaled_dot4_sum` scales at no cost."""
    return scaled_products.widens_with_scales(INSTRUCTION_SET)


def sums_bytes_exactly() -> bool:
    """Tells whether `dot4_sum` costs no more for codes of eight bits than for fewer."""
    return scaled_products.sums_bytes_exactly(INSTRUCTION_SET)


def has_many_registers() -> bool:
    """Tells whether 32 vectors of 16 × i32 find room in registers."""
    return dot_products.has_many_registers(INSTRUCTION_SET)


def prefers_signed_bytes() -> bool:
    """Tells whether codes with signs cost less than unsigned codes of eight bits."""
    return scaled_products.multiplies_signed_bytes(INSTRUCTION_SET)


def dot2(b: Builder, accumulator: Value, first: Value, second: Value) -> Value:
    """Adds to each 32-bit lane the exact sum of its two products of signed 16-bit halves.

    Args:
        b: Builder that receives the code.
        accumulator: 16 × i32.
        first: 16 × i32 holding two i16 each.
        second: The same.
    """
    return dot_products.emit_dot2(b, INSTRUCTION_SET, accumulator, first, second)


def look_up(b: Builder, table: Sequence[int], codes: Value) -> Value:
    """Returns for each code its value in a table.

    Args:
        b: Builder that receives the code.
        table: At most 16 numbers from 0 to 255.
        codes: 64 × u8, each less than 16.
    """
    return emit_look_up(b, INSTRUCTION_SET, table, codes)


# --- the plan's structures inside IR --------------------------------------------------------------------------------

_FIELDS = {
    name: (kind, offset) for layout in (ROW, BATCH) for name, (kind, offset, *_) in (layout.fields or {}).items()
}
_ELEMENTS = {"u8": I64, "i8": I64, "f4": F32, "i4": I32}


def field(b: Builder, address: Value, name: str) -> Value:
    """Reads a field of the plan row or the batch at `address`; integers are widened to 64 bits."""
    kind, offset = _FIELDS[name]
    value = load_scalar(b, pointer(b, address), offset, _ELEMENTS[kind.str[1:]])
    return b.sext(value, I64) if value.type == I32 else value


# --- intrinsics for kernels that are plain loops --------------------------------------------------------------------

ROW_TYPE, BATCH_TYPE = numba.from_dtype(ROW), numba.from_dtype(BATCH)


def at_address(result: Any, name: str) -> Any:
    """Makes an intrinsic called `name` that turns an address into a pointer or a record of type `result`."""

    def of_address(_: Any, address: Any) -> Any:
        def generate(context: Any, b: Builder, signature: Any, arguments: Any) -> Value:
            return b.inttoptr(arguments[0], context.get_value_type(signature.return_type))

        return result(types.uintp), generate

    of_address.__name__ = name
    return intrinsic(of_address)


row_at = at_address(ROW_TYPE, "row_at")
batch_at = at_address(BATCH_TYPE, "batch_at")
float32_at = at_address(types.CPointer(types.float32), "float32_at")
int64_at = at_address(types.CPointer(types.int64), "int64_at")
int8_at = at_address(types.CPointer(types.int8), "int8_at")
int32_at = at_address(types.CPointer(types.int32), "int32_at")
uint8_at = at_address(types.CPointer(types.uint8), "uint8_at")


@helper
def first_token(row: Any, batch: Any) -> Any:
    """Returns the first token of the batch that a plan row works on."""
    return batch.first_output_token if row.output_tokens_only == OUTPUT_TOKENS else 0


@intrinsic
def store_half(_: Any, address: Any, value: Any) -> Any:
    """Stores a float32 as float16 at `address`, rounded to nearest even."""

    def generate(context: Any, b: Builder, signature: Any, arguments: Any) -> Value:
        store(b, b.fptrunc(arguments[1], F16), pointer(b, arguments[0]))
        return context.get_dummy_value()

    return types.void(types.uintp, types.float32), generate


@intrinsic
def load_half(_: Any, address: Any) -> Any:
    """Loads the float16 at `address` as float32."""

    def generate(context: Any, b: Builder, signature: Any, arguments: Any) -> Value:
        return b.fpext(load_scalar(b, pointer(b, arguments[0]), 0, F16), F32)

    return types.float32(types.uintp), generate


@intrinsic
def prefetch_line(_: Any, address: Any) -> Any:
    """Prefetches the cache line at an address, which may lie outside any allocation."""

    def generate(context: Any, b: Builder, signature: Any, arguments: Any) -> Value:
        prefetch(b, pointer(b, arguments[0]), 0)
        return context.get_dummy_value()

    return types.void(types.uintp), generate


@intrinsic
def atomic_add(_: Any, address: Any, amount: Any) -> Any:
    """Adds to the int64 at `address` atomically; returns the value before."""

    def generate(context: Any, b: Builder, signature: Any, arguments: Any) -> Value:
        place = b.inttoptr(arguments[0], I64.as_pointer())
        return b.atomic_rmw("add", place, arguments[1], "seq_cst")

    return types.int64(types.uintp, types.int64), generate


@intrinsic
def atomic_replace(_: Any, address: Any, expected: Any, value: Any) -> Any:
    """Writes the int64 at `address` atomically if it equals `expected`; returns the value before."""

    def generate(context: Any, b: Builder, signature: Any, arguments: Any) -> Value:
        place = b.inttoptr(arguments[0], I64.as_pointer())
        return b.extract_value(b.cmpxchg(place, arguments[1], arguments[2], "seq_cst", "seq_cst"), 0)

    return types.int64(types.uintp, types.int64, types.int64), generate


@intrinsic
def atomic_load(_: Any, address: Any) -> Any:
    """Reads the int64 at `address` atomically, with everything that its writer wrote before it."""

    def generate(context: Any, b: Builder, signature: Any, arguments: Any) -> Value:
        return b.load_atomic(b.inttoptr(arguments[0], I64.as_pointer()), "acquire", 8)

    return types.int64(types.uintp), generate


@intrinsic
def read_fence(_: Any) -> Any:
    """Keeps later reads from being done before earlier ones."""

    def generate(context: Any, b: Builder, signature: Any, arguments: Any) -> Value:
        b.fence("acquire")
        return context.get_dummy_value()

    return types.void(), generate


@intrinsic
def atomic_store(_: Any, address: Any, value: Any) -> Any:
    """Writes the int64 at `address` atomically; earlier writes become visible before it."""

    def generate(context: Any, b: Builder, signature: Any, arguments: Any) -> Value:
        b.store_atomic(arguments[1], b.inttoptr(arguments[0], I64.as_pointer()), "release", 8)
        return context.get_dummy_value()

    return types.void(types.uintp, types.int64), generate


@intrinsic
def call_kernel(_: Any, kernel: Any, row: Any, batch: Any, first: Any, last: Any, scratch: Any) -> Any:
    """Calls the compiled kernel at address `kernel`; see `PLAN_ARGUMENTS` in ops.py."""

    def generate(context: Any, b: Builder, signature: Any, arguments: Any) -> Value:
        kind = ir.FunctionType(ir.VoidType(), [I64] * 5)
        b.call(b.inttoptr(arguments[0], kind.as_pointer()), arguments[1:])
        return context.get_dummy_value()

    address, count = types.uintp, types.int64
    return types.void(address, address, address, count, count, address), generate
