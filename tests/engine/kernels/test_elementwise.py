"""The plain kernels against their naive twins."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from tests.engine.kernels.kernel_bench import address, run_kernel, through
from tests.naive import ops as naive
from tui_llama.engine.layouts import plan_row
from tui_llama.engine.layouts.activations import (
    SCALED_SUM_AT,
    START_32_AT,
    START_256_AT,
    STARTS_128_AT,
    SUM_AT,
    SUMMARY_BYTES,
    SUMS_AT,
    SUMS_OF_16_AT,
    activation_bytes,
)
from tui_llama.engine.layouts.weight_tile import F32_FORMAT

PER_TOKEN = {"per_token": plan_row.PER_TOKEN}
RNG = np.random.default_rng(7)


def random(*shape: int) -> npt.NDArray[np.float32]:
    return RNG.standard_normal(shape).astype(np.float32)


def in_tiles(matrix: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Returns a matrix of 20 rows in tiles of 16 rows and one column: (2, columns, 16)."""
    return np.ascontiguousarray(np.pad(matrix, ((0, 12), (0, 0))).reshape(2, 16, -1).swapaxes(1, 2))


@pytest.mark.parametrize("columns", [8, 16, 40, 64, 2048])
@pytest.mark.parametrize("heads", [1, 3])
def test_rms_norm_agrees_with_its_twin(columns: int, heads: int) -> None:
    x, out, weight = random(5, heads * columns), random(5, heads * columns), random(columns)
    fields: dict[str, Any] = {"weight": address(weight), "columns": columns, "heads": heads, "units": heads}
    run_kernel("rms_norm", {"token_count": 5}, **through(x, out), **fields, epsilon=1e-5, **PER_TOKEN)
    expected = naive.rms_norm(x.reshape(5, heads, columns).astype(float), weight.astype(float), 1e-5)
    np.testing.assert_allclose(out.reshape(5, heads, columns), expected, rtol=2e-6, atol=1e-7)


def test_a_row_for_output_tokens_leaves_the_others_alone() -> None:
    x, out, weight = random(4, 16), np.full((4, 16), 9.0, np.float32), random(16)
    fields = {"weight": address(weight), "columns": 16, "heads": 1, "output_tokens_only": 1}
    run_kernel("rms_norm", {"token_count": 4, "first_output_token": 3}, **through(x, out), **fields, **PER_TOKEN)
    assert np.all(out[:3] == 9.0)
    np.testing.assert_allclose(out[3], naive.rms_norm(x[3].astype(float), weight.astype(float), 0.0), rtol=2e-6)


@pytest.mark.parametrize(("name", "twin"), [("rms_norm", naive.rms_norm), ("layer_norm", naive.layer_norm)])
@pytest.mark.parametrize("columns", [8, 16, 40, 2048])
@pytest.mark.parametrize("has_bias", [False, True])
def test_norms_with_a_bias_agree_with_their_twins(name: str, twin: Any, columns: int, has_bias: bool) -> None:
    x, weight, bias = random(5, columns) + np.float32(3.0), random(columns), random(columns)
    out = np.zeros_like(x)
    fields = {"weight": address(weight), "columns": columns, "heads": 1, "extra": address(bias) if has_bias else 0}
    run_kernel(name, {"token_count": 5}, **through(x, out), **fields, epsilon=1e-5, **PER_TOKEN)
    expected = twin(x.astype(float), weight.astype(float), 1e-5, bias.astype(float) * has_bias)
    np.testing.assert_allclose(out, expected, rtol=1e-5, atol=2e-6)


@pytest.mark.parametrize(("name", "twin"), [("rms_norm", naive.rms_norm), ("layer_norm", naive.layer_norm)])
@pytest.mark.parametrize("columns", [8, 40])
def test_heads_may_have_weights_of_their_own_and_be_normed_where_they_are(name: str, twin: Any, columns: int) -> None:
    x, weight = random(5, 3 * columns), random(3, columns)
    heads = x.reshape(5, 3, columns).astype(float)
    fields: dict[str, Any] = {"weight": address(weight), "weight_stride": weight.strides[0], "columns": columns}
    run_kernel(name, {"token_count": 5}, **through(x, x), **fields, heads=3, units=3, epsilon=0.01, **PER_TOKEN)
    expected = twin(heads, weight.astype(float), 0.01)
    np.testing.assert_allclose(x.reshape(5, 3, columns), expected, rtol=1e-5, atol=2e-6)


@pytest.mark.parametrize("scale", [1.0, 0.22])
def test_add_adds_what_its_factor_leaves(scale: float) -> None:
    x, residual = random(4, 40), random(4, 40)
    expected = residual.astype(float) + np.float32(scale) * x.astype(float)
    before = residual[:2].copy()
    fields: dict[str, Any] = {"columns": 40, "scale": scale, "output_tokens_only": 1}
    run_kernel("add", {"token_count": 4, "first_output_token": 2}, **through(x, residual), **fields, **PER_TOKEN)
    np.testing.assert_allclose(residual[2:], expected[2:], rtol=1e-6, atol=1e-7)
    np.testing.assert_array_equal(residual[:2], before)


