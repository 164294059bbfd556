"""The story of a reply, told over a model without weights: what is read, reused, said, stopped and saved."""

import itertools
import shutil
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
import pytest

from tests.fakes.engine_events import finish_of, notices_of, text_of, tokens_of, usage_of
from tests.fakes.fake_model import (
    CHUNK_TOKENS,
    EOS,
    FakeModel,
    FakeOpener,
    FakeSequence,
    FakeTemplate,
    Rule,
    answering,
    any_letter,
)
from tests.fakes.stored_prompts import cache_on, sequence_of
from tests.fakes.tiny_model import CHATML_TEMPLATE, Architecture, VocabularyKind, make_tiny_model
from tui_llama.chat import ChatMessage, Role, SamplingSettings, StopReason
from tui_llama.engine.local import LocalEngine
from tui_llama.engine.protocol import (
    CompleteRequest,
    Failed,
    Finished,
    LoadEvent,
    LoadProgress,
    LoadRequest,
    LoadStage,
    ModelLoaded,
    Notice,
    PromptEncoded,
    PromptProgress,
    ReplyEvent,
    ReplyRequest,
    RereadCause,
    TextPiece,
)
from tui_llama.errors import EngineError

GREEDY = SamplingSettings(temperature=0.0)


def never() -> bool:
    return False


def once_asked(count: int) -> Callable[[], bool]:
    """A wish to stop that is there from the `count`-th question on."""
    asked = 0

    def should_stop() -> bool:
        nonlocal asked
        asked += 1
        return asked > count

    return should_stop


class Talk:
    """A conversation with an engine, kept as a program would keep it: messages, and a ledger of tokens."""

    def __init__(self, engine: LocalEngine, chat_id: str | None = None) -> None:
        self.engine = engine
        self.chat_id = chat_id
        self.messages: tuple[ChatMessage, ...] = ()
        self.ledger: tuple[int, ...] = ()
        self.answer_tokens = 0
        self.turn = 0

    def say(
        self,
        text: str,
        should_stop: Callable[[], bool] = never,
        max_tokens: int | None = None,
        stop_texts: tuple[str, ...] = (),
    ) -> list[ReplyEvent]:
        self.turn += 1
        self.messages += (ChatMessage(Role.USER, text),)
        request = ReplyRequest(
            turn=self.turn,
            messages=self.messages,
            ledger=self.ledger,
            sampling=GREEDY,
            max_tokens=max_tokens,
            stop_texts=stop_texts,
            chat_id=self.chat_id,
        )
        events = list(self.engine.reply(request, should_stop))
        self._remember(events)
        return events

    def _remember(self, events: Iterable[ReplyEvent]) -> None:
        for event in events:
            if isinstance(event, PromptEncoded):
                self.ledger = (*self.ledger[: event.kept_tokens], *event.token_ids)
                self.answer_tokens = 0
            elif isinstance(event, TextPiece):
                self.ledger += event.token_ids
                self.answer_tokens += len(event.token_ids)
        self.messages += (ChatMessage(Role.ASSISTANT, text_of(events)),)


def load(engine: LocalEngine, request: LoadRequest, should_stop: Callable[[], bool] = never) -> list[LoadEvent]:
    return list(engine.load(request, should_stop))


def engine_with(model: FakeModel) -> LocalEngine:
    engine = LocalEngine(FakeOpener(model))
    load(engine, LoadRequest(model.info.path))
    return engine


def talk_with(rule: Rule = any_letter, context_size: int = 512) -> Talk:
    return Talk(engine_with(FakeModel(rule, context_size)))


# --- loading ------------------------------------------------------------------------------------------------


def test_loading_yields_the_progress_of_every_stage_and_then_the_model() -> None:
    model = FakeModel()
    events = load(LocalEngine(FakeOpener(model)), LoadRequest("fake.gguf"))
    progress = [LoadProgress(stage, 1, 1) for stage in LoadStage]
    assert events == [*progress, ModelLoaded(model.info)]


