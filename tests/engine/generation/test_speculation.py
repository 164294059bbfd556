"""Guessing what comes next: found as a search would find it, tried when it pays, and never seen in the answer."""

import itertools
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fakes.fake_model import EOS, FakeModel, FakeOpener, Rule, answering
from tests.fakes.tiny_model import Architecture, make_tiny_model
from tests.naive.speculation import agreeing_tokens, source_after
from tui_llama.chat import ChatMessage, Role, StopReason
from tui_llama.engine.events import Finished, ModelLoaded, TextPiece
from tui_llama.engine.generation.speculation import LONGEST_NGRAM, Acceptance, BatchCosts, NgramIndex, Speculation
from tui_llama.engine.local import LocalEngine
from tui_llama.engine.protocol import ReplyEvent
from tui_llama.engine.requests import CompleteRequest, LoadRequest, ReplyRequest
from tui_llama.sampling.settings import SamplingSettings

GREEDY = SamplingSettings(temperature=0.0)
FREE = SamplingSettings(seed=7, temperature=1.0, top_k=0, top_p=1.0, min_p=0.0)
PENALISED = SamplingSettings(
    seed=3, temperature=1.2, top_k=20, repeat_penalty=1.3, frequency_penalty=0.2, presence_penalty=0.1, penalty_last_n=9
)
STATEFUL = (
    SamplingSettings(seed=5, mirostat=1, mirostat_tau=2.0, mirostat_eta=0.3),
    SamplingSettings(seed=5, mirostat=2, mirostat_tau=2.0, mirostat_eta=0.3),
    SamplingSettings(seed=5, samplers="min_p;adaptive_p", min_p=0.01, adaptive_target=0.4, adaptive_decay=0.8),
    SamplingSettings(seed=5, dry_multiplier=0.3, dry_penalty_last_n=300, dry_sequence_breakers="a \\n"),
    SamplingSettings(
        temperature=0.0, dry_multiplier=0.1, dry_base=1.1, dry_allowed_length=4, dry_sequence_breakers="none"
    ),
    SamplingSettings(seed=5, xtc_probability=0.3, dynatemp_range=0.5, typical_p=0.9, logit_bias='7+1 "b"-0.5'),
)
LONGEST_MATCH_TOLD = 16


def never() -> bool:
    return False


def once_asked(count: int) -> Callable[[], bool]:
    """A wish to stop that is there from the `count`-th question on."""
    questions = itertools.count(1)
    return lambda: next(questions) > count


def every_batch_alike() -> Callable[[], float]:
    """A clock by which every batch takes the same time, so that whatever may come true is guessed."""
    return itertools.count(0.0).__next__


# --- where a text stood before ------------------------------------------------------------------------------

few_kinds_of_tokens = st.lists(st.integers(0, 3), max_size=50)


@given(few_kinds_of_tokens, few_kinds_of_tokens)
def test_the_index_finds_what_a_search_finds(prompt: list[int], answer: list[int]) -> None:
    index = NgramIndex(prompt)
    for token_id in answer:
        index.append(token_id)
    token_ids = prompt + answer
    assert index.source == source_after(token_ids, max(0, len(prompt) - 1), LONGEST_NGRAM)
    if index.source is not None:
        told_apart = min(index.match_length, LONGEST_MATCH_TOLD)
        assert told_apart == min(agreeing_tokens(token_ids, index.source), LONGEST_MATCH_TOLD)


@given(few_kinds_of_tokens, st.integers(0, 12))
def test_a_continuation_is_what_would_follow_if_every_guess_came_true(token_ids: list[int], count: int) -> None:
    index = NgramIndex(token_ids)
    guesses = index.continuation(count)
    assert len(guesses) == (0 if index.source is None else count)
    source = index.source
    for guess in guesses:
        assert index.continuation(1) == [guess]
        index.append(guess)
        assert source is not None and index.source == source + 1
        source += 1


