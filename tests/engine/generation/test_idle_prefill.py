"""Reading ahead: what is read, that it is what the reply needs, that nothing waits for it and no answer changes."""

import itertools
import random
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.engine_events import text_of, usage_of
from tests.fakes.fake_model import CHUNK_TOKENS, FakeModel, FakeOpener, FakeTemplate, answering, any_letter
from tests.fakes.known_templates import known_template
from tests.fakes.tiny_model import Architecture, VocabularyKind, make_tiny_model
from tui_llama.chat import ChatMessage, Role
from tui_llama.engine.events import (
    Failed,
    Finished,
    IdlePrefillFinished,
    IdlePrefillProgress,
    ModelLoaded,
    Notice,
    PromptEncoded,
    PromptEstimate,
    PromptProgress,
    RereadCause,
    TextPiece,
)
from tui_llama.engine.generation.idle_prefill import CONTINUATIONS
from tui_llama.engine.local import LocalEngine
from tui_llama.engine.prompt_cache.common_prefix import common_prefix_length
from tui_llama.engine.prompting.ledger_prompt import encode_prompt
from tui_llama.engine.prompting.prompt_cost import ReadingSpeed
from tui_llama.engine.protocol import IdlePrefillEvent, ReplyEvent
from tui_llama.engine.requests import (
    EstimateRequest,
    IdlePrefillRequest,
    LoadRequest,
    Overflow,
    OverflowMode,
    ReplyRequest,
)
from tui_llama.engine.templates.dates import write_date
from tui_llama.engine.tokenizer.tokenizer import open_tokenizer
from tui_llama.errors import EngineError
from tui_llama.sampling.settings import SamplingSettings
from tui_llama.turn.idle_prefill import finished_part

GREEDY = SamplingSettings(temperature=0.0)
DROP_TURNS = Overflow()
CHAT = "c" * 32

# What Qwen3 and many others do with what was thought before the answer, once a message follows.
THINKING_TEMPLATE = """\
{% for m in messages %}<|im_start|>{{ m.role }}
{{ m.content.split('</think>')[-1].strip() if m.role == 'assistant' and not loop.last else m.content }}<|im_end|>
{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant
{% endif %}"""


def never() -> bool:
    return False


def once_asked(count: int) -> Callable[[], bool]:
    """A wish to stop that is there from the `count`-th question on."""
    asked = itertools.count(1)
    return lambda: next(asked) > count


class ThinkingTemplate(FakeTemplate):
    """As `FakeTemplate`, but without what was thought before an answer."""

    def render(
        self,
        messages: Sequence[ChatMessage],
        *,
        add_generation_prompt: bool = True,
        now: datetime | None = None,
        values: Mapping[str, Any] | None = None,
    ) -> str:
        said = [ChatMessage(each.role, re.sub("<t>.*</t>", "", each.text)) for each in messages]
        return super().render(said, add_generation_prompt=add_generation_prompt)


class DatedTemplate(ThinkingTemplate):
    """Tells the model the day, in the manner of a format."""

    def __init__(self, wanted: str) -> None:
        super().__init__()
        self._wanted = wanted

    def render(
        self,
        messages: Sequence[ChatMessage],
        *,
        add_generation_prompt: bool = True,
        now: datetime | None = None,
        values: Mapping[str, Any] | None = None,
    ) -> str:
        date = write_date(now or datetime(2026, 11, 27), self._wanted)
        said = super().render(messages, add_generation_prompt=add_generation_prompt)
        return f"<s>system:Today is {date}.</s>{said}"


class AlternatingTemplate(FakeTemplate):
    """Takes no two messages of one speaker after another."""

    def render(
        self,
        messages: Sequence[ChatMessage],
        *,
        add_generation_prompt: bool = True,
        now: datetime | None = None,
        values: Mapping[str, Any] | None = None,
    ) -> str:
        if any(one.role is other.role for one, other in itertools.pairwise(messages)):
            raise EngineError("the roles must alternate")
        return super().render(messages, add_generation_prompt=add_generation_prompt, now=now)


class RefusingTemplate(FakeTemplate):
    """Takes nothing."""

    def render(
        self,
        messages: Sequence[ChatMessage],
        *,
        add_generation_prompt: bool = True,
        now: datetime | None = None,
        values: Mapping[str, Any] | None = None,
    ) -> str:
        raise EngineError("no messages please")


