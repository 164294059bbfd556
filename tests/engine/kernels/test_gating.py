"""Activations and limits against their naive twins."""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from tests.engine.kernels.kernel_bench import address, run_kernel, through
from tests.naive import ops as naive
from tui_llama.engine.layouts import plan_row

PER_TOKEN = {"per_token": plan_row.PER_TOKEN}
FAR_FROM_ZERO = [-200.0, -88.5, -87.0, -10.0, 0.0, 10.0, 60.0, 200.0]
RNG = np.random.default_rng(7)


def random(*shape: int) -> npt.NDArray[np.float32]:
    return RNG.standard_normal(shape).astype(np.float32)


def with_far_numbers(columns: int) -> npt.NDArray[np.float32]:
    numbers = random(3, columns) * np.float32(2.0)
    numbers[0, : len(FAR_FROM_ZERO)] = FAR_FROM_ZERO
    return numbers


@pytest.mark.parametrize("columns", [16, 96])
def test_swiglu_agrees_with_its_twin_also_far_from_zero(columns: int) -> None:
    gates, ups = with_far_numbers(columns), random(3, columns)
    expected = naive.swiglu(np.maximum(gates.astype(float), -700.0), ups.astype(float))
    fields = {"extra": address(ups), "extra_stride": ups.strides[0], "columns": columns}
    run_kernel("swiglu", {"token_count": 3}, **through(gates, gates), **fields, **PER_TOKEN)
    np.testing.assert_allclose(gates, expected, rtol=2e-6, atol=1e-35)


@pytest.mark.parametrize("columns", [16, 96])
@pytest.mark.parametrize(
    ("name", "twin"),
    [
        ("geglu", naive.gelu),
        ("gate_by_sigmoid", naive.sigmoid),
        ("reglu", naive.relu),
        ("gate_by_relu_squared", naive.relu_squared),
    ],
)
def test_other_gates_agree_with_their_twins_also_far_from_zero(
    name: str, twin: Callable[[naive.Array], naive.Array], columns: int
) -> None:
    gates, ups = with_far_numbers(columns), random(3, columns)
    expected = twin(gates.astype(float)) * ups.astype(float)
    fields = {"extra": address(ups), "extra_stride": ups.strides[0], "columns": columns}
    run_kernel(name, {"token_count": 3}, **through(gates, gates), **fields, **PER_TOKEN)
    np.testing.assert_allclose(gates, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("limit", [0.5, 7.0])
def test_swiglu_with_a_limit_agrees_with_its_twin(limit: float) -> None:
    gates, ups = with_far_numbers(48), random(3, 48) * np.float32(5.0)
    expected = naive.limited_swiglu(np.maximum(gates.astype(float), -700.0), ups.astype(float), limit)
    fields = {"extra": address(ups), "extra_stride": ups.strides[0], "columns": 48}
    run_kernel("limited_swiglu", {"token_count": 3}, **through(gates, gates), **fields, soft_cap=limit, **PER_TOKEN)
    np.testing.assert_allclose(gates, expected, rtol=2e-6, atol=1e-30)


@pytest.mark.parametrize("numbers", [(0.8, 0.9, 0.5, -1e-6), (2.5, 0.1, 0.3, -0.25)])
def test_xielu_agrees_with_its_twin(numbers: tuple[float, float, float, float]) -> None:
    x, of_layer = with_far_numbers(48), np.array(numbers, np.float32)
    expected = naive.xielu(x.astype(float), *map(float, of_layer))
    run_kernel("xielu", {"token_count": 3}, **through(x, x), columns=48, weight=address(of_layer), **PER_TOKEN)
    np.testing.assert_allclose(x, expected, rtol=2e-6, atol=1e-6)


@pytest.mark.parametrize(("heads", "head_dim"), [(1, 16), (5, 7), (40, 1)])
def test_each_head_is_multiplied_by_its_own_number(heads: int, head_dim: int) -> None:
    values, weights = random(3, heads, head_dim), random(3, heads)
    expected, before = values * weights[..., None], values[:1].copy()
    fields = {"extra": address(weights), "extra_stride": weights.strides[0], "heads": heads, "head_dim": head_dim}
    batch = {"token_count": 3, "first_output_token": 1}
    run_kernel("weigh_heads", batch, **through(values, values), **fields, output_tokens_only=1, **PER_TOKEN)
    np.testing.assert_array_equal(values[1:], expected[1:])
    np.testing.assert_array_equal(values[:1], before)


@pytest.mark.parametrize(
    ("name", "twin"),
    [
        ("gelu", naive.gelu),
        ("relu_squared", naive.relu_squared),
        ("sigmoid", naive.sigmoid),
        ("softplus", naive.softplus),
    ],
)
@pytest.mark.parametrize("columns", [16, 96])
def test_activations_in_place_agree_with_their_twins(
    name: str, twin: Callable[[naive.Array], naive.Array], columns: int
) -> None:
    x = with_far_numbers(columns)
    expected, before = twin(x.astype(float)), x[:1].copy()
    batch, fields = {"token_count": 3, "first_output_token": 1}, {"columns": columns, "output_tokens_only": 1}
    run_kernel(name, batch, **through(x, x), **fields, **PER_TOKEN)
    np.testing.assert_allclose(x[1:], expected[1:], rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(x[:1], before)
    run_kernel(name, {"token_count": 1}, **through(x, x), columns=columns, **PER_TOKEN)
    np.testing.assert_allclose(x[0], expected[0], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("scale", "cap"), [(0.25, 0.0), (1.0, 30.0), (0.5, 2.0)])
def test_numbers_are_scaled_and_then_level_off_at_the_cap(scale: float, cap: float) -> None:
    x = with_far_numbers(48)
    expected = naive.scale_and_cap(x.astype(float), scale, cap)
    run_kernel("scale_and_cap", {"token_count": 3}, **through(x, x), columns=48, scale=scale, soft_cap=cap, **PER_TOKEN)
    np.testing.assert_allclose(x, expected, rtol=1e-5, atol=2e-6 * max(cap, 1.0))
    if cap:
        assert np.abs(x).max() <= cap


@pytest.mark.parametrize("columns", [16, 96])
def test_numbers_beyond_a_limit_become_the_limit(columns: int) -> None:
    x = with_far_numbers(columns)
    expected, before = naive.limit(x.astype(float), 1.5), x[:1].copy()
    fields: dict[str, Any] = {"columns": columns, "scale": 1.5}
    batch = {"token_count": 3, "first_output_token": 1}
    run_kernel("limit", batch, **through(x, x), **fields, output_tokens_only=1, **PER_TOKEN)
    np.testing.assert_array_equal(x[1:], expected[1:])
    np.testing.assert_array_equal(x[:1], before)
    run_kernel("limit", {"token_count": 1}, **through(x, x), **fields, **PER_TOKEN)
    np.testing.assert_array_equal(x[:1], expected[:1])