def test_the_most_recent_place_is_taken_and_then_followed() -> None:
    index = NgramIndex([1, 2, 3, 9, 1, 2, 4, 9, 5, 1, 2])
    assert index.continuation(3) == [4, 9, 5]
    index.append(4)
    index.append(9)
    assert index.continuation(1) == [5]  # where 9 stood last is the same place


def test_a_longer_match_counts_for_more_than_a_recent_one() -> None:
    index = NgramIndex([7, 1, 2, 3, 8, 1, 2, 4, 7, 1, 2])
    assert index.continuation(1) == [3]


def test_a_new_token_guesses_nothing() -> None:
    assert NgramIndex([1, 2, 3]).continuation(4) == []
    assert NgramIndex([]).continuation(4) == []


# --- how often, and at what cost ----------------------------------------------------------------------------


def test_the_chance_follows_what_came_true() -> None:
    acceptance = Acceptance()
    at_first = acceptance.chance(2)
    for _ in range(200):
        acceptance.note(2, True)
    assert at_first < 0.9 < acceptance.chance(2) <= 1
    for _ in range(200):
        acceptance.note(2, False)
    assert 0 <= acceptance.chance(2) < 0.1


def test_match_lengths_are_told_apart_up_to_some_length() -> None:
    acceptance = Acceptance()
    others = [acceptance.chance(length) for length in range(1, 16)]
    for _ in range(100):
        acceptance.note(10**6, False)
    assert acceptance.chance(16) == acceptance.chance(10**6) < 0.1
    assert [acceptance.chance(length) for length in range(1, 16)] == others


class LinearCosts(BatchCosts):
    """One token takes a second, and every further one of its batch `per_token` seconds."""

    def __init__(self, per_token: float) -> None:
        self._per_token = per_token
        self.now = 0.0
        super().__init__(lambda: self.now)

    @contextmanager
    def measuring(self, tokens: int) -> Iterator[None]:
        with super().measuring(tokens):
            yield
            self.now += 1 + self._per_token * (tokens - 1)


def measured(*batches: tuple[int, float]) -> BatchCosts:
    """Costs after batches of these sizes that took these seconds."""
    now = 0.0

    def clock() -> float:
        return now

    costs = BatchCosts(clock)
    for tokens, seconds in batches:
        with costs.measuring(tokens):
            now += seconds
    return costs


def test_costs_are_learned_in_times_of_one_token() -> None:
    costs = measured((1, 0.5), *[(4, 1.0)] * 50)
    assert costs.relative(4) == pytest.approx(2.0, rel=1e-3)
    assert costs.relative(1) == 1.0


def test_nothing_is_compared_before_one_token_was_measured() -> None:
    costs = measured((4, 1.0))
    assert not costs.knows_one
    assert costs.relative(4) == BatchCosts().relative(4)


def test_a_batch_never_counts_for_more_than_its_tokens_apart() -> None:
    assert measured((1, 1.0), *[(3, 900.0)] * 50).relative(3) == pytest.approx(3.0, rel=1e-3)


def test_one_interruption_does_not_make_one_token_look_slow() -> None:
    costs = measured(*[(1, 1.0)] * 9, (1, 100.0), *[(2, 1.5)] * 50)
    assert costs.relative(2) > 1.1


def test_what_was_measured_long_ago_fades() -> None:
    costs = measured((1, 1.0), *[(3, 3.0)] * 50, *[(1, 1.0)] * 5000)
    assert costs.relative(3) == pytest.approx(BatchCosts().relative(3), rel=1e-3)


# --- reading ahead ------------------------------------------------------------------------------------------


def counting(period: int) -> Rule:
    """The model counts from 0 to `period` - 1 and begins again."""
    return lambda token_ids: (token_ids[-1] + 1) % period


def read(model: FakeModel, prompt: Sequence[int], answer: Sequence[int], draft_max: int) -> Speculation:
    """A speculation that was told this answer; the prompt is in the sequence."""
    sequence = model.new_sequence()
    sequence.extend(prompt)
    ahead = Speculation(sequence, prompt, draft_max, BatchCosts(every_batch_alike()))
    for said, token_id in enumerate(answer, 1):
        logits = ahead.extend(token_id, model.context_size - len(ahead) - 1)
        assert logits.argmax() == model.rule([*prompt, *answer[:said]])
        assert len(ahead) == len(prompt) + said
    return ahead