def test_loading_passes_on_what_was_asked_for() -> None:
    opener = FakeOpener()
    request = LoadRequest("fake.gguf", context_size=99, threads=3, batch_tokens=7, numa="isolate")
    load(LocalEngine(opener), request)
    assert opener.asked == [request]


def test_a_file_that_cannot_be_opened_is_a_failure_with_a_hint() -> None:
    events = load(LocalEngine(FakeOpener()), LoadRequest("other.gguf"))
    assert events == [Failed(None, "other.gguf: no such file", "Check the name.")]


def test_loading_stops_at_the_next_step_when_told_to() -> None:
    engine = LocalEngine(FakeOpener())
    events = load(engine, LoadRequest("fake.gguf"), once_asked(2))
    assert events == [
        LoadProgress(LoadStage.READ, 1, 1),
        LoadProgress(LoadStage.COMPILE, 1, 1),
        Failed(None, "loading was stopped"),
    ]


def test_a_model_that_does_not_fit_is_a_failure_and_not_a_crash() -> None:
    def open_model(request: LoadRequest, on_progress: object) -> FakeModel:
        raise MemoryError

    events = load(LocalEngine(open_model), LoadRequest("huge.gguf"))
    assert isinstance(events[-1], Failed)
    assert "memory" in events[-1].message


def test_loading_another_model_closes_the_one_before() -> None:
    first, second = FakeModel(name="first"), FakeModel(name="second")
    engine = LocalEngine(FakeOpener(first, second))
    load(engine, LoadRequest("first.gguf"))
    load(engine, LoadRequest("second.gguf"))
    assert (first.closed, second.closed) == (True, False)


def test_a_reply_without_a_model_is_a_failure() -> None:
    events = Talk(LocalEngine(FakeOpener())).say("hi")
    assert events == [Failed(1, "no model is loaded", "Load a model first.")]


def test_sessions_cannot_be_taken_in_without_a_model() -> None:
    with pytest.raises(EngineError, match="no model is loaded"):
        LocalEngine(FakeOpener()).session_transfer()


def test_what_was_taken_in_is_no_replys_before_it_is_stored_for_its_chat() -> None:
    model = FakeModel()
    engine = engine_with(model)
    engine.session_transfer()
    past = list(range(40))
    model.sequences[0].fill(0, sequence_of(past).kv(0, 40))
    model.sequences[0].adopt(past, is_foreign=True)
    events = list(engine.reply(CompleteRequest(1, "", GREEDY, max_tokens=1, ledger=(*past, 7)), never))
    assert usage_of(events).reused_tokens == 0


def test_a_reply_after_a_failed_load_does_not_use_the_old_model() -> None:
    talk = talk_with()
    load(talk.engine, LoadRequest("other.gguf"))
    assert isinstance(talk.say("hi")[-1], Failed)


# --- the story ----------------------------------------------------------------------------------------------


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


# --- why an answer ends -------------------------------------------------------------------------------------


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


# --- what is kept -------------------------------------------------------------------------------------------


def test_the_next_turn_reads_only_what_is_new() -> None:
    talk = talk_with(answering("yes"))
    first = usage_of(talk.say("hi"))
    second = usage_of(talk.say("and"))
    assert second.reused_tokens == first.context_used
    assert second.read_tokens == 1 + len("<user:and><assistant:")


def test_what_was_generated_is_never_tokenized_again() -> None:
    talk = talk_with(answering("yes"))
    talk.say("hi")
    ledger = talk.ledger
    encoded = talk.say("and")[0]
    assert isinstance(encoded, PromptEncoded)
    assert encoded.kept_tokens == len(ledger)


def test_an_answer_made_anew_computes_the_last_prompt_token_again_and_no_other() -> None:
    engine = engine_with(FakeModel())
    request = CompleteRequest(1, "Once upon a time", GREEDY, max_tokens=4)
    first, second = (list(engine.reply(request, never)) for _ in range(2))
    assert usage_of(second).read_tokens == 1
    assert tokens_of(first) == tokens_of(second)


