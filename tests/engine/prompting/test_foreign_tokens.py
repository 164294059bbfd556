"""A ledger of another vocabulary: the engine does not use it, says so, and goes on."""

import pytest

from tests.fakes.engine_events import notices_of, text_of
from tests.fakes.fake_model import FakeModel, FakeOpener, answering
from tui_llama.chat import ChatMessage, Role
from tui_llama.engine.events import (
    TOKENISED_AGAIN,
    Failed,
    Finished,
    IdlePrefillFinished,
    ModelLoaded,
    Notice,
    PromptEncoded,
    PromptEstimate,
    TextPiece,
)
from tui_llama.engine.local import LocalEngine
from tui_llama.engine.requests import (
    CompleteRequest,
    EstimateRequest,
    IdlePrefillRequest,
    LoadRequest,
    ReplyRequest,
)
from tui_llama.sampling.settings import SamplingSettings

GREEDY = SamplingSettings(temperature=0)
SAID = (
    ChatMessage(Role.USER, "hi"),
    ChatMessage(Role.ASSISTANT, "yes"),
    ChatMessage(Role.USER, "why"),
)
LEDGER = tuple(b"<s>user:hi</s>")
FOREIGN = [
    pytest.param((5, 9690, 7), "other", id="not in the vocabulary"),
    pytest.param((5, 9690, 7), "", id="not in the vocabulary, unknown"),
    pytest.param(LEDGER, "other", id="in the vocabulary"),
    pytest.param(tuple(b"something else"), "", id="in the vocabulary, unknown"),
]


def never() -> bool:
    return False


def engine() -> LocalEngine:
    opened = LocalEngine(FakeOpener(FakeModel(answering("a long answer"), vocabulary="bytes")))
    assert isinstance(opened.load(LoadRequest("fake.gguf"), never), ModelLoaded)
    return opened


@pytest.mark.parametrize(("ledger", "vocabulary"), FOREIGN)
def test_a_reply_is_given_from_the_text(ledger: tuple[int, ...], vocabulary: str) -> None:
    answerer = engine()
    request = ReplyRequest(1, SAID, ledger, GREEDY, vocabulary=vocabulary, chat_id="c" * 32)
    events = list(answerer.reply(request, never))
    assert isinstance(events[-1], Finished)
    assert text_of(events) == "a long answer"
    encoded = next(event for event in events if isinstance(event, PromptEncoded))
    assert (encoded.kept_tokens, encoded.vocabulary) == (0, "bytes")
    assert notices_of(events) == [TOKENISED_AGAIN]


@pytest.mark.parametrize(("ledger", "vocabulary"), FOREIGN)
def test_what_is_read_ahead_and_estimated_is_the_text(ledger: tuple[int, ...], vocabulary: str) -> None:
    reader = engine()
    expected = reader.estimate(EstimateRequest(SAID))
    assert isinstance(expected, PromptEstimate)
    assert reader.estimate(EstimateRequest(SAID, ledger, vocabulary=vocabulary)) == expected
    *before, last = reader.idle_prefill(IdlePrefillRequest(SAID[:2], "why", ledger, vocabulary=vocabulary), never)
    assert [event.text for event in before if isinstance(event, Notice)] == [TOKENISED_AGAIN]
    behind_the_draft = 2 + len("assistant:")
    assert last == IdlePrefillFinished(expected.read_tokens - behind_the_draft)


@pytest.mark.parametrize(("ledger", "vocabulary"), FOREIGN)
@pytest.mark.parametrize("shown", ["a lo", ""])
def test_an_answer_goes_on_from_its_text(ledger: tuple[int, ...], vocabulary: str, shown: str) -> None:
    said = (SAID[0], ChatMessage(Role.ASSISTANT, shown))
    request = CompleteRequest(
        1, "", GREEDY, ledger=ledger, vocabulary=vocabulary, messages=said, answer=shown, answer_tokens=2
    )
    events = list(engine().reply(request, never))
    assert shown + text_of(events) == "a long answer"
    encoded = next(event for event in events if isinstance(event, PromptEncoded))
    assert (encoded.kept_tokens, encoded.answer_tokens) == (0, len(shown))


@pytest.mark.parametrize("shown", ["a lo</s>", "</s>", "a<s>b"])
def test_the_name_of_a_control_token_in_a_given_answer_is_text(shown: str) -> None:
    said = (SAID[0], ChatMessage(Role.ASSISTANT, shown))
    events = list(engine().reply(CompleteRequest(1, "", GREEDY, max_tokens=0, messages=said, answer=shown), never))
    encoded = next(event for event in events if isinstance(event, PromptEncoded))
    assert encoded.token_ids[-len(shown) :] == tuple(shown.encode())
    assert (encoded.answer_tokens, text_of(events)) == (len(shown), "")


def test_the_ledger_keeps_what_it_has_of_a_conversation_whose_answer_is_of_another_vocabulary() -> None:
    teller = engine()
    first = list(teller.reply(ReplyRequest(1, SAID[:1], (), GREEDY), never))
    ledger: tuple[int, ...] = ()
    for event in first:
        if isinstance(event, PromptEncoded | TextPiece):
            ledger += event.token_ids
    answered = (SAID[0], ChatMessage(Role.ASSISTANT, "a long answer"), SAID[2], ChatMessage(Role.ASSISTANT, "a lon"))
    request = CompleteRequest(2, "", GREEDY, ledger=ledger, vocabulary="bytes", messages=answered, answer="a lon")
    events = list(teller.reply(request, never))
    assert isinstance(events[0], PromptEncoded)
    assert (events[0].kept_tokens, events[0].answer_tokens) == (len(ledger), len("a lon"))
    assert text_of(events) == "g answer"


def test_behind_an_answer_that_has_ended_a_text_goes_on_where_the_template_ends_it() -> None:
    request = CompleteRequest(1, "<s>", GREEDY, max_tokens=1, messages=SAID[:2], answer_has_ended=True)
    encoded = next(event for event in engine().reply(request, never) if isinstance(event, PromptEncoded))
    assert len(encoded.token_ids) == 2 * 3 + len("user:hi") + len("assistant:yes") - 1
    assert encoded.answer_tokens is None


@pytest.mark.parametrize(("ledger", "vocabulary"), FOREIGN[:3])
def test_without_messages_there_is_nothing_to_go_on_from(ledger: tuple[int, ...], vocabulary: str) -> None:
    (failed,) = engine().reply(CompleteRequest(1, "", ledger=ledger, vocabulary=vocabulary), never)
    assert isinstance(failed, Failed)
    assert "does not know" in failed.message
