"""The cache's contract: append, rewind, length, rows out, rows in."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tui_llama.engine.state_shape import StateShape
from tui_llama.engine.tensors.kv_cache import CacheShape, KeyValueCache
from tui_llama.errors import CallerError, ShapeMismatchError

SHAPE = CacheShape(StateShape.uniform(layer_count=2, kv_heads=3, head_dim=8), context_size=70)
QUANTISED = CacheShape(StateShape.uniform(layer_count=2, kv_heads=3, head_dim=40, dtype="q8_0"), context_size=70)


def some_rows(tokens: int, seed: int = 0, shape: CacheShape = SHAPE) -> npt.NDArray[Any]:
    chance, sizes = np.random.default_rng(seed), shape.state.kv_shape(shape.state.groups[0], tokens)
    if shape.state.dtype == "q8_0":
        return chance.integers(0, 256, sizes, np.uint8)
    return chance.standard_normal(sizes).astype(np.float16)


@given(
    cuts=st.lists(st.integers(0, 70), min_size=1, max_size=5).map(sorted),
    wanted=st.tuples(st.integers(0, 70), st.integers(0, 70)).map(sorted),
    shape=st.sampled_from([SHAPE, QUANTISED]),
)
def test_rows_that_go_in_piece_by_piece_come_out(cuts: list[int], wanted: list[int], shape: CacheShape) -> None:
    cache, length = KeyValueCache(shape), cuts[-1]
    rows = some_rows(length, shape=shape)
    for first, last in zip([0, *cuts], cuts, strict=False):
        cache.fill(0, first, rows[:, first:last])
    cache.append(length)
    first, last = (min(place, length) for place in wanted)
    got = cache.kv(0, first, last)
    assert got.flags.c_contiguous
    np.testing.assert_array_equal(got, rows[:, first:last])


def test_filling_does_not_change_the_length() -> None:
    cache = KeyValueCache(SHAPE)
    cache.fill(0, 0, some_rows(20))
    assert cache.length == 0
    cache.append(20)
    assert cache.length == 20


def test_rewinding_keeps_what_comes_before() -> None:
    cache = KeyValueCache(SHAPE)
    rows = some_rows(40)
    cache.fill(0, 0, rows)
    cache.append(40)
    cache.rewind(17)
    np.testing.assert_array_equal(cache.kv(0, 0, 17), rows[:, :17])
    with pytest.raises(CallerError):
        cache.kv(0, 0, 18)


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


@pytest.mark.parametrize(
    ("first", "shape"),
    [(0, (2, 5, 3, 15)), (0, (2, 5, 2, 16)), (0, (1, 5, 3, 16)), (0, (2, 71, 3, 16)), (66, (2, 5, 3, 16)),
     (-1, (2, 5, 3, 16)), (0, (5, 3, 16))],
)  # fmt: skip
def test_rows_of_another_shape_are_refused(first: int, shape: tuple[int, ...]) -> None:
    with pytest.raises(ShapeMismatchError):
        KeyValueCache(SHAPE).fill(0, first, np.zeros(shape, np.float16))


def test_rows_of_another_type_are_refused() -> None:
    with pytest.raises(ShapeMismatchError):
        KeyValueCache(SHAPE).fill(0, 0, np.zeros((2, 5, 3, 16), np.float32))  # type: ignore[arg-type]


def test_rows_of_the_other_cache_type_are_refused() -> None:
    with pytest.raises(ShapeMismatchError):
        KeyValueCache(SHAPE).fill(0, 0, some_rows(5, shape=QUANTISED))
    with pytest.raises(ShapeMismatchError):
        KeyValueCache(QUANTISED).fill(0, 0, some_rows(5))


def test_a_quantised_cache_takes_about_half_the_memory() -> None:
    halves, quantised = (CacheShape(StateShape.uniform(16, 8, 64, kind), 4096) for kind in ("f16", "q8_0"))
    assert quantised.state.token_bytes * 32 == halves.state.token_bytes * 17
    assert quantised.keys_bytes * 32 == halves.keys_bytes * 17


def test_bytes_of_a_token_leave_padding_out() -> None:
    assert SHAPE.state.token_bytes == 2 * 2 * 2 * 3 * 8
    assert (SHAPE.width(8), SHAPE.padded_context) == (16, 128)
