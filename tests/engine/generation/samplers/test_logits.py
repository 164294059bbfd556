"""Samplers that change the logits of tokens: biases and penalties."""

import math
from collections import Counter

import numpy as np
import pytest

from tests.engine.generation.samplers.few import candidates, probabilities_of
from tui_llama.engine.generation.samplers.candidates import Candidates
from tui_llama.engine.generation.samplers.logits import LogitBias, Penalties, RecentTokens

FIVE = (0.2,) * 5


@pytest.mark.parametrize(
    ("tokens", "expected"),
    [
        ((0,), [0, 0.25, 0.25, 0.25, 0.25]),
        ((0, 1, 2), [0, 0, 0, 0.5, 0.5]),
        ((0, 1, 2, 0, 0), [0, 0, 0, 0.5, 0.5]),
    ],
)
def test_the_repeat_penalty_makes_used_tokens_less_likely(tokens: tuple[int, ...], expected: list[float]) -> None:
    step = Penalties(Counter(tokens), 50.0, 0.0, 0.0)
    assert probabilities_of(step.apply(candidates(FIVE))) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize(
    ("tokens", "expected"),
    [
        ((0,), [0.000011, 0.249997, 0.249997, 0.249997, 0.249997]),
        ((0, 1, 2), [0.000023, 0.000023, 0.000023, 0.499966, 0.499966]),
        ((0, 1, 2, 0, 0), [0.000000, 0.000023, 0.000023, 0.499977, 0.499977]),
    ],
)
def test_frequency_and_presence_are_subtracted(tokens: tuple[int, ...], expected: list[float]) -> None:
    step = Penalties(Counter(tokens), 1.0, 5.0, 5.0)
    assert probabilities_of(step.apply(candidates(FIVE))) == pytest.approx(expected, abs=1e-5)


def test_penalties_find_their_tokens_among_some_candidates() -> None:
    left = Candidates(np.array([4.0, 3.0, 2.0], np.float32), np.array([7, 2, 5], np.int32), is_sorted=True)
    after = Penalties(Counter([2, 2, 6, 9, 7]), 1.0, 1.0, 0.0).apply(left)
    assert after.logits.tolist() == [3.0, 1.0, 2.0]
    assert after.ids is not None and after.ids.tolist() == [7, 2, 5]
    assert not after.is_sorted


def test_biases_are_added() -> None:
    logits = np.array([1.0, 2.0, -math.inf, 3.0], np.float32)
    after = LogitBias({0: 2.5, 2: 5.0, 3: -math.inf}).apply(Candidates(logits))
    assert after.logits.tolist() == [3.5, 2.0, -math.inf, -math.inf]


def test_a_large_bias_stays_within_the_numbers() -> None:
    after = LogitBias({0: 1e300, 1: -1e300}).apply(Candidates(np.zeros(3, np.float32)))
    assert np.isfinite(after.logits).all()
    assert after.logits.argsort().tolist() == [1, 2, 0]


def test_the_end_of_a_prompt_counts_as_its_tokens_one_by_one() -> None:
    at_once, one_by_one = RecentTokens(3), RecentTokens(3)
    at_once.accept_all([1, 1, 2, 1, 3])
    for token_id in (1, 1, 2, 1, 3):
        one_by_one.accept(token_id)
    assert at_once.counts == one_by_one.counts == {1: 1, 2: 1, 3: 1}
