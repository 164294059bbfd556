"""The matrix kernels: tiles of 16 rows times the activations of one or eight tokens, one kernel for each weight type.

An output element is always summed in the same order: block by block along the reduction, inside a block in whole
numbers. So it does not matter how many tokens share a pass, nor which thread does which tile.

Activations of quantised products are quantised once per input, in blocks as long as the weight's:

    32 columns    f32 d · i32 -sum of the quants · f32 d × sum · 4 bytes unused · i8 quants[32]              48 bytes
    256 columns   f32 d · 12 bytes unused · f32 sums[8] of 32 quants · i32 -sums[16] of 16 quants · i8 quants[256]
                                                                                                           368 bytes
"""

from collections.abc import Callable
from functools import cache
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils

from tui_llama.engine import simd, tiles
from tui_llama.engine.compilation import intrinsic, plan_kernel
from tui_llama.engine.simd import F16, F32, I8, I16, I32, Builder, Value, constant, vector
from tui_llama.engine.tiles import TileFormat

KERNEL = types.void(types.uintp, types.uintp, types.int64, types.int64, types.uintp)
TOKENS_AT_ONCE = 8
ACTIVATION_BYTES = {1: 4, 32: 48, 256: 368}
_PREFETCH_BYTES = 6144
_QUANTS_AT = {32: 16, 256: 112}
_NEGATIVE_SUMS_AT = {32: 4, 256: 48}
_SUMS_AT = 16
_SCALED_SUM_AT = 8


def _shift_left(b: Builder, value: Value, bits: int) -> Value:
    """Shifts every byte pair of a 64-byte vector; the caller masks what crosses a byte."""
    pairs = b.bitcast(value, vector(I16, 32))
    shifted = b.shl(pairs, constant(I16, bits, 32)) if bits >= 0 else b.lshr(pairs, constant(I16, -bits, 32))
    return b.bitcast(shifted, vector(I8, 64))


