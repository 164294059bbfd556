"""An engine that loads models, and keeps what a reply leaves in memory and on the disk for the next one."""

import itertools
import shutil
from pathlib import Path

import numpy as np
import pytest

from tests.fakes.engine_events import notices_of, text_of, tokens_of, usage_of
from tests.fakes.fake_model import EOS, FakeModel, FakeOpener, answering
from tests.fakes.stored_prompts import sequence_of
from tests.fakes.talk import (
    CHAT,
    GREEDY,
    OTHER_CHAT,
    Talk,
    engine_storing_in,
    engine_with,
    go_on,
    load,
    never,
    once_asked,
    reopened,
    saved_talk,
    state_files,
    talk_with,
)
from tests.fakes.tiny_model import CHATML_TEMPLATE, Architecture, VocabularyKind, make_tiny_model
from tui_llama.chat import ChatMessage, Role
from tui_llama.engine.events import (
    Failed,
    Finished,
    LoadProgress,
    LoadStage,
    ModelLoaded,
    Notice,
    PromptEncoded,
    Tokenized,
)
from tui_llama.engine.local import LocalEngine
from tui_llama.engine.prompt_cache.owner import served_owner_id
from tui_llama.engine.requests import CompleteRequest, LoadRequest, ReplyRequest, TokenizeRequest
from tui_llama.engine.tokenizer.tokenizer import open_tokenizer
from tui_llama.errors import EngineError

# --- loading ---


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
    model.sequences[0].fill(0, 0, sequence_of(past).kv(0, 0, 40))
    model.sequences[0].adopt(past, is_foreign=True)
    events = list(engine.reply(CompleteRequest(1, "", GREEDY, max_tokens=1, ledger=(*past, 7)), never))
    assert usage_of(events).reused_tokens == 0


def test_a_reply_after_a_failed_load_does_not_use_the_old_model() -> None:
    talk = talk_with()
    load(talk.engine, LoadRequest("other.gguf"))
    assert isinstance(talk.say("hi")[-1], Failed)


# --- what is kept ---


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


def test_a_served_program_reuses_nothing_of_a_chat_and_is_reused_by_anybody(tmp_path: Path) -> None:
    """The server tells its clients how much was reused: so they could guess what chats say."""
    engine = engine_storing_in(tmp_path)
    program, other = (served_owner_id(text) for text in (b"one", b"two"))

    def reused(owner: str | None) -> int:
        return usage_of(Talk(engine, owner).say("hi", max_tokens=1)).reused_tokens

    assert [reused(owner) for owner in (None, program, CHAT, program)] == [0, 0, len("<user:hi><assistant"), 19]
    assert reused(other) == 19
    assert reused(CHAT) == 19


@pytest.mark.parametrize("owner", [None, CHAT])
def test_what_a_chat_leaves_in_memory_is_forgotten_when_a_served_program_asks(owner: str | None) -> None:
    engine = engine_with(FakeModel())
    Talk(engine, owner).say("hi", max_tokens=1)
    assert usage_of(Talk(engine, served_owner_id(b"")).say("hi", max_tokens=1)).reused_tokens == 0
    assert usage_of(Talk(engine, served_owner_id(b"")).say("hi", max_tokens=1)).reused_tokens == 19


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


@pytest.mark.parametrize(
    "refused",
    [
        ReplyRequest(2, (ChatMessage(Role.USER, "x" * 600),), sampling=GREEDY),
        ReplyRequest(2, (ChatMessage(Role.USER, "hi"),), sampling=GREEDY, template_values="[]"),
        CompleteRequest(2, "", GREEDY, ledger=(1, 2, 3), answer="b", answer_tokens=1),
        CompleteRequest(2, "", GREEDY),
    ],
)
def test_a_refused_request_leaves_what_is_in_memory(refused: ReplyRequest | CompleteRequest) -> None:
    talk = talk_with(answering("yes"))
    first = usage_of(talk.say("hi"))
    assert isinstance(list(talk.engine.reply(refused, never))[-1], Failed)
    assert usage_of(talk.say("and")).reused_tokens == first.context_used


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
    talk.remember(heard)
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


# --- with a real model ---


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


# --- tokens ---


def tokenized(request: TokenizeRequest) -> Tokenized | Failed:
    return engine_with(FakeModel()).tokenize(request)


def test_a_text_is_told_as_tokens_and_tokens_as_a_text() -> None:
    assert tokenized(TokenizeRequest("hé")) == Tokenized(tuple("hé".encode()), "hé")
    assert tokenized(TokenizeRequest(None, tuple("hé".encode()))) == Tokenized(tuple("hé".encode()), "hé")
    assert tokenized(TokenizeRequest("")) == Tokenized((), "")
    assert tokenized(TokenizeRequest(None)) == Tokenized((), "")


def test_half_a_character_is_told_as_damaged() -> None:
    assert tokenized(TokenizeRequest(None, ("é".encode()[0],))) == Tokenized(
        ("é".encode()[0],), "\N{REPLACEMENT CHARACTER}"
    )


def test_the_name_of_a_special_token_is_that_token_only_on_request() -> None:
    assert tokenized(TokenizeRequest("a</s>")) == Tokenized(tuple(b"a</s>"), "a</s>")
    assert tokenized(TokenizeRequest("a</s>", parse_special=True)) == Tokenized((ord("a"), EOS), "a")


def test_what_begins_a_text_is_added_only_on_request(tmp_path: Path) -> None:
    path = make_tiny_model(tmp_path / "tiny.gguf", vocabulary="spm", add_bos=True)
    engine = LocalEngine()
    try:
        assert isinstance(engine.load(LoadRequest(str(path), threads=1), never), ModelLoaded)
        plain, whole = (engine.tokenize(TokenizeRequest("a b", add_special=added)) for added in (False, True))
    finally:
        engine.close()
    assert isinstance(plain, Tokenized) and isinstance(whole, Tokenized)
    assert whole.token_ids == (open_tokenizer(path).bos_id, *plain.token_ids)
    assert plain.text == whole.text.lstrip() == "a b"


@pytest.mark.parametrize("token_id", [-1, 258, 2**31, 2**62])
def test_an_unknown_token_is_a_failure_that_names_it(token_id: int) -> None:
    failed = tokenized(TokenizeRequest(None, (5, token_id, 2**63 - 1)))
    assert failed == Failed(None, f"token {token_id} is not in the vocabulary of 258 tokens")


def test_no_model_knows_no_tokens() -> None:
    failed = LocalEngine(FakeOpener()).tokenize(TokenizeRequest("hi"))
    assert failed == Failed(None, "no model is loaded", "Load a model first.")


def test_tokens_and_text_are_told_and_each_token_as_bytes_where_that_is_asked(tmp_path: Path) -> None:
    engine = LocalEngine()
    load(engine, LoadRequest(str(make_tiny_model(tmp_path / "tiny.gguf"))))
    text = "llamas 🦙"

    told = engine.tokenize(TokenizeRequest(text, with_pieces=True))
    briefly = engine.tokenize(TokenizeRequest(text))
    back = engine.tokenize(TokenizeRequest(None, told.token_ids if isinstance(told, Tokenized) else ()))

    assert isinstance(told, Tokenized)
    assert b"".join(told.pieces).decode().strip() == text
    assert len(told.pieces) == len(told.token_ids)
    assert briefly == Tokenized(told.token_ids, told.text)
    assert back == Tokenized(told.token_ids, told.text)
    engine.close()
