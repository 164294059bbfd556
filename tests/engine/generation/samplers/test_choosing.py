"""What takes the token: chance, mirostat 1 and 2, and adaptive-p."""

import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.engine.generation.samplers.few import candidates, pairs, random_logits
from tests.naive import samplers as naive
from tui_llama.engine.generation.samplers.candidates import Candidates
from tui_llama.engine.generation.samplers.choosing import AdaptiveP, FirstMirostat, Mirostat, Random, draw, draw_place
from tui_llama.engine.generation.samplers.random_numbers import UniformNumbers

FOUR = (0.1, 0.2, 0.3, 0.4)
STEPS = 12


@pytest.mark.parametrize(
    ("uniform", "token_id"), [(0.0, 0), (0.0999, 0), (0.11, 1), (0.59, 2), (0.61, 3), (0.9999999, 3)]
)
def test_drawing_goes_by_running_sums(uniform: float, token_id: int) -> None:
    assert draw(candidates(FOUR), uniform) == token_id


def test_one_candidate_costs_a_random_number_where_chance_takes_it() -> None:
    # llama.cpp's own test, with its seed
    first, second = Random(UniformNumbers(4242)), Random(UniformNumbers(4242))
    first.choose(Candidates(np.zeros(1, np.float32)))
    second.choose(Candidates(np.zeros(2, np.float32)))
    equal = Candidates(np.zeros(256, np.float32))
    assert [first.choose(equal) for _ in range(4)] == [second.choose(equal) for _ in range(4)]


def test_one_candidate_costs_no_random_number_where_mirostat_takes_it() -> None:
    numbers = UniformNumbers(5)
    assert draw_place(np.ones(1, np.float32), numbers) == 0
    assert numbers.next() == UniformNumbers(5).next()


def test_a_place_without_probability_is_never_drawn() -> None:
    shares = np.array([0.0, 0.5, 0.5, 0.0], np.float32)
    numbers = UniformNumbers(3)
    assert {draw_place(shares, numbers) for _ in range(200)} == {1, 2}


@given(seed=st.integers(0, 2**32 - 1), tau=st.floats(0.5, 8), eta=st.floats(0, 0.5))
def test_mirostat_2_is_as_its_naive_twin(seed: int, tau: float, eta: float) -> None:
    chooser, twin = Mirostat(tau, eta, UniformNumbers(seed)), UniformNumbers(seed)
    most = 2 * tau
    for step in range(STEPS):
        left = Candidates(random_logits(50, step))
        ordered = naive.in_order(pairs(left))
        surprises = [-math.log2(chance) for chance in naive.probabilities(ordered)]
        kept = [pair for pair, surprise in zip(ordered, surprises, strict=True) if surprise <= most] or ordered[:1]
        chances = naive.probabilities(kept)
        place = naive.drawn_place(chances, twin.next()) if len(kept) > 1 else 0
        token = chooser.choose(left)
        if token != kept[place][0]:  # float32 and float64 may meet a limit a rounding error apart
            assert min(abs(surprise - most) for surprise in surprises) < 1e-3 or len(kept) > 1
            return
        most -= eta * (-math.log2(chances[place]) - tau)


@given(seed=st.integers(0, 50), surprise=st.floats(1, 12))
def test_mirostat_1_keeps_as_many_as_its_naive_twin(seed: int, surprise: float) -> None:
    left = Candidates(random_logits(300, seed))
    kept = FirstMirostat(surprise / 2, 0.1, UniformNumbers(1), 300)._kept(left)
    assert abs(len(kept) - min(300, naive.mirostat_count(pairs(left), surprise, 300))) <= 1


@pytest.mark.parametrize("chooser", [Mirostat, FirstMirostat])
def test_mirostat_keeps_the_surprise_that_it_aims_at(chooser: type[Mirostat]) -> None:
    numbers = UniformNumbers(11)
    mirostat = FirstMirostat(3.0, 0.2, numbers, 2000) if chooser is FirstMirostat else Mirostat(3.0, 0.2, numbers)
    surprises = []
    for step in range(400):
        left = Candidates(random_logits(2000, step % 7))
        token = mirostat.choose(left)
        kept = mirostat._kept(left)
        chances = dict(zip([token for token, _ in pairs(kept)], kept.probabilities().tolist(), strict=True))
        if token in chances:
            surprises.append(-math.log2(chances[token]))
    assert np.mean(surprises[100:]) == pytest.approx(3.0, abs=0.3)


@pytest.mark.parametrize("logits", [[0.0], [1.0, -math.inf], [0.0, 0.0], [-math.inf, 5.0, -math.inf]])
def test_mirostat_takes_what_is_allowed_where_its_formula_has_no_value(logits: list[float]) -> None:
    left = Candidates(np.array(logits, np.float32))
    for chooser in (Mirostat(5.0, 0.1, UniformNumbers(1)), FirstMirostat(5.0, 0.1, UniformNumbers(1), len(logits))):
        assert math.isfinite(logits[chooser.choose(left)])


@given(seed=st.integers(0, 2**32 - 1), target=st.floats(0, 1), decay=st.floats(0, 0.99))
def test_adaptive_p_prefers_what_its_naive_twin_prefers(seed: int, target: float, decay: float) -> None:
    chooser = AdaptiveP(target, decay, UniformNumbers(seed))
    total, weight = target / (1 - decay), 1 / (1 - decay)
    for step in range(STEPS):
        left = Candidates(random_logits(20, step))
        before = left.probabilities()
        wanted = min(max(2 * target - total / weight, 0.0), 1.0)
        assert chooser._preferred(left, before).tolist() == pytest.approx(
            naive.adaptive(pairs(left), wanted), rel=1e-2, abs=1e-4
        )
        token = chooser.choose(left)
        chooser.accept(token)
        total, weight = float(before[token]) + decay * total, 1 + decay * weight


def test_adaptive_p_takes_tokens_near_its_target() -> None:
    chooser = AdaptiveP(0.3, 0.9, UniformNumbers(2))
    counts = Counter(chooser.choose(candidates((0.6, 0.3, 0.05, 0.05))) for _ in range(1000))
    assert counts.most_common(1)[0][0] == 1


def test_adaptive_p_learns_from_no_other_token_than_its_own() -> None:
    chooser = AdaptiveP(0.5, 0.9, UniformNumbers(2))
    left = candidates((0.9, 0.1))
    before = chooser._preferred(left, left.probabilities()).tolist()
    token = chooser.choose(left)
    chooser.accept(1 - token)
    chooser.accept(token)
    assert chooser._preferred(left, left.probabilities()).tolist() == before


def test_adaptive_p_without_a_target_draws() -> None:
    chooser = AdaptiveP(-1.0, 0.9, UniformNumbers(2))
    counts = Counter(chooser.choose(candidates(FOUR)) for _ in range(8000))
    assert [counts[token] / 8000 for token in range(4)] == pytest.approx(FOUR, abs=0.02)


def test_adaptive_p_excludes_what_was_excluded() -> None:
    chooser = AdaptiveP(0.0, 0.9, UniformNumbers(2))
    left = Candidates(np.array([3.0, -math.inf, 1.0], np.float32))
    assert 1 not in {chooser.choose(left) for _ in range(200)}
