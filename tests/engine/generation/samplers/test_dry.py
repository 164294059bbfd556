"""DRY against llama.cpp's own values and a twin that compares every place with the end."""

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.engine.generation.samplers.few import candidates, probabilities_of
from tests.naive import samplers as naive
from tui_llama.engine.generation.samplers.breakers import Breakers, breakers_in
from tui_llama.engine.generation.samplers.candidates import Candidates
from tui_llama.engine.generation.samplers.dry import Dry, Repetitions, common_endings


def repetitions(tokens: Sequence[int], last_n: int, breakers: Breakers | None = None) -> Repetitions:
    found = Repetitions(last_n, breakers or {})
    found.accept_all(tokens)
    return found


@pytest.mark.parametrize(
    ("size", "tokens", "base", "allowed", "last_n", "breakers", "expected"),
    [
        (4, (0, 1), 1.1, 2, 4, {}, [0.25] * 4),
        (4, (0, 1, 2, 0, 1), 1.1, 2, 5, {}, [0.296923, 0.296923, 0.109232, 0.296923]),
        (5, (0, 1, 3, 4, 0, 1), 1.1, 2, 6, {3: ((),)}, [0.2] * 5),
        (5, (0, 1, 2, 0, 1), 1.1, 2, 5, {}, [0.241818, 0.241818, 0.032727, 0.241818, 0.241818]),
        (5, (0, 1, 2, 3, 4, 0, 1), 1.1, 4, 7, {}, [0.2] * 5),
    ],
)
def test_llama_cpp_has_the_same_values(
    size: int, tokens: Sequence[int], base: float, allowed: int, last_n: int, breakers: Breakers, expected: list[float]
) -> None:
    multiplier = 2.0 if expected[2] == 0.032727 else 1.0
    step = Dry(repetitions(tokens, last_n, breakers), multiplier, base, allowed)
    assert probabilities_of(step.apply(candidates([1 / size] * size))) == pytest.approx(expected, abs=1e-5)


BREAKERS = st.dictionaries(
    st.integers(0, 3), st.lists(st.lists(st.integers(0, 3), max_size=2).map(tuple), min_size=1, max_size=2).map(tuple)
)


@given(
    prompt=st.lists(st.integers(0, 3), max_size=60),
    answer=st.lists(st.integers(0, 3), max_size=20),
    last_n=st.integers(1, 70),
    allowed=st.integers(0, 5),
    breakers=BREAKERS,
)
def test_repetitions_are_found_as_by_the_naive_twin(
    prompt: list[int], answer: list[int], last_n: int, allowed: int, breakers: Breakers
) -> None:
    found, history = repetitions(prompt, last_n, breakers), list(prompt)
    for token in (None, *answer):
        if token is not None:
            found.accept(token)
            history.append(token)
        assert found.longest(allowed) == naive.dry_lengths(history, last_n, allowed, breakers)


def test_a_history_longer_than_the_first_arrays_is_kept() -> None:
    tokens = [1, 2, 3, 4, 5] * 200
    one_by_one = repetitions((), 10**6)
    for token in tokens:
        one_by_one.accept(token)
    assert one_by_one.longest(2) == repetitions(tokens, 10**6).longest(2) == {1: 995}


def test_common_endings_are_those_of_each_beginning() -> None:
    assert common_endings([1, 2, 1, 2, 1]) == [1, 0, 3, 0, 5]
    assert common_endings([]) == []


@pytest.mark.parametrize("base", [1.0, 1.000001, 1.75, 1e30, 1e300])
def test_a_penalty_stays_within_the_numbers(base: float) -> None:
    step = Dry(repetitions([7] * 3000, 10**6), 1e300, base, 1)
    left = step.apply(Candidates(np.zeros(8, np.float32)))
    assert np.isfinite(left.logits).all()
    assert left.logits[7] < left.logits[0]


def test_the_tokens_are_found_among_some_candidates() -> None:
    step = Dry(repetitions([0, 1, 2, 0, 1], 64), 1.0, 1.0, 2)
    left = step.apply(Candidates(np.zeros(3, np.float32), np.array([9, 2, 4], np.int32)))
    assert left.logits.tolist() == [0.0, -1.0, 0.0]


# --- sequence breakers ---


class Pieces:
    """A vocabulary of a few pieces, which tokenizes a text by single characters."""

    add_space_prefix = False

    def __init__(self, *pieces: bytes) -> None:
        self._pieces = pieces
        self.looks = 0

    def pieces(self, *, special: bool = False) -> list[bytes]:
        """Returns all pieces; special tokens must be asked for."""
        assert special
        self.looks += 1
        return list(self._pieces)

    def tokenize(self, text: str) -> list[int]:
        """Returns a token for every byte."""
        return [self._pieces.index(bytes([byte])) for byte in text.encode()]


LETTERS = (b"a", b"b", b"c")


def test_a_breaker_lies_in_a_token_or_goes_on_in_the_next_ones() -> None:
    words = Pieces(*LETTERS, b"xabc", b"ca", b"cab", b"ba")
    assert breakers_in(words, ["abc"]) == {
        0: ((1, 2),),
        3: ((),),
        4: ((1, 2),),
        5: ((2,),),
        6: ((1, 2),),
    }


@given(pieces=st.lists(st.sampled_from([b"ab", b"ba", b"aab", b"abab", b"bca", b"caa", b""]), unique=True))
def test_heads_are_those_of_the_naive_twin(pieces: list[bytes]) -> None:
    vocabulary = [*LETTERS, *pieces]
    for breaker in (b"a", b"ab", b"aba", b"abca"):
        found = breakers_in(Pieces(*vocabulary), [breaker.decode()])
        expected = naive.breaker_heads(vocabulary, breaker)
        as_tokens = {
            token: {tuple(LETTERS.index(bytes([byte])) for byte in rest) for rest in rests}
            for token, rests in expected.items()
        }
        assert {token: set(tails) for token, tails in found.items()} == as_tokens


def test_a_vocabulary_is_looked_at_once() -> None:
    words = Pieces(*LETTERS)
    first = breakers_in(words, ["a", "b"])
    assert breakers_in(words, ["a", "b"]) is first
    assert breakers_in(words, ["c"]) == {2: ((),)}
    assert words.looks == 1


def test_a_space_that_tokenizing_adds_is_no_breaker() -> None:
    words = Pieces(b" a", b" ", b"b ")
    words.add_space_prefix = True
    assert breakers_in(words, [" "]) == {2: ((),)}


def test_a_repetition_goes_back_no_further_than_a_breaker_of_several_tokens() -> None:
    history, breakers = [5, 6, 1, 2, 5, 6, 1], {5: ((6,),)}
    assert repetitions(history, 64, breakers).longest(1) == {2: 1}
    assert repetitions(history, 64).longest(1) == {2: 3}