def test_guesses_that_come_true_are_read_in_one_batch_and_counted() -> None:
    model = FakeModel(counting(5))
    prompt, answer = [0, 1, 2, 3, 4] * 4, [0, 1, 2, 3, 4] * 4
    ahead = read(model, prompt, answer, draft_max=4)
    # The first batch has one token, to have something to compare with; then come four guesses and their token.
    assert model.sequences[0].batch_sizes == [len(prompt), 1, 5, 5, 5, 5]
    assert (ahead.drafted_tokens, ahead.accepted_tokens) == (16, 15)
    assert ahead.has_guesses_left
    ahead.settle()
    assert not ahead.has_guesses_left
    assert model.sequences[0].token_ids == prompt + answer


def test_a_guess_that_does_not_come_true_is_forgotten_with_all_after_it() -> None:
    model = FakeModel(counting(9))
    prompt = [0, 1, 2, 3, 4, 5, 0, 1]
    ahead = read(model, prompt, [2, 3, 7, 8], draft_max=4)
    sizes = model.sequences[0].batch_sizes
    assert sizes[1] == 1 < sizes[2]
    assert ahead.drafted_tokens >= sizes[2] - 1
    assert ahead.accepted_tokens == 0
    assert model.sequences[0].token_ids == [*prompt, 2, 3, 7, 8]


def test_without_a_draft_every_token_is_read_alone() -> None:
    model = FakeModel(counting(5))
    ahead = read(model, [0, 1, 2, 3, 4] * 2, [0, 1, 2], draft_max=0)
    assert model.sequences[0].batch_sizes[1:] == [1, 1, 1]
    assert ahead.drafted_tokens == 0


def test_no_more_is_guessed_than_can_be_read() -> None:
    model = FakeModel(counting(5), context_size=24)
    ahead = read(model, [0, 1, 2, 3, 4] * 4, [0, 1, 2, 3], draft_max=8)
    assert model.sequences[0].batch_sizes[1:] == [1, 3]
    assert ahead.drafted_tokens == ahead.accepted_tokens == 2


def seconds_for_a_token(answer: Sequence[int], prompt: Sequence[int], per_token: float) -> float:
    """What saying `answer` takes, in times of one token read alone."""
    sequence = FakeModel(context_size=2000).new_sequence()
    sequence.extend(prompt)
    costs = LinearCosts(per_token)
    ahead = Speculation(sequence, prompt, 7, costs)
    for token_id in answer:
        ahead.extend(token_id, 1000)
    return costs.now / len(answer)


@pytest.mark.parametrize("per_token", [0.05, 0.1, 0.3, 1.0])
def test_a_text_that_does_not_repeat_is_hardly_slower(per_token: float) -> None:
    """Its tokens and pairs come again, but what follows them is another token."""
    tokens = np.random.default_rng(5).integers(0, 40, 500).tolist()
    assert seconds_for_a_token(tokens[100:], tokens[:100], per_token) < 1 / 0.97


@pytest.mark.parametrize(("per_token", "gain"), [(0.05, 2.7), (0.1, 2.2), (0.3, 1.5), (1.0, 0.97)])
def test_a_text_that_repeats_with_changes_is_faster_where_batches_are_cheap(per_token: float, gain: float) -> None:
    """A fifteenth of the tokens is replaced by new ones."""
    tokens = np.random.default_rng(5).integers(0, 200, 400)
    changed = tokens.copy()
    changed[7::15] = np.arange(1000, 1000 + len(changed[7::15]))
    assert seconds_for_a_token(changed.tolist(), tokens.tolist(), per_token) < 1 / gain


# --- a reply with and without -------------------------------------------------------------------------------


