"""The probabilities that come with an answer: those of the model, whatever sampling and speculation make of them."""

import itertools
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from tests.fakes.engine_events import text_of, tokens_of
from tests.fakes.fake_model import EOS, VOCAB_SIZE, FakeModel, answering
from tests.fakes.talk import GREEDY, engine_with, never
from tests.fakes.tiny_model import make_tiny_model
from tests.naive import sampling as naive
from tui_llama.chat import ChatMessage, Role, StopReason
from tui_llama.engine.events import Failed, Finished, ModelLoaded, TextPiece, TokenProbability
from tui_llama.engine.generation.probabilities import token_probability
from tui_llama.engine.local import LocalEngine
from tui_llama.engine.protocol import ReplyEvent
from tui_llama.engine.requests import CompleteRequest, LoadRequest, ReplyRequest
from tui_llama.sampling.settings import SamplingSettings

QUESTION = ReplyRequest(1, (ChatMessage(Role.USER, "hi"),), sampling=GREEDY)


def logits_of(*values: float) -> npt.NDArray[np.float32]:
    return np.array(values, np.float32)


def letter(token_id: int) -> bytes:
    return bytes([97 + token_id % 26])


def pieces_of(events: Sequence[ReplyEvent]) -> list[TextPiece]:
    return [event for event in events if isinstance(event, TextPiece)]


def told_of(events: Sequence[ReplyEvent]) -> list[TokenProbability]:
    return [each for piece in pieces_of(events) for each in piece.probabilities]


def answer_to(text: str, request: ReplyRequest | CompleteRequest) -> list[ReplyEvent]:
    return list(engine_with(FakeModel(answering(text), peak=3.0)).reply(request, never))


def at_peak(peak: float) -> float:
    """The logarithm of the probability of the token that a fake model's rule chooses."""
    return peak - math.log(math.exp(peak) + VOCAB_SIZE - 1)


# --- one token ---


@given(
    logits=st.lists(st.floats(-1e4, 1e4, width=32), min_size=1, max_size=60),
    count=st.integers(0, 20),
    data=st.data(),
)
def test_it_is_what_a_softmax_gives(logits: list[float], count: int, data: st.DataObject) -> None:
    token_id = data.draw(st.integers(0, len(logits) - 1))
    told = token_probability(logits_of(*logits), token_id, count, letter)
    expected = naive.log_probabilities(logits)
    assert (told.token, told.token_id) == (letter(token_id), token_id)
    assert told.log_probability == pytest.approx(expected[token_id], rel=1e-12, abs=1e-12)
    likeliest = naive.select_top(logits, count)
    assert [each.token_id for each in told.alternatives] == [place for place, _ in likeliest]
    for each in told.alternatives:
        assert each.token_id is not None
        assert each.log_probability == pytest.approx(expected[each.token_id], rel=1e-12, abs=1e-12)
        assert each.alternatives == ()


def test_of_equally_likely_tokens_the_lowest_ids_are_told() -> None:
    told = token_probability(logits_of(1, 2, 2, 1, 2, 0), 3, 4, letter)
    assert [each.token_id for each in told.alternatives] == [1, 2, 4, 0]


def test_an_impossible_token_is_no_alternative() -> None:
    told = token_probability(logits_of(-math.inf, 0, -math.inf), 1, 3, letter)
    assert told == TokenProbability(letter(1), 0.0, 1, (TokenProbability(letter(1), 0.0, 1),))


# --- an answer ---


def test_an_answer_comes_without_when_nobody_asks() -> None:
    assert told_of(answer_to("yes", QUESTION)) == []


def test_every_token_of_an_answer_comes_with_its_own_even_the_one_that_ends_it() -> None:
    events = answer_to("yes", replace(QUESTION, top_probabilities=0))
    for piece in pieces_of(events):
        assert [each.token_id for each in piece.probabilities] == list(piece.token_ids)
    told = told_of(events)
    assert [each.token for each in told] == [b"y", b"e", b"s", b"</s>"]
    assert told[-1].token_id == EOS
    assert [each.log_probability for each in told] == pytest.approx([at_peak(3.0)] * 4)
    assert all(each.alternatives == () for each in told)


