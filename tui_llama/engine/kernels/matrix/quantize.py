"""Quantises activations; layouts/activations.py describes the layouts."""

from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types

from tui_llama.engine.kernels.ir import simd
from tui_llama.engine.kernels.ir.simd import F32, I8, I16, I32, Builder, Value, constant, vector
from tui_llama.engine.layouts.activations import (
    FEWEST_GROUPED_TOKENS,
    GROUP_SUMMARY_BYTES,
    GROUP_SUMS_AT,
    GROUP_SUMS_BYTES,
    GROUP_TOKENS,
    SCALED_SUM_AT,
    START_32_AT,
    START_256_AT,
    STARTS_16_AT,
    STARTS_128_AT,
    SUM_AT,
    SUMMARY_BYTES,
    SUMS_AT,
    SUMS_OF_16_AT,
    grouped_columns,
)
from tui_llama.engine.machine.instruction_sets import INSTRUCTION_SET
from tui_llama.engine.toolchain.numba_codegen import helper, intrinsic

_SUMS_BYTES_32, _SUMS_BYTES_256 = GROUP_SUMS_BYTES[32], GROUP_SUMS_BYTES[256]
_SUMMARY_BYTES_32, _SUMMARY_BYTES_256 = GROUP_SUMMARY_BYTES[32], GROUP_SUMMARY_BYTES[256]
_TOKEN_SUMMARY_BYTES_256 = SUMMARY_BYTES[256]
_HAS_TILE_MULTIPLIER = INSTRUCTION_SET == "amx_int8"