def test_parts_of_heads_are_copied_and_nothing_else() -> None:
    x, out = random(4, 3, 8), np.full((4, 3, 6), 9.0, np.float32)
    before = out.copy()
    fields = {"columns": 5, "heads": 3, "head_dim": 8, "padded_head_dim": 6, "output_tokens_only": 1}
    run_kernel("copy_heads", {"token_count": 4, "first_output_token": 1}, **through(x, out), **fields, **PER_TOKEN)
    before[1:, :, :5] = x[1:, :, :5]
    np.testing.assert_array_equal(out, before)


def test_embeddings_are_multiplied_by_their_scale() -> None:
    matrix, token_ids = random(20, 24), np.array([17, 0, 4], np.int32)
    tiles = in_tiles(matrix)
    out = np.zeros((3, 24), np.float32)
    fields: dict[str, Any] = {"weight": address(tiles), "weight_stride": tiles.strides[0], "mode": F32_FORMAT.type_id}
    batch = {"token_ids": address(token_ids), "token_count": 3}
    for scale in (1.0, 78.5):
        run_kernel("embed", batch, **through(out, out), **fields, columns=24, scale=scale, **PER_TOKEN)
        np.testing.assert_array_equal(out, matrix[token_ids] * np.float32(scale))


def test_positions_have_rows_of_their_own_and_tokens_may_share_one() -> None:
    table, out = random(20, 24), np.zeros((3, 24), np.float32)
    tiles = in_tiles(table)
    fields: dict[str, Any] = {"weight": address(tiles), "weight_stride": tiles.strides[0], "mode": F32_FORMAT.type_id}
    for first, offset in ((0, 0), (15, 0), (8, -4)):
        batch = {"token_count": 3, "first_position": first, "rotation_offset": offset}
        run_kernel("embed_positions", batch, **through(out, out), **fields, columns=24, **PER_TOKEN)
        np.testing.assert_array_equal(out, table[first + offset :][:3])


@pytest.mark.parametrize(("columns", "name"), [(32, "quantize_32"), (256, "quantize_256")])
def test_quantised_activations_are_the_nearest_whole_numbers(columns: int, name: str) -> None:
    x = random(2, 3 * columns) * np.float32(10.0)
    x[1, :columns] = 0.0
    out = np.zeros((2, activation_bytes(3 * columns, columns)), np.uint8)
    run_kernel(name, {"token_count": 2}, **through(x, out.view(np.float32)), columns=3, **PER_TOKEN)
    quants, scales = naive.quantize(x.astype(float), columns)
    stored = out[:, : 3 * columns].reshape(2, 3, columns).view(np.int8)
    # float32 and float64 may round a tie to different sides.
    assert np.abs(stored.astype(int) - quants).max() <= 1
    assert np.mean(stored != quants) < 0.001
    size = SUMMARY_BYTES[columns]
    summaries = out[:, 3 * columns : 3 * (columns + size)].reshape(2, 3, size)

    def numbers(start: int, count: int, kind: npt.DTypeLike) -> npt.NDArray[Any]:
        numbers: npt.NDArray[Any] = summaries[:, :, start : start + count * np.dtype(kind).itemsize].copy().view(kind)
        return numbers

    def sums(length: int) -> npt.NDArray[Any]:
        totals: npt.NDArray[Any] = stored.astype(np.int32).reshape(2, 3, columns // length, length).sum(-1)
        return totals

    np.testing.assert_allclose(numbers(0, 1, np.float32)[..., 0], scales, rtol=1e-6)
    if columns == 32:
        d = numbers(0, 1, np.float32)
        np.testing.assert_array_equal(numbers(SCALED_SUM_AT, 1, np.float32), d * sums(32).astype(np.float32))
        for offset, at in START_32_AT.items():
            np.testing.assert_array_equal(numbers(at, 1, np.int32), -offset * sums(32))
    else:
        np.testing.assert_array_equal(numbers(SUMS_AT, 8, np.int16), sums(32))
        np.testing.assert_array_equal(numbers(SUMS_AT + SUMS_OF_16_AT, 16, np.int16), sums(16))
        for offset, at in START_256_AT.items():
            np.testing.assert_array_equal(numbers(at, offset, np.int32), -offset * sums(256 // offset))
        np.testing.assert_array_equal(numbers(STARTS_128_AT, 8, np.int32), -128 * sums(32))
        np.testing.assert_array_equal(numbers(SUM_AT, 1, np.int32), sums(256))


def test_rows_without_a_barrier_do_all_their_units_with_many_threads() -> None:
    x, out, weight = random(300, 16), np.zeros((300, 16), np.float32), np.ones(16, np.float32)
    fields = {"weight": address(weight), "columns": 16, "heads": 1}
    run_kernel("rms_norm", {"token_count": 300}, 5, **through(x, out), **fields, **PER_TOKEN)
    assert np.all(np.any(out != 0.0, axis=1))
