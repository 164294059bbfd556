"""Kernels of a plan between the halves of feed-forward blocks, and for limits: activations, element by element.

kernels/elementwise.py says what all kernels of a plan have in common. Naive twins are in tests/naive/ops.py.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numba import types

from tui_llama.engine.kernels.ir import simd
from tui_llama.engine.kernels.ir.simd import F32, Builder, Value, batch_at, constant, first_token, row_at
from tui_llama.engine.toolchain.numba_codegen import intrinsic

_VECTOR_BYTES = 4 * simd.LANES

# Twice the factors of GELU's tanh form: x · (1 + tanh(z)) / 2 is x · sigmoid(2z).
_GELU_LINEAR = 2.0 * math.sqrt(2.0 / math.pi)
_GELU_CUBIC = 0.044715 * _GELU_LINEAR
# The limits and the slope of gpt-oss.
_CLAMP, _CLAMPED_SLOPE = 7.0, 1.702


def _sigmoid(b: Builder, x: Value) -> Value:
    one = constant(F32, 1.0)
    return b.fdiv(one, b.fadd(one, simd.exponential(b, b.fneg(x))))


def _silu(b: Builder, x: Value) -> Value:
    return b.fmul(x, _sigmoid(b, x))


def _gelu(b: Builder, x: Value) -> Value:
    slope = simd.fma(b, b.fmul(x, x), constant(F32, _GELU_CUBIC), constant(F32, _GELU_LINEAR))
    return b.fmul(x, _sigmoid(b, b.fmul(x, slope)))


def _relu_squared(b: Builder, x: Value) -> Value:
    positive = simd.maximum(b, x, constant(F32, 0.0))
    return b.fmul(positive, positive)


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
        gate, up = (_at_most(b, simd.load(b, place, 0, F32), limit) for place in (gate_at, up_at))
        up = simd.maximum(b, up, lowest)
        gated = b.fmul(gate, _sigmoid(b, b.fmul(gate, constant(F32, _CLAMPED_SLOPE))))
        simd.store(b, b.fmul(gated, b.fadd(up, constant(F32, 1.0))), out_at)
        return context.get_dummy_value()

    return types.void(types.uintp, types.uintp, types.uintp), generate


def _at_most(b: Builder, value: Value, limit: Value) -> Value:
    return b.select(b.fcmp_ordered("<", value, limit), value, limit)


_gate_silu, _gate_gelu = _gated("gate_silu", _silu), _gated("gate_gelu", _gelu)
_gate_sigmoid = _gated("gate_sigmoid", _sigmoid)
_activate_gelu = _plain("activate_gelu", _gelu)
_activate_relu_squared = _plain("activate_relu_squared", _relu_squared)


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
        value = simd.maximum(b, _at_most(b, simd.load(b, at, 0, F32), most), b.fneg(most))
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
        weight = _sigmoid(b, simd.load_splat(b, weight_at, 0, F32))
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