def test_a_failure_in_the_middle_leaves_nothing_in_memory_that_would_be_believed() -> None:
    model = FakeModel(peak=float("nan"))
    talk = Talk(engine_with(model))
    assert isinstance(talk.say("hi")[-1], Failed)
    model.peak = 1.0
    assert usage_of(talk.say("hi", max_tokens=1)).reused_tokens == 0


CHAT, OTHER_CHAT = "c" * 32, "d" * 32


def engine_storing_in(folder: Path, model: FakeModel | None = None) -> LocalEngine:
    """An engine whose prompt cache is in `folder`."""
    model = model or FakeModel()
    engine = LocalEngine(FakeOpener(model))
    load(engine, LoadRequest(model.info.path, prompt_cache_folder=str(folder), prompt_cache_bytes=1 << 20))
    return engine


def saved_talk(folder: Path, rule: Rule = any_letter) -> Talk:
    """A conversation of one turn whose state is on disk."""
    talk = Talk(engine_storing_in(folder, FakeModel(rule)), CHAT)
    assert isinstance(talk.say("hi", max_tokens=9)[-1], Finished)
    return talk


def reopened(talk: Talk, folder: Path, model: FakeModel | None = None) -> Talk:
    """The same conversation in another process."""
    other = Talk(engine_storing_in(folder, model), talk.chat_id)
    other.messages, other.ledger, other.turn = talk.messages, talk.ledger, talk.turn
    return other


