"""Groups the tokens of a batch by expert, and multiplies with the weights of chosen experts only.

layouts/routing.py describes the groups. Products and quantisation are those of the dense matrices: a group is a small
batch of its own, and kernels here call the others with a row of the plan that points at the expert's weights. So every
weight type works here as it does elsewhere, and gives the same bits.
"""

from typing import Any

import numpy as np
from numba import types
from numba.core import cgutils

from tui_llama.engine.kernels.experts.choosing import routing_at
from tui_llama.engine.kernels.ir import simd
from tui_llama.engine.kernels.ir.simd import (
    F32,
    I32,
    I64,
    Builder,
    Value,
    batch_at,
    call_kernel,
    constant,
    first_token,
    float32_at,
    int32_at,
    int64_at,
    row_at,
)
from tui_llama.engine.kernels.matrix.quantize import are_interleaved
from tui_llama.engine.layouts.activations import GROUP_TOKENS
from tui_llama.engine.layouts.plan_row import BATCH, ROW
from tui_llama.engine.layouts.routing import BATCH_AT, INNER_SCRATCH_AT, SCALED_INPUT_AT, SOURCE_IS_A_PAIR
from tui_llama.engine.toolchain.numba_codegen import helper, intrinsic

_ROW_BYTES, _BATCH_BYTES = ROW.itemsize, BATCH.itemsize


@intrinsic
def _weighted_sum_16(_: Any, source: Any, stride: Any, rows: Any, weights: Any, count: Any, target: Any) -> Any:
    """Writes the sum of 16 float32 of each of `count` rows times their weights, added in their order."""

    def generate(context: Any, b: Builder, signature: Any, arguments: Any) -> Value:
        source, stride, rows, weights, count, target = arguments
        total = simd.lane_variable(b, constant(F32, 0.0))
        b.store(constant(F32, 0.0), total)
        with cgutils.for_range(b, count) as loop:
            at = b.mul(loop.index, simd.integer(4))
            row = b.sext(simd.load_scalar(b, simd.pointer(b, rows, at), 0, I32), I64)
            value = simd.load(b, simd.pointer(b, source, b.mul(row, stride)), 0, F32)
            weight = simd.load_splat(b, simd.pointer(b, weights, at), 0, F32)
            b.store(simd.fma(b, value, weight, b.load(total)), total)
        simd.store(b, b.load(total), simd.pointer(b, target))
        return context.get_dummy_value()

    address, number = types.uintp, types.int64
    return types.void(address, number, address, address, number, address), generate


