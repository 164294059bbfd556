"""Attention against its naive twin, and the same bits whatever goes together."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from tests.engine.kernels.kernel_bench import address, batch_of, run_kernel, through
from tests.naive import ops as naive
from tui_llama.engine.layouts import attention, plan_row
from tui_llama.engine.machine.memory import padded, zeroed_array
from tui_llama.engine.state_shape import LayerGroup, StateShape
from tui_llama.engine.tensors.distances import slopes_of
from tui_llama.engine.tensors.kv_cache import CacheShape, KeyValueCache

PER_TOKEN = {"per_token": plan_row.PER_TOKEN}
SLOPES = slopes_of(4, 8.0)
RNG = np.random.default_rng(7)


def random(*shape: int) -> npt.NDArray[np.float32]:
    return RNG.standard_normal(shape).astype(np.float32)


def filled_cache(
    positions: int, kv_heads: int, head_dim: int, layer: int, cache_type: str = "f16"
) -> tuple[KeyValueCache, list[npt.NDArray[np.float64]]]:
    """A cache, and the keys and values in it, (positions, kv_heads, head_dim)."""
    shape = CacheShape(StateShape.uniform(2, kv_heads, head_dim, cache_type), padded(positions, 64) + 64)
    cache = KeyValueCache(shape)
    components = [random(positions, kv_heads, head_dim) for _ in range(2)]
    planes = [naive.cache_rows(x, cache_type) for x in components]
    rows: Any = np.zeros(shape.state.kv_shape(shape.state.groups[0], positions), planes[0].dtype)
    rows[layer] = np.concatenate(planes, axis=-1)
    cache.fill(0, 0, rows)
    cache.append(positions)
    return cache, [naive.from_cache_rows(plane, head_dim) for plane in planes]


def some_rows(
    group: LayerGroup, positions: int, cache_type: str
) -> tuple[Any, tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]]:
    """Random keys and values of one layer as a cache takes them, and what they stand for."""
    dims = (group.key_dim, group.value_dim)
    planes = [naive.cache_rows(random(positions, group.kv_heads, dim), cache_type) for dim in dims]
    keys, values = (naive.from_cache_rows(plane, dim) for plane, dim in zip(planes, dims, strict=True))
    return np.concatenate(planes, axis=-1)[None], (keys, values)


def cache_of_group(
    group: LayerGroup, positions: int, cache_type: str
) -> tuple[KeyValueCache, tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]]:
    """A filled cache of one group of layers, and its keys and values."""
    cache = KeyValueCache(CacheShape(StateShape((group,), cache_type), padded(positions, 64) + 64))
    rows, components = some_rows(group, positions, cache_type)
    cache.fill(0, 0, rows)
    cache.append(positions)
    return cache, components


def run_attention(
    cache: KeyValueCache, queries: npt.NDArray[np.float32], first: int, threads: int = 1, **fields: Any
) -> npt.NDArray[np.float32]:
    """Attention of queries, (tokens, heads, head_dim) from position `first` on, in layer 1; 16 rows share a unit."""
    tokens, heads, head_dim = queries.shape
    fields = cache.shape.row_fields(1) | fields
    kv_heads, width = fields["kv_heads"], cache.shape.width(head_dim)
    wide = zeroed_array((tokens, heads, width), np.float32).view(np.float32)
    wide[:, :, :head_dim] = queries
    out = random(tokens, heads * fields["value_dim"])
    runs = -(-(first + tokens) // attention.RUN_POSITIONS)
    shared = zeroed_array((attention.shared_bytes(fields["padded_value_dim"], kv_heads, runs),), np.uint8)
    sharing = {"shared": address(shared), "shared_runs": runs, "units": 4 * kv_heads}
    run_kernel(
        "attention", batch_of(cache, tokens, first), threads, **through(wide, out), head_dim=head_dim,
        padded_head_dim=width, heads=heads, scale=0.3, per_token=plan_row.PER_TOKEN_GROUP,
        **{"tokens_per_unit": max(1, 16 * kv_heads // heads), **sharing, **fields},
    )  # fmt: skip
    return out.reshape(tokens, heads, fields["value_dim"])


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


@pytest.mark.parametrize("window", [64, 70, 512])
@pytest.mark.parametrize(("tokens", "first"), [(1, 0), (90, 30), (1, 639), (3, 511)])
def test_a_chunk_hides_what_lies_before_it(window: int, tokens: int, first: int) -> None:
    cache, (keys, values) = filled_cache(first + tokens, 1, 32, layer=1)
    queries = random(tokens, 2, 32)
    expected = naive.attention(queries.astype(float), keys, values, first, 0.3, window=window, chunked=True)
    out = run_attention(cache, queries, first, window=window, mode=plan_row.CHUNKED)
    np.testing.assert_allclose(out, expected, rtol=2e-5, atol=2e-6)


@pytest.mark.parametrize(("key_dim", "value_dim"), [(48, 16), (40, 72), (24, 24)])
@pytest.mark.parametrize(("tokens", "heads"), [(1, 2), (40, 4)])
@pytest.mark.parametrize("cache_type", ["f16", "q8_0"])
def test_values_may_be_of_another_size_than_keys(
    key_dim: int, value_dim: int, tokens: int, heads: int, cache_type: str
) -> None:
    first = 70
    group = LayerGroup((1,), 2, key_dim, value_dim)
    cache, rows = cache_of_group(group, first + tokens, cache_type)
    queries = random(tokens, heads, key_dim)
    expected = naive.attention(queries.astype(float), *rows, first, 0.3)
    for threads in (1, 2):
        np.testing.assert_allclose(run_attention(cache, queries, first, threads), expected, rtol=2e-5, atol=2e-6)


@pytest.mark.parametrize(("tokens", "heads", "first"), [(1, 1, 0), (1, 16, 700), (5, 64, 130), (33, 4, 511)])
@pytest.mark.parametrize("cache_type", ["f16", "q8_0"])
def test_values_may_be_the_first_components_of_keys(tokens: int, heads: int, first: int, cache_type: str) -> None:
    cache, (keys, _) = cache_of_group(LayerGroup((1,), 1, 80, 0), first + tokens, cache_type)
    queries = random(tokens, heads, 80)
    expected = naive.attention(queries.astype(float), keys, keys[..., :64], first, 0.3)
    fields = {"values_in_keys": 1, "value_dim": 64, "padded_value_dim": 64}
    bits = []
    for threads, rows_together in ((1, 16), (2, 64), (1, 128)):
        tokens_per_unit = max(1, rows_together // heads)
        out = run_attention(cache, queries, first, threads, tokens_per_unit=tokens_per_unit, **fields)
        np.testing.assert_allclose(out, expected, rtol=2e-5, atol=2e-6)
        bits.append(out.tobytes())
    assert len(set(bits)) == 1


@pytest.mark.parametrize("mode", [plan_row.SLIDING, plan_row.CHUNKED])
@pytest.mark.parametrize("cache_type", ["f16", "q8_0"])
def test_a_ring_gives_the_bits_of_a_cache_that_keeps_everything(mode: int, cache_type: str) -> None:
    window, positions = 100, 1000
    dims = (2, 32, 48, window)
    ring = CacheShape(StateShape((LayerGroup((1,), *dims),), cache_type), 4096, batch_tokens=8)
    whole = CacheShape(StateShape((LayerGroup((1,), *dims[:3]),), cache_type), 4096)
    assert ring.positions(ring.state.groups[0]) == 640
    rows, _ = some_rows(LayerGroup((1,), *dims), positions, cache_type)
    caches = [KeyValueCache(ring), KeyValueCache(whole)]
    for cache in caches:
        for first in range(0, positions, 200):
            cache.fill(0, first, rows[:, first : first + 200])
        cache.append(positions)
    assert caches[0].kept_from(0) == positions - 640
    assert caches[0].kv(0, 400, positions).tobytes() == caches[1].kv(0, 400, positions).tobytes()
    for first, tokens in ((990, 10), (700, 1), (639, 8)):
        queries = random(tokens, 4, 32)
        ours, theirs = (run_attention(cache, queries, first, 2, window=window, mode=mode) for cache in caches)
        assert ours.tobytes() == theirs.tobytes()


@pytest.mark.parametrize("soft_cap", [0.5, 5.0, 50.0])
def test_scores_level_off_at_a_soft_cap(soft_cap: float) -> None:
    cache, (keys, values) = filled_cache(100, 1, 32, layer=1)
    queries = random(3, 2, 32) * np.float32(5.0)
    expected = naive.attention(queries.astype(float), keys, values, 97, 0.3, soft_cap=soft_cap)
    np.testing.assert_allclose(run_attention(cache, queries, 97, soft_cap=soft_cap), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("heads", "kv_heads"), [(2, 1), (6, 2), (3, 3)])
@pytest.mark.parametrize(("tokens", "first"), [(1, 0), (40, 60), (5, 1020)])
@pytest.mark.parametrize("options", [{}, {"window": 70}, {"soft_cap": 3.0}])
def test_scores_fall_with_distance(heads: int, kv_heads: int, tokens: int, first: int, options: dict[str, Any]) -> None:
    cache, (keys, values) = filled_cache(first + tokens, kv_heads, 32, layer=1)
    queries, slopes = random(tokens, heads, 32), slopes_of(heads, 8.0)
    expected = naive.attention(queries.astype(float), keys, values, first, 0.3, slopes=slopes.astype(float), **options)
    for threads in (1, 2):
        out = run_attention(cache, queries, first, threads, slopes=address(slopes), **options)
        np.testing.assert_allclose(out, expected, rtol=1e-4, atol=1e-5)


def test_far_apart_scores_give_weights_that_are_exact_or_nothing() -> None:
    cache, (keys, values) = filled_cache(300, 1, 32, layer=1)
    queries = random(4, 2, 32) * np.float32(60.0)
    expected = naive.attention(queries.astype(float), keys, values, 296, 0.3)
    np.testing.assert_allclose(run_attention(cache, queries, 296), expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("sinks", [(-3.0, 0.5), (40.0, -40.0), (-120.0, 3.0)])
def test_sinks_take_weight_away_and_give_nothing(sinks: tuple[float, float]) -> None:
    cache, (keys, values) = filled_cache(600, 1, 32, layer=1)
    queries, scores = random(2, 2, 32), np.array(sinks, np.float32)
    expected = naive.attention(queries.astype(float), keys, values, 598, 0.3, sinks=scores.astype(float))
    np.testing.assert_allclose(
        run_attention(cache, queries, 598, extra=address(scores)), expected, rtol=2e-5, atol=2e-6
    )


@pytest.mark.parametrize(
    "options", [{}, {"window": 70}, {"window": 520}, {"soft_cap": 2.0}, {"slopes": address(SLOPES)}]
)
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