def rambling(seed: int, memory: int, letters: int) -> Rule:
    """A model that says one of a few letters by the last few tokens, so that it repeats itself; seldom it ends."""

    def rule(token_ids: Sequence[int]) -> int:
        checksum = zlib.crc32(bytes([seed, *(token_id % 256 for token_id in token_ids[-memory:])]))
        return EOS if checksum % 61 == 0 else ord("a") + checksum % letters

    return rule


class Answers:
    """What one request brought: everything that speculation must leave as it is, and what it did."""

    def __init__(self, engine: LocalEngine, request: ReplyRequest | CompleteRequest, stop_after: int | None) -> None:
        should_stop = never if stop_after is None else once_asked(stop_after)
        events = list(engine.reply(request, should_stop))
        assert isinstance(events[-1], Finished), events[-1]
        usage = events[-1].usage
        self.drafted_tokens, self.accepted_tokens = usage.drafted_tokens, usage.accepted_tokens
        self.stop_reason = events[-1].stop_reason
        self.pieces = [(event.text, event.token_ids) for event in events if isinstance(event, TextPiece)]
        self.usage = msgspec.structs.replace(
            usage, read_seconds=0.0, generate_seconds=0.0, drafted_tokens=0, accepted_tokens=0
        )
        self.order: list[type[ReplyEvent]] = [type(event) for event in events]

    def visible(self) -> tuple[object, ...]:
        return self.pieces, self.stop_reason, self.usage, self.order


def engine_with(model: FakeModel) -> LocalEngine:
    engine = LocalEngine(FakeOpener(model), clock=every_batch_alike())
    engine.load(LoadRequest(model.info.path), never)
    return engine


def assert_same_with_and_without(
    make_model: Callable[[], FakeModel], request: CompleteRequest, stop_after: int | None = None
) -> tuple[Answers, Answers]:
    """Both answers; asserts that they and what is in the cache afterwards are the same."""
    models = make_model(), make_model()
    plain = Answers(engine_with(models[0]), msgspec.structs.replace(request, draft_max=0), stop_after)
    guessed = Answers(engine_with(models[1]), request, stop_after)
    assert guessed.visible() == plain.visible()
    assert models[1].sequences[0].token_ids == models[0].sequences[0].token_ids
    assert plain.drafted_tokens == plain.accepted_tokens == 0
    assert guessed.accepted_tokens <= guessed.drafted_tokens
    return guessed, plain


@given(
    seed=st.integers(0, 255),
    memory=st.integers(1, 3),
    letters=st.integers(1, 4),
    peak=st.sampled_from([0.0, 5.0, 9.0]),
    sampling=st.sampled_from([GREEDY, FREE, PENALISED, *STATEFUL]),
    draft_max=st.integers(1, 9),
    max_tokens=st.none() | st.integers(0, 40),
    context_size=st.integers(12, 120),
    stop_texts=st.sampled_from([(), ("ab",), ("aba", "cc"), ("b", "abc")]),
    stop_after=st.none() | st.integers(0, 60),
)
def test_a_reply_is_the_same_with_and_without_guessing(
    seed: int,
    memory: int,
    letters: int,
    peak: float,
    sampling: SamplingSettings,
    draft_max: int,
    max_tokens: int | None,
    context_size: int,
    stop_texts: tuple[str, ...],
    stop_after: int | None,
) -> None:
    request = CompleteRequest(1, "abcabcaba", sampling, max_tokens, stop_texts, draft_max)
    assert_same_with_and_without(
        lambda: FakeModel(rambling(seed, memory, letters), context_size, peak=peak), request, stop_after
    )


def test_a_stop_text_in_the_middle_of_what_was_guessed_ends_the_answer_there() -> None:
    request = CompleteRequest(1, "one two three; one", GREEDY, stop_texts=("wo",))
    rule = echoing("one two three; one two three; one two three; ")
    guessed, _ = assert_same_with_and_without(lambda: FakeModel(rule), request)
    assert "".join(text for text, _ in guessed.pieces) == " t"
    assert guessed.stop_reason is StopReason.STOP_TEXT
    assert 0 < guessed.accepted_tokens < guessed.drafted_tokens


