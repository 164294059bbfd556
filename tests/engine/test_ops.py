"""The plain kernels against their naive twins."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from tests.engine.kernel_bench import address, run_kernel
from tests.naive import ops as naive
from tui_llama.engine import attention_kernels, cache_kernels, rows
from tui_llama.engine.activations import (
    SCALED_SUM_AT,
    START_32_AT,
    START_256_AT,
    SUMMARY_BYTES,
    SUMS_AT,
    activation_bytes,
)
from tui_llama.engine.kv_cache import CacheShape, KeyValueCache
from tui_llama.engine.memory import padded, zeroed_array

PER_TOKEN = {"per_token": rows.PER_TOKEN}
RNG = np.random.default_rng(7)


def random(*shape: int) -> npt.NDArray[np.float32]:
    return RNG.standard_normal(shape).astype(np.float32)


def through(source: npt.NDArray[np.float32], target: npt.NDArray[np.float32]) -> dict[str, int]:
    return {
        "input": address(source), "input_stride": source.strides[0],
        "output": address(target), "output_stride": target.strides[0],
    }  # fmt: skip


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


@pytest.mark.parametrize("columns", [16, 96])
def test_gate_agrees_with_its_twin_also_far_from_zero(columns: int) -> None:
    gates, ups = random(3, columns), random(3, columns)
    gates[0, :6] = [-200.0, -88.5, -87.0, 0.0, 60.0, 200.0]
    expected = naive.gate(np.maximum(gates.astype(float), -700.0), ups.astype(float))
    fields = {"extra": address(ups), "extra_stride": ups.strides[0], "columns": columns}
    run_kernel("gate", {"token_count": 3}, **through(gates, gates), **fields, **PER_TOKEN)
    np.testing.assert_allclose(gates, expected, rtol=2e-6, atol=1e-35)


@pytest.mark.parametrize("mode", [cache_kernels.NEIGHBOURS, cache_kernels.HALVES])
@pytest.mark.parametrize(("head_dim", "rotated"), [(8, 8), (16, 16), (80, 80), (64, 32)])
def test_rotated_queries_agree_with_their_twin(mode: int, head_dim: int, rotated: int) -> None:
    tokens, heads, first = 3, 2, 5
    x = random(tokens, heads * head_dim)
    out = zeroed_array((tokens, heads, padded(head_dim)), np.float32).view(np.float32)
    angles = RNG.uniform(-3, 3, (first + tokens, rotated // 2))
    table = np.stack([np.cos(angles), np.sin(angles)], axis=-1).astype(np.float32)
    sizes = {
        "head_dim": head_dim,
        "padded_head_dim": padded(head_dim),
        "rotated_dim": rotated,
        "heads": heads,
    }
    fields = {"extra": address(table), "extra_stride": table.strides[0], "mode": mode}
    batch = {"token_count": tokens, "first_position": first}
    run_kernel("rotate_queries", batch, **through(x, out), **sizes, **fields, **PER_TOKEN)
    expected = naive.rotate(
        x.reshape(tokens, heads, head_dim).astype(float), angles[first:], mode == cache_kernels.NEIGHBOURS
    )
    np.testing.assert_allclose(out[:, :, :head_dim], expected, rtol=1e-5, atol=1e-6)
    assert np.all(out[:, :, head_dim:] == 0.0)


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
        for offset, at in START_256_AT.items():
            np.testing.assert_array_equal(numbers(at, offset, np.int32), -offset * sums(256 // offset))


def filled_cache(
    positions: int, kv_heads: int, head_dim: int, layer: int, cache_type: str = "f16"
) -> tuple[KeyValueCache, list[npt.NDArray[np.float64]]]:
    """A cache, and the keys and values in it, (positions, kv_heads, head_dim)."""
    shape = CacheShape(2, kv_heads, head_dim, padded(positions, 64) + 64, cache_type)
    cache = KeyValueCache(shape)
    components = [random(positions, kv_heads, head_dim) for _ in range(2)]
    planes = [naive.cache_rows(x, cache_type) for x in components]
    cache.fill_layer(layer, planes[0], planes[1])
    cache.publish(positions)
    return cache, [naive.from_cache_rows(plane, head_dim) for plane in planes]


def batch_of(cache: KeyValueCache, tokens: int, first: int) -> dict[str, int]:
    return {
        "keys": cache.keys_address, "values": cache.values_address, "token_count": tokens, "first_position": first,
        "context_size": cache.shape.padded_context,
    }  # fmt: skip


def run_attention(
    cache: KeyValueCache, queries: npt.NDArray[np.float32], first: int, threads: int = 1, **fields: Any
) -> npt.NDArray[np.float32]:
    """Attention of queries, (tokens, heads, head_dim) from position `first` on, in layer 1; 16 rows share a unit."""
    tokens, heads, head_dim = queries.shape
    kv_heads, width = cache.shape.kv_heads, cache.shape.padded_head_dim
    wide = zeroed_array((tokens, heads, width), np.float32).view(np.float32)
    wide[:, :, :head_dim] = queries
    out = random(tokens, heads * head_dim)
    runs = -(-(first + tokens) // attention_kernels.RUN_POSITIONS)
    shared = zeroed_array((attention_kernels.shared_bytes(width, kv_heads, runs),), np.uint8)
    sharing = {"shared": address(shared), "shared_runs": runs, "units": 4 * kv_heads}
    run_kernel(
        "attention", batch_of(cache, tokens, first), threads, **through(wide, out), head_dim=head_dim,
        padded_head_dim=width, heads=heads, kv_heads=kv_heads, layer=1, scale=0.3,
        cache_type=cache.shape.kernel_type, per_token=rows.PER_TOKEN_GROUP,
        **{"tokens_per_unit": max(1, 16 * kv_heads // heads), **sharing, **fields},
    )  # fmt: skip
    return out.reshape(tokens, heads, head_dim)


@pytest.mark.parametrize(
    ("head_dim", "heads", "kv_heads", "tokens", "first"),
    [
        (8, 8, 4, 1, 0), (8, 8, 4, 5, 60), (16, 4, 4, 1, 63), (64, 8, 2, 9, 0), (64, 4, 1, 1, 200),
        (64, 7, 1, 3, 130), (80, 3, 3, 33, 1), (128, 8, 1, 2, 64), (16, 32, 1, 2, 100), (64, 8, 2, 40, 1000),
        (32, 2, 1, 1, 1500), (96, 4, 2, 1, 511), (16, 1, 1, 3, 511),
    ],
)  # fmt: skip
@pytest.mark.parametrize("cache_type", ["f16", "q8_0"])
def test_attention_agrees_with_its_twin(
    cache_type: str, head_dim: int, heads: int, kv_heads: int, tokens: int, first: int
) -> None:
    cache, (keys, values) = filled_cache(first + tokens, kv_heads, head_dim, layer=1, cache_type=cache_type)
    queries = random(tokens, heads, head_dim)
    expected = naive.attention(queries.astype(float), keys, values, first, 0.3)
    for threads in (1, 2):
        out = run_attention(cache, queries, first, threads)
        np.testing.assert_allclose(out, expected, rtol=2e-5, atol=2e-6)


@pytest.mark.parametrize("window", [1, 16, 63, 64, 65, 300])
@pytest.mark.parametrize(("tokens", "first"), [(1, 0), (7, 58), (70, 100), (1, 700)])
def test_a_window_hides_what_has_left_it(window: int, tokens: int, first: int) -> None:
    cache, (keys, values) = filled_cache(first + tokens, 1, 32, layer=1)
    queries = random(tokens, 2, 32)
    expected = naive.attention(queries.astype(float), keys, values, first, 0.3, window=window)
    np.testing.assert_allclose(run_attention(cache, queries, first, window=window), expected, rtol=2e-5, atol=2e-6)


@pytest.mark.parametrize("soft_cap", [0.5, 5.0, 50.0])
def test_scores_level_off_at_a_soft_cap(soft_cap: float) -> None:
    cache, (keys, values) = filled_cache(100, 1, 32, layer=1)
    queries = random(3, 2, 32) * np.float32(5.0)
    expected = naive.attention(queries.astype(float), keys, values, 97, 0.3, soft_cap=soft_cap)
    np.testing.assert_allclose(run_attention(cache, queries, 97, soft_cap=soft_cap), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("sinks", [(-3.0, 0.5), (40.0, -40.0), (-120.0, 3.0)])
def test_sinks_take_weight_away_and_give_nothing(sinks: tuple[float, float]) -> None:
    cache, (keys, values) = filled_cache(600, 1, 32, layer=1)
    queries, scores = random(2, 2, 32), np.array(sinks, np.float32)
    expected = naive.attention(queries.astype(float), keys, values, 598, 0.3, sinks=scores.astype(float))
    np.testing.assert_allclose(
        run_attention(cache, queries, 598, extra=address(scores)), expected, rtol=2e-5, atol=2e-6
    )


@pytest.mark.parametrize("options", [{}, {"window": 70}, {"window": 520}, {"soft_cap": 2.0}])
@pytest.mark.parametrize(
    ("heads", "kv_heads", "head_dim", "cache_type"), [(4, 1, 64, "f16"), (2, 2, 80, "f16"), (4, 1, 64, "q8_0")]
)
def test_attention_has_the_same_bits_whatever_goes_together(
    heads: int, kv_heads: int, head_dim: int, cache_type: str, options: dict[str, Any]
) -> None:
    positions = 1100
    cache, _ = filled_cache(positions, kv_heads, head_dim, layer=1, cache_type=cache_type)
    for first in (0, 500, 1024):
        queries = random(min(60, positions - first), heads, head_dim)
        together = run_attention(cache, queries, first, tokens_per_unit=30, **options).tobytes()
        for threads, changes in [
            (1, {"shared_runs": 0}),
            (3, {}),
            (2, {"tokens_per_unit": 2}),
            (1, {"units": kv_heads}),
        ]:
            other = run_attention(cache, queries, first, threads, **options, **changes)
            assert other.tobytes() == together
        alone = [run_attention(cache, queries[i : i + 1], first + i, 2, **options) for i in range(len(queries))]
        assert np.concatenate(alone).tobytes() == together


def stored(
    keys: npt.NDArray[np.float32], values: npt.NDArray[np.float32], heads: int, first: int, cache_type: str
) -> KeyValueCache:
    """A cache that the kernels have filled with rows (tokens, heads · head_dim) in layer 1, without rotation."""
    tokens, head_dim = len(keys), keys.shape[1] // heads
    cache = KeyValueCache(CacheShape(2, heads, head_dim, 64, cache_type))
    table = np.zeros((64, head_dim // 2, 2), np.float32)
    table[..., 0] = 1.0
    common = {
        "layer": 1, "head_dim": head_dim, "padded_head_dim": cache.shape.padded_head_dim, "rotated_dim": head_dim,
        "kv_heads": heads, "cache_type": cache.shape.kernel_type, **PER_TOKEN,
    }  # fmt: skip
    batch = batch_of(cache, tokens, first)
    angles = {"extra": address(table), "extra_stride": table.strides[0]}
    run_kernel("store_keys", batch, input=address(keys), input_stride=keys.strides[0], **angles, **common)
    run_kernel("store_values", batch, input=address(values), input_stride=values.strides[0], **common)
    cache.publish(first + tokens)
    return cache


@pytest.mark.parametrize("cache_type", ["f16", "q8_0"])
@pytest.mark.parametrize("head_dim", [8, 64, 80])
def test_stored_keys_and_values_come_back_as_rows(head_dim: int, cache_type: str) -> None:
    tokens, heads, first = 5, 3, 30
    keys, values = random(tokens, heads * head_dim), random(tokens, heads * head_dim)
    keys[1] = 0.0
    cache = stored(keys, values, heads, first, cache_type)
    for rows_, x in zip(cache.layer_rows(1), (keys, values), strict=True):
        np.testing.assert_array_equal(rows_[first:], naive.cache_rows(x.reshape(tokens, heads, head_dim), cache_type))
    assert not cache.layer_rows(0)[0].any()


@pytest.mark.parametrize("cache_type", ["f16", "q8_0"])
def test_what_is_stored_is_finite_and_so_is_what_is_too_small(cache_type: str) -> None:
    keys = random(2, 32)
    keys[0, :3] = [1e30, -1e30, 70000.0]
    keys[1] *= np.float32(1e-12)
    cache = stored(keys, keys, 1, 0, cache_type)
    for plane in cache.layer_rows(1):
        back = naive.from_cache_rows(plane, 32)
        assert np.isfinite(back).all()
        assert np.abs(back[0, 0, :2]).min() > 60000.0
        assert np.abs(back[1]).max() < 1e-6


def test_rows_without_a_barrier_do_all_their_units_with_many_threads() -> None:
    x, out, weight = random(300, 16), np.zeros((300, 16), np.float32), np.ones(16, np.float32)
    fields = {"weight": address(weight), "columns": 16, "heads": 1}
    run_kernel("rms_norm", {"token_count": 300}, 5, **through(x, out), **fields, **PER_TOKEN)
    assert np.all(np.any(out != 0.0, axis=1))
