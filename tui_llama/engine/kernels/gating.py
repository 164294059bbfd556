"""Kernels of a plan between the halves of feed-forward blocks, and for limits: activations, element by element.

kernels/elementwise.py says what all kernels of a plan have in common. Naive twins are in tests/naive/ops.py.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import types

from tui_llama.engine.kernels.ir import activations, simd
from tui_llama.engine.kernels.ir.simd import F32, Builder, Value, batch_at, constant, first_token, float32_at, row_at
from tui_llama.engine.toolchain.numba_codegen import intrinsic

_VECTOR_BYTES = 4 * simd.LANES

# The limits and the slope of gpt-oss.
_CLAMP, _CLAMPED_SLOPE = 7.0, 1.702


def _gated(name: str, activation: Callable[[Builder, Value], Value]) -> Any:
    """Makes the intrinsic that computes out = activation(gate) × up for 16 float32 at each address."""

    def gate_block(_: Any, gate: Any, up: Any, out: Any) -> Any:
        def generate(context: Any, b: Builder, signature: Any, arguments: Any) -> Value:
            gate_at, up_at, out_at = (simd.pointer(b, address) for address in arguments)
            gate, up = simd.load(b, gate_at, 0, F32), simd.load(b, up_at, 0, F32)
            simd.store(b, b.fmul(activation(b, gate), up), out_at)
            return context.get_dummy_value()

        return types.void(types.uintp, types.uintp, types.uintp), generate

    gate_block.__name__ = name
    return intrinsic(gate_block)


def _plain(name: str, activation: Callable[[Builder, Value], Value]) -> Any:
    """Makes the intrinsic that replaces 16 float32 at an address by their activations."""

    def activate_block(_: Any, place: Any) -> Any:
        def generate(context: Any, b: Builder, signature: Any, arguments: Any) -> Value:
            at = simd.pointer(b, arguments[0])
            simd.store(b, activation(b, simd.load(b, at, 0, F32)), at)
            return context.get_dummy_value()

        return types.void(types.uintp), generate

    activate_block.__name__ = name
    return intrinsic(activate_block)


@intrinsic
def _gate_clamped(_: Any, gate: Any, up: Any, out: Any) -> Any:
    """Computes out = g · sigmoid(1.702 · g) × (u + 1) for 16 float32, with g at most 7 and u between -7 and 7."""

    def generate(context: Any, b: Builder, signature: Any, arguments: Any) -> Value:
        gate_at, up_at, out_at = (simd.pointer(b, address) for address in arguments)
        limit, lowest = constant(F32, _CLAMP), constant(F32, -_CLAMP)
        gate, up = (activations.at_most(b, simd.load(b, place, 0, F32), limit) for place in (gate_at, up_at))
        up = simd.maximum(b, up, lowest)
        gated = b.fmul(gate, activations.sigmoid(b, b.fmul(gate, constant(F32, _CLAMPED_SLOPE))))
        simd.store(b, b.fmul(gated, b.fadd(up, constant(F32, 1.0))), out_at)
        return context.get_dummy_value()

    return types.void(types.uintp, types.uintp, types.uintp), generate


@intrinsic
def _gate_limited(_: Any, gate: Any, up: Any, out: Any, limit: Any) -> Any:
    """Computes out = silu(g) × u for 16 float32, with silu(g) at most the limit and u within it on both sides."""

    def generate(context: Any, b: Builder, signature: Any, arguments: Any) -> Value:
        gate_at, up_at, out_at = (simd.pointer(b, address) for address in arguments[:3])
        limit = simd.splat(b, arguments[3])
        gated = activations.at_most(b, activations.silu(b, simd.load(b, gate_at, 0, F32)), limit)
        up = simd.maximum(b, activations.at_most(b, simd.load(b, up_at, 0, F32), limit), b.fneg(limit))
        simd.store(b, b.fmul(gated, up), out_at)
        return context.get_dummy_value()

    return types.void(types.uintp, types.uintp, types.uintp, types.float32), generate


@intrinsic
def _activate_xielu(_: Any, place: Any, numbers: Any) -> Any:
    """Replaces 16 float32 at an address by their xIELU, with the four float32 at another; see `xielu`."""

    def generate(context: Any, b: Builder, signature: Any, arguments: Any) -> Value:
        at, numbers_at = (simd.pointer(b, address) for address in arguments)
        below, above, slope, highest = (simd.load_splat(b, numbers_at, 4 * index, F32) for index in range(4))
        x = simd.load(b, at, 0, F32)
        grown = b.fsub(simd.exponential(b, activations.at_most(b, x, highest)), constant(F32, 1.0))
        negative, positive = b.fmul(b.fsub(grown, x), below), b.fmul(b.fmul(x, x), above)
        bent = b.select(b.fcmp_ordered(">", x, constant(F32, 0.0)), positive, negative)
        simd.store(b, simd.fma(b, x, slope, bent), at)
        return context.get_dummy_value()

    return types.void(types.uintp, types.uintp), generate


_gate_silu, _gate_gelu = _gated("gate_silu", activations.silu), _gated("gate_gelu", activations.gelu)
_gate_sigmoid = _gated("gate_sigmoid", activations.sigmoid)
_gate_relu, _gate_relu_squared = (
    _gated("gate_relu", activations.relu),
    _gated("gate_relu_squared", activations.relu_squared),
)
_activate_gelu = _plain("activate_gelu", activations.gelu)
_activate_relu_squared = _plain("activate_relu_squared", activations.relu_squared)
_activate_sigmoid, _activate_softplus = (
    _plain("activate_sigmoid", activations.sigmoid),
    _plain("activate_softplus", activations.softplus),
)


@intrinsic
def _cap_block(_: Any, place: Any, scale: Any, cap: Any) -> Any:
    """Replaces 16 float32 at an address by cap · tanh(scale · x / cap).

    tanh(x) is (1 - e) / (1 + e) with e = exp(-2 · |x|), and the sign of x.
    """

    def generate(context: Any, b: Builder, signature: Any, arguments: Any) -> Value:
        at, scale, cap = simd.pointer(b, arguments[0]), *(simd.splat(b, number) for number in arguments[1:])
        one = constant(F32, 1.0)
        value = b.fdiv(b.fmul(simd.load(b, at, 0, F32), scale), cap)
        small = simd.exponential(b, b.fmul(simd.absolute(b, value), constant(F32, -2.0)))
        magnitude = b.fmul(b.fdiv(b.fsub(one, small), b.fadd(one, small)), cap)
        simd.store(b, simd.call(b, "llvm.copysign.v16f32", value.type, [magnitude, value]), at)
        return context.get_dummy_value()

    return types.void(types.uintp, types.float32, types.float32), generate


@intrinsic
def _scale_block(_: Any, place: Any, scale: Any) -> Any:
    """Multiplies 16 float32 at an address."""

    def generate(context: Any, b: Builder, signature: Any, arguments: Any) -> Value:
        at = simd.pointer(b, arguments[0])
        simd.store(b, b.fmul(simd.load(b, at, 0, F32), simd.splat(b, arguments[1])), at)
        return context.get_dummy_value()

    return types.void(types.uintp, types.float32), generate


@intrinsic
def _limit_block(_: Any, place: Any, limit: Any) -> Any:
    """Limits 16 float32 at an address to numbers from -limit to limit."""

    def generate(context: Any, b: Builder, signature: Any, arguments: Any) -> Value:
        at, most = simd.pointer(b, arguments[0]), simd.splat(b, arguments[1])
        value = simd.maximum(b, activations.at_most(b, simd.load(b, at, 0, F32), most), b.fneg(most))
        simd.store(b, value, at)
        return context.get_dummy_value()

    return types.void(types.uintp, types.float32), generate


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
        for at in range(0, 4 * row.columns, _VECTOR_BYTES):
            _gate_silu(np.uintp(gates + at), np.uintp(ups + at), np.uintp(out + at))


def geglu(row_address: int, batch_address: int, first: int, last: int, scratch: int) -> None:
    """Computes GEGLU: gelu(gate) × up, with GELU's tanh form. Unit and plan row: as for `swiglu`.

    Sources: Shazeer 2020; Hendrycks and Gimpel 2016 (Gaussian error linear units).
    """
    row, batch = row_at(row_address), batch_at(batch_address)
    start = first_token(row, batch)
    for token in range(start + first, start + last):
        gates, ups = row.input + token * row.input_stride, row.extra + token * row.extra_stride
        out = row.output + token * row.output_stride
        for at in range(0, 4 * row.columns, _VECTOR_BYTES):
            _gate_gelu(np.uintp(gates + at), np.uintp(ups + at), np.uintp(out + at))


def gate_by_sigmoid(row_address: int, batch_address: int, first: int, last: int, scratch: int) -> None:
    """Computes sigmoid(gate) × up, the gated linear unit. Unit and plan row: as for `swiglu`.

    Source: Dauphin et al. 2017 (Language modeling with gated convolutional networks).
    """
    row, batch = row_at(row_address), batch_at(batch_address)
    start = first_token(row, batch)
    for token in range(start + first, start + last):
        gates, ups = row.input + token * row.input_stride, row.extra + token * row.extra_stride
        out = row.output + token * row.output_stride
        for at in range(0, 4 * row.columns, _VECTOR_BYTES):
            _gate_sigmoid(np.uintp(gates + at), np.uintp(ups + at), np.uintp(out + at))


def reglu(row_address: int, batch_address: int, first: int, last: int, scratch: int) -> None:
    """Computes ReGLU: relu(gate) × up. Unit and plan row: as for `swiglu`.

    Source: Shazeer 2020 (GLU variants improve transformer).
    """
    row, batch = row_at(row_address), batch_at(batch_address)
    start = first_token(row, batch)
    for token in range(start + first, start + last):
        gates, ups = row.input + token * row.input_stride, row.extra + token * row.extra_stride
        out = row.output + token * row.output_stride
        for at in range(0, 4 * row.columns, _VECTOR_BYTES):
            _gate_relu(np.uintp(gates + at), np.uintp(ups + at), np.uintp(out + at))


def gate_by_relu_squared(row_address: int, batch_address: int, first: int, last: int, scratch: int) -> None:
    """Computes relu(gate)² × up. Unit and plan row: as for `swiglu`.

    Source: Ma et al. 2025 (BitNet b1.58 2B4T), section 2.
    """
    row, batch = row_at(row_address), batch_at(batch_address)
    start = first_token(row, batch)
    for token in range(start + first, start + last):
        gates, ups = row.input + token * row.input_stride, row.extra + token * row.extra_stride
        out = row.output + token * row.output_stride
        for at in range(0, 4 * row.columns, _VECTOR_BYTES):
            _gate_relu_squared(np.uintp(gates + at), np.uintp(ups + at), np.uintp(out + at))


def limited_swiglu(row_address: int, batch_address: int, first: int, last: int, scratch: int) -> None:
    """Computes SwiGLU with limits: silu(gate), at most the limit, × up, which lies within it on both sides.

    Unit and plan row: as for `swiglu`; `soft_cap` is the limit.

    Source: llama.cpp, src/llama-graph.cpp (`build_moe_ffn`).
    """
    row, batch = row_at(row_address), batch_at(batch_address)
    start = first_token(row, batch)
    for token in range(start + first, start + last):
        gates, ups = row.input + token * row.input_stride, row.extra + token * row.extra_stride
        out = row.output + token * row.output_stride
        for at in range(0, 4 * row.columns, _VECTOR_BYTES):
            _gate_limited(np.uintp(gates + at), np.uintp(ups + at), np.uintp(out + at), row.soft_cap)


def clamped_swiglu(row_address: int, batch_address: int, first: int, last: int, scratch: int) -> None:
    """Computes SwiGLU with limits: g · sigmoid(1.702 · g) × (u + 1). Unit and plan row: as for `swiglu`.

    Source: OpenAI 2025 (gpt-oss model card), section 2; llama.cpp, ggml-cpu (`ggml_compute_forward_swiglu_oai`).
    """
    row, batch = row_at(row_address), batch_at(batch_address)
    start = first_token(row, batch)
    for token in range(start + first, start + last):
        gates, ups = row.input + token * row.input_stride, row.extra + token * row.extra_stride
        out = row.output + token * row.output_stride
        for at in range(0, 4 * row.columns, _VECTOR_BYTES):
            _gate_clamped(np.uintp(gates + at), np.uintp(ups + at), np.uintp(out + at))


@intrinsic
def _weigh_block(_: Any, place: Any, weight: Any) -> Any:
    """Multiplies 16 float32 at an address by the sigmoid of a float32 at another."""

    def generate(context: Any, b: Builder, signature: Any, arguments: Any) -> Value:
        at, weight_at = (simd.pointer(b, address) for address in arguments)
        weight = activations.sigmoid(b, simd.load_splat(b, weight_at, 0, F32))
        simd.store(b, b.fmul(simd.load(b, at, 0, F32), weight), at)
        return context.get_dummy_value()

    return types.void(types.uintp, types.uintp), generate


def weigh(row_address: int, batch_address: int, first: int, last: int, scratch: int) -> None:
    """Multiplies the numbers of a token by the sigmoid of one number. Unit: a token.

    Plan row: `output` is float32 (tokens, columns), columns a multiple of 16; `extra` is float32 (tokens, 1).
    """
    row, batch = row_at(row_address), batch_at(batch_address)
    start = first_token(row, batch)
    for token in range(start + first, start + last):
        weight = np.uintp(row.extra + token * row.extra_stride)
        for at in range(0, 4 * row.columns, _VECTOR_BYTES):
            _weigh_block(np.uintp(row.output + token * row.output_stride + at), weight)


def weigh_heads(row_address: int, batch_address: int, first: int, last: int, scratch: int) -> None:
    """Multiplies each head of a token by a number of its own. Unit: a token.

    Plan row: `output` is float32 (tokens, heads, head_dim); `extra` is float32 (tokens, heads).
    """
    row, batch = row_at(row_address), batch_at(batch_address)
    start = first_token(row, batch)
    for token in range(start + first, start + last):
        weights = float32_at(np.uintp(row.extra + token * row.extra_stride))
        values = float32_at(np.uintp(row.output + token * row.output_stride))
        for head in range(row.heads):
            for i in range(head * row.head_dim, (head + 1) * row.head_dim):
                values[i] *= weights[head]


def gelu(row_address: int, batch_address: int, first: int, last: int, scratch: int) -> None:
    """Replaces numbers by their GELU, in its tanh form. Unit: a token.

    Plan row: `output` is float32 (tokens, columns), columns a multiple of 16.
    """
    row, batch = row_at(row_address), batch_at(batch_address)
    start = first_token(row, batch)
    for token in range(start + first, start + last):
        for at in range(0, 4 * row.columns, _VECTOR_BYTES):
            _activate_gelu(np.uintp(row.output + token * row.output_stride + at))


def relu_squared(row_address: int, batch_address: int, first: int, last: int, scratch: int) -> None:
    """Replaces numbers by the square of their positive part. Unit and plan row: as for `gelu`.

    Source: So et al. 2021 (Primer).
    """
    row, batch = row_at(row_address), batch_at(batch_address)
    start = first_token(row, batch)
    for token in range(start + first, start + last):
        for at in range(0, 4 * row.columns, _VECTOR_BYTES):
            _activate_relu_squared(np.uintp(row.output + token * row.output_stride + at))


def xielu(row_address: int, batch_address: int, first: int, last: int, scratch: int) -> None:
    """Replaces numbers by their xIELU, with numbers n, p, b and e of the layer. Unit: a token.

    Above 0 it is p·x² + b·x, else n·(exp(min(x, e)) - 1 - x) + b·x.

    Plan row: as for `gelu`; `weight` is float32 (4,): n, p, b and e.

    Source: Huang and Schlag 2024 (Deriving activation functions using integration); llama.cpp, ggml-cpu (`op_xielu`).
    """
    row, batch = row_at(row_address), batch_at(batch_address)
    start = first_token(row, batch)
    for token in range(start + first, start + last):
        for at in range(0, 4 * row.columns, _VECTOR_BYTES):
            _activate_xielu(np.uintp(row.output + token * row.output_stride + at), np.uintp(row.weight))


def sigmoid(row_address: int, batch_address: int, first: int, last: int, scratch: int) -> None:
    """Replaces numbers by their sigmoid. Unit and plan row: as for `gelu`."""
    row, batch = row_at(row_address), batch_at(batch_address)
    start = first_token(row, batch)
    for token in range(start + first, start + last):
        for at in range(0, 4 * row.columns, _VECTOR_BYTES):
            _activate_sigmoid(np.uintp(row.output + token * row.output_stride + at))


def softplus(row_address: int, batch_address: int, first: int, last: int, scratch: int) -> None:
    """Replaces numbers by ln(1 + exp(x)). Unit and plan row: as for `gelu`.

    Source: Dugas et al. 2000 (Incorporating second-order functional knowledge).
    """
    row, batch = row_at(row_address), batch_at(batch_address)
    start = first_token(row, batch)
    for token in range(start + first, start + last):
        for at in range(0, 4 * row.columns, _VECTOR_BYTES):
            _activate_softplus(np.uintp(row.output + token * row.output_stride + at))


def scale_and_cap(row_address: int, batch_address: int, first: int, last: int, scratch: int) -> None:
    """Replaces x by scale · x, or by cap · tanh(scale · x / cap). Unit: a token.

    Plan row: `output` is float32 (tokens, columns), columns a multiple of 16; `soft_cap` is the cap, or 0 for none.

    Source: Gemma Team 2024 (Gemma 2).
    """
    row, batch = row_at(row_address), batch_at(batch_address)
    start = first_token(row, batch)
    for token in range(start + first, start + last):
        for at in range(0, 4 * row.columns, _VECTOR_BYTES):
            place = np.uintp(row.output + token * row.output_stride + at)
            if row.soft_cap > 0:
                _cap_block(place, row.scale, row.soft_cap)
            else:
                _scale_block(place, row.scale)


def limit(row_address: int, batch_address: int, first: int, last: int, scratch: int) -> None:
    """Replaces numbers beyond a limit by the limit, with their sign. Unit: a token.

    Plan row: `output` is float32 (tokens, columns), columns a multiple of 16; `scale` is the limit, above 0.
    """
    row, batch = row_at(row_address), batch_at(batch_address)
    start = first_token(row, batch)
    for token in range(start + first, start + last):
        for at in range(0, 4 * row.columns, _VECTOR_BYTES):
            _limit_block(np.uintp(row.output + token * row.output_stride + at), row.scale)