def _quantize_block(columns: int, name: str) -> Callable[..., None]:
    """Makes the intrinsic that quantises one block of float32 at an address.

    It stores `grouped_columns` columns together and the next ones `step` bytes further on. `scale`, `sums` and `starts`
    are addresses in the block's summary: of d, of the sums, and of the numbers that dot products start from.
    """
    together = grouped_columns(columns)

    def quantize(_: Any, source: Any, quants: Any, step: Any, scale: Any, sums: Any, starts: Any) -> Any:
        def generate(context: Any, b: Builder, signature: Any, arguments: Any) -> Value:
            step = arguments[2]
            source, quants, scale, sums, starts = (simd.pointer(b, arguments[i]) for i in (0, 1, 3, 4, 5))
            values = [simd.load(b, source, 64 * i, F32) for i in range(columns // 16)]
            largest = constant(F32, 0.0)
            for value in values:
                largest = simd.maximum(b, largest, simd.absolute(b, value))
            peak = simd.maximum_lane(b, largest)
            # In a block of zeros, 127 / 0 is infinite, and 0 × infinity would be NaN.
            empty = b.fcmp_ordered("==", peak, ir.Constant(F32, 0.0))
            inverse = b.select(empty, ir.Constant(F32, 0.0), b.fdiv(ir.Constant(F32, 127.0), peak))
            d = b.fdiv(peak, ir.Constant(F32, 127.0))
            simd.store(b, d, scale)
            rounded = [
                b.fptosi(simd.round_to_even(b, b.fmul(value, simd.splat(b, inverse))), vector(I32)) for value in values
            ]
            for i, quant in enumerate(rounded):
                piece, at = divmod(16 * i, together)
                place = b.gep(quants, [b.mul(step, simd.integer(piece))])
                simd.store(b, b.trunc(quant, vector(I8)), place, at)
            if columns == 32:
                _store_summary_32(b, d, rounded, sums, starts)
            else:
                _store_summary_256(b, rounded, sums, starts)
            return context.get_dummy_value()

        return types.void(types.uintp, types.uintp, types.int64, types.uintp, types.uintp, types.uintp), generate

    quantize.__name__ = name
    return intrinsic(quantize)


def _store_summary_32(b: Builder, d: Value, quants: list[Value], scaled_sum: Value, starts: Value) -> None:
    halves = [simd.sum_lanes(b, half) for half in quants]
    total = b.add(*halves)
    simd.store(b, b.fmul(d, b.sitofp(total, F32)), scaled_sum)
    for offset, at in START_32_AT.items():
        simd.store(b, b.mul(total, ir.Constant(I32, -offset)), starts, at)
    for offset, at in STARTS_16_AT.items():
        for number, half in enumerate(halves):
            simd.store(b, b.mul(half, ir.Constant(I32, -offset)), starts, at + 4 * number)


def _store_summary_256(b: Builder, quants: list[Value], stored_sums: Value, starts: Value) -> None:
    # Each round halves the number of sums; on the way come the sums that the formats' dot products start from.
    sums = quants
    length = 1  # quants in each lane's sum
    while len(sums) > 1:
        sums = [_neighbours_added(b, sums[i], sums[i + 1]) for i in range(0, len(sums), 2)]
        length *= 2
        offset = 256 // length
        if offset in START_256_AT:
            for i, part in enumerate(sums):
                simd.store(b, b.mul(part, constant(I32, -offset)), starts, START_256_AT[offset] + 64 * i)
    simd.store(b, b.trunc(sums[0], vector(I16)), stored_sums, SUMS_OF_16_AT)
    eight = ir.VectorType(I16, 8)
    halves = _neighbours_added(b, sums[0], sums[0])
    low = b.shuffle_vector(halves, halves, ir.Constant(vector(I32, 8), list(range(8))))
    simd.store(b, b.mul(low, constant(I32, -8, 8)), starts, START_256_AT[8])
    simd.store(b, b.mul(low, constant(I32, -128, 8)), starts, STARTS_128_AT)
    simd.store(b, simd.sum_lanes(b, sums[0]), starts, SUM_AT)
    simd.store(b, b.trunc(low, eight), stored_sums)


def _neighbours_added(b: Builder, first: Value, second: Value) -> Value:
    """Adds lane 2i to lane 2i + 1, for the 16 lanes of `first` and then those of `second`."""
    even, odd = (ir.Constant(vector(I32), [2 * i + start for i in range(16)]) for start in (0, 1))
    return b.add(b.shuffle_vector(first, second, even), b.shuffle_vector(first, second, odd))


_quantize_block_32 = _quantize_block(32, "quantize_block_32")
_quantize_block_256 = _quantize_block(256, "quantize_block_256")


@helper
def are_interleaved(count: int) -> bool:
    """Tells whether the input of a batch of `count` tokens is interleaved."""
    return _HAS_TILE_MULTIPLIER and count >= FEWEST_GROUPED_TOKENS


@helper
def quantize_token_32(source: int, output: int, stride: int, index: int, blocks: int, spare: int) -> None:
    """Quantises the input of one token in blocks of 32.

    Args:
        source: Address of 32 × `blocks` float32.
        output: Address of all tokens' rows.
        stride: Bytes from one token's row to the next; ignored where tokens are interleaved.
        index: Number of the token among these rows.
        blocks: Number of blocks.
        spare: 0 if the token has a row of its own. Otherwise tokens are interleaved, and this is the address of 320
            bytes for the parts of the summary that the interleaved layout leaves out.
    """
    if spare:
        start, member = (
            output + index // GROUP_TOKENS * (GROUP_TOKENS * 32 + _SUMMARY_BYTES_32) * blocks,
            index % GROUP_TOKENS,
        )
        quants, step = start + 32 * member, GROUP_TOKENS * 32
        scales = start + GROUP_TOKENS * 32 * blocks + 4 * member
        sums = start + GROUP_TOKENS * 32 * blocks + GROUP_SUMS_AT + _SUMS_BYTES_32 * member
        starts, summary_step, starts_step = spare, _SUMMARY_BYTES_32, 0
    else:
        quants, step = output + index * stride, 32
        scales = starts = quants + 32 * blocks
        sums, summary_step, starts_step = scales + SCALED_SUM_AT, 32, 32
    for block in range(blocks):
        _quantize_block_32(
            np.uintp(source + 128 * block), np.uintp(quants + step * block), step,
            np.uintp(scales + summary_step * block), np.uintp(sums + summary_step * block),
            np.uintp(starts + starts_step * block),
        )  # fmt: skip


@helper
def quantize_token_256(source: int, output: int, stride: int, index: int, blocks: int, spare: int) -> None:
    """Does the same as `quantize_token_32`, in blocks of 256."""
    if spare:
        start, member = (
            output + index // GROUP_TOKENS * (GROUP_TOKENS * 256 + _SUMMARY_BYTES_256) * blocks,
            index % GROUP_TOKENS,
        )
        quants, step = start + 64 * member, GROUP_TOKENS * 64
        scales = start + GROUP_TOKENS * 256 * blocks + 4 * member
        sums = start + GROUP_TOKENS * 256 * blocks + GROUP_SUMS_AT + _SUMS_BYTES_256 * member
        starts, summary_step, starts_step = spare, _SUMMARY_BYTES_256, 0
    else:
        quants, step = output + index * stride, 64
        scales = starts = quants + 256 * blocks
        sums, summary_step, starts_step = scales + SUMS_AT, _TOKEN_SUMMARY_BYTES_256, _TOKEN_SUMMARY_BYTES_256
    for block in range(blocks):
        _quantize_block_256(
            np.uintp(source + 1024 * block), np.uintp(quants + 4 * step * block), step,
            np.uintp(scales + summary_step * block), np.uintp(sums + summary_step * block),
            np.uintp(starts + starts_step * block),
        )  # fmt: skip
