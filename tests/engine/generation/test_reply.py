"""The story of a reply, told over a model without weights: what is read, said, and why it ends."""

from collections.abc import Sequence
from pathlib import Path

import pytest
from msgspec.structs import replace

from tests.fakes.engine_events import finish_of, text_of, tokens_of, usage_of
from tests.fakes.fake_model import CHUNK_TOKENS, EOS, FakeModel, FakeSequence, FakeTemplate, answering, any_letter
from tests.fakes.stored_prompts import cache_on, sequence_of
from tests.fakes.talk import (
    CHAT,
    GREEDY,
    OTHER_CHAT,
    Talk,
    engine_storing_in,
    engine_with,
    never,
    once_asked,
    saved_talk,
    talk_with,
)
from tui_llama.chat import ChatMessage, Role, StopReason
from tui_llama.engine.events import Failed, Finished, Notice, PromptEncoded, PromptProgress, TextPiece
from tui_llama.engine.protocol import ReplyEvent
from tui_llama.engine.requests import CompleteRequest, ReplyRequest
from tui_llama.engine.templates.chat_template import ChatTemplate
from tui_llama.sampling.settings import SamplingSettings


def test_a_reply_is_encoded_read_said_and_finished_in_this_order() -> None:
    events = talk_with(answering("yes")).say("hi")
    order = [type(event) for event in events]
    assert order == [PromptEncoded, *[PromptProgress] * 3, *[TextPiece] * 4, Finished]


def test_every_event_carries_the_turn() -> None:
    talk = talk_with(answering("yes"))
    talk.say("hi")
    events = talk.say("again")
    assert {event.turn for event in events if not isinstance(event, Notice)} == {2}


def test_the_prompt_is_the_rendered_conversation() -> None:
    events = talk_with().say("hi", max_tokens=1)
    encoded = events[0]
    assert isinstance(encoded, PromptEncoded)
    text = FakeModel().tokenizer.detokenize(encoded.token_ids, special=True)
    assert (encoded.kept_tokens, text) == (0, "<s>user:hi</s><s>assistant:")


def test_reading_reports_every_chunk_up_to_the_whole_prompt() -> None:
    events = talk_with().say("x" * CHUNK_TOKENS, max_tokens=0)
    progress = [event for event in events if isinstance(event, PromptProgress)]
    total = progress[0].total_tokens
    assert [event.done_tokens for event in progress] == [0, CHUNK_TOKENS, 2 * CHUNK_TOKENS, total]


def test_the_answer_is_what_the_model_says() -> None:
    assert text_of(talk_with(answering("hello there")).say("hi")) == "hello there"


def test_pieces_never_end_inside_a_character() -> None:
    events = talk_with(answering("é✓🙂")).say("hi")
    pieces = [event.text for event in events if isinstance(event, TextPiece)]
    assert [piece for piece in pieces if piece] == ["é", "✓", "🙂"]


def test_a_character_cut_off_by_the_limit_is_shown_as_damaged() -> None:
    events = talk_with(answering("é")).say("hi", max_tokens=1)
    assert text_of(events) == "\N{REPLACEMENT CHARACTER}"


def test_the_end_of_generation_token_is_in_the_ledger_but_not_in_the_text() -> None:
    talk = talk_with(answering("yes"))
    events = talk.say("hi")
    assert events[-2] == TextPiece(1, "", (EOS,))
    assert finish_of(events).stop_reason is StopReason.END_OF_GENERATION
    assert talk.ledger[-1] == EOS


def test_the_usage_counts_every_token() -> None:
    events = talk_with(answering("yes")).say("hi")
    usage = usage_of(events)
    assert isinstance(events[0], PromptEncoded)
    prompt = len(events[0].token_ids)
    assert (usage.reused_tokens, usage.read_tokens, usage.generated_tokens) == (0, prompt, 4)
    assert (usage.context_used, usage.context_size) == (prompt + 3, 512)


def test_the_same_seed_says_the_same_again() -> None:
    sampling = SamplingSettings(seed=5, temperature=1.0, top_k=0, top_p=1.0, min_p=0.0)
    request = CompleteRequest(1, "Once", sampling, max_tokens=20)
    runs = [tokens_of(engine_with(FakeModel()).reply(request, never)) for _ in range(2)]
    assert runs[0] == runs[1]
    assert len(set(runs[0])) > 1