class Talk:
    """A conversation as a program keeps it: messages, and a ledger of tokens."""

    def __init__(self, engine: LocalEngine, chat_id: str | None = None, overflow: Overflow = DROP_TURNS) -> None:
        self.engine = engine
        self.chat_id = chat_id
        self.overflow = overflow
        self.messages: tuple[ChatMessage, ...] = ()
        self.ledger: tuple[int, ...] = ()
        self.begun_at = "2026-11-27T09:30:00+01:00"

    def say(self, text: str, max_tokens: int | None = None, sampling: SamplingSettings = GREEDY) -> list[ReplyEvent]:
        self.messages += (ChatMessage(Role.USER, text),)
        request = ReplyRequest(
            1,
            self.messages,
            self.ledger,
            sampling,
            max_tokens,
            chat_id=self.chat_id,
            overflow=self.overflow,
            begun_at=self.begun_at,
        )
        events = list(self.engine.reply(request, never))
        for event in events:
            if isinstance(event, PromptEncoded):
                self.ledger = (*self.ledger[: event.kept_tokens], *event.token_ids)
            elif isinstance(event, TextPiece):
                self.ledger += event.token_ids
        self.messages += (ChatMessage(Role.ASSISTANT, text_of(events)),)
        assert isinstance(events[-1], Finished), events[-1]
        return events

    def rest(self, draft: str = "", should_stop: Callable[[], bool] = never) -> list[IdlePrefillEvent]:
        request = IdlePrefillRequest(self.messages, draft, self.ledger, chat_id=self.chat_id, overflow=self.overflow)
        return list(self.engine.idle_prefill(request, should_stop))

    def estimate(self, text: str) -> PromptEstimate | Failed:
        messages = (*self.messages, ChatMessage(Role.USER, text))
        return self.engine.estimate(EstimateRequest(messages, self.ledger, chat_id=self.chat_id))

    def held(self) -> tuple[int, ...]:
        assert self.engine._sequence is not None
        return tuple(self.engine._sequence.token_ids)


def cause_of(events: Iterable[ReplyEvent]) -> RereadCause | None:
    (cause,) = {event.reread_cause for event in events if isinstance(event, PromptProgress)}
    return cause


def ready(events: Sequence[IdlePrefillEvent]) -> int:
    assert isinstance(events[-1], IdlePrefillFinished), events[-1]
    return events[-1].ready_tokens


def engine_with(model: FakeModel, folder: Path | str = "") -> LocalEngine:
    engine = LocalEngine(FakeOpener(model))
    request = LoadRequest(model.info.path, prompt_cache_folder=str(folder), prompt_cache_bytes=1 << 20)
    assert isinstance(engine.load(request, never), ModelLoaded)
    return engine


def talk_with(model: FakeModel | None = None, overflow: Overflow = DROP_TURNS) -> Talk:
    return Talk(engine_with(model or FakeModel(answering("yes"), context_size=2048)), overflow=overflow)


def thinking_model() -> FakeModel:
    model = FakeModel(answering("<t>" + "hmm " * 40 + "</t>yes"), context_size=2048)
    model.chat_template = ThinkingTemplate()
    return model


# --- what is read -------------------------------------------------------------------------------------------


def test_after_a_turn_what_the_template_writes_before_the_next_message_is_read() -> None:
    talk = talk_with()
    talk.say("hi")
    talk.rest()
    text = FakeModel().tokenizer.detokenize(talk.held(), special=True)
    assert text == "<s>user:hi</s><s>assistant:yes</s><s>user:"


def test_the_finished_part_of_the_draft_is_read_up_to_the_last_token_that_is_certain() -> None:
    talk = talk_with()
    assert ready(talk.rest("a long draft")) == len(talk.held())
    assert bytes(talk.held()[1:]) == b"user:a long draft"


def test_the_reply_reads_only_what_was_not_read_ahead() -> None:
    talk = talk_with()
    talk.say("hi")
    warm = ready(talk.rest("word " * 100 + "and"))
    usage = usage_of(talk.say("word " * 100 + "and so on"))
    assert usage.reused_tokens == warm
    assert usage.read_tokens == len(" so on") + 1 + len("<assistant:")


def test_what_is_there_already_is_not_read_again() -> None:
    talk = talk_with()
    talk.rest("some words")
    talk.say("some words more")
    talk.rest("the next")
    held = talk.held()
    assert talk.rest("the next") == [IdlePrefillFinished(len(held))]
    assert talk.held() == held


