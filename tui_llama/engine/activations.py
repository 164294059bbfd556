"""Quantised activations: one token's input in blocks of 32 or 256 columns, as long as the weight's blocks.

A token's row holds the quants of all its columns, i8, and then for every block what the kernels know of its sums, so
that nobody has to add them up again:

    32 columns     f32 d · f32 d × sum · i32 -8 × sum · i32 -16 × sum · i32 -128 × sum · 12 bytes unused      32 bytes
    256 columns    f32 d · 12 bytes unused · i16 sums of 32 quants [8] · i32 -8 × sums of 32 [8]
                   i32 -16 × sums of 16 [16] · i32 -32 × sums of 8 [32]                                     256 bytes

A dot product with codes that have an offset starts from minus the offset times the sum: the codes of a type, as they
are summed up between two scales, then stay within 16 bits (see matrix_kernels.py).
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types

from tui_llama.engine import simd
from tui_llama.engine.compilation import helper, intrinsic
from tui_llama.engine.memory import odd_lines
from tui_llama.engine.simd import F32, I8, I16, I32, Builder, Value, constant, vector

SUMMARY_BYTES = {32: 32, 256: 256}
SCALED_SUM_AT = 4
START_32_AT = {8: 8, 16: 12, 128: 16}  # by the offset of the codes
SUMS_AT = 16

START_256_AT = {8: 32, 16: 64, 32: 128}  # by the offset of the codes; sums of 32, 16 and 8 quants


def activation_bytes(columns: int, block_columns: int) -> int:
    """Bytes from one token's quantised input to the next.

    Args:
        columns: Columns of the input.
        block_columns: Columns of the weights' blocks: 32 or 256.
    """
    return odd_lines(columns // block_columns * (block_columns + SUMMARY_BYTES[block_columns]))


def _quantize_block(columns: int, name: str) -> Callable[..., None]:
    """Makes the intrinsic that quantises one block of float32 at an address."""

    def quantize(_: Any, source: Any, quants: Any, summary: Any) -> Any:
        def generate(context: Any, b: Builder, signature: Any, arguments: Any) -> Value:
            source, quants, summary = (simd.pointer(b, argument) for argument in arguments)
            values = [simd.load(b, source, 64 * i, F32) for i in range(columns // 16)]
            largest = constant(F32, 0.0)
            for value in values:
                largest = simd.maximum(b, largest, simd.absolute(b, value))
            peak = simd.maximum_lane(b, largest)
            empty = b.fcmp_ordered("==", peak, ir.Constant(F32, 0.0))
            inverse = b.select(empty, ir.Constant(F32, 0.0), b.fdiv(ir.Constant(F32, 127.0), peak))
            d = b.fdiv(peak, ir.Constant(F32, 127.0))
            simd.store(b, d, summary)
            rounded = [
                b.fptosi(simd.round_to_even(b, b.fmul(value, simd.splat(b, inverse))), vector(I32)) for value in values
            ]
            for i, quant in enumerate(rounded):
                simd.store(b, b.trunc(quant, vector(I8)), quants, 16 * i)
            if columns == 32:
                _store_summary_32(b, d, rounded, summary)
            else:
                _store_summary_256(b, rounded, summary)
            return context.get_dummy_value()

        return types.void(types.uintp, types.uintp, types.uintp), generate

    quantize.__name__ = name
    return intrinsic(quantize)


def _store_summary_32(b: Builder, d: Value, quants: list[Value], summary: Value) -> None:
    total = simd.sum_lanes(b, b.add(*quants))
    simd.store(b, b.fmul(d, b.sitofp(total, F32)), summary, SCALED_SUM_AT)
    for offset, at in START_32_AT.items():
        simd.store(b, b.mul(total, ir.Constant(I32, -offset)), summary, at)


def _store_summary_256(b: Builder, quants: list[Value], summary: Value) -> None:
    sums = quants
    length = 1  # quants behind each lane
    while len(sums) > 1:
        sums = [_neighbours_added(b, sums[i], sums[i + 1]) for i in range(0, len(sums), 2)]
        length *= 2
        offset = 256 // length
        if offset in START_256_AT:
            for i, part in enumerate(sums):
                simd.store(b, b.mul(part, constant(I32, -offset)), summary, START_256_AT[offset] + 64 * i)
    eight = ir.VectorType(I16, 8)
    halves = _neighbours_added(b, sums[0], sums[0])
    low = b.shuffle_vector(halves, halves, ir.Constant(vector(I32, 8), list(range(8))))
    simd.store(b, b.mul(low, constant(I32, -8, 8)), summary, START_256_AT[8])
    simd.store(b, b.trunc(low, eight), summary, SUMS_AT)


def _neighbours_added(b: Builder, first: Value, second: Value) -> Value:
    """Adds lane 2i to lane 2i + 1, for the 16 lanes of `first` and then those of `second`."""
    even, odd = (ir.Constant(vector(I32), [2 * i + start for i in range(16)]) for start in (0, 1))
    return b.add(b.shuffle_vector(first, second, even), b.shuffle_vector(first, second, odd))


_quantize_block_32 = _quantize_block(32, "quantize_block_32")
_quantize_block_256 = _quantize_block(256, "quantize_block_256")


@helper
def quantize_blocks_32(source: int, target: int, blocks: int) -> None:
    """Quantises 32 × `blocks` float32 at address `source` into one token's row at `target`."""
    summaries = target + 32 * blocks
    for block in range(blocks):
        _quantize_block_32(
            np.uintp(source + 128 * block), np.uintp(target + 32 * block), np.uintp(summaries + 32 * block)
        )


@helper
def quantize_blocks_256(source: int, target: int, blocks: int) -> None:
    """Quantises 256 × `blocks` float32 at address `source` into one token's row at `target`."""
    summaries = target + 256 * blocks
    for block in range(blocks):
        _quantize_block_256(
            np.uintp(source + 1024 * block), np.uintp(target + 256 * block), np.uintp(summaries + 256 * block)
        )