def test_a_raw_completion_continues_the_text_as_it_stands() -> None:
    events = list(engine_with(FakeModel()).reply(CompleteRequest(1, "a</s>b", GREEDY, max_tokens=2), never))
    assert events[0] == PromptEncoded(1, 0, (ord("a"), EOS, ord("b")))
    assert len(tokens_of(events)) == 2


def test_an_empty_prompt_is_a_failure() -> None:
    events = list(engine_with(FakeModel()).reply(CompleteRequest(1, "", GREEDY), never))
    assert isinstance(events[-1], Failed)
    assert "empty" in events[-1].message


# --- why an answer ends ---


def test_a_stop_text_ends_the_answer_and_is_not_shown() -> None:
    events = talk_with(answering("one two three")).say("hi", stop_texts=("two",))
    assert text_of(events) == "one "
    assert finish_of(events).stop_reason is StopReason.STOP_TEXT


def test_a_stop_text_of_the_template_ends_an_answer() -> None:
    model = FakeModel(answering("one two three"))
    model.chat_template = FakeTemplate(stop_texts=("two",))
    events = Talk(engine_with(model)).say("hi")
    assert text_of(events) == "one "
    assert finish_of(events).stop_reason is StopReason.STOP_TEXT


def model_whose_template_refuses_a_word() -> FakeModel:
    model = FakeModel(answering("one two three"))
    source = (
        "{% for m in messages %}{% if 'secret' in m.content %}{{ raise_exception('not this') }}{% endif %}"
        "<s>:{{ m.content }}</s>{% endfor %}<s>assistant:"
    )
    other = ChatTemplate(
        "{% for m in messages %}:{{ m.content }}{% endfor %}<s>assistant:", "plain", stop_texts=["two"]
    )
    model.chat_template = ChatTemplate(source, "own", fallback=other)
    return model


def test_what_ends_the_answers_of_another_template_ends_no_other_answers() -> None:
    engine = engine_with(model_whose_template_refuses_a_word())
    assert text_of(Talk(engine).say("a secret")) == "one "
    assert text_of(Talk(engine).say("hi")) == "one two three"


def test_a_reply_that_keeps_the_template_fails_where_that_refuses() -> None:
    engine = engine_with(model_whose_template_refuses_a_word())
    refused = ReplyRequest(1, (ChatMessage(Role.USER, "a secret"),), sampling=GREEDY, keeps_template=True)
    (failed,) = engine.reply(refused, never)
    assert isinstance(failed, Failed)
    assert failed.message == "The model's chat template refused the messages: not this"
    assert not any(isinstance(event, Notice) for event in Talk(engine).say("hi"))


def test_a_stop_text_of_the_template_means_nothing_to_a_raw_continuation() -> None:
    model = FakeModel(lambda token_ids: ord("x"))
    model.chat_template = FakeTemplate(stop_texts=("x",))
    events = list(engine_with(model).reply(CompleteRequest(1, "a", GREEDY, max_tokens=3), never))
    assert text_of(events) == "xxx"


def test_the_beginning_of_a_stop_text_is_shown_when_it_stays_a_beginning() -> None:
    events = talk_with(answering("one tw")).say("hi", stop_texts=("two",))
    assert text_of(events) == "one tw"
    assert finish_of(events).stop_reason is StopReason.END_OF_GENERATION


def test_the_answer_ends_after_the_most_tokens_allowed() -> None:
    events = talk_with().say("hi", max_tokens=5)
    assert len(tokens_of(events)) == 5
    assert finish_of(events).stop_reason is StopReason.LENGTH


def test_an_answer_that_may_not_end_goes_on_after_its_end() -> None:
    request = CompleteRequest(1, "a:", GREEDY, max_tokens=6, ignore_eos=True)
    events = list(engine_with(FakeModel(answering("yes"))).reply(request, never))
    assert bytes(tokens_of(events)[:3]) == b"yes"
    assert len(tokens_of(events)) == 6
    assert EOS not in tokens_of(events)
    assert finish_of(events).stop_reason is StopReason.LENGTH


