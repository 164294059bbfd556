"""Temperatures, fixed and dynamic."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.engine.generation.samplers.few import candidates, is_same, pairs, probabilities_of, random_logits
from tests.naive import samplers as naive
from tui_llama.engine.generation.samplers.candidates import Candidates
from tui_llama.engine.generation.samplers.temperature import DynamicTemperature, Temperature

FOUR = (0.1, 0.2, 0.3, 0.4)


def test_temperature_one_changes_no_probability() -> None:
    assert probabilities_of(Temperature(1.0).apply(candidates(FOUR))) == pytest.approx(FOUR, abs=1e-5)


def test_logits_are_divided() -> None:
    logits = np.array([-3.0, 1.5, 6.0], np.float32)
    assert Temperature(1.5).apply(Candidates(logits)).logits.tolist() == [-2.0, 1.0, 4.0]


@given(
    size=st.integers(2, 60),
    seed=st.integers(0, 50),
    least=st.floats(0.1, 1),
    reach=st.floats(0.01, 2),
    exponent=st.floats(0, 4),
)
def test_a_dynamic_temperature_is_as_its_naive_twin(
    size: int, seed: int, least: float, reach: float, exponent: float
) -> None:
    left = Candidates(random_logits(size, seed))
    found = DynamicTemperature(least, least + reach, exponent).apply(left)
    assert is_same(found, naive.dynamic_temperature(pairs(left), least, least + reach, exponent))


def test_where_all_are_equal_the_dynamic_temperature_is_the_highest() -> None:
    logits = np.array([2.0, 2.0], np.float32)
    assert DynamicTemperature(0.5, 4.0, 3.0).apply(Candidates(logits)).logits.tolist() == [0.5, 0.5]


def test_a_dynamic_temperature_of_nothing_leaves_the_best() -> None:
    logits = np.array([-80.0, 80.0, -90.0], np.float32)
    left = DynamicTemperature(0.0, 1.0, 1.0).apply(Candidates(logits))
    assert [left.token_id(place) for place in range(len(left))] == [1]
