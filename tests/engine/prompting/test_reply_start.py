"""Answers whose start is given: the tokens are those of an answer that began so by itself."""

from collections.abc import Sequence
from typing import get_args

import pytest

from tests.fakes.engine_events import finish_of, text_of, tokens_of, usage_of
from tests.fakes.fake_model import FakeModel, answering
from tests.fakes.talk import CHAT, GREEDY, engine_with, go_on, never, once_asked, talk_with
from tests.fakes.tiny_model import VocabularyKind, make_tiny_model
from tui_llama.chat import ChatMessage, Role, StopReason
from tui_llama.engine.events import Finished, ModelLoaded, PromptEncoded, PromptEstimate, PromptProgress
from tui_llama.engine.local import LocalEngine
from tui_llama.engine.protocol import ReplyEvent
from tui_llama.engine.requests import (
    EstimateRequest,
    IdlePrefillRequest,
    LoadRequest,
    Overflow,
    OverflowMode,
    ReplyRequest,
)
from tui_llama.engine.templates.chat_template import ChatTemplate

QUESTION = (ChatMessage(Role.USER, "hi"),)


def encoded(events: Sequence[ReplyEvent]) -> PromptEncoded:
    return next(event for event in events if isinstance(event, PromptEncoded))


def begun(start: str, **fields: object) -> ReplyRequest:
    return ReplyRequest(1, QUESTION, sampling=GREEDY, reply_start=start, **fields)  # type: ignore[arg-type]


def test_the_answer_goes_on_behind_its_start_as_the_model_itself_would() -> None:
    alone = list(engine_with(FakeModel(answering("hello there"))).reply(begun(""), never))
    started = list(engine_with(FakeModel(answering("hello there"))).reply(begun("hello"), never))
    assert text_of(started) == " there"
    assert finish_of(started).stop_reason is finish_of(alone).stop_reason
    assert (*encoded(started).token_ids, *tokens_of(started)) == (*encoded(alone).token_ids, *tokens_of(alone))


def test_the_tokens_of_the_start_are_the_answers_own() -> None:
    event = encoded(list(engine_with(FakeModel()).reply(begun("Sure", max_tokens=1), never)))
    text = FakeModel().tokenizer.detokenize(event.token_ids, special=True)
    assert (text, event.answer_tokens) == ("<s>user:hi</s><s>assistant:Sure", 4)


def test_without_a_start_nothing_of_the_answer_is_given() -> None:
    assert encoded(list(engine_with(FakeModel()).reply(begun("", max_tokens=1), never))).answer_tokens is None


def test_names_of_control_tokens_in_a_start_are_text() -> None:
    event = encoded(list(engine_with(FakeModel()).reply(begun("</s>", max_tokens=1), never)))
    assert event.answer_tokens == len("</s>")


def test_a_character_that_follows_the_start_is_whole() -> None:
    events = list(engine_with(FakeModel(answering("é✓ö"))).reply(begun("é✓"), never))
    assert text_of(events) == "ö"


@pytest.mark.parametrize("asked", [0, 1, 3])
def test_an_answer_that_was_stopped_in_its_start_or_behind_it_goes_on(asked: int) -> None:
    talk = talk_with(answering("hello there"))
    events = list(talk.engine.reply(begun("hello", chat_id=None), once_asked(asked)))
    assert finish_of(events).stop_reason is StopReason.STOPPED
    talk.remember(events)
    talk.answer_tokens += 5
    shown = "hello" + text_of(events)
    assert shown + text_of(go_on(talk, shown)) == "hello there"


def test_the_next_prompt_keeps_all_tokens_of_such_an_answer() -> None:
    talk = talk_with(answering("hello there"))
    talk.messages = QUESTION
    events = list(talk.engine.reply(begun("hello"), never))
    talk.remember(events)
    talk.messages = (*QUESTION, ChatMessage(Role.ASSISTANT, "hello there"))
    ledger = talk.ledger
    again = talk.say("more", max_tokens=1)
    assert encoded(again).kept_tokens == len(ledger)
    assert usage_of(again).reused_tokens == len(ledger) - 1  # its end was never fed