def _codes(b: Builder, tile: Value, layout: TileFormat, part: int) -> list[Value]:
    """The codes of 32 columns as eight vectors of 64 unsigned bytes, four columns of 16 rows each."""
    at = layout.codes_at + layout.code_stride * part
    if layout.code_bits == 8:
        return [simd.load(b, tile, at + 64 * q, I8, 64) for q in range(8)]
    packed = [simd.load(b, tile, at + 64 * q, I8, 64) for q in range(4)]
    nibble = constant(I8, 15, 64)
    codes = [b.and_(value, nibble) for value in packed]
    codes += [b.and_(_shift_left(b, value, -4), nibble) for value in packed]
    high_at = layout.high_at + layout.high_stride * part
    if layout.code_bits == 5:
        high = simd.load(b, tile, high_at, I8, 64)
        bit = constant(I8, 16, 64)
        codes = [b.or_(code, b.and_(_shift_left(b, high, 4 - q), bit)) for q, code in enumerate(codes)]
    elif layout.code_bits == 6:
        highs = [simd.load(b, tile, high_at + 64 * h, I8, 64) for h in range(2)]
        bits = constant(I8, 48, 64)
        codes = [
            b.or_(code, b.and_(_shift_left(b, highs[q // 4], 4 - 2 * (q % 4)), bits)) for q, code in enumerate(codes)
        ]
    return codes


def _dot(b: Builder, accumulator: Value, codes: list[Value], activations: Value, at: int) -> Value:
    """Adds the products of the code vectors with the activation quants from byte `at` on."""
    for group, code in enumerate(codes):
        quants = simd.load_splat(b, activations, at + 4 * group, I32)
        accumulator = simd.dot4(b, accumulator, code, quants)
    return accumulator


def _offset_start(b: Builder, layout: TileFormat, activations: Value, at: int) -> Value:
    """What an accumulator starts from: minus the code offset times the sum of the activations."""
    if layout.code_offset == 0:
        return constant(I32, 0)
    negative_sum = simd.load_splat(b, activations, at, I32)
    return b.shl(negative_sum, constant(I32, layout.code_offset.bit_length() - 1))


def _half_row(b: Builder, tile: Value, at: int) -> Value:
    return simd.half_to_float(b, simd.load(b, tile, at, F16))


def _add_block_32(b: Builder, layout: TileFormat, tile: Value, inputs: list[Value], totals: list[Value]) -> None:
    d = _half_row(b, tile, 0)
    codes = _codes(b, tile, layout, 0)
    minimum = _half_row(b, tile, 32) if layout.has_minimum else None
    for activations, total in zip(inputs, totals, strict=True):
        start = _offset_start(b, layout, activations, _NEGATIVE_SUMS_AT[32])
        dot = b.sitofp(_dot(b, start, codes, activations, _QUANTS_AT[32]), vector(F32))
        scale = b.fmul(d, simd.load_splat(b, activations, 0, F32))
        value = simd.fma(b, dot, scale, b.load(total))
        if minimum is not None:
            value = simd.fma(b, minimum, simd.load_splat(b, activations, _SCALED_SUM_AT, F32), value)
        b.store(value, total)


def _add_block_256(b: Builder, layout: TileFormat, tile: Value, inputs: list[Value], totals: list[Value]) -> None:
    scaled = [constant(I32, 0)] * len(inputs)
    offset = [constant(F32, 0.0)] * len(inputs)
    for part in range(8):
        codes = _codes(b, tile, layout, part)
        for m, activations in enumerate(inputs):
            if layout.has_minimum:
                quants_at = _QUANTS_AT[256] + 32 * part
                dot = _dot(b, constant(I32, 0), codes, activations, quants_at)
                scale = b.zext(simd.load(b, tile, layout.scales_at + 16 * part, I8), vector(I32))
                scaled[m] = b.add(scaled[m], b.mul(dot, scale))
                minimum = b.zext(simd.load(b, tile, layout.minima_at + 16 * part, I8), vector(I32))
                sums = simd.load_splat(b, activations, _SUMS_AT + 4 * part, F32)
                offset[m] = simd.fma(b, b.sitofp(minimum, vector(F32)), sums, offset[m])
                continue
            for half in range(2):
                start = _offset_start(b, layout, activations, _NEGATIVE_SUMS_AT[256] + 8 * part + 4 * half)
                quants_at = _QUANTS_AT[256] + 32 * part + 16 * half
                dot = _dot(b, start, codes[4 * half : 4 * half + 4], activations, quants_at)
                scale = b.sext(simd.load(b, tile, layout.scales_at + 32 * part + 16 * half, I8), vector(I32))
                scaled[m] = b.add(scaled[m], b.mul(dot, scale))
    d = _half_row(b, tile, 0)
    for m, (activations, total) in enumerate(zip(inputs, totals, strict=True)):
        value = b.fmul(b.sitofp(scaled[m], vector(F32)), d)
        if layout.has_minimum:
            value = b.fsub(value, b.fmul(offset[m], _half_row(b, tile, 32)))
        b.store(simd.fma(b, value, simd.load_splat(b, activations, 0, F32), b.load(total)), total)


def _add_column(b: Builder, layout: TileFormat, tile: Value, inputs: list[Value], totals: list[Value]) -> None:
    if layout is tiles.F32_FORMAT:
        weights = simd.load(b, tile, 0, F32)
    elif layout is tiles.F16_FORMAT:
        weights = _half_row(b, tile, 0)
    else:
        weights = simd.bfloat_to_float(b, simd.load(b, tile, 0, I16))
    for activations, total in zip(inputs, totals, strict=True):
        b.store(simd.fma(b, weights, simd.load_splat(b, activations, 0, F32), b.load(total)), total)


_ADD = {1: _add_column, 32: _add_block_32, 256: _add_block_256}


def _emit_tokens(b: Builder, layout: TileFormat, row: Value, tile_index: Value, token: Value, count: int) -> None:
    """One row of tiles times `count` tokens from `token` on, to the output."""
    address = b.add(simd.field(b, row, "weight"), b.mul(tile_index, simd.field(b, row, "weight_stride")))
    input_stride, output_stride = simd.field(b, row, "input_stride"), simd.field(b, row, "output_stride")
    first_input = b.add(simd.field(b, row, "input"), b.mul(token, input_stride))
    input_addresses = [b.add(first_input, b.mul(input_stride, simd.integer(m))) for m in range(count)]
    totals = [simd.lane_variable(b, constant(F32, 0.0)) for _ in range(count)]
    for total in totals:
        b.store(constant(F32, 0.0), total)
    with cgutils.for_range(b, simd.field(b, row, "columns")) as loop:
        tile = simd.pointer(b, address, b.mul(loop.index, simd.integer(layout.tile_bytes)))
        step = b.mul(loop.index, simd.integer(ACTIVATION_BYTES[layout.columns]))
        inputs = [simd.pointer(b, input_address, step) for input_address in input_addresses]
        if count == 1:
            # One token reads weights at memory speed: the processor's own prefetching does not reach that far.
            for line in range(0, layout.tile_bytes, 64):
                simd.prefetch(b, tile, _PREFETCH_BYTES + line)
        _ADD[layout.columns](b, layout, tile, inputs, totals)
    lanes_at = b.mul(tile_index, simd.integer(4 * simd.LANES))
    first_output = b.add(b.add(simd.field(b, row, "output"), b.mul(token, output_stride)), lanes_at)
    for m, total in enumerate(totals):
        output = simd.pointer(b, first_output, b.mul(output_stride, simd.integer(m)))
        _finish(b, row, lanes_at, b.load(total), output)


def _finish(b: Builder, row: Value, lanes_at: Value, value: Value, output: Value) -> None:
    """Adds the bias and what is there already, where the row says so, and stores."""
    result = simd.lane_variable(b, value)
    b.store(value, result)
    bias = simd.field(b, row, "extra")
    with b.if_then(b.icmp_unsigned("!=", bias, simd.integer(0))):
        b.store(b.fadd(b.load(result), simd.load(b, simd.pointer(b, bias, lanes_at), 0, F32)), result)
    with b.if_then(b.icmp_signed("!=", simd.field(b, row, "accumulate"), simd.integer(0))):
        b.store(b.fadd(b.load(result), simd.load(b, output, 0, F32)), result)
    simd.store(b, b.load(result), output)


def _product(layout: TileFormat, name: str) -> Callable[..., None]:
    """Makes the intrinsic that multiplies the rows of tiles first … last - 1 with all tokens of the batch."""

    def multiply(_: Any, row: Any, batch: Any, first: Any, last: Any) -> Any:
        def generate(context: Any, b: Builder, signature: Any, arguments: Any) -> Value:
            row, batch, first, last = arguments
            wanted = b.icmp_signed("!=", simd.field(b, row, "output_tokens_only"), simd.integer(0))
            start = b.select(wanted, simd.field(b, batch, "first_output_token"), simd.integer(0))
            count = b.sub(simd.field(b, batch, "token_count"), start)
            full = b.sdiv(count, simd.integer(TOKENS_AT_ONCE))
            done = b.mul(full, simd.integer(TOKENS_AT_ONCE))
            with cgutils.for_range(b, b.sub(last, first)) as tile_loop:
                tile = b.add(first, tile_loop.index)
                with cgutils.for_range(b, full) as loop:
                    token = b.add(start, b.mul(loop.index, simd.integer(TOKENS_AT_ONCE)))
                    _emit_tokens(b, layout, row, tile, token, TOKENS_AT_ONCE)
                with cgutils.for_range(b, b.sub(count, done)) as loop:
                    _emit_tokens(b, layout, row, tile, b.add(b.add(start, done), loop.index), 1)
            return context.get_dummy_value()

        return types.void(types.uintp, types.uintp, types.int64, types.int64), generate

    multiply.__name__ = name
    return intrinsic(multiply)


# Numba's cache wants kernels at module level that name their intrinsics as globals; hence one by one.
_f32 = _product(tiles.F32_FORMAT, "f32")
_f16 = _product(tiles.F16_FORMAT, "f16")
_bf16 = _product(tiles.BF16_FORMAT, "bf16")
_q4_0 = _product(tiles.Q4_0_FORMAT, "q4_0")
_q4_1 = _product(tiles.Q4_1_FORMAT, "q4_1")
_q5_0 = _product(tiles.Q5_0_FORMAT, "q5_0")
_q5_1 = _product(tiles.Q5_1_FORMAT, "q5_1")
_q8_0 = _product(tiles.Q8_0_FORMAT, "q8_0")
_q4_k = _product(tiles.Q4_K_FORMAT, "q4_k")
_q5_k = _product(tiles.Q5_K_FORMAT, "q5_k")
_q6_k = _product(tiles.Q6_K_FORMAT, "q6_k")


def matrix_f32(row: int, batch: int, first: int, last: int, scratch: int) -> None:
    """F32 tiles times float32 activations."""
    _f32(row, batch, first, last)


def matrix_f16(row: int, batch: int, first: int, last: int, scratch: int) -> None:
    """F16 tiles times float32 activations."""
    _f16(row, batch, first, last)


def matrix_bf16(row: int, batch: int, first: int, last: int, scratch: int) -> None:
    """BF16 tiles times float32 activations."""
    _bf16(row, batch, first, last)


def matrix_q4_0(row: int, batch: int, first: int, last: int, scratch: int) -> None:
    """Q4_0 tiles times activations quantised by 32."""
    _q4_0(row, batch, first, last)


def matrix_q4_1(row: int, batch: int, first: int, last: int, scratch: int) -> None:
    """Q4_1 tiles times activations quantised by 32."""
    _q4_1(row, batch, first, last)


def matrix_q5_0(row: int, batch: int, first: int, last: int, scratch: int) -> None:
    """Q5_0 tiles times activations quantised by 32."""
    _q5_0(row, batch, first, last)


def matrix_q5_1(row: int, batch: int, first: int, last: int, scratch: int) -> None:
    """Q5_1 tiles times activations quantised by 32."""
    _q5_1(row, batch, first, last)


def matrix_q8_0(row: int, batch: int, first: int, last: int, scratch: int) -> None:
    """Q8_0 tiles times activations quantised by 32."""
    _q8_0(row, batch, first, last)


def matrix_q4_k(row: int, batch: int, first: int, last: int, scratch: int) -> None:
    """Q4_K tiles times activations quantised by 256."""
    _q4_k(row, batch, first, last)


def matrix_q5_k(row: int, batch: int, first: int, last: int, scratch: int) -> None:
    """Q5_K tiles times activations quantised by 256."""
    _q5_k(row, batch, first, last)


def matrix_q6_k(row: int, batch: int, first: int, last: int, scratch: int) -> None:
    """Q6_K tiles times activations quantised by 256."""
    _q6_k(row, batch, first, last)


MATRIX_KERNELS = {
    0: matrix_f32, 1: matrix_f16, 30: matrix_bf16, 2: matrix_q4_0, 3: matrix_q4_1, 6: matrix_q5_0, 7: matrix_q5_1,
    8: matrix_q8_0, 12: matrix_q4_k, 13: matrix_q5_k, 14: matrix_q6_k,
}  # fmt: skip

# --- quantising activations -------------------------------------------------------------------------------------------


def _quantize_block(columns: int, name: str) -> Callable[..., None]:
    """Makes the intrinsic that quantises one block of float32 at an address into the layout at the module's top."""

    def quantize(_: Any, source: Any, target: Any) -> Any:
        def generate(context: Any, b: Builder, signature: Any, arguments: Any) -> Value:
            source, target = (simd.pointer(b, argument) for argument in arguments)
            values = [simd.load(b, source, 64 * i, F32) for i in range(columns // 16)]
            largest = constant(F32, 0.0)
            for value in values:
                largest = simd.maximum(b, largest, simd.absolute(b, value))
            peak = simd.maximum_lane(b, largest)
            empty = b.fcmp_ordered("==", peak, ir.Constant(F32, 0.0))
            inverse = b.select(empty, ir.Constant(F32, 0.0), b.fdiv(ir.Constant(F32, 127.0), peak))
            d = b.fdiv(peak, ir.Constant(F32, 127.0))
            simd.store(b, d, target)
            sums = []
            for i, value in enumerate(values):
                quants = b.fptosi(simd.round_to_even(b, b.fmul(value, simd.splat(b, inverse))), vector(I32))
                simd.store(b, b.trunc(quants, vector(I8)), target, _QUANTS_AT[columns] + 16 * i)
                sums.append(simd.sum_lanes(b, quants))
            _store_sums(b, columns, d, sums, target)
            return context.get_dummy_value()

        return types.void(types.uintp, types.uintp), generate

    quantize.__name__ = name
    return intrinsic(quantize)


def _store_sums(b: Builder, columns: int, d: Value, sums: list[Value], target: Value) -> None:
    pairs = [b.add(sums[i], sums[i + 1]) for i in range(0, len(sums), 2)]
    if columns == 32:
        simd.store(b, b.neg(pairs[0]), target, _NEGATIVE_SUMS_AT[32])
        simd.store(b, b.fmul(d, b.sitofp(pairs[0], F32)), target, _SCALED_SUM_AT)
        return
    for i, pair in enumerate(pairs):
        simd.store(b, b.sitofp(pair, F32), target, _SUMS_AT + 4 * i)
    for i, one in enumerate(sums):
        simd.store(b, b.neg(one), target, _NEGATIVE_SUMS_AT[256] + 4 * i)


quantize_block_32 = _quantize_block(32, "quantize_block_32")
quantize_block_256 = _quantize_block(256, "quantize_block_256")


@cache
def compiled_kernel(function: Callable[..., None]) -> Any:
    """Compiles a kernel of a plan, or loads it from the cache; `.address` is what a row wants.

    Kept for the life of the process: the address is that of the object's code.
    """
    return plan_kernel(KERNEL)(function)