def test_tokens_that_the_model_file_rules_out_are_never_said() -> None:
    model = FakeModel(answering("yes"))
    model.tokenizer.never_written = frozenset(map(ord, "es"))
    said = tokens_of(Talk(engine_with(model)).say("hi", max_tokens=6))
    assert said[0] == ord("y")
    assert not set(said) & set(map(ord, "es"))


def test_a_bias_does_not_bring_back_a_token_that_the_model_file_rules_out() -> None:
    model = FakeModel(answering("yes"))
    model.tokenizer.never_written = frozenset({ord("z")})
    biased = replace(GREEDY, logit_bias=f"{ord('z')}+100")
    request = CompleteRequest(1, "a:", biased, max_tokens=2)
    assert ord("z") not in tokens_of(engine_with(model).reply(request, never))


OVER_AND_OVER = "over and over "


def in_a_loop(token_ids: Sequence[int]) -> int:
    """After the last `:` the model says the same three words for ever."""
    said = list(reversed(token_ids)).index(ord(":"))
    return OVER_AND_OVER.encode()[said % len(OVER_AND_OVER)]


def guarded(text: str, *, loop_guard: bool = True, draft_max: int = 7) -> list[ReplyEvent]:
    request = CompleteRequest(1, text, GREEDY, draft_max=draft_max, loop_guard=loop_guard)
    return list(engine_with(FakeModel(in_a_loop)).reply(request, never))


@pytest.mark.parametrize("draft_max", [0, 7])
def test_an_answer_in_a_loop_is_ended_and_kept(draft_max: int) -> None:
    events = guarded("hi:", draft_max=draft_max)
    assert finish_of(events).stop_reason is StopReason.LOOP
    assert text_of(events) == 12 * OVER_AND_OVER
    assert len(tokens_of(events)) == usage_of(events).generated_tokens == 12 * len(OVER_AND_OVER)


def test_a_loop_goes_on_when_nobody_asked_for_a_guard() -> None:
    unguarded = guarded("hi:", loop_guard=False)
    assert finish_of(unguarded).stop_reason is StopReason.CONTEXT_FULL
    assert text_of(unguarded).startswith(text_of(guarded("hi:")))


def test_what_the_prompt_repeats_is_no_loop_of_the_answer() -> None:
    events = guarded(":" + 20 * OVER_AND_OVER)
    assert text_of(events) == 12 * OVER_AND_OVER


def test_the_guard_ends_a_conversations_answer_too() -> None:
    request = ReplyRequest(1, (ChatMessage(Role.USER, "hi"),), sampling=GREEDY, loop_guard=True)
    events = list(engine_with(FakeModel(in_a_loop)).reply(request, never))
    assert finish_of(events).stop_reason is StopReason.LOOP


def test_with_no_tokens_allowed_the_prompt_is_only_read() -> None:
    events = talk_with().say("hi", max_tokens=0)
    assert tokens_of(events) == []
    assert usage_of(events).context_used == usage_of(events).read_tokens


def test_the_answer_ends_when_the_context_is_full_to_the_last_place() -> None:
    events = talk_with(context_size=64).say("hi")
    usage = usage_of(events)
    assert finish_of(events).stop_reason is StopReason.CONTEXT_FULL
    assert usage.context_used == 64
    assert usage.read_tokens + usage.generated_tokens == 65


def test_a_prompt_that_does_not_fit_is_a_failure_that_names_the_numbers() -> None:
    failed = talk_with(context_size=64).say("x" * 100)[-1]
    assert isinstance(failed, Failed)
    assert "118" in failed.message
    assert "63" in failed.message
    assert failed.prompt_tokens == 118
    assert "4096" in failed.hint


def test_a_prompt_one_token_below_the_context_is_answered() -> None:
    talk = talk_with(context_size=64)
    events = talk.say("x" * (63 - 18))
    assert usage_of(events).read_tokens == 63
    assert usage_of(events).generated_tokens == 2


