"""The chain of samplers against a naive twin and the laws of chance."""

import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from tests.engine.generation.samplers.few import random_logits
from tests.naive import sampling as naive
from tui_llama.engine.generation.samplers.building import Builder
from tui_llama.engine.generation.samplers.candidates import Candidates, FloatArray
from tui_llama.engine.generation.samplers.chain import SamplerChain
from tui_llama.engine.generation.samplers.random_numbers import UniformNumbers
from tui_llama.errors import CallerError, EngineError, SettingsError, ShapeMismatchError
from tui_llama.sampling.chain import chain_names
from tui_llama.sampling.settings import SamplingSettings
from tui_llama.sampling.texts import LETTERS, samplers_text

FOUR = (0.1, 0.2, 0.3, 0.4)
PLAIN = SamplingSettings(seed=1, top_k=0, top_p=1, min_p=0, temperature=1)


@pytest.mark.parametrize(
    ("top_k", "top_p", "min_p"),
    [
        (100, 1.0, 0.0),
        (0, 0.8, 0.0),
        (0, 1.0, 0.1),
        (100, 0.8, 0.1),
        (100, 0.8, 0.9999),
        (0, 0.0002, 0.0),
        (9000, 0.99, 0.05),
    ],
)
def test_a_queue_of_steps_keeps_what_follows_from_the_formulas(top_k: int, top_p: float, min_p: float) -> None:
    logits = np.log(np.arange(1, 10001, dtype=np.float32))
    left = Candidates(logits)
    settings = SamplingSettings(top_k=top_k, top_p=top_p, min_p=min_p, temperature=1)
    builder = Builder(settings, len(logits), 0, None)
    for name in chain_names(settings)[:-1]:
        left = builder.step(name).apply(left)
    expected = naive.chain(logits.tolist(), settings)
    assert abs(len(left.logits) - len(expected)) <= 1  # sums in float32 may meet the limit a token later
    assert left.token_id(int(left.logits.argmax())) == 9999


# --- the chain ---


def test_the_default_chain_names_its_steps() -> None:
    chain = SamplerChain(SamplingSettings(), 10)
    assert str(chain) == "top_k 40 → top_p 0.95 → min_p 0.05 → temperature 0.8 → random"


def test_penalties_come_first() -> None:
    chain = SamplerChain(SamplingSettings(repeat_penalty=1.1, presence_penalty=0.5, temperature=0), 10)
    assert str(chain) == "penalties last 64 repeat 1.1 presence 0.5 → greedy"


def test_steps_that_do_nothing_are_left_out() -> None:
    assert str(SamplerChain(structs.replace(PLAIN, penalty_last_n=0, repeat_penalty=2), 10)) == "random"


@given(
    settings=st.builds(
        SamplingSettings,
        seed=st.integers(0, 2**32 - 1),
        top_k=st.integers(1, 60),
        top_p=st.floats(0.01, 1),
        min_p=st.floats(0, 0.9),
        temperature=st.floats(0.1, 3),
    )
)
def test_the_chain_draws_as_its_naive_twin(settings: SamplingSettings) -> None:
    assert settings.seed is not None
    logits = random_logits(50, settings.seed % 7)
    drawn = SamplerChain(settings, 50).sample(logits)
    uniform = UniformNumbers(settings.seed).next()
    # float32 and float64 may meet a limit, or the drawn number, a rounding error apart
    near_limits = (
        SamplingSettings(top_k=settings.top_k, top_p=top_p, min_p=min_p, temperature=settings.temperature)
        for top_p in (settings.top_p - 1e-4, settings.top_p + 1e-4)
        for min_p in (settings.min_p * 0.9999, settings.min_p * 1.0001)
    )
    near_draws = (uniform - 1e-4, uniform, uniform + 1e-4)
    assert drawn in {naive.draw(naive.chain(logits.tolist(), near), at) for near in near_limits for at in near_draws}


def test_the_same_seed_gives_the_same_tokens() -> None:
    logits = random_logits(1000)
    first, second = (SamplerChain(SamplingSettings(seed=7), 1000) for _ in range(2))
    assert [first.sample(logits) for _ in range(50)] == [second.sample(logits) for _ in range(50)]


def test_without_a_seed_every_chain_draws_its_own() -> None:
    seeds = {SamplerChain(SamplingSettings(), 10).seed for _ in range(5)}
    assert len(seeds) > 1


def test_the_seed_in_use_repeats_the_chain() -> None:
    logits = random_logits(1000)
    chain = SamplerChain(SamplingSettings(), 1000)
    again = SamplerChain(SamplingSettings(seed=chain.seed), 1000)
    assert [chain.sample(logits) for _ in range(20)] == [again.sample(logits) for _ in range(20)]