def test_a_longer_draft_goes_on_where_the_shorter_one_ended() -> None:
    talk = talk_with()
    first = ready(talk.rest("one two"))
    progress = [event for event in talk.rest("one two three") if isinstance(event, IdlePrefillProgress)]
    assert progress == [IdlePrefillProgress(first + len(" three"), first + len(" three"))]


def test_an_edited_draft_keeps_what_agrees() -> None:
    talk = talk_with()
    talk.rest("one two three")
    talk.rest("one too")
    assert bytes(talk.held()[1:]) == b"user:one too"


def test_a_shortened_draft_forgets_nothing_as_it_may_come_back() -> None:
    talk = talk_with()
    talk.rest("one two three")
    held = talk.held()
    assert ready(talk.rest("one")) == len("<user:one")
    assert talk.held() == held


def test_where_a_template_drops_what_was_thought_the_next_turn_reads_only_the_message() -> None:
    cold, warm = talk_with(thinking_model()), talk_with(thinking_model())
    for talk in (cold, warm):
        talk.say("hi")
    warm.rest()
    cold_events, warm_events = cold.say("and"), warm.say("and")
    assert usage_of(warm_events).read_tokens == len("and") + 1 + len("<assistant:")
    assert usage_of(cold_events).read_tokens > usage_of(warm_events).read_tokens
    assert text_of(cold_events) == text_of(warm_events)


def test_where_turns_will_be_left_out_the_rest_is_read_without_them() -> None:
    talk = talk_with(FakeModel(answering("yes"), context_size=512))
    for letter in "wlm":
        talk.say(f"{letter}ord " * 20)
    talk.rest("nord " * 19 + "nord")
    events = talk.say("nord " * 20)
    assert isinstance(events[0], PromptEncoded)
    assert events[0].left_out_messages
    assert usage_of(events).read_tokens == len(" ") + 1 + len("<assistant:")
    assert cause_of(events) is None


def test_what_follows_an_unanswered_message_is_read_as_a_part_of_it() -> None:
    model = FakeModel()
    model.chat_template = AlternatingTemplate()
    talk = talk_with(model)
    talk.messages = (ChatMessage(Role.USER, "unanswered"), ChatMessage(Role.ASSISTANT, ""))
    talk.rest("and")
    assert bytes(talk.held()[1:]) == b"user:unanswered\n\nand"
    assert usage_of(talk.say("and more")).reused_tokens == len("_user:unanswered\n\nand")


def test_a_template_that_takes_no_messages_leaves_nothing_to_read() -> None:
    model = FakeModel()
    model.chat_template = RefusingTemplate()
    talk = talk_with(model)
    talk.messages = (ChatMessage(Role.USER, "unanswered"),)
    assert talk.rest("and") == [IdlePrefillFinished(0)]


def test_a_draft_that_does_not_fit_leaves_nothing_to_read() -> None:
    talk = talk_with(FakeModel(context_size=64), Overflow(OverflowMode.STOP))
    assert talk.rest("x" * 100) == [IdlePrefillFinished(0)]


def test_where_positions_will_be_shared_no_more_is_read_than_a_reply_takes_over() -> None:
    overflow = Overflow(OverflowMode.EXTEND, group_size=2, group_width=16)
    talk = talk_with(FakeModel(any_letter), overflow)
    assert ready(talk.rest("x" * 100)) == 16
    warm = talk.say("x" * 100 + "y", max_tokens=8)
    assert usage_of(warm).reused_tokens == 16
    assert text_of(warm) == text_of(talk_with(FakeModel(any_letter), overflow).say("x" * 100 + "y", max_tokens=8))


def test_without_a_model_it_is_a_failure() -> None:
    events = Talk(LocalEngine(FakeOpener())).rest("a draft")
    assert events == [Failed(None, "no model is loaded", "Load a model first.")]


# --- stopping -----------------------------------------------------------------------------------------------

QUESTIONS_BEFORE_READING = len(CONTINUATIONS) + 1


@pytest.mark.parametrize("chunks", [0, 1, 3])
def test_a_stop_takes_effect_at_the_next_chunk_and_leaves_what_was_read(chunks: int) -> None:
    talk = talk_with()
    events = talk.rest("x" * 100, once_asked(QUESTIONS_BEFORE_READING + chunks))
    assert ready(events) == len(talk.held()) == chunks * CHUNK_TOKENS
    assert usage_of(talk.say("x" * 100)).reused_tokens == chunks * CHUNK_TOKENS


