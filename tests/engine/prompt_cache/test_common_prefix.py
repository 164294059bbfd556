"""What two sequences of tokens have in common is the same for lists and arrays."""

import itertools

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tui_llama.engine.prompt_cache.common_prefix import common_prefix_length

TOKENS = st.lists(st.integers(0, 3), max_size=8)


@given(TOKENS, TOKENS)
def test_the_common_prefix_ends_at_the_first_difference(first: list[int], second: list[int]) -> None:
    equal = [one == other for one, other in zip(first, second, strict=False)]
    expected = len(list(itertools.takewhile(bool, equal)))
    assert common_prefix_length(first, second) == expected
    assert common_prefix_length(tuple(first), np.array(second, np.uint32)) == expected
    assert common_prefix_length(np.array(first, np.uint32), np.array(second, np.uint32)) == expected


def test_large_token_ids_are_told_apart() -> None:
    assert common_prefix_length([2**32 - 1, 2**32 - 2], np.array([2**32 - 1, 2**32 - 1], np.uint32)) == 1
