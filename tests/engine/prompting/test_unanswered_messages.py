"""What was never answered does not end a chat, whoever asks for its prompt, and no token of it is read twice."""

import itertools
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.engine_events import notices_of, text_of, tokens_of
from tests.fakes.fake_model import FakeModel, FakeTemplate, byte_tokenizer
from tests.fakes.known_templates import known_template
from tests.fakes.talk import CHAT, GREEDY, engine_storing_in, engine_with, never
from tui_llama.chat import ChatMessage, Role
from tui_llama.engine.events import Finished, PromptEncoded, PromptEstimate, PromptProgress
from tui_llama.engine.local import LocalEngine
from tui_llama.engine.protocol import ReplyEvent
from tui_llama.engine.requests import EstimateRequest, Overflow, OverflowMode, ReplyRequest
from tui_llama.engine.templates.chat_template import ChatTemplate
from tui_llama.errors import EngineError

QUESTION = "a long question " * 8


class AlternatingTemplate(FakeTemplate):
    """As `FakeTemplate`, but it takes only messages of the user and answers by turns, and none that is empty."""

    def render(
        self,
        messages: Sequence[ChatMessage],
        *,
        add_generation_prompt: bool = True,
        now: datetime | None = None,
        values: Mapping[str, Any] | None = None,
    ) -> str:
        roles = [message.role for message in messages]
        if roles != [role for role, _ in zip(itertools.cycle([Role.USER, Role.ASSISTANT]), roles, strict=False)]:
            raise EngineError("the roles must alternate")
        if not all(message.text for message in messages):
            raise EngineError("a message is empty")
        return super().render(messages, add_generation_prompt=add_generation_prompt, now=now)


class Chat:
    """A chat as a program keeps it: everything that was said, or was to be, and the ledger of tokens."""

    def __init__(self, engine: LocalEngine) -> None:
        self.engine = engine
        self.path: tuple[ChatMessage, ...] = ()
        self.ledger: tuple[int, ...] = ()

    def leave_unanswered(self, text: str) -> None:
        """As where Esc is pressed while the model loads."""
        self.path += (ChatMessage(Role.USER, text),)

    def say(self, text: str, most_tokens: int = 8, overflow: Overflow | None = None) -> list[ReplyEvent]:
        """Sends a message; with no tokens allowed, the answer is stopped before the first."""
        self.path += (ChatMessage(Role.USER, text),)
        request = ReplyRequest(
            1, self.path, self.ledger, GREEDY, most_tokens, chat_id=CHAT, overflow=overflow or Overflow()
        )
        events = list(self.engine.reply(request, never))
        assert isinstance(events[-1], Finished), events[-1]
        (encoded,) = (event for event in events if isinstance(event, PromptEncoded))
        self.ledger = (*self.ledger[: encoded.kept_tokens], *encoded.token_ids, *tokens_of(events))
        self.path += (ChatMessage(Role.ASSISTANT, text_of(events)),)
        return events

    def estimate(self, text: str) -> PromptEstimate:
        messages = (*self.path, ChatMessage(Role.USER, text))
        estimate = self.engine.estimate(EstimateRequest(messages, self.ledger, chat_id=CHAT))
        assert isinstance(estimate, PromptEstimate), estimate
        return estimate


@pytest.fixture
def chat(tmp_path: Path) -> Chat:
    model = FakeModel(context_size=4000)
    model.chat_template = AlternatingTemplate()
    return Chat(engine_storing_in(tmp_path, model))


def prompt_of(events: list[ReplyEvent]) -> tuple[int, int]:
    """How many tokens of the prompt were there, and how many were read."""
    usage = events[-1].usage if isinstance(events[-1], Finished) else None
    assert usage is not None
    return usage.reused_tokens, usage.read_tokens