@pytest.mark.parametrize("questions", range(QUESTIONS_BEFORE_READING))
def test_a_stop_before_anything_is_read_forgets_nothing(questions: int) -> None:
    talk = talk_with()
    talk.say("hi")
    held = talk.held()
    talk.rest("x" * 100, once_asked(questions))
    assert talk.held() == held


# --- what is stored -----------------------------------------------------------------------------------------


def stored_talk(folder: Path) -> Talk:
    talk = Talk(engine_with(FakeModel(answering("yes")), folder), CHAT)
    talk.say("hi " * 30)
    return talk


def test_nothing_that_is_read_ahead_is_stored_by_itself(tmp_path: Path) -> None:
    talk = stored_talk(tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*.tlk")}
    talk.rest("a long draft of something")
    assert {path: path.read_bytes() for path in tmp_path.rglob("*.tlk")} == before


def test_what_is_stored_is_taken_from_there_when_a_chat_is_opened(tmp_path: Path) -> None:
    talk = stored_talk(tmp_path)
    again = Talk(engine_with(FakeModel(answering("yes")), tmp_path), CHAT)
    again.messages, again.ledger = talk.messages, talk.ledger
    (progress, finished) = again.rest()
    assert isinstance(progress, IdlePrefillProgress)
    assert finished == IdlePrefillFinished(len(talk.ledger) + len("<user:"))


def test_where_all_is_stored_nothing_is_left_to_read(tmp_path: Path) -> None:
    stored_talk(tmp_path)
    again = Talk(engine_with(FakeModel(answering("yes")), tmp_path), "d" * 32)
    assert again.rest("hi hi ") == [IdlePrefillFinished(len(again.held()))]
    assert len(again.held()) > len("hi hi")


def test_something_stored_that_is_damaged_is_told_and_read_again(tmp_path: Path) -> None:
    talk = stored_talk(tmp_path)
    for path in tmp_path.rglob("*.tlk"):
        path.write_bytes(b"")
    again = Talk(engine_with(FakeModel(answering("yes")), tmp_path), CHAT)
    again.messages, again.ledger = talk.messages, talk.ledger
    events = again.rest()
    assert [type(event) for event in events[:2]] == [Notice, IdlePrefillProgress]
    assert ready(events) == len(again.held())


def test_without_a_chat_nothing_is_taken_from_the_store(tmp_path: Path) -> None:
    talk = stored_talk(tmp_path)
    again = Talk(engine_with(FakeModel(answering("yes")), tmp_path))
    again.messages, again.ledger = talk.messages, talk.ledger
    first = again.rest()[0]
    assert isinstance(first, IdlePrefillProgress)
    assert first.ready_tokens == CHUNK_TOKENS


# --- that it changes no answer ------------------------------------------------------------------------------


@pytest.mark.parametrize(("architecture", "vocabulary"), [("llama", "spm"), ("qwen3", "bpe")])
def test_a_real_model_holds_the_same_bits_and_gives_the_same_answer(
    tmp_path: Path, architecture: Architecture, vocabulary: VocabularyKind
) -> None:
    path = make_tiny_model(tmp_path / "tiny.gguf", architecture, vocabulary=vocabulary, chat_template=THINKING_TEMPLATE)
    draft = "the hill and the sun and the hill and then"
    sampling = SamplingSettings(seed=7)
    answers, numbers, tokens = [], [], []
    for drafts in ((), ("", draft[:9], draft[:24], "something else", draft[:33], draft)):
        engine = LocalEngine()
        assert isinstance(engine.load(LoadRequest(str(path), threads=1), never), ModelLoaded)
        talk = Talk(engine)
        talk.say("hello there", 12, sampling)
        talk.messages = (talk.messages[0], ChatMessage(Role.ASSISTANT, f"aa</think>{talk.messages[1].text}"))
        for draft_so_far in drafts:
            talk.rest(finished_part(draft_so_far))
        answers.append(text_of(talk.say(draft, 12, sampling)))
        sequence = engine._sequence
        assert sequence is not None
        numbers.append(sequence.kv(0, 0, len(sequence)).tobytes())
        tokens.append(talk.held())
        engine.close()
    assert answers[0] == answers[1]
    assert tokens[0] == tokens[1]
    assert numbers[0] == numbers[1]


VOCABULARIES = [
    ("llama-bpe", "llama3"),
    ("qwen2", "chatml"),
    ("llama-spm", "llama2"),
    ("phi-3", "phi3"),
    ("gpt-2", "chatml"),
    ("deepseek-coder", "deepseek2"),
]
MOST_WASTED = 0.005


def some_texts(shared_folder: Path) -> Iterator[str]:
    """Prose, code, languages without spaces, and the lines by which llama.cpp tests its tokenizers."""
    root = Path(__file__).parents[3]
    yield from (path.read_text() for path in (root / "README.md", root / "tui_llama" / "app.py"))
    tests = shared_folder / "data" / "vocab" / "ggml-vocab-qwen2.gguf.inp"
    yield from tests.read_bytes().decode().split("\n__ggml_vocab_test__\n")
    yield "機械学習とは、人間が自然に行っている学習能力と同様の機能を実現しようとする技術です。" * 4
    yield "ภาษาไทยเป็นภาษาที่ไม่มีการเว้นวรรคระหว่างคำ" * 4
    yield "It's don't we'll  they're   I'd\n\n\n  x = 12345678 + 3.14159;\n\tif (a != b) { return 'foo'; }\n" * 4


@pytest.mark.shared
@pytest.mark.parametrize(("name", "template_name"), VOCABULARIES)
def test_hardly_a_token_is_read_in_vain(shared_folder: Path, name: str, template_name: str) -> None:
    model = FakeModel(context_size=1 << 16)
    model.tokenizer = open_tokenizer(shared_folder / "data" / "vocab" / f"ggml-vocab-{name}.gguf")
    template = known_template(template_name, model.tokenizer)
    model.chat_template = template
    talk = talk_with(model)
    talk.messages = (ChatMessage(Role.USER, "hello"), ChatMessage(Role.ASSISTANT, "Hello! How are you?\n"))
    texts = [text for text in some_texts(shared_folder) if text.strip()]
    random_numbers = random.Random(5)
    read = wasted = missed = 0
    for _ in range(120):
        text = random_numbers.choice(texts)
        start = random_numbers.randrange(len(text))
        message = text[start : start + random_numbers.choice((20, 100, 400))].strip("\n")
        draft = finished_part(message[: random_numbers.randrange(len(message) + 1)])
        prompt = template.render((*talk.messages, ChatMessage(Role.USER, message)))
        token_ids = encode_prompt(model.tokenizer, prompt, []).token_ids
        model.sequences[-1].rewind(0)
        talk.rest(draft)
        held = talk.held()
        good = common_prefix_length(held, token_ids)
        read, wasted = read + len(held), wasted + len(held) - good
        missed += len(held) == 0
    assert wasted <= MOST_WASTED * read, f"{wasted} of {read}"
    assert not missed


# --- why it is read again -----------------------------------------------------------------------------------


def test_a_turn_that_reads_only_its_message_names_no_cause() -> None:
    talk = talk_with()
    assert cause_of(talk.say("word " * 40)) is None
    assert cause_of(talk.say("word " * 40)) is None


def test_thinking_that_the_template_drops_is_named_and_no_cause_where_it_was_read_ahead() -> None:
    long = FakeModel(answering("<t>hmm</t>" + "yes " * 40), context_size=2048)
    long.chat_template = ThinkingTemplate()
    talk = talk_with(long)
    talk.say("hi")
    assert cause_of(talk.say("and")) is RereadCause.TEMPLATE_CHANGES_ANSWERS
    talk.rest()
    assert cause_of(talk.say("so")) is None


def test_a_changed_message_is_named() -> None:
    talk = talk_with()
    talk.say("word " * 40)
    talk.messages = (ChatMessage(Role.USER, "ward " * 40), *talk.messages[1:])
    assert cause_of(talk.say("and")) is RereadCause.MESSAGE_CHANGED


@pytest.mark.parametrize("wanted", ["%d %b %Y", "%Y-%m-%d", "%B %-d, %Y"])
@pytest.mark.parametrize("answer", ["yes", "<t>hmm</t>" + "yes " * 40])
def test_a_renewed_date_is_named(wanted: str, answer: str) -> None:
    dated = FakeModel(answering(answer), context_size=2048)
    dated.chat_template = DatedTemplate(wanted)
    talk = talk_with(dated)
    talk.say("Born 2001-02-03. " + "word " * 40)
    talk.begun_at = "2026-12-03T00:10:00+01:00"
    assert cause_of(talk.say("and")) is RereadCause.DATE_RENEWED


def test_a_changed_message_is_named_where_the_date_stayed() -> None:
    dated = FakeModel(answering("yes"), context_size=2048)
    dated.chat_template = DatedTemplate("%d %b %Y")
    talk = talk_with(dated)
    talk.say("Born 2001-02-03. " + "word " * 40)
    talk.messages = (ChatMessage(Role.USER, "Born 2001-02-04. " + "word " * 40), *talk.messages[1:])
    assert cause_of(talk.say("and")) is RereadCause.MESSAGE_CHANGED


def test_what_no_store_has_is_named() -> None:
    talk = talk_with()
    talk.say("word " * 40)
    again = talk_with()
    again.messages, again.ledger = talk.messages, talk.ledger
    assert cause_of(again.say("and")) is RereadCause.NOT_STORED


def test_tokens_that_another_template_wrote_are_named() -> None:
    talk = talk_with()
    talk.say("word " * 40)
    again = talk_with()
    again.messages, again.ledger = talk.messages, (*b"[system]", *talk.ledger)
    assert cause_of(again.say("and")) is RereadCause.ANOTHER_MODEL


def test_messages_that_are_left_out_are_named() -> None:
    talk = talk_with(FakeModel(answering("yes"), context_size=512))
    events = [talk.say(f"{letter}ord " * 20) for letter in "wlmn"]
    assert [cause_of(each) for each in events] == [None, None, None, RereadCause.MESSAGES_LEFT_OUT]


# --- what it would cost -------------------------------------------------------------------------------------


def test_an_estimate_is_what_the_reply_then_costs() -> None:
    talk = talk_with()
    talk.say("hi")
    estimate = talk.estimate("and then")
    assert isinstance(estimate, PromptEstimate)
    usage = usage_of(talk.say("and then"))
    assert (estimate.kept_tokens, estimate.read_tokens) == (usage.reused_tokens, usage.read_tokens)


def test_an_estimate_reads_nothing_and_forgets_nothing() -> None:
    talk = talk_with()
    talk.say("hi")
    held = talk.held()
    talk.messages = (ChatMessage(Role.USER, "something else"), talk.messages[1])
    talk.estimate("and then")
    assert talk.held() == held


def test_an_estimate_counts_what_is_stored(tmp_path: Path) -> None:
    talk = stored_talk(tmp_path)
    again = Talk(engine_with(FakeModel(answering("yes")), tmp_path), CHAT)
    again.messages, again.ledger = talk.messages, talk.ledger
    estimate = again.estimate("and")
    assert isinstance(estimate, PromptEstimate)
    assert estimate.kept_tokens == len(talk.ledger) - 1
    assert estimate.read_seconds is None


def test_an_estimate_of_what_cannot_be_sent_says_why() -> None:
    failed = talk_with(FakeModel(context_size=64)).estimate("x" * 100)
    assert isinstance(failed, Failed)
    assert "63" in failed.message


def test_the_time_follows_from_the_speed_that_was_measured() -> None:
    speed = ReadingSpeed()
    assert speed.seconds_for(100) is None
    speed.note(0, 0.0)
    speed.note(200, 2.0)
    assert speed.seconds_for(100) == pytest.approx(1.0)


def test_an_old_speed_fades() -> None:
    speed = ReadingSpeed()
    speed.note(4096, 4096.0)
    for _ in range(20):
        speed.note(2048, 1.0)
    seconds = speed.seconds_for(2048)
    assert seconds is not None
    assert seconds < 4.0


def test_the_engine_measures_while_it_reads() -> None:
    engine = LocalEngine(FakeOpener(FakeModel()), itertools.count(0.0).__next__)
    engine.load(LoadRequest("fake.gguf"), never)
    talk = Talk(engine)
    talk.rest("x" * 160)
    estimate = talk.estimate("y" * 10)
    assert isinstance(estimate, PromptEstimate)
    assert estimate.read_seconds == pytest.approx(estimate.read_tokens / CHUNK_TOKENS, rel=0.1)


def test_a_message_that_was_never_read_is_no_changed_one() -> None:
    """The engine was killed before it had read the one before: nothing of it is in the ledger."""
    talk = talk_with()
    talk.say("word " * 10)
    talk.messages = (
        *talk.messages,
        ChatMessage(Role.USER, "unread " * 60),
        ChatMessage(Role.ASSISTANT, "yes"),
    )
    assert cause_of(talk.say("and")) is None