@helper
def _copy(source: int, target: int, size: int) -> None:
    """Copies a multiple of 8 bytes."""
    x, y = int64_at(np.uintp(source)), int64_at(np.uintp(target))
    for i in range(size // 8):
        y[i] = x[i]


@helper
def _scale(source: int, target: int, size: int, factor: float) -> None:
    """Writes `size` bytes of float32 times a factor."""
    x, y = float32_at(np.uintp(source)), float32_at(np.uintp(target))
    for i in range(size // 4):
        y[i] = x[i] * factor


@helper
def copy_for_inner_kernel(row_address: int, batch_address: int, scratch: int) -> None:
    """Copies the row and the batch of a product to scratch memory, for the product of one group after the other."""
    _copy(row_address, scratch, _ROW_BYTES)
    _copy(batch_address, scratch + BATCH_AT, _BATCH_BYTES)
    inner_row = row_at(np.uintp(scratch))
    inner_row.output_tokens_only = 0
    inner_row.weight_stride = inner_row.tile_row_bytes


@helper
def point_at_group(row: Any, routing: Any, group: int, scratch: int) -> Any:
    """Makes the copied row and batch those of one group, but for the weights; returns the group's expert."""
    inner_row, inner_batch = row_at(np.uintp(scratch)), batch_at(np.uintp(scratch + BATCH_AT))
    expert = int32_at(np.uintp(routing.experts))[group]
    inner_row.input = row.input + int32_at(np.uintp(routing.first_inputs))[group] * row.input_stride
    inner_row.output = row.output + int32_at(np.uintp(routing.first_rows))[group] * row.output_stride
    if row.extra:
        inner_row.extra = row.extra + expert * row.extra_stride
    if row.factor:
        inner_row.factor = row.factor + expert * 4
    inner_batch.token_count = int32_at(np.uintp(routing.row_counts))[group]
    return expert


# --- kernels of a plan ------------------------------------------------------------------------------------------------


def group_tokens(row_address: int, batch_address: int, first: int, last: int, scratch: int) -> None:
    """Groups the tokens by their experts: a counting sort, which keeps the order of the tokens. Unit: all of it.

    Plan row: `routing` has the choice, and receives the groups.
    """
    row, batch = row_at(row_address), batch_at(batch_address)
    routing = routing_at(np.uintp(row.routing))
    pairs = (batch.token_count - first_token(row, batch)) * routing.used_count
    chosen, groups = int32_at(np.uintp(routing.chosen)), int32_at(np.uintp(routing.groups))
    rows, row_counts = int32_at(np.uintp(routing.rows)), int32_at(np.uintp(routing.row_counts))
    experts, first_rows = int32_at(np.uintp(routing.experts)), int32_at(np.uintp(routing.first_rows))
    first_inputs = int32_at(np.uintp(routing.first_inputs))
    for expert in range(routing.expert_count):
        groups[expert] = 0
    for pair in range(pairs):
        groups[chosen[pair]] += 1
    group, next_row, next_input = 0, 0, 0
    for expert in range(routing.expert_count):
        count = groups[expert]
        if count > 0:
            experts[group], first_rows[group], first_inputs[group], row_counts[group] = expert, next_row, next_input, 0
            groups[expert] = group
            group += 1
            next_row += count
            next_input += -(-count // GROUP_TOKENS) * GROUP_TOKENS if are_interleaved(count) else count
    int64_at(np.uintp(routing.group_count))[0] = group
    for pair in range(pairs):
        group = groups[chosen[pair]]
        rows[pair] = first_rows[group] + row_counts[group]
        row_counts[group] += 1


def spread_inputs(row_address: int, batch_address: int, first: int, last: int, scratch: int) -> None:
    """Writes the experts' input for each token to the rows of its groups, quantised or as it is. Unit: a token.

    Plan row: `input` is float32: rows of the tokens, or with `mode` SOURCE_IS_A_PAIR rows in the order of the groups;
    `output` has the rows of the groups' inputs; `inner_kernel` quantises, `columns` blocks, or is 0 for float32.
    Scratch: see layouts/routing.py, with a row of the input.
    """
    row, batch = row_at(row_address), batch_at(batch_address)
    routing = routing_at(np.uintp(row.routing))
    start, used = first_token(row, batch), routing.used_count
    groups, first_rows = int32_at(np.uintp(routing.groups)), int32_at(np.uintp(routing.first_rows))
    row_counts, first_inputs = int32_at(np.uintp(routing.row_counts)), int32_at(np.uintp(routing.first_inputs))
    is_pair = row.mode == SOURCE_IS_A_PAIR
    scales = routing.weighs_input and not is_pair
    _copy(row_address, scratch, _ROW_BYTES)
    _copy(batch_address, scratch + BATCH_AT, _BATCH_BYTES)
    inner_row, inner_batch = row_at(np.uintp(scratch)), batch_at(np.uintp(scratch + BATCH_AT))
    inner_row.output_tokens_only = 0
    size = min(row.input_stride, row.output_stride)
    for unit in range(first, last):
        plain = 0  # address of the token's quantised row that other groups can copy
        for rank in range(used):
            pair = unit * used + rank
            group = groups[int32_at(np.uintp(routing.chosen))[pair]]
            own_row = int32_at(np.uintp(routing.rows))[pair]
            index, count = own_row - first_rows[group], row_counts[group]
            source = row.input + (own_row if is_pair else start + unit) * row.input_stride
            first_target = row.output + first_inputs[group] * row.output_stride
            target = first_target + index * row.output_stride
            if scales:
                weight = float32_at(np.uintp(routing.weights))[pair]
                _scale(source, scratch + SCALED_INPUT_AT, row.input_stride, weight)
                source = scratch + SCALED_INPUT_AT
            if row.inner_kernel == 0:
                _copy(source, target, size)
            elif plain and not are_interleaved(count):
                _copy(plain, target, row.output_stride)
            else:
                inner_row.input, inner_row.output = source - index * row.input_stride, first_target
                inner_batch.token_count = count
                call_kernel(
                    np.uintp(row.inner_kernel), np.uintp(scratch), np.uintp(scratch + BATCH_AT), index, index + 1,
                    np.uintp(scratch + INNER_SCRATCH_AT),
                )  # fmt: skip
                if not (are_interleaved(count) or is_pair or scales):
                    plain = target


def multiply_experts(row_address: int, batch_address: int, first: int, last: int, scratch: int) -> None:
    """Multiplies the rows of each group with its expert's matrix. Unit: a tile row of a group's expert.

    Units count through the tile rows of the first group, then of the second and so on; those of groups that are not
    there do nothing.

    Plan row: `inner_kernel` is a matrix product, for which `weight` has the first expert's tiles, `extra` its bias and
    `factor` its factor; the others follow `expert_stride`, `extra_stride` and 4 bytes apart. `units` is the number of
    tile rows of an expert, each of `tile_row_bytes`. Scratch: see layouts/routing.py, with that of the product.
    """
    row = row_at(row_address)
    routing = routing_at(np.uintp(row.routing))
    copy_for_inner_kernel(row_address, batch_address, scratch)
    inner_row = row_at(np.uintp(scratch))
    group_count = int64_at(np.uintp(routing.group_count))[0]
    unit = first
    while unit < last:
        group, tile = unit // row.units, unit % row.units
        if group >= group_count:
            return
        end = min(row.units, tile + last - unit)
        expert = point_at_group(row, routing, group, scratch)
        inner_row.weight = row.weight + expert * row.expert_stride
        call_kernel(
            np.uintp(row.inner_kernel), np.uintp(scratch), np.uintp(scratch + BATCH_AT), tile, end,
            np.uintp(scratch + INNER_SCRATCH_AT),
        )  # fmt: skip
        unit += end - tile


def add_experts(row_address: int, batch_address: int, first: int, last: int, scratch: int) -> None:
    """Adds what the experts of each token return, times their weights, in the order of rank. Unit: a token.

    Plan row: `input` is float32 in the order of the groups, `output` the tokens' sums, `columns` a multiple of 16;
    with `accumulate` the sum is added to the output's content. Scratch: room for a vector of 16, and a number for each
    expert that a token uses.
    """
    row, batch = row_at(row_address), batch_at(batch_address)
    routing = routing_at(np.uintp(row.routing))
    start, used = first_token(row, batch), routing.used_count
    total, weights = float32_at(np.uintp(scratch)), float32_at(np.uintp(scratch + 64))
    for unit in range(first, last):
        given = float32_at(np.uintp(routing.weights + unit * used * 4))
        for rank in range(used):
            weights[rank] = np.float32(1.0) if routing.weighs_input else given[rank]
        rows = np.uintp(routing.rows + unit * used * 4)
        for at in range(0, 4 * row.columns, 64):
            target = row.output + (start + unit) * row.output_stride + at
            source = np.uintp(row.input + at)
            if row.accumulate:
                _weighted_sum_16(source, row.input_stride, rows, np.uintp(scratch + 64), used, np.uintp(scratch))
                sums = float32_at(np.uintp(target))
                for lane in range(16):
                    sums[lane] += total[lane]
            else:
                _weighted_sum_16(source, row.input_stride, rows, np.uintp(scratch + 64), used, np.uintp(target))