@pytest.mark.parametrize("chunks", [0, 1, 2])
def test_a_stop_while_the_prompt_is_read_takes_effect_at_the_next_chunk(chunks: int) -> None:
    events = talk_with().say("x" * 100, once_asked(chunks))
    assert finish_of(events).stop_reason is StopReason.STOPPED
    assert usage_of(events).read_tokens == chunks * CHUNK_TOKENS
    assert usage_of(events).context_used == chunks * CHUNK_TOKENS
    assert tokens_of(events) == []


def test_what_was_read_before_a_stop_is_not_read_again() -> None:
    talk = talk_with()
    talk.say("x" * 100, once_asked(3))
    usage = usage_of(talk.say("and", max_tokens=1))
    assert usage.reused_tokens == 3 * CHUNK_TOKENS


@pytest.mark.parametrize("tokens", [0, 1, 7])
def test_a_stop_during_the_answer_takes_effect_at_the_next_token(tokens: int) -> None:
    talk = talk_with()
    before_the_first_token = 3  # two chunks, and the end of the prompt
    events = talk.say("hi", once_asked(before_the_first_token + tokens))
    assert finish_of(events).stop_reason is StopReason.STOPPED
    assert len(tokens_of(events)) == tokens


# --- going on from a ledger ---


def continuation(talk: Talk, text: str = "", chat_id: str | None = CHAT) -> CompleteRequest:
    return CompleteRequest(9, text, GREEDY, max_tokens=5, ledger=tuple(talk.ledger), chat_id=chat_id)


def test_a_ledger_is_continued_as_it_is_and_all_but_its_last_token_is_reused(tmp_path: Path) -> None:
    talk = saved_talk(tmp_path)
    events = list(engine_storing_in(tmp_path).reply(continuation(talk), never))
    assert events[0] == PromptEncoded(9, len(talk.ledger), ())
    assert usage_of(events).reused_tokens == len(talk.ledger) - 1
    ledger = list(talk.ledger)
    for token_id in tokens_of(events):
        assert token_id == any_letter(ledger)
        ledger.append(token_id)


def test_a_text_stands_behind_the_ledger_without_what_begins_a_text(tmp_path: Path) -> None:
    talk = saved_talk(tmp_path)
    events = list(engine_storing_in(tmp_path).reply(continuation(talk, "ab</s>"), never))
    assert events[0] == PromptEncoded(9, len(talk.ledger), (97, 98, EOS))
    assert usage_of(events).reused_tokens == len(talk.ledger) - 1


def test_without_a_chat_a_ledger_is_read_anew(tmp_path: Path) -> None:
    talk = saved_talk(tmp_path)
    events = list(engine_storing_in(tmp_path).reply(continuation(talk, chat_id=None), never))
    assert usage_of(events).reused_tokens == 0


def test_a_ledger_of_tokens_that_the_model_does_not_know_is_a_failure() -> None:
    events = list(engine_with(FakeModel()).reply(CompleteRequest(1, "", ledger=(5, 258)), never))
    assert isinstance(events[-1], Failed)
    assert "does not know" in events[-1].message


def test_what_was_computed_elsewhere_stays_in_memory_only_for_its_chat(tmp_path: Path) -> None:
    model = FakeModel()
    sequence = FakeSequence(model)
    past = list(range(40))
    sequence.fill(0, 0, sequence_of(past).kv(0, 0, 40))
    sequence.adopt(past, is_foreign=True)
    cache_on(tmp_path, model=model).save(bytes.fromhex(CHAT), sequence)
    engine = engine_storing_in(tmp_path, model)

    def reused(chat_id: str | None) -> int:
        request = CompleteRequest(1, "", GREEDY, max_tokens=3, ledger=(*past, 7), chat_id=chat_id)
        return usage_of(list(engine.reply(request, never))).reused_tokens

    assert [reused(chat_id) for chat_id in (CHAT, CHAT, None)] == [40, 40, 0]
    engine = engine_storing_in(tmp_path, model)
    assert [reused(chat_id) for chat_id in (CHAT, OTHER_CHAT)] == [40, 0]
    assert [reused(chat_id) for chat_id in (OTHER_CHAT, CHAT, None)] == [40, 40, 40]  # read by now, and none foreign
