"""Rotary positions, and keys and values on their way into the cache, against their naive twins."""

import numpy as np
import numpy.typing as npt
import pytest

from tests.engine.kernels.kernel_bench import address, batch_of, run_kernel, through
from tests.naive import ops as naive
from tui_llama.engine.layouts import plan_row
from tui_llama.engine.machine.memory import padded, zeroed_array
from tui_llama.engine.state_shape import KvArray, StateShape
from tui_llama.engine.tensors.kv_cache import CacheShape, KeyValueCache

PER_TOKEN = {"per_token": plan_row.PER_TOKEN}
RNG = np.random.default_rng(7)


def random(*shape: int) -> npt.NDArray[np.float32]:
    return RNG.standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize("mode", [plan_row.NEIGHBOURS, plan_row.HALVES])
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
        x.reshape(tokens, heads, head_dim).astype(float), angles[first:], mode == plan_row.NEIGHBOURS
    )
    np.testing.assert_allclose(out[:, :, :head_dim], expected, rtol=1e-5, atol=1e-6)
    assert np.all(out[:, :, head_dim:] == 0.0)


def test_queries_grow_with_their_position_after_they_were_rotated() -> None:
    tokens, heads, head_dim, first, offset = 3, 2, 16, 9, -4
    x, out = random(tokens, heads * head_dim), np.zeros((tokens, heads * head_dim), np.float32)
    angles, factors = RNG.uniform(-3, 3, (8, head_dim // 2)), np.linspace(1, 2, 8, dtype=np.float32)
    table = np.stack([np.cos(angles), np.sin(angles)], axis=-1).astype(np.float32)
    sizes = {"head_dim": head_dim, "padded_head_dim": head_dim, "rotated_dim": head_dim, "heads": heads}
    fields = {"extra": address(table), "extra_stride": table.strides[0], "weight": address(factors)}
    batch = {"token_count": tokens, "first_position": first, "rotation_offset": offset}
    run_kernel("rotate_queries", batch, **through(x, out), **sizes, **fields, **PER_TOKEN)
    seen = slice(first + offset, first + offset + tokens)
    queries = x.reshape(tokens, heads, head_dim).astype(float)
    expected = naive.rotate(queries, angles[seen], neighbours=True) * factors[seen, None, None]
    np.testing.assert_allclose(out.reshape(expected.shape), expected, rtol=1e-5, atol=1e-6)


def stored(
    keys: npt.NDArray[np.float32], values: npt.NDArray[np.float32], heads: int, first: int, cache_type: str
) -> KeyValueCache:
    """A cache that the kernels have filled with rows (tokens, heads · head_dim) in layer 1, without rotation."""
    tokens, head_dim = len(keys), keys.shape[1] // heads
    cache = KeyValueCache(CacheShape(StateShape.uniform(2, heads, head_dim, cache_type), 64))
    table = np.zeros((64, head_dim // 2, 2), np.float32)
    table[..., 0] = 1.0
    common = {
        "head_dim": head_dim, "padded_head_dim": cache.shape.width(head_dim), "rotated_dim": head_dim,
        **cache.shape.row_fields(1), **PER_TOKEN,
    }  # fmt: skip
    batch = batch_of(cache, tokens, first)
    angles = {"extra": address(table), "extra_stride": table.strides[0]}
    run_kernel("store_keys", batch, input=address(keys), input_stride=keys.strides[0], **angles, **common)
    run_kernel("store_values", batch, input=address(values), input_stride=values.strides[0], **common)
    cache.append(first + tokens)
    return cache


def planes_of(cache: KeyValueCache, first: int) -> tuple[KvArray, KvArray]:
    """The keys and values of layer 1 from a position on."""
    state = cache.shape.state
    return list(state.layers(state.groups[0], cache.kv(0, first, cache.length)))[1]


@pytest.mark.parametrize("cache_type", ["f16", "q8_0"])
@pytest.mark.parametrize("head_dim", [8, 64, 80])
def test_stored_keys_and_values_come_back_as_rows(head_dim: int, cache_type: str) -> None:
    tokens, heads, first = 5, 3, 30
    keys, values = random(tokens, heads * head_dim), random(tokens, heads * head_dim)
    keys[1] = 0.0
    cache = stored(keys, values, heads, first, cache_type)
    for rows_, x in zip(planes_of(cache, first), (keys, values), strict=True):
        np.testing.assert_array_equal(rows_, naive.cache_rows(x.reshape(tokens, heads, head_dim), cache_type))
    assert not cache.kv(0, 0, first + tokens)[0].any()


@pytest.mark.parametrize("cache_type", ["f16", "q8_0"])
def test_what_is_stored_is_finite_and_so_is_what_is_too_small(cache_type: str) -> None:
    keys = random(2, 32)
    keys[0, :3] = [1e30, -1e30, 70000.0]
    keys[1] *= np.float32(1e-12)
    cache = stored(keys, keys, 1, 0, cache_type)
    for plane in planes_of(cache, 0):
        back = naive.from_cache_rows(plane, 32)
        assert np.isfinite(back).all()
        assert np.abs(back[0, 0, :2]).min() > 60000.0
        assert np.abs(back[1]).max() < 1e-6
