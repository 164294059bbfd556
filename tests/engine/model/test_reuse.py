"""Reuse really happens: whatever the user does next, and in another program, at most one shared token is read again."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from tests.fakes.engine_events import text_of, tokens_of, usage_of
from tests.fakes.fake_model import FakeModel, FakeTemplate, byte_tokenizer
from tests.fakes.known_templates import known_template
from tests.fakes.talk import CHAT, GREEDY, engine_storing_in, never
from tests.scale import scaled
from tui_llama.chat import ChatMessage, Role
from tui_llama.engine.events import PromptEncoded
from tui_llama.engine.model.interface import PromptTemplate
from tui_llama.engine.protocol import ReplyEvent
from tui_llama.engine.requests import ReplyRequest

Messages: TypeAlias = tuple[ChatMessage, ...]

QUESTION = "a long question " * 8
ANSWER_TOKENS = 40
TEMPLATES = scaled(
    ["fake", "mistral-v7"],
    ["fake", "chatml", "llama3", "gemma", "mistral-v1", "mistral-v7", "phi4", "vicuna", "zephyr"],
)


class ChangingAnswers:
    """A template that does not write answers as they were given, or not all of them."""

    notices: tuple[str, ...] = ()

    def __init__(self, template: PromptTemplate, change: Callable[[str], str]) -> None:
        self._template = template
        self._change = change
        self.thinking = template.thinking

    def take_notices(self) -> tuple[str, ...]:
        return ()

    def stop_texts_of(self, source: str) -> tuple[str, ...]:
        return ()

    def without_fallback(self) -> PromptTemplate:
        return self

    def render(
        self,
        messages: Sequence[ChatMessage],
        *,
        add_generation_prompt: bool = True,
        now: datetime | None = None,
        values: Mapping[str, Any] | None = None,
    ) -> str:
        changed = [
            ChatMessage(each.role, self._change(each.text)) if each.role is Role.ASSISTANT else each
            for each in messages
        ]
        return self._template.render(changed, add_generation_prompt=add_generation_prompt, now=now)


class Programs:
    """A chat whose every turn is answered by another program; what they store is in one folder."""

    def __init__(self, folder: Path, template: PromptTemplate) -> None:
        self.folder = folder
        self.template = template
        self.stored: list[list[int]] = []

    def answer(
        self, messages: Messages, ledger: Sequence[int] = (), change: Callable[[str], str] | None = None
    ) -> tuple[Messages, list[int], list[ReplyEvent]]:
        """Answers the last message; returns the messages with the answer, the ledger, and what happened."""
        model = FakeModel(context_size=4000)
        model.chat_template = ChangingAnswers(self.template, change) if change else self.template
        engine = engine_storing_in(self.folder, model)
        request = ReplyRequest(1, messages, tuple(ledger), GREEDY, max_tokens=ANSWER_TOKENS, chat_id=CHAT)
        events = list(engine.reply(request, never))
        (encoded,) = (event for event in events if isinstance(event, PromptEncoded))
        prompt = [*ledger[: encoded.kept_tokens], *encoded.token_ids]
        self._check_reuse(prompt, usage_of(events).reused_tokens)
        grown = [*prompt, *tokens_of(events)]
        self.stored.append(grown[:-1])  # the last token of an answer is not read any more
        return (*messages, ChatMessage(Role.ASSISTANT, text_of(events))), grown, events

    def _check_reuse(self, prompt: list[int], reused: int) -> None:
        shared = max((_common_prefix_length(each, prompt) for each in self.stored), default=0)
        assert shared - 1 <= reused <= shared


def _common_prefix_length(first: list[int], second: list[int]) -> int:
    pairs = enumerate(zip(first, second, strict=False))
    return next((index for index, (one, other) in pairs if one != other), min(len(first), len(second)))


def said(text: str) -> ChatMessage:
    return ChatMessage(Role.USER, text)


@pytest.fixture(params=TEMPLATES)
def programs(request: pytest.FixtureRequest, tmp_path: Path) -> Programs:
    name: str = request.param
    return Programs(tmp_path, FakeTemplate() if name == "fake" else known_template(name, byte_tokenizer()))


def test_a_plain_chat(programs: Programs) -> None:
    messages, ledger, events = programs.answer((said(QUESTION),))
    for text in ("and", "so", "then"):
        before = len(ledger)
        messages, ledger, events = programs.answer((*messages, said(text)), ledger)
        assert usage_of(events).reused_tokens >= before - 2


def test_answering_again(programs: Programs) -> None:
    messages, ledger, _ = programs.answer((said(QUESTION),))
    asked = (*messages, said("and"))
    programs.answer(asked, ledger)
    _, _, events = programs.answer(asked, ledger)
    assert usage_of(events).read_tokens == 1


def test_editing_an_earlier_message(programs: Programs) -> None:
    messages, ledger, _ = programs.answer((said(QUESTION),))
    full, _, _ = programs.answer((*messages, said("and the second")), ledger)
    _, _, events = programs.answer((*messages, said("and another second")), ledger)
    assert usage_of(events).reused_tokens >= len(ledger)
    _, _, events = programs.answer((said("a long question " * 6 + "edited"),))
    assert usage_of(events).reused_tokens >= len("a long question " * 6)
    assert len(full) == 4


def test_deleting_the_last_turns(programs: Programs) -> None:
    messages, first, _ = programs.answer((said(QUESTION),))
    longer, second, _ = programs.answer((*messages, said("and")), first)
    programs.answer((*longer, said("so")), second)
    _, _, events = programs.answer((*messages, said("something else")), first)
    assert usage_of(events).reused_tokens >= len(first) - 1


def test_going_back_to_another_branch(programs: Programs) -> None:
    messages, first, _ = programs.answer((said(QUESTION),))
    left, left_ledger, _ = programs.answer((*messages, said("left")), first)
    programs.answer((*messages, said("right")), first)
    _, _, events = programs.answer((*left, said("on")), left_ledger)
    assert usage_of(events).reused_tokens >= len(left_ledger) - 2


def without_first_half(text: str) -> str:
    """An answer as if its first half were thinking."""
    return text[len(text) // 2 :]


def test_a_template_that_drops_thinking(programs: Programs) -> None:
    messages, ledger, _ = programs.answer((said(QUESTION),), change=without_first_half)
    messages, ledger, events = programs.answer((*messages, said("and")), ledger, without_first_half)
    assert usage_of(events).reused_tokens >= len(QUESTION)
    before = usage_of(events).context_used
    _, _, events = programs.answer((*messages, said("so")), ledger, without_first_half)
    # Read again: the last answer, and what the template writes before and after it.
    assert usage_of(events).reused_tokens >= before - ANSWER_TOKENS - len(programs.template.render((said(""),)))


def test_another_template(programs: Programs) -> None:
    messages, ledger, _ = programs.answer((said(QUESTION),))
    _, _, events = programs.answer((*messages, said("and")), ledger, str.upper)
    assert usage_of(events).reused_tokens >= len(QUESTION)


def test_a_new_chat_with_the_same_system_prompt(programs: Programs) -> None:
    system = ChatMessage(Role.SYSTEM, "You are brief. " * 10)
    programs.answer((system, said("one thing")))
    _, _, events = programs.answer((system, said("something else")))
    assert usage_of(events).reused_tokens >= len(system.text)