def test_tokens_are_drawn_as_often_as_they_are_probable() -> None:
    chain = SamplerChain(PLAIN, 4)
    logits = np.log(np.array(FOUR, np.float32))
    counts = Counter(chain.sample(logits) for _ in range(20000))
    assert [counts[token_id] / 20000 for token_id in range(4)] == pytest.approx(FOUR, abs=0.015)


def test_greedy_takes_the_lowest_id_of_equals() -> None:
    chain = SamplerChain(SamplingSettings(temperature=0), 4)
    assert chain.sample(np.array([1, 3, 3, 2], np.float32)) == 1


def test_greedy_listens_to_penalties() -> None:
    chain = SamplerChain(SamplingSettings(temperature=0, presence_penalty=2), 3)
    chain.accept(1)
    assert chain.sample(np.array([2, 3, 0], np.float32)) == 0


def test_only_the_last_tokens_are_penalised() -> None:
    chain = SamplerChain(SamplingSettings(temperature=0, presence_penalty=5, penalty_last_n=2), 4)
    logits = np.array([3, 2, 1, 0], np.float32)
    for token_id in (0, 1, 2):
        chain.accept(token_id)
    assert chain.sample(logits) == 0
    chain.accept(3)
    chain.accept(0)
    assert chain.sample(logits) == 1


def test_greedy_comes_after_what_drops_the_best() -> None:
    settings = SamplingSettings(temperature=0, xtc_probability=1, xtc_threshold=0.1, top_k=0, top_p=1, min_p=0)
    assert SamplerChain(settings, 4).sample(np.log(np.array(FOUR, np.float32))) == 0


def test_samplers_work_in_the_order_of_the_settings() -> None:
    logits = np.log(np.array([0.5, 0.3, 0.2], np.float32))
    first = SamplingSettings(seed=1, samplers="penalties;top_k", top_k=1, presence_penalty=2)
    for settings, token_id in ((first, 1), (structs.replace(first, samplers="top_k;penalties"), 0)):
        chain = SamplerChain(settings, 3)
        chain.accept(0)
        assert chain.sample(logits) == token_id


def test_each_sampler_has_random_numbers_of_its_own() -> None:
    plain = SamplerChain(PLAIN, 4)
    with_xtc = SamplerChain(structs.replace(PLAIN, xtc_probability=1e-9), 4)
    logits = np.log(np.array(FOUR, np.float32))
    assert [plain.sample(logits) for _ in range(50)] == [with_xtc.sample(logits) for _ in range(50)]


def test_biases_come_before_all_and_count_together() -> None:
    chain = SamplerChain(SamplingSettings(temperature=0, logit_bias="0+1 0+1.5 1-9 2-inf 99+1"), 3)
    assert chain.sample(np.array([0, 11, 19], np.float32)) == 0


def test_a_text_in_the_settings_needs_a_tokenizer() -> None:
    with pytest.raises(CallerError):
        SamplerChain(SamplingSettings(logit_bias='"Hello"+1'), 3)


def test_logits_are_not_changed() -> None:
    logits = random_logits(500)
    before = logits.copy()
    chain = SamplerChain(SamplingSettings(seed=1, repeat_penalty=1.5), 500)
    chain.accept(3)
    chain.sample(logits)
    assert np.array_equal(logits, before)


def test_read_only_logits_are_accepted() -> None:
    logits = random_logits(500)
    logits.setflags(write=False)
    assert 0 <= SamplerChain(SamplingSettings(seed=1), 500).sample(logits) < 500


@pytest.mark.parametrize("temperature", [0.0, 0.8])
@pytest.mark.parametrize("top_k", [0, 5])
@pytest.mark.parametrize("bad", [math.nan, math.inf])
@pytest.mark.parametrize("place", [0, 99])
def test_logits_that_are_no_numbers_are_an_error(temperature: float, top_k: int, bad: float, place: int) -> None:
    logits = random_logits(100)
    logits[place] = bad
    chain = SamplerChain(SamplingSettings(seed=1, temperature=temperature, top_k=top_k), 100)
    with np.errstate(invalid="ignore"), pytest.raises(EngineError, match="not numbers"):
        chain.sample(logits)


def test_a_token_that_is_ruled_out_is_never_drawn() -> None:
    logits = np.full(100, -math.inf, np.float32)
    logits[42] = -5
    for top_k in (0, 40):
        chain = SamplerChain(SamplingSettings(seed=1, top_k=top_k), 100)
        assert {chain.sample(logits) for _ in range(20)} == {42}