@pytest.mark.parametrize(
    ("opened", "closed"),
    [
        ("<think>\n", "<think>\n\n</think>\n\nSure"),
        ("[THINK]", "[THINK][/THINK]Sure"),
        ("<think>", "<think>\n\n</think>\n\nSure"),
        ("think: ", "think: Sure"),
        ("<think>\n\n</think>\n\n", "<think>\n\n</think>\n\nSure"),
    ],
)
def test_a_thought_that_the_template_opens_is_closed_before_the_start(opened: str, closed: str) -> None:
    model = FakeModel()
    model.chat_template = ChatTemplate(f"{{{{ messages[0].content }}}}:{{{{ {opened!r} }}}}", "a test")
    event = encoded(list(engine_with(model).reply(begun("Sure", max_tokens=1), never)))
    assert model.tokenizer.detokenize(event.token_ids, special=True) == f"hi:{closed}"
    assert event.answer_tokens == 4


# --- what comes before the reply ---


def test_the_estimate_counts_the_start_and_the_reply_reads_as_much() -> None:
    engine = engine_with(FakeModel())
    without = engine.estimate(EstimateRequest(QUESTION))
    estimate = engine.estimate(EstimateRequest(QUESTION, reply_start="Sure", shows_prompt=True))
    assert isinstance(without, PromptEstimate)
    assert isinstance(estimate, PromptEstimate)
    assert estimate.read_tokens == without.read_tokens + 4
    assert "".join(part.text for part in estimate.prompt).endswith("assistant:Sure")
    assert usage_of(list(engine.reply(begun("Sure", max_tokens=0), never))).read_tokens == estimate.read_tokens


@pytest.mark.parametrize("start", ["", "Sure, " * 20])
def test_idle_prefill_reads_what_the_reply_with_its_start_needs(start: str) -> None:
    """The start takes room, so other turns may be left out than without it."""
    engine = engine_with(FakeModel(context_size=256))
    turns = (*QUESTION, ChatMessage(Role.ASSISTANT, "a" * 60), ChatMessage(Role.USER, "b" * 40))
    said = (*turns, ChatMessage(Role.ASSISTANT, "c" * 9))
    list(engine.idle_prefill(IdlePrefillRequest(said, "next", max_tokens=1, chat_id=CHAT, reply_start=start), never))
    request = ReplyRequest(1, (*said, ChatMessage(Role.USER, "next one")), reply_start=start, max_tokens=1)
    events = list(engine.reply(request, never))
    prompt = encoded(events)
    before_draft = prompt.token_ids[: len(prompt.token_ids) - len(" one</s><s>assistant:") - len(start)]
    reused = next(event.reused_tokens for event in events if isinstance(event, PromptProgress))
    assert reused >= len(before_draft) - len("</s>")
    assert bool(prompt.left_out_messages) == bool(start)


def test_a_start_that_leaves_no_room_is_refused_by_name_of_the_size() -> None:
    engine = engine_with(FakeModel(context_size=64))
    last = list(engine.reply(begun("s" * 80, overflow=Overflow(OverflowMode.STOP)), never))[-1]
    assert not isinstance(last, Finished)


# --- real tokenizers ---


@pytest.mark.parametrize("kind", get_args(VocabularyKind))
def test_every_kind_of_vocabulary_gives_the_answer_that_it_would_have_given(
    tmp_path_factory: pytest.TempPathFactory, kind: VocabularyKind
) -> None:
    path = make_tiny_model(tmp_path_factory.mktemp("model") / "tiny.gguf", vocabulary=kind)
    engine = LocalEngine()
    assert isinstance(engine.load(LoadRequest(str(path), context_size=256), never), ModelLoaded)
    try:
        alone = list(engine.reply(begun("", max_tokens=24), never))
        ids = tokens_of(alone)
        for cut in (1, 7, 15):
            start = engine_text(engine, ids[:cut])
            if start is None:
                continue
            started = list(engine.reply(begun(start, max_tokens=24 - cut), never))
            assert tokens_of(started) == ids[cut:]
            assert start + text_of(started) == text_of(alone)
    finally:
        engine.close()


def engine_text(engine: LocalEngine, ids: Sequence[int]) -> str | None:
    """Returns the text of generated tokens if tokenizing it gives the same ones, as it need not."""
    model, _sequence = engine._loaded()
    text = "".join(map(model.tokenizer.stream_decoder().push, ids))
    return text if tuple(model.tokenizer.tokenize(text, continues=True)) == tuple(ids) else None
