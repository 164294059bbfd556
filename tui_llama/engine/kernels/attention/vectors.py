"""Building blocks of attention's steps: separate functions, loops over groups of query rows, powers of two."""

import inspect
import math
from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils

from tui_llama.engine.kernels.ir import simd
from tui_llama.engine.kernels.ir.simd import F32, I32, I64, Builder, Value, constant, integer, vector
from tui_llama.engine.toolchain.numba_codegen import intrinsic

ROWS = 4
"""Query rows that share a loaded vector; counts of rows are multiples of it."""
LOG2_E = math.log2(math.e)
VECTOR_BYTES = 4 * simd.LANES


def step(emit: Callable[..., None]) -> Any:
    """Makes the intrinsic that calls a function of 64-bit integers; `emit(b, *arguments)` writes the function's code.

    The function is not inlined: LLVM would copy it into every branch of its caller and optimise each copy.
    """
    signature = inspect.signature(emit)
    count = len(signature.parameters) - 1

    def call(_: Any, *arguments: Any) -> Any:
        def generate(context: Any, b: Builder, _: Any, values: Any) -> Value:
            name = f"attention.{emit.__name__}"
            function = b.module.globals.get(name)
            if function is None:
                function = ir.Function(b.module, ir.FunctionType(ir.VoidType(), [I64] * count), name)
                function.linkage = "internal"
                function.attributes.add("noinline")
                inside = ir.IRBuilder(function.append_basic_block())
                emit(inside, *function.args)
                inside.ret_void()
            b.call(function, values)
            return context.get_dummy_value()

        return types.void(*[types.int64] * count), generate

    call.__name__ = emit.__name__
    call.__signature__ = signature  # type: ignore[attr-defined]  # Numba reads the arguments one by one
    return intrinsic(call)


def row_groups(b: Builder, rows: Value) -> Any:
    """Returns a loop over rows in groups of four."""
    return cgutils.for_range(b, b.udiv(rows, integer(ROWS)))


def moved(b: Builder, address: Value, index: Value, step: Value | int) -> Value:
    """Returns address + index · step."""
    return b.add(address, b.mul(index, integer(step) if isinstance(step, int) else step))


def lanes(b: Builder, first: Value, second: Value, picked: list[int]) -> Value:
    """Picks lanes of two vectors; lane numbers from 16 on are lanes of the second."""
    return b.shuffle_vector(first, second, ir.Constant(vector(I32), picked))


def spread(b: Builder, fours: Value, row: int) -> Value:
    """Returns a vector with the value of lanes 4 · row … 4 · row + 3 in all lanes."""
    return lanes(b, fours, fours, [4 * row] * simd.LANES)


# --- powers of two ----------------------------------------------------------------------------------------------------

# 2^r = 1 + r · (…) for |r| ≤ 1/2; fitted for the smallest relative error, 9e-8, with p(0) = 1 exactly.
_POWER_POLYNOMIAL = (1.32647e-3, 9.67151e-3, 5.550734e-2, 0.24022242, 0.69314698, 1.0)
_LOWEST_POWER = -126.0
_ROUNDING = 1.5 * 2.0**23  # so large that adding it rounds to a whole number, which is then in the sum's low bits


def power_of_two(b: Builder, x: Value) -> Value:
    """Returns 2 to the power of each lane, which must not be above 0.

    0 gives exactly 1; -126 or less, minus infinity too, gives 0.

    The relative error is below 2e-7. No result is subnormal, because arithmetic on subnormal numbers is a hundred times
    slower.
    """
    shifted = b.fadd(x, constant(F32, _ROUNDING))
    rest = b.fsub(x, b.fsub(shifted, constant(F32, _ROUNDING)))
    value = constant(F32, _POWER_POLYNOMIAL[0])
    for coefficient in _POWER_POLYNOMIAL[1:]:
        value = simd.fma(b, value, rest, constant(F32, coefficient))
    # The whole part of x is in the low bits of `shifted`. Added to the exponent of 2^rest, it multiplies by 2^whole.
    exponent = b.shl(b.bitcast(shifted, vector(I32)), constant(I32, 23))
    power = b.bitcast(b.add(b.bitcast(value, vector(I32)), exponent), vector(F32))
    return b.select(b.fcmp_ordered(">", x, constant(F32, _LOWEST_POWER)), power, constant(F32, 0.0))


@intrinsic
def scalar_power_of_two(_: Any, x: Any) -> Any:
    """Returns 2 to the power of x, which must not be above 0, with the same bits as `power_of_two`."""

    def generate(context: Any, b: Builder, signature: Any, arguments: Any) -> Value:
        return b.extract_element(power_of_two(b, simd.splat(b, arguments[0])), ir.Constant(I32, 0))

    return types.float32(types.float32), generate
