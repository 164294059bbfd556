"""Activations as vector code: 16 lanes of float32 each. Naive twins are in tests/naive/ops.py."""

import math

from tui_llama.engine.kernels.ir import simd
from tui_llama.engine.kernels.ir.simd import F32, Builder, Value, constant

# Twice the factors of GELU's tanh form: x · (1 + tanh(z)) / 2 is x · sigmoid(2z).
_GELU_LINEAR = 2.0 * math.sqrt(2.0 / math.pi)
_GELU_CUBIC = 0.044715 * _GELU_LINEAR
_ARTANH_SERIES = tuple(2.0 / power for power in range(15, 0, -2))  # 2/15, 2/13, … 2: the next one adds below 1e-8


def sigmoid(b: Builder, x: Value) -> Value:
    """Computes 1 / (1 + exp(-x))."""
    one = constant(F32, 1.0)
    return b.fdiv(one, b.fadd(one, simd.exponential(b, b.fneg(x))))


def silu(b: Builder, x: Value) -> Value:
    """Computes x · sigmoid(x) (Elfwing et al. 2017)."""
    return b.fmul(x, sigmoid(b, x))


def gelu(b: Builder, x: Value) -> Value:
    """Computes GELU in its tanh form (Hendrycks and Gimpel 2016)."""
    slope = simd.fma(b, b.fmul(x, x), constant(F32, _GELU_CUBIC), constant(F32, _GELU_LINEAR))
    return b.fmul(x, sigmoid(b, b.fmul(x, slope)))


def relu(b: Builder, x: Value) -> Value:
    """Computes the positive part."""
    return simd.maximum(b, x, constant(F32, 0.0))


def relu_squared(b: Builder, x: Value) -> Value:
    """Computes the square of the positive part (So et al. 2021)."""
    positive = relu(b, x)
    return b.fmul(positive, positive)


def softplus(b: Builder, x: Value) -> Value:
    """Computes ln(1 + exp(x)) as max(x, 0) + ln(1 + t) with t = exp(-|x|).

    ln(1 + t) is 2 · artanh(s) with s = t / (2 + t), which is at most 1/3, so that a few terms of its series are enough.
    """
    small = simd.exponential(b, b.fneg(simd.absolute(b, x)))
    s = b.fdiv(small, b.fadd(small, constant(F32, 2.0)))
    square, series = b.fmul(s, s), constant(F32, _ARTANH_SERIES[0])
    for coefficient in _ARTANH_SERIES[1:]:
        series = simd.fma(b, series, square, constant(F32, coefficient))
    return simd.fma(b, series, s, simd.maximum(b, x, constant(F32, 0.0)))


def at_most(b: Builder, value: Value, limit: Value) -> Value:
    """Computes the smaller of a value and its limit; neither may be NaN."""
    return b.select(b.fcmp_ordered("<", value, limit), value, limit)