def state_files(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.tlk"))


def test_a_reply_is_saved_after_its_end_was_told(tmp_path: Path) -> None:
    request = ReplyRequest(1, (ChatMessage(Role.USER, "hi"),), (), GREEDY, 3, chat_id=CHAT)
    events = engine_storing_in(tmp_path).reply(request, never)
    assert any(isinstance(event, Finished) for event in events)  # and leaves the rest
    assert state_files(tmp_path) == []
    assert list(events) == []
    assert len(state_files(tmp_path)) == 1


def test_what_a_reply_left_that_nobody_heard_to_its_end_is_saved_with_the_next_one(tmp_path: Path) -> None:
    talk = Talk(engine_storing_in(tmp_path), CHAT)
    left = talk.engine.reply(ReplyRequest(1, (ChatMessage(Role.USER, "hi"),), (), GREEDY, 3, chat_id=CHAT), never)
    heard = list(itertools.takewhile(lambda event: not isinstance(event, Finished), left))
    del left
    assert state_files(tmp_path) == []
    talk.messages = (ChatMessage(Role.USER, "hi"),)
    talk._remember(heard)
    talk.say("and", max_tokens=9)
    events = reopened(talk, tmp_path).say("so", max_tokens=1)
    assert usage_of(events).reused_tokens == len(talk.ledger) - 1


def test_nothing_of_a_chat_without_an_id_is_stored_not_even_with_the_next_chat(tmp_path: Path) -> None:
    talk = saved_talk(tmp_path)
    incognito = Talk(talk.engine)
    incognito.say("a secret", max_tokens=9)
    talk.say("and", max_tokens=9)
    (path,) = state_files(tmp_path)
    written = path.read_bytes()
    said, secret = (np.frombuffer(text, np.uint8).astype("<u4").tobytes() for text in (b"and", b"secret"))
    assert said in written and secret not in written


def test_a_reopened_chat_reuses_what_is_stored(tmp_path: Path) -> None:
    talk = saved_talk(tmp_path)
    events = reopened(talk, tmp_path).say("and", max_tokens=9)
    assert notices_of(events) == []
    assert usage_of(events).reused_tokens == len(talk.ledger) - 1


def test_a_reopened_chat_says_what_it_would_have_said(tmp_path: Path) -> None:
    talk = saved_talk(tmp_path)
    after_reopening = tokens_of(reopened(talk, tmp_path).say("and", max_tokens=9))
    assert after_reopening == tokens_of(talk.say("and", max_tokens=9))


def test_a_chat_whose_state_is_gone_is_read_again_without_a_word(tmp_path: Path) -> None:
    talk = saved_talk(tmp_path)
    for path in state_files(tmp_path):
        path.unlink()
    events = reopened(talk, tmp_path).say("and", max_tokens=1)
    assert notices_of(events) == []
    assert usage_of(events).reused_tokens == 0


@pytest.mark.parametrize("damage", ["flipped", "emptied"])
def test_a_damaged_state_is_told_of_set_aside_and_read_again(tmp_path: Path, damage: str) -> None:
    talk = saved_talk(tmp_path)
    (path,) = state_files(tmp_path)
    data = path.read_bytes()
    place = 256 + 64 + 64 + 10  # among the keys
    path.write_bytes(b"" if damage == "emptied" else data[:place] + bytes([data[place] ^ 0x10]) + data[place + 1 :])
    again = reopened(talk, tmp_path)
    events = again.say("and", max_tokens=9)
    assert len(notices_of(events)) == 1
    assert "\n" not in notices_of(events)[0]
    assert usage_of(events).reused_tokens == 0
    assert tokens_of(events) == tokens_of(talk.say("and", max_tokens=9))
    assert not path.exists() and path.with_name(path.name + ".damaged").exists()
    assert notices_of(reopened(again, tmp_path).say("so", max_tokens=1)) == []


def test_a_state_of_another_model_is_not_used(tmp_path: Path) -> None:
    talk = saved_talk(tmp_path)
    events = reopened(talk, tmp_path, FakeModel(name="other")).say("and", max_tokens=1)
    assert usage_of(events).reused_tokens == 0


def test_memory_that_holds_more_than_is_stored_is_kept(tmp_path: Path) -> None:
    talk = saved_talk(tmp_path)
    talk.say("and", max_tokens=9)
    events = talk.say("so", max_tokens=1)
    assert usage_of(events).reused_tokens == len(talk.ledger) - usage_of(events).read_tokens - 1


def test_going_from_chat_to_chat_restores_each(tmp_path: Path) -> None:
    first = saved_talk(tmp_path)
    second = Talk(first.engine, OTHER_CHAT)
    second.say("something else", max_tokens=9)
    events = first.say("and", max_tokens=1)
    assert notices_of(events) == []
    assert usage_of(events).reused_tokens > len("user:hi")


def test_a_new_chat_with_a_known_beginning_reuses_it(tmp_path: Path) -> None:
    saved_talk(tmp_path)
    new = Talk(engine_storing_in(tmp_path), OTHER_CHAT)
    events = new.say("hi there", max_tokens=1)
    assert usage_of(events).reused_tokens == len("<s>user:hi") - 2  # <s> is one token


def test_a_stopped_answer_is_saved_too(tmp_path: Path) -> None:
    talk = Talk(engine_storing_in(tmp_path), CHAT)
    talk.say("hi", once_asked(5))
    assert len(state_files(tmp_path)) == 1


def test_a_state_that_cannot_be_saved_is_a_notice(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    talk = Talk(engine_storing_in(tmp_path / "file"), CHAT)
    *_, finished, notice = talk.say("hi", max_tokens=1)
    assert isinstance(finished, Finished) and isinstance(notice, Notice)
    assert notice.text.startswith("The stored prompt of this chat was not saved")


def test_a_budget_that_is_too_small_is_said_once(tmp_path: Path) -> None:
    engine = LocalEngine(FakeOpener(FakeModel()))
    load(engine, LoadRequest("fake.gguf", prompt_cache_folder=str(tmp_path), prompt_cache_bytes=100))
    talk = Talk(engine, CHAT)
    assert len(notices_of(talk.say("hi", max_tokens=1))) == 1
    assert notices_of(talk.say("and", max_tokens=1)) == []
    assert state_files(tmp_path) == []


def test_without_a_chat_nothing_is_kept(tmp_path: Path) -> None:
    talk = Talk(engine_storing_in(tmp_path))
    talk.say("hi", max_tokens=1)
    assert list(tmp_path.rglob("*")) == []


def test_each_turn_appends_to_the_chats_own_segment(tmp_path: Path) -> None:
    talk = saved_talk(tmp_path)
    before = state_files(tmp_path)[0].stat().st_size
    talk.say("and", max_tokens=9)
    (path,) = state_files(tmp_path)
    assert path.stat().st_size > before


# --- going on from a ledger ---------------------------------------------------------------------------------


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
    sequence.fill(0, sequence_of(past).kv(0, 40))
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


# --- going on with an answer --------------------------------------------------------------------------------


def go_on(talk: Talk, shown: str, max_tokens: int | None = None) -> list[ReplyEvent]:
    """More of the answer that the ledger ends in, as the screen asks for it."""
    request = CompleteRequest(
        8,
        "",
        GREEDY,
        max_tokens,
        ledger=tuple(talk.ledger),
        chat_id=talk.chat_id,
        answer=shown,
        answer_tokens=talk.answer_tokens,
    )
    return list(talk.engine.reply(request, never))


def test_an_answer_goes_on_as_if_it_had_not_been_cut_off() -> None:
    whole = talk_with(answering("an answer that is long enough")).say("hi")
    talk = talk_with(answering("an answer that is long enough"))
    beginning = talk.say("hi", once_asked(9))
    assert finish_of(beginning).stop_reason is StopReason.STOPPED
    rest = go_on(talk, text_of(beginning))
    assert rest[0] == PromptEncoded(8, len(talk.ledger), ())
    assert tokens_of(beginning) + tokens_of(rest) == tokens_of(whole)
    assert text_of(beginning) + text_of(rest) == text_of(whole)
    assert finish_of(rest).stop_reason is StopReason.END_OF_GENERATION
    usage = usage_of(rest)
    assert (usage.reused_tokens, usage.read_tokens) == (len(talk.ledger) - 1, 1)
    assert usage.generated_tokens == len(tokens_of(rest))


def test_half_a_character_that_an_answer_was_cut_off_in_becomes_whole() -> None:
    talk = talk_with(answering("café au lait"))
    beginning = talk.say("hi", max_tokens=4)
    assert text_of(beginning) == "caf\ufffd"
    assert text_of(go_on(talk, "caf")) == "é au lait"


def test_text_that_was_held_back_when_the_answer_was_cut_off_comes_first() -> None:
    model = FakeModel(answering("a<b"))
    model.chat_template = FakeTemplate(stop_texts=("<end>",))
    talk = Talk(engine_with(model))
    talk.say("hi", max_tokens=2)
    assert text_of(go_on(talk, "a")) == "<b"
    assert text_of(go_on(talk, "a", max_tokens=0)) == "<"
    assert text_of(go_on(talk, "a<")) == "b"


@pytest.mark.parametrize(
    ("answer", "shown", "more"),
    [
        ("<b>bold", "", "<b>bold"),
        ("<<b>", "<", "<b>"),
        ("\n\nand", "\n", "\nand"),
    ],
)
def test_text_that_was_held_back_is_found_where_the_same_text_was_shown(answer: str, shown: str, more: str) -> None:
    model = FakeModel(answering(answer))
    model.chat_template = FakeTemplate(stop_texts=("<end>", "\n\nUser:"))
    talk = Talk(engine_with(model))
    talk.say("hi", max_tokens=len(shown) + 1)
    assert text_of(go_on(talk, shown)) == more


def test_an_answer_without_a_token_goes_on_from_its_prompt() -> None:
    talk = talk_with(answering("yes"))
    talk.say("hi", once_asked(0))
    assert text_of(go_on(talk, "")) == "yes"


def test_a_prompt_that_ends_in_an_end_is_no_answer_that_is_whole() -> None:
    talk = talk_with()
    talk.ledger = (EOS,)
    assert len(tokens_of(go_on(talk, "", max_tokens=3))) == 3


def test_an_answer_that_goes_on_without_a_ledger_is_no_crash() -> None:
    request = CompleteRequest(8, "hi", GREEDY, max_tokens=3, answer="")
    assert len(tokens_of(engine_with(FakeModel()).reply(request, never))) == 3


def test_a_stop_text_of_the_template_ends_an_answer_that_goes_on() -> None:
    model = FakeModel(answering("one two three"))
    model.chat_template = FakeTemplate(stop_texts=("two",))
    talk = Talk(engine_with(model))
    talk.say("hi", max_tokens=2)
    events = go_on(talk, "on")
    assert (text_of(events), finish_of(events).stop_reason) == ("e ", StopReason.STOP_TEXT)


def test_an_answer_whose_last_token_ends_it_is_whole() -> None:
    talk = talk_with(answering("yes"))
    talk.say("hi")
    events = go_on(talk, "yes")
    assert (tokens_of(events), finish_of(events).stop_reason) == ([], StopReason.END_OF_GENERATION)


def test_tokens_that_write_something_else_are_another_models() -> None:
    talk = talk_with()
    talk.say("hi", max_tokens=4)
    events = go_on(talk, "something else")
    assert isinstance(events[-1], Failed)
    assert "another model" in events[-1].message


def test_an_answer_of_which_nothing_is_stored_goes_on_after_it_was_read_and_says_why() -> None:
    talk = talk_with()
    beginning = talk.say("h" * 100, max_tokens=4)
    talk.engine = engine_with(FakeModel())
    events = go_on(talk, text_of(beginning), max_tokens=1)
    causes = {event.reread_cause for event in events if isinstance(event, PromptProgress)}
    assert causes == {RereadCause.NOT_STORED}
    assert tokens_of(events) == [any_letter(talk.ledger)]


# --- with a real model --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("architecture", "vocabulary"), [("llama", "spm"), ("qwen3", "bpe")])
def test_a_chat_with_a_real_model_goes_on_in_another_process_as_if_nothing_had_been(
    tmp_path: Path, architecture: Architecture, vocabulary: VocabularyKind
) -> None:
    path = make_tiny_model(tmp_path / "tiny.gguf", architecture, vocabulary=vocabulary, chat_template=CHATML_TEMPLATE)
    talk = Talk(real_engine(path, tmp_path / "prompts"), CHAT)
    talk.say("hello there", max_tokens=12)
    shutil.copytree(tmp_path / "prompts", tmp_path / "same prompts")  # what one of them saves, the other must not find

    other = Talk(real_engine(path, tmp_path / "same prompts"), CHAT)
    other.messages, other.ledger, other.turn = talk.messages, talk.ledger, talk.turn
    restored = other.say("and then", max_tokens=12)
    continued = talk.say("and then", max_tokens=12)

    assert notices_of(restored) == []
    assert usage_of(restored).reused_tokens == usage_of(continued).reused_tokens > 0
    assert tokens_of(restored) == tokens_of(continued)


@pytest.mark.parametrize(("architecture", "vocabulary"), [("llama", "spm"), ("qwen3", "bpe")])
def test_an_answer_of_a_real_model_goes_on_in_another_process_as_if_it_had_not_been_cut_off(
    tmp_path: Path, architecture: Architecture, vocabulary: VocabularyKind
) -> None:
    path = make_tiny_model(tmp_path / "tiny.gguf", architecture, vocabulary=vocabulary, chat_template=CHATML_TEMPLATE)
    whole = Talk(real_engine(path, tmp_path / "other prompts")).say("hello there", max_tokens=24)
    talk = Talk(real_engine(path, tmp_path / "prompts"), CHAT)
    beginning = talk.say("hello there", max_tokens=11)

    talk.engine = real_engine(path, tmp_path / "prompts")
    rest = go_on(talk, text_of(beginning).rstrip("\ufffd"), max_tokens=13)
    assert tokens_of(beginning) + tokens_of(rest) == tokens_of(whole)
    assert text_of(beginning).rstrip("\ufffd") + text_of(rest) == text_of(whole)
    assert (usage_of(rest).reused_tokens, usage_of(rest).read_tokens) == (len(talk.ledger) - 1, 1)


def real_engine(path: Path, folder: Path) -> LocalEngine:
    engine = LocalEngine()
    events = load(engine, LoadRequest(str(path), threads=1, prompt_cache_folder=str(folder)))
    assert isinstance(events[-1], ModelLoaded), events[-1]
    return engine