def test_a_message_that_was_never_answered_is_a_part_of_the_next(chat: Chat) -> None:
    chat.leave_unanswered("one")
    events = chat.say("two")
    assert text_of(events)
    text = FakeModel().tokenizer.detokenize(chat.ledger, special=True)
    assert text.startswith("<s>user:one\n\ntwo</s><s>assistant:")


def test_a_chat_goes_on_after_answers_that_never_began(chat: Chat) -> None:
    chat.say(QUESTION, most_tokens=0)
    reused, _ = prompt_of(chat.say("again", most_tokens=0))
    assert reused == len(f"_user:{QUESTION}")
    reused, read = prompt_of(chat.say("and again"))
    assert (reused, read) == (len(f"_user:{QUESTION}__again"), len("__and again") + len("__assistant:"))


def test_tokens_count_from_turn_to_turn(chat: Chat) -> None:
    """An answer whose question was two messages is still where it was read when the next message comes."""
    chat.leave_unanswered("one")
    chat.say(QUESTION, most_tokens=0)
    chat.say("three")
    for text in ("and", "so", "then"):
        before = len(chat.ledger)
        estimate = chat.estimate(text)
        reused, read = prompt_of(chat.say(text))
        assert reused >= before - 2
        assert (estimate.kept_tokens, estimate.read_tokens) == (reused, read)


def test_nothing_is_called_read_again_that_is_read_for_the_first_time(chat: Chat) -> None:
    chat.say("hello")
    chat.leave_unanswered(QUESTION)
    chat.leave_unanswered(QUESTION)
    events = chat.say("well?")
    assert {event.reread_cause for event in events if isinstance(event, PromptProgress)} == {None}


def test_what_is_left_out_is_counted_as_the_chat_shows_it() -> None:
    model = FakeModel(context_size=240)
    model.chat_template = AlternatingTemplate()
    chat = Chat(engine_with(model))
    for letter in "abc":
        chat.leave_unanswered(f"{letter} " * 30)
        chat.path += (ChatMessage(Role.ASSISTANT, ""),)
    events = chat.say("d " * 30, overflow=Overflow(OverflowMode.DROP_TURNS))
    (encoded,) = (event for event in events if isinstance(event, PromptEncoded))
    prompt = FakeModel().tokenizer.detokenize(chat.ledger, special=True)
    kept = sum(f"{letter} " * 30 in prompt for letter in "abcd")
    assert encoded.left_out_messages == 2 * (4 - kept)
    assert 0 < kept < 4


@pytest.mark.parametrize("name", ["llama3", "gemma", "mistral-v3", "chatml"])
def test_known_templates_keep_the_tokens_of_such_chats(name: str, tmp_path: Path) -> None:
    model = FakeModel(context_size=4000)
    model.chat_template = known_template(name, byte_tokenizer())
    chat = Chat(engine_storing_in(tmp_path, model))
    chat.leave_unanswered("one")
    chat.say(QUESTION, most_tokens=0)
    reused, _ = prompt_of(chat.say("three"))
    assert reused >= len("one" + QUESTION)
    before = len(chat.ledger)
    reused, _ = prompt_of(chat.say("four"))
    assert reused >= before - 2


def test_what_a_template_cannot_do_is_told_with_the_answer() -> None:
    model = FakeModel(context_size=4000)
    refusing = (
        "{% for m in messages %}{% if 'secret' in m.content %}{{ raise_exception('no') }}{% endif %}"
        "<s>{{ m.role }}:{{ m.content }}</s>{% endfor %}<s>assistant:"
    )
    model.chat_template = ChatTemplate(
        refusing, "test", fallback=ChatTemplate("{{ messages[-1].content }}:", "another", stop_texts=["x"])
    )
    chat = Chat(engine_with(model))
    assert notices_of(chat.say("hello")) == []
    assert chat.estimate("a secret")
    (notice,) = notices_of(chat.say("a secret"))
    assert notice == "The model's chat template refused the messages: no; the another template is used instead."
    assert notices_of(chat.say("hello again")) == []