def echoing(text: str) -> Rule:
    """A model that knows one text, and says the byte after the ones that it has read."""
    return lambda token_ids: text.encode()[len(token_ids) % len(text)]


@pytest.mark.parametrize("max_tokens", range(8))
def test_the_most_tokens_allowed_are_never_exceeded_by_guesses(max_tokens: int) -> None:
    request = CompleteRequest(1, "abcabcabc", GREEDY, max_tokens)
    guessed, _ = assert_same_with_and_without(lambda: FakeModel(echoing("abc")), request)
    assert guessed.stop_reason is StopReason.LENGTH
    assert guessed.usage.generated_tokens == max_tokens
    assert guessed.accepted_tokens == guessed.drafted_tokens == max(0, max_tokens - 3)


@pytest.mark.parametrize("context_size", range(10, 20))
def test_the_context_is_filled_to_the_last_place_and_no_further(context_size: int) -> None:
    request = CompleteRequest(1, "abcabcabc", GREEDY)
    guessed, _ = assert_same_with_and_without(lambda: FakeModel(echoing("abc"), context_size), request)
    assert guessed.stop_reason is StopReason.CONTEXT_FULL
    assert guessed.usage.context_used == context_size


@pytest.mark.parametrize("stop_after", range(2, 14))
def test_a_stop_takes_effect_at_the_next_token_guessed_or_not(stop_after: int) -> None:
    request = CompleteRequest(1, "abcabcabc", GREEDY)
    guessed, _ = assert_same_with_and_without(lambda: FakeModel(echoing("abc")), request, stop_after)
    assert guessed.stop_reason is StopReason.STOPPED
    assert len(guessed.pieces) == stop_after - 2


def test_an_end_that_was_guessed_ends_the_answer() -> None:
    rule = answering("yes yes yes yes")
    request = ReplyRequest(1, (ChatMessage(Role.USER, "yes yes yes yes</s>"),), sampling=GREEDY)
    answer = Answers(engine_with(FakeModel(rule)), request, None)
    assert answer.stop_reason is StopReason.END_OF_GENERATION
    assert answer.accepted_tokens > 0
    assert "".join(text for text, _ in answer.pieces) == "yes yes yes yes"


def test_a_conversation_goes_on_after_an_answer_that_was_guessed() -> None:
    model = FakeModel(answering("yes yes yes yes"))
    engine = engine_with(model)
    messages: tuple[ChatMessage, ...] = (ChatMessage(Role.USER, "is it?"),)
    first = Answers(engine, ReplyRequest(1, messages, sampling=GREEDY), None)
    messages = (*messages, ChatMessage(Role.ASSISTANT, "yes yes yes yes"), ChatMessage(Role.USER, "sure?"))
    second = Answers(engine, ReplyRequest(2, messages, sampling=GREEDY), None)
    assert first.accepted_tokens > 0 and second.accepted_tokens > 0
    assert second.usage.reused_tokens == first.usage.context_used
    assert first.pieces == second.pieces


# --- with a real model --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("architecture", "quantization"), [("llama", "Q4_K"), ("qwen2", "Q8_0"), ("qwen3", "F32")])
def test_a_real_model_says_the_same_with_and_without(
    tmp_path: Path, architecture: Architecture, quantization: str
) -> None:
    path = make_tiny_model(tmp_path / "tiny.gguf", architecture, quantization)
    text = "once upon a time there was a little girl and once upon a time there was a"
    engine = LocalEngine(clock=every_batch_alike())
    assert isinstance(engine.load(LoadRequest(str(path), threads=1), never), ModelLoaded)
    drafted_tokens = 0
    try:
        for sampling in (GREEDY, FREE, PENALISED, SamplingSettings(seed=1, temperature=0.4), *STATEFUL):
            plain, guessed = (
                Answers(engine, CompleteRequest(1, text, sampling, max_tokens=60, draft_max=draft_max), None)
                for draft_max in (0, 7)
            )
            assert guessed.pieces == plain.pieces
            drafted_tokens += guessed.drafted_tokens
    finally:
        engine.close()
    assert drafted_tokens > 0
