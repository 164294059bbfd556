"""The cache's contract: append, rewind, length, rows out, rows in."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tui_llama.engine.kv_cache import CacheShape, KeyValueCache
from tui_llama.errors import CallerError, ShapeMismatchError

SHAPE = CacheShape(layer_count=2, kv_heads=3, head_dim=8, context_size=70)
QUANTISED = CacheShape(layer_count=2, kv_heads=3, head_dim=40, context_size=70, cache_type="q8_0")


def rows(tokens: int, seed: int = 0, shape: CacheShape = SHAPE) -> npt.NDArray[Any]:
    size, dtype = shape.row_type
    chance = np.random.default_rng(seed)
    if dtype == np.uint8:
        return chance.integers(0, 256, (tokens, shape.kv_heads, size), np.uint8)
    return chance.standard_normal((tokens, shape.kv_heads, size)).astype(dtype)


@given(tokens=st.integers(0, 70), seed=st.integers(0, 9), shape=st.sampled_from([SHAPE, QUANTISED]))
def test_rows_that_go_in_come_out(tokens: int, seed: int, shape: CacheShape) -> None:
    cache = KeyValueCache(shape)
    keys, values = rows(tokens, seed, shape), rows(tokens, seed + 100, shape)
    cache.fill_layer(1, keys, values)
    cache.publish(tokens)
    got_keys, got_values = cache.layer_rows(1)
    assert got_keys.flags.c_contiguous and got_values.flags.c_contiguous
    np.testing.assert_array_equal(got_keys, keys)
    np.testing.assert_array_equal(got_values, values)


def test_filling_does_not_change_the_length_until_it_is_published() -> None:
    cache = KeyValueCache(SHAPE)
    cache.fill_layer(0, rows(20), rows(20))
    assert cache.length == 0
    cache.publish(20)
    assert cache.length == 20


def test_rewinding_keeps_what_comes_before() -> None:
    cache = KeyValueCache(SHAPE)
    keys = rows(40)
    cache.fill_layer(0, keys, keys)
    cache.publish(40)
    cache.rewind(17)
    np.testing.assert_array_equal(cache.layer_rows(0)[0], keys[:17])


@pytest.mark.parametrize("length", [-1, 6])
def test_rewinding_to_where_there_is_nothing_is_refused(length: int) -> None:
    cache = KeyValueCache(SHAPE)
    cache.append(5)
    with pytest.raises(CallerError):
        cache.rewind(length)
    assert cache.length == 5


def test_more_tokens_than_fit_are_refused() -> None:
    cache = KeyValueCache(SHAPE)
    cache.append(70)
    with pytest.raises(CallerError):
        cache.append(1)
    assert cache.length == 70


@pytest.mark.parametrize("shape", [(5, 3, 7), (5, 2, 8), (71, 3, 8)])
def test_rows_of_another_shape_are_refused(shape: tuple[int, int, int]) -> None:
    wrong = np.zeros(shape, np.float16)
    with pytest.raises(ShapeMismatchError):
        KeyValueCache(SHAPE).fill_layer(0, wrong, wrong)


def test_rows_of_another_type_are_refused() -> None:
    wrong = np.zeros((5, 3, 8), np.float32)
    with pytest.raises(ShapeMismatchError):
        KeyValueCache(SHAPE).fill_layer(0, wrong, wrong)  # type: ignore[arg-type]


def test_rows_of_the_other_cache_type_are_refused() -> None:
    with pytest.raises(ShapeMismatchError):
        KeyValueCache(SHAPE).fill_layer(0, rows(5, shape=QUANTISED), rows(5, shape=QUANTISED))
    with pytest.raises(ShapeMismatchError):
        KeyValueCache(QUANTISED).fill_layer(0, rows(5), rows(5))


def test_a_quantised_cache_takes_about_half_the_memory() -> None:
    halves, quantised = (CacheShape(16, 8, 64, 4096, kind) for kind in ("f16", "q8_0"))
    assert quantised.bytes_per_token * 32 == halves.bytes_per_token * 17
    assert quantised.tile_bytes * 32 == halves.tile_bytes * 17


def test_bytes_of_a_token_leave_padding_out() -> None:
    assert SHAPE.bytes_per_token == 2 * 2 * 2 * 3 * 8
    assert (SHAPE.padded_head_dim, SHAPE.padded_context) == (16, 128)