def test_the_alternatives_are_the_likeliest_with_the_chosen_one_among_them() -> None:
    told = told_of(answer_to("yes", replace(QUESTION, top_probabilities=3)))
    assert [each.token_id for each in told[0].alternatives] == [ord("y"), 0, 1]
    assert told[0].alternatives[0].log_probability == told[0].log_probability


def test_neither_temperature_nor_penalties_nor_what_is_ruled_out_change_them() -> None:
    sampling = SamplingSettings(seed=3, temperature=2.0, top_k=1, repeat_penalty=9.0, penalty_last_n=64)
    told = told_of(answer_to("yes", replace(QUESTION, top_probabilities=1, sampling=sampling, max_tokens=3)))
    assert {each.alternatives[0].log_probability for each in told} == {told[0].log_probability}
    unending = replace(QUESTION, top_probabilities=1, ignore_eos=True, max_tokens=1)
    (told_instead,) = told_of(answer_to("", unending))
    assert told_instead.alternatives[0].token_id == EOS
    assert told_instead.log_probability == pytest.approx(at_peak(3.0) - 3.0)


def test_text_that_is_held_back_holds_no_token_back() -> None:
    events = answer_to("one t\N{SNOWMAN}", replace(QUESTION, top_probabilities=0, stop_texts=("two",)))
    assert text_of(events) == "one t\N{SNOWMAN}"
    assert all(len(piece.probabilities) == len(piece.token_ids) for piece in pieces_of(events))
    assert b"".join(each.token for each in told_of(events)) == "one t\N{SNOWMAN}</s>".encode()


def test_the_token_that_completes_a_stop_text_has_one_too() -> None:
    events = answer_to("one two", replace(QUESTION, top_probabilities=0, stop_texts=("two",)))
    assert isinstance(events[-1], Finished) and events[-1].stop_reason is StopReason.STOP_TEXT
    assert [each.token_id for each in told_of(events)] == tokens_of(events)
    assert told_of(events)[-1].token == b"o"


def test_they_are_the_same_numbers_with_and_without_speculation(tmp_path: Path) -> None:
    path = make_tiny_model(tmp_path / "tiny.gguf", "qwen2", "Q8_0")
    ticks = itertools.count()
    engine = LocalEngine(clock=lambda: float(next(ticks)))  # every batch takes as long as one token
    loaded = engine.load(LoadRequest(str(path), threads=1), never)
    assert isinstance(loaded, ModelLoaded)
    assert loaded.model.capabilities.has_probabilities
    text = "once upon a time there was a little girl and once upon a time there was a"
    request = CompleteRequest(1, text, GREEDY, max_tokens=60, top_probabilities=5)
    try:
        plain, guessed = (
            list(engine.reply(replace(request, draft_max=most), never)) for most in (0, 7)
        )  # fmt: skip
    finally:
        engine.close()
    assert isinstance(guessed[-1], Finished) and guessed[-1].usage.accepted_tokens > 0
    assert told_of(guessed) == told_of(plain)
    assert [each.token_id for each in told_of(plain)] == tokens_of(plain)
    for each in told_of(plain):  # a greedy answer takes the likeliest
        assert each.alternatives[0].token_id == each.token_id
        assert each.alternatives[0].log_probability == each.log_probability


# --- what is refused ---


@pytest.mark.parametrize("wanted", [-1, 21])
def test_more_than_twenty_alternatives_are_refused(wanted: int) -> None:
    (failed,) = answer_to("yes", replace(QUESTION, top_probabilities=wanted))
    assert isinstance(failed, Failed)
    assert str(wanted) in failed.message and "0 to 20" in failed.hint


def test_images_are_refused_and_never_left_out() -> None:
    seen = (ChatMessage(Role.USER, "what is this?", images=("data:image/png;base64,AA==",)),)
    for request in (replace(QUESTION, messages=seen), CompleteRequest(1, "", GREEDY, messages=seen, answer="")):
        (failed,) = answer_to("yes", request)
        assert isinstance(failed, Failed)
        assert failed.message == "this model sees no images"
