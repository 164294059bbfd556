"""Kernels of a plan for embedding, norm, quantising and SwiGLU; kernels/plan_loop.py runs them.

Every kernel of a plan has the same signature: `kernel(row, batch, first, last, scratch)` does the units of work `first`
… `last` - 1 of the plan row at address `row`, for the batch at address `batch`, with `scratch` as memory of its own.
Each docstring says what a unit is. Kernels take integers and addresses only, so that the loop can call them by address
and only the kernels that a model needs are compiled. They trust their rows: plan/plan.py checks shapes when it builds
them.

Naive twins of all of them are in tests/naive/ops.py.
"""

from typing import Any

import numpy as np
from numba import types
from numba.core import cgutils

from tui_llama.engine.kernels.ir import simd
from tui_llama.engine.kernels.ir.simd import (
    F32,
    Builder,
    Value,
    batch_at,
    constant,
    first_token,
    float32_at,
    int32_at,
    row_at,
)
from tui_llama.engine.kernels.matrix.dequantize import dequantize_row
from tui_llama.engine.kernels.matrix.quantize import are_interleaved, quantize_token_32, quantize_token_256
from tui_llama.engine.toolchain.numba_codegen import helper, intrinsic

# --- vector helpers ---------------------------------------------------------------------------------------------------


@intrinsic
def _sum_of_squares(_: Any, address: Any, vectors: Any) -> Any:
    """Returns the sum of the squares of 16 × `vectors` float32 at an address, in one fixed order."""

    def generate(context: Any, b: Builder, signature: Any, arguments: Any) -> Value:
        address, vectors = arguments
        total = simd.lane_variable(b, constant(F32, 0.0))
        b.store(constant(F32, 0.0), total)
        with cgutils.for_range(b, vectors) as loop:
            value = simd.load(b, simd.pointer(b, address, b.mul(loop.index, simd.integer(64))), 0, F32)
            b.store(simd.fma(b, value, value, b.load(total)), total)
        return simd.sum_lanes(b, b.load(total))

    return types.float32(types.uintp, types.int64), generate


@intrinsic
def _gate_block(_: Any, gate: Any, up: Any, out: Any) -> Any:
    """Computes out = gate / (1 + exp(-gate)) × up for 16 float32 at each address."""

    def generate(context: Any, b: Builder, signature: Any, arguments: Any) -> Value:
        gate_at, up_at, out_at = (simd.pointer(b, address) for address in arguments)
        gate, up = simd.load(b, gate_at, 0, F32), simd.load(b, up_at, 0, F32)
        one = constant(F32, 1.0)
        sigmoid = b.fdiv(one, b.fadd(one, simd.exponential(b, b.fneg(gate))))
        simd.store(b, b.fmul(b.fmul(gate, sigmoid), up), out_at)
        return context.get_dummy_value()

    return types.void(types.uintp, types.uintp, types.uintp), generate


@helper
def _normalize(source: int, target: int, weight: int, count: int, epsilon: float) -> None:
    """Writes the root-mean-square norm of `count` float32.

    Whole vectors of 16 are summed first, the remaining elements one by one.
    """
    x, y, w = float32_at(np.uintp(source)), float32_at(np.uintp(target)), float32_at(np.uintp(weight))
    whole = count // 16
    total = _sum_of_squares(np.uintp(source), whole)
    for i in range(16 * whole, count):
        total += x[i] * x[i]
    scale = np.float32(1.0) / np.sqrt(total / np.float32(count) + epsilon)
    for i in range(count):
        y[i] = x[i] * scale * w[i]


# --- kernels of a plan ------------------------------------------------------------------------------------------------


def embed(row_address: int, batch_address: int, first: int, last: int, scratch: int) -> None:
    """Decodes the embedding row of each token. Unit: a token.

    Plan row: `weight` is the matrix as it lies in the file, `weight_stride` bytes a row, `mode` its GGUF type; `output`
    is float32 (tokens, columns).
    """
    row, batch = row_at(row_address), batch_at(batch_address)
    for token in range(first, last):
        token_id = int32_at(np.uintp(batch.token_ids))[token]
        target = row.output + token * row.output_stride
        dequantize_row(row.weight + token_id * row.weight_stride, target, row.columns, row.mode)


def rms_norm(row_address: int, batch_address: int, first: int, last: int, scratch: int) -> None:
    """Divides vectors by their root mean square and multiplies by a weight. Unit: one of `heads` vectors of a token.

    Plan row: `input` and `output` are float32 (tokens, heads, columns) and may be the same; `weight` is float32
    (columns,).

    Source: Zhang and Sennrich 2019 (RMSNorm).
    """
    row, batch = row_at(row_address), batch_at(batch_address)
    start = first_token(row, batch)
    for unit in range(first, last):
        token, head = start + unit // row.heads, unit % row.heads
        offset = head * row.columns * 4
        source = row.input + token * row.input_stride + offset
        target = row.output + token * row.output_stride + offset
        _normalize(source, target, row.weight, row.columns, row.epsilon)


def quantize_32(row_address: int, batch_address: int, first: int, last: int, scratch: int) -> None:
    """Quantises activations in blocks of 32; see layouts/activations.py. Unit: a token; `columns` counts blocks."""
    row, batch = row_at(row_address), batch_at(batch_address)
    start = first_token(row, batch)
    spare = scratch if are_interleaved(batch.token_count - start) else 0
    for token in range(start + first, start + last):
        source, index = row.input + token * row.input_stride, token - start if spare else token
        quantize_token_32(source, row.output, row.output_stride, index, row.columns, spare)


def quantize_256(row_address: int, batch_address: int, first: int, last: int, scratch: int) -> None:
    """Quantises activations in blocks of 256; see layouts/activations.py. Unit: a token; `columns` counts blocks."""
    row, batch = row_at(row_address), batch_at(batch_address)
    start = first_token(row, batch)
    spare = scratch if are_interleaved(batch.token_count - start) else 0
    for token in range(start + first, start + last):
        source, index = row.input + token * row.input_stride, token - start if spare else token
        quantize_token_256(source, row.output, row.output_stride, index, row.columns, spare)


def swiglu(row_address: int, batch_address: int, first: int, last: int, scratch: int) -> None:
    """Computes SwiGLU: silu(gate) × up. Unit: a token.

    Plan row: `input` is gate, `extra` up, `output` the result, all float32 (tokens, columns), columns a multiple of 16.

    Source: Shazeer 2020 (GLU variants improve transformer).
    """
    row, batch = row_at(row_address), batch_at(batch_address)
    start = first_token(row, batch)
    for token in range(start + first, start + last):
        gates, ups = row.input + token * row.input_stride, row.extra + token * row.extra_stride
        out = row.output + token * row.output_stride
        for at in range(0, 4 * row.columns, 64):
            _gate_block(np.uintp(gates + at), np.uintp(ups + at), np.uintp(out + at))
