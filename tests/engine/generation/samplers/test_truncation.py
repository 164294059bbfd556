"""Samplers that drop candidates, against llama.cpp's own values and naive twins."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.engine.generation.samplers.few import candidates, is_same, pairs, probabilities_of, random_logits
from tests.naive import samplers as naive
from tui_llama.engine.generation.samplers.candidates import Candidates
from tui_llama.engine.generation.samplers.random_numbers import UniformNumbers
from tui_llama.engine.generation.samplers.truncation import MinP, TopK, TopNSigma, TopP, TypicalP, Xtc

FOUR = (0.1, 0.2, 0.3, 0.4)
SIZES = st.integers(2, 60)
SEEDS = st.integers(0, 50)


# --- llama.cpp's own values ---


@pytest.mark.parametrize(
    ("k", "expected"),
    [(1, [1.0]), (3, [0.44444, 0.33333, 0.22222]), (4, [0.4, 0.3, 0.2, 0.1])],
)
def test_top_k_keeps_the_best_in_order(k: int, expected: list[float]) -> None:
    assert probabilities_of(TopK(k).apply(candidates(FOUR))) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize(
    ("p", "expected"),
    [(0.0, [1.0]), (0.7, [0.571429, 0.428571]), (0.8, [0.44444, 0.33333, 0.22222])],
)
def test_top_p_keeps_the_best_until_they_add_up(p: float, expected: list[float]) -> None:
    assert probabilities_of(TopP(p).apply(candidates(FOUR))) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize(
    ("p", "expected"),
    [
        (0.24, [0.1, 0.2, 0.3, 0.4]),
        (0.26, [0.22222, 0.33333, 0.44444]),
        (0.49, [0.22222, 0.33333, 0.44444]),
        (0.51, [0.428571, 0.571429]),
        (0.74, [0.428571, 0.571429]),
        (0.76, [1.0]),
        (1.0, [1.0]),
        (1.05, [1.0]),
    ],
)
def test_min_p_keeps_what_is_probable_enough_in_its_order(p: float, expected: list[float]) -> None:
    assert probabilities_of(MinP(p).apply(candidates(FOUR))) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize(
    ("probabilities", "expected"), [((0.97, 0.01, 0.01, 0.01), [1.0]), ((0.4, 0.2, 0.2, 0.2), [1 / 3] * 3)]
)
def test_typical_p_keeps_what_is_usual(probabilities: tuple[float, ...], expected: list[float]) -> None:
    assert probabilities_of(TypicalP(0.5).apply(candidates(probabilities))) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize(
    ("threshold", "expected"),
    [
        (0.09, [1.0]),
        (0.19, [0.66667, 0.33333]),
        (0.29, [0.5, 0.33333, 0.16667]),
        (0.39, [0.4, 0.3, 0.2, 0.1]),
    ],
)
def test_xtc_drops_the_likely_ones_but_the_last(threshold: float, expected: list[float]) -> None:
    left = Xtc(0.99, threshold, UniformNumbers(0)).apply(candidates(FOUR[::-1]))
    assert probabilities_of(left) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize(("n", "expected"), [(1.0, [0, 0, 0.428571, 0.571429]), (3.0, FOUR)])
def test_top_n_sigma_excludes_what_is_far_below_the_best(n: float, expected: tuple[float, ...]) -> None:
    assert probabilities_of(TopNSigma(n).apply(candidates(FOUR))) == pytest.approx(expected, abs=1e-5)


# --- naive twins ---


@given(size=SIZES, seed=SEEDS, n=st.floats(0.1, 4), excluded=st.integers(0, 1))
def test_top_n_sigma_is_as_its_naive_twin(size: int, seed: int, n: float, excluded: int) -> None:
    left = Candidates(random_logits(size, seed, excluded))
    assert is_same(TopNSigma(n).apply(left), naive.top_n_sigma(pairs(left), n))


@given(size=SIZES, seed=SEEDS, p=st.floats(0, 0.99), excluded=st.integers(0, 1), min_keep=st.integers(0, 8))
def test_typical_p_is_as_its_naive_twin(size: int, seed: int, p: float, excluded: int, min_keep: int) -> None:
    left = Candidates(random_logits(size, seed, excluded))
    found = TypicalP(p, min_keep).apply(left)
    # float32 and float64 may meet the limit a rounding error apart
    near = [naive.typical(pairs(left), limit, min_keep) for limit in (p - 1e-4, p, p + 1e-4)]
    assert any(is_same(found, expected) for expected in near)


@given(size=SIZES, seed=SEEDS, threshold=st.floats(0, 0.5), min_keep=st.integers(0, 8))
def test_xtc_is_as_its_naive_twin(size: int, seed: int, threshold: float, min_keep: int) -> None:
    left = Candidates(random_logits(size, seed))
    found = Xtc(1.0, threshold, UniformNumbers(seed), min_keep).apply(left)
    near = [naive.xtc(pairs(left), limit, min_keep) for limit in (threshold * 0.9999, threshold, threshold * 1.0001)]
    assert any(is_same(found, expected) for expected in near)


# --- other laws ---


def test_xtc_is_at_work_as_often_as_it_should_be() -> None:
    step = Xtc(0.3, 0.1, UniformNumbers(7))
    dropped = sum(len(step.apply(candidates(FOUR))) < 4 for _ in range(4000))
    assert dropped / 4000 == pytest.approx(0.3, abs=0.03)


def test_xtc_takes_a_random_number_of_32_bits() -> None:
    twister = np.random.RandomState(9)
    chances = [float(twister.randint(0, 2**32, dtype=np.uint32)) / 2**32 for _ in range(50)]
    step = Xtc(0.5, 0.1, UniformNumbers(9))
    assert [len(step.apply(candidates(FOUR))) < 4 for _ in range(50)] == [chance <= 0.5 for chance in chances]


def test_one_candidate_costs_xtc_no_random_number() -> None:
    numbers = UniformNumbers(1)
    Xtc(1.0, 0.1, numbers).apply(candidates([1.0]))
    assert numbers.next() == UniformNumbers(1).next()


@pytest.mark.parametrize("step", [TopP(0.1, 3), MinP(0.99, 3), TypicalP(0.1, 3), Xtc(1.0, 0.05, UniformNumbers(1), 3)])
def test_at_least_as_many_are_kept_as_asked_for(step: TopP | MinP | TypicalP | Xtc) -> None:
    assert len(step.apply(candidates(FOUR))) >= 3


def test_what_is_excluded_stays_so() -> None:
    logits = np.array([-math.inf, 1.0, 0.5, -math.inf], np.float32)
    for step in (TopNSigma(1.0), TypicalP(0.9), Xtc(1.0, 0.1, UniformNumbers(1))):
        left = step.apply(Candidates(logits))
        assert left.probabilities().sum() == pytest.approx(1)
        assert {token for token, logit in pairs(left) if logit > -math.inf} <= {1, 2}


@pytest.mark.parametrize("p", [0.0, 0.1, 0.5, 0.9, 0.999])
def test_top_p_finds_the_same_with_and_without_sorting_first(p: float) -> None:
    logits = random_logits(5000)
    unsorted = TopP(p).apply(Candidates(logits))
    presorted = TopP(p).apply(Candidates(logits).sorted())
    assert unsorted.ids is not None
    assert presorted.ids is not None
    assert abs(len(unsorted.ids) - len(presorted.ids)) <= 1  # the sum of all is added up in another order
    common = min(len(unsorted.ids), len(presorted.ids))
    assert np.array_equal(unsorted.ids[:common], presorted.ids[:common])