def test_nothing_left_to_choose_is_an_error() -> None:
    chain = SamplerChain(SamplingSettings(temperature=0), 10)
    with pytest.raises(EngineError, match="ruled out"):
        chain.sample(np.full(10, -math.inf, np.float32))


@pytest.mark.parametrize("temperature", [1e-30, 1e30])
def test_extreme_temperatures_stay_within_the_numbers(temperature: float) -> None:
    chain = SamplerChain(SamplingSettings(seed=1, temperature=temperature, top_k=5, top_p=1, min_p=0), 100)
    best = {token_id for token_id, _ in naive.select_top(random_logits(100).tolist(), 5)}
    assert chain.sample(random_logits(100)) in best


TINY = (5e-324, 1e-300, 1e-50, 1e-45, 1e-39)
LARGE = (1e38, 3.5e38, 1e39, 1e300, 1.7976931348623157e308)


@pytest.mark.parametrize("temperature", TINY)
@pytest.mark.parametrize(("top_k", "top_p", "min_p"), [(0, 1.0, 0.0), (40, 0.95, 0.05), (0, 0.95, 0.0), (0, 1.0, 0.05)])
def test_a_temperature_that_is_next_to_nothing_is_greedy(
    temperature: float, top_k: int, top_p: float, min_p: float
) -> None:
    logits = random_logits(100)
    logits[[7, 42, 80]] = logits.max() + 1
    settings = SamplingSettings(seed=3, temperature=temperature, top_k=top_k, top_p=top_p, min_p=min_p)
    assert {SamplerChain(settings, 100).sample(logits) for _ in range(5)} == {7}


def extreme(*others: float, lowest: float, highest: float) -> st.SearchStrategy[float]:
    """What a setting allows, with what is at its limits and beyond those of float32 more often than not."""
    return st.sampled_from([each for each in (*others, *TINY, *LARGE) if lowest <= each <= highest]) | st.floats(
        lowest, highest, allow_nan=False, allow_infinity=False
    )


SIGNED = extreme(0.0, -0.0, *(-each for each in (*TINY, *LARGE)), lowest=-LARGE[-1], highest=LARGE[-1])
SHARE = extreme(0.0, 1.0, 1 - 1e-12, 1 - 2**-53, lowest=0, highest=1)


@given(
    settings=st.builds(
        SamplingSettings,
        seed=st.integers(0, 2**32 - 1),
        temperature=extreme(0.0, 1.0, lowest=0, highest=LARGE[-1]),
        top_k=st.sampled_from([0, 1, 7, 2**31 - 1]),
        top_p=SHARE,
        min_p=SHARE,
        repeat_penalty=extreme(1.0, lowest=TINY[0], highest=LARGE[-1]),
        frequency_penalty=SIGNED,
        presence_penalty=SIGNED,
        penalty_last_n=st.sampled_from([0, 1, 64, 2**31 - 1]),
        typical_p=SHARE,
        top_n_sigma=SIGNED,
        min_keep=st.sampled_from([0, 1, 5, 2**31 - 1]),
        xtc_probability=SHARE,
        xtc_threshold=SHARE,
        dynatemp_range=extreme(0.0, 0.5, lowest=0, highest=LARGE[-1]),
        dynatemp_exponent=extreme(0.0, 1.0, lowest=0, highest=LARGE[-1]),
        dry_multiplier=extreme(0.0, 0.8, lowest=0, highest=LARGE[-1]),
        dry_base=extreme(0.0, 1.0, 1.75, lowest=0, highest=LARGE[-1]),
        dry_allowed_length=st.sampled_from([0, 1, 2, 2**31 - 1]),
        dry_penalty_last_n=st.sampled_from([0, 1, 64, 2**31 - 1]),
        dry_sequence_breakers=st.just("none"),
        mirostat=st.sampled_from([0, 0, 0, 1, 2]),
        mirostat_tau=extreme(0.0, 5.0, lowest=0, highest=LARGE[-1]),
        mirostat_eta=extreme(0.0, 0.1, lowest=0, highest=LARGE[-1]),
        adaptive_target=extreme(-1.0, 0.3, lowest=-1, highest=1),
        adaptive_decay=extreme(0.0, 0.9, lowest=0, highest=0.99),
        samplers=st.lists(st.sampled_from(list(LETTERS)), max_size=12).map(samplers_text) | st.just("edskypmxt"),
        logit_bias=st.sampled_from(["", "3+1e300 4-1e300 5-inf", "0+2 0+3 11-1"]),
    ),
    scale=st.sampled_from([0.0, 1e-45, 1.0, 30.0, 1e30, 3e38]),
    used=st.lists(st.integers(0, 9), max_size=30),
)
def test_whatever_the_settings_allow_a_token_is_chosen_without_a_warning(
    settings: SamplingSettings, scale: float, used: list[int]
) -> None:
    logits = np.linspace(-1, 1, 12, dtype=np.float32)[::-1].copy() * np.float32(scale)
    logits[10] = -math.inf
    chain = SamplerChain(settings, 12)
    chain.accept_all(used)
    for _ in range(3):
        token_id = chain.sample(logits)
        assert 0 <= token_id < 12 and token_id != 10
        chain.accept(token_id)


@pytest.mark.parametrize(
    ("settings", "token_id"),
    [
        (SamplingSettings(temperature=0, frequency_penalty=1e300), 2),
        (SamplingSettings(temperature=0, presence_penalty=1e39), 2),
        (SamplingSettings(temperature=0, frequency_penalty=-1e300), 0),
        (SamplingSettings(temperature=0, repeat_penalty=1e300), 2),
        (SamplingSettings(temperature=0, repeat_penalty=1e-300), 1),
        (SamplingSettings(seed=1, temperature=1e-50, frequency_penalty=1e300), 2),
    ],
)
def test_penalties_beyond_float32_do_what_they_say(settings: SamplingSettings, token_id: int) -> None:
    chain = SamplerChain(settings, 4)
    for used in (0, 1):
        chain.accept(used)
    assert chain.sample(np.array([-1.0, 3.0, 2.0, 1.0], np.float32)) == token_id


@pytest.mark.parametrize("bad", [math.nan, math.inf])
@pytest.mark.parametrize("place", [0, 5])
def test_penalties_do_not_hide_what_is_no_number(bad: float, place: int) -> None:
    logits = random_logits(10)
    logits[place] = bad
    chain = SamplerChain(SamplingSettings(seed=1, frequency_penalty=1e300, repeat_penalty=2.0), 10)
    chain.accept(0)
    with np.errstate(invalid="ignore"), pytest.raises(EngineError, match="not numbers"):
        chain.sample(logits)


@pytest.mark.parametrize("logits", [np.zeros(9, np.float32), np.zeros(10), np.zeros((1, 10), np.float32)])
def test_another_array_than_asked_for_is_the_callers_mistake(logits: FloatArray) -> None:
    with pytest.raises(ShapeMismatchError):
        SamplerChain(SamplingSettings(), 10).sample(logits)


@pytest.mark.parametrize(
    "settings",
    [
        SamplingSettings(temperature=math.nan),
        SamplingSettings(top_p=math.inf),
        SamplingSettings(min_p=math.nan),
        SamplingSettings(repeat_penalty=0),
        SamplingSettings(frequency_penalty=math.inf),
        SamplingSettings(presence_penalty=math.nan),
        SamplingSettings(penalty_last_n=-1),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings: SamplingSettings) -> None:
    with pytest.raises(SettingsError):
        SamplerChain(settings, 10)


# --- parts ---


@given(
    logits=st.lists(st.sampled_from([-math.inf, -2.0, -1.0, -0.0, 0.0, 1.0, 2.5]), min_size=1, max_size=300),
    count=st.integers(1, 300),
)
def test_selecting_is_as_its_naive_twin(logits: list[float], count: int) -> None:
    count = min(count, len(logits))
    top = Candidates(np.array(logits, np.float32)).top(count)
    expected = naive.select_top(logits, count)
    assert top.ids is not None
    assert list(zip(top.ids.tolist(), top.logits.tolist(), strict=True)) == expected


def test_selecting_from_a_large_vocabulary_is_as_its_naive_twin() -> None:
    logits = random_logits(20011)
    top = Candidates(logits).top(40)
    assert top.ids is not None
    assert top.ids.tolist() == [token_id for token_id, _ in naive.select_top(logits.tolist(), 40)]


def test_the_random_numbers_are_those_of_the_mersenne_twister() -> None:
    twister = np.random.RandomState(4242)
    low, high = (int(number) for number in twister.randint(0, 2**32, 2, dtype=np.uint32))
    assert UniformNumbers(4242).next() == (low + high * 2**32) / 2**64


@pytest.mark.parametrize("place", [0, 63, 64, 4095, 4096, 4099])
def test_a_logit_that_is_no_number_is_found_in_every_block(place: int) -> None:
    logits = random_logits(4100)
    logits[place] = math.nan
    with pytest.raises(EngineError, match="not numbers"):
        Candidates(logits).top(10)
