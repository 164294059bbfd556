"""Reuse really happens: whatever the user does next, and in another program, at most one shared token is read again."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.engine.test_local import CHAT, GREEDY, engine_storing_in, never, text_of, tokens_of, usage_of
from tests.fakes.fake_model import FakeModel, FakeTemplate
from tui_llama.chat import ChatMessage, Role
from tui_llama.engine.protocol import PromptEncoded, ReplyEvent, ReplyRequest

Messages = tuple[ChatMessage, ...]


class Programs:
    """A chat whose every turn is answered by another program; what they store is in one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.stored: list[list[int]] = []

    def answer(
        self, messages: Messages, ledger: Sequence[int] = (), template: FakeTemplate | None = None
    ) -> tuple[Messages, list[int], list[ReplyEvent]]:
        """Answers the last message; returns the messages with the answer, the ledger, and what happened."""
        model = FakeModel(context_size=2000)
        if template is not None:
            model.chat_template = template
        engine = engine_storing_in(self.folder, model)
        request = ReplyRequest(1, messages, tuple(ledger), GREEDY, max_tokens=40, chat_id=CHAT)
        events = list(engine.reply(request, never))
        (encoded,) = (event for event in events if isinstance(event, PromptEncoded))
        prompt = [*ledger[: encoded.kept_tokens], *encoded.token_ids]
        self._check_reuse(prompt, usage_of(events).reused_tokens)
        assert engine.save_pending() is None
        grown = [*prompt, *tokens_of(events)]
        self.stored.append(grown[:-1])  # the last token of an answer is not read any more
        return (*messages, ChatMessage(Role.ASSISTANT, text_of(events))), grown, events

    def _check_reuse(self, prompt: list[int], reused: int) -> None:
        shared = max((_common_length(each, prompt) for each in self.stored), default=0)
        assert shared - 1 <= reused <= shared


def _common_length(first: list[int], second: list[int]) -> int:
    pairs = enumerate(zip(first, second, strict=False))
    return next((index for index, (one, other) in pairs if one != other), min(len(first), len(second)))


def said(text: str) -> ChatMessage:
    return ChatMessage(Role.USER, text)


@pytest.fixture
def programs(tmp_path: Path) -> Programs:
    return Programs(tmp_path)


def test_a_plain_chat(programs: Programs) -> None:
    messages, ledger, events = programs.answer((said("a long question " * 8),))
    for text in ("and", "so", "then"):
        before = len(ledger)
        messages, ledger, events = programs.answer((*messages, said(text)), ledger)
        assert usage_of(events).reused_tokens >= before - 2


def test_answering_again(programs: Programs) -> None:
    messages, ledger, _ = programs.answer((said("a long question " * 8),))
    asked = (*messages, said("and"))
    programs.answer(asked, ledger)
    _, _, events = programs.answer(asked, ledger)
    assert usage_of(events).read_tokens == 1


def test_editing_an_earlier_message(programs: Programs) -> None:
    messages, ledger, _ = programs.answer((said("a long question " * 8),))
    full, _, _ = programs.answer((*messages, said("and the second")), ledger)
    _, _, events = programs.answer((*messages, said("and another second")), ledger)
    assert usage_of(events).reused_tokens >= len(ledger)
    _, _, events = programs.answer((said("a long question " * 6 + "edited"),))
    assert usage_of(events).reused_tokens >= len("a long question " * 6)
    assert len(full) == 4


def test_deleting_the_last_turns(programs: Programs) -> None:
    messages, first, _ = programs.answer((said("a long question " * 8),))
    longer, second, _ = programs.answer((*messages, said("and")), first)
    programs.answer((*longer, said("so")), second)
    _, _, events = programs.answer((*messages, said("something else")), first)
    assert usage_of(events).reused_tokens >= len(first) - 1


def test_going_back_to_another_branch(programs: Programs) -> None:
    messages, first, _ = programs.answer((said("a long question " * 8),))
    left, left_ledger, _ = programs.answer((*messages, said("left")), first)
    programs.answer((*messages, said("right")), first)
    _, _, events = programs.answer((*left, said("on")), left_ledger)
    assert usage_of(events).reused_tokens >= len(left_ledger) - 2


class Stripping(FakeTemplate):
    """A template that leaves the first half of every answer but the last out, as if it were thinking."""

    def render(self, messages: Sequence[ChatMessage]) -> str:
        kept = [
            ChatMessage(each.role, each.text[len(each.text) // 2 :]) if each.role is Role.ASSISTANT else each
            for each in messages
        ]
        return super().render(kept)


def test_a_template_that_drops_thinking(programs: Programs) -> None:
    messages, ledger, _ = programs.answer((said("a long question " * 8),), template=Stripping())
    messages, ledger, events = programs.answer((*messages, said("and")), ledger, Stripping())
    assert usage_of(events).reused_tokens >= len("a long question " * 8)
    before = usage_of(events).context_used
    _, _, events = programs.answer((*messages, said("so")), ledger, Stripping())
    assert usage_of(events).reused_tokens >= before - 60  # the last answer and what came after it


def test_another_template(programs: Programs) -> None:
    class Shouting(FakeTemplate):
        def render(self, messages: Sequence[ChatMessage]) -> str:
            return super().render(messages).replace("assistant", "ASSISTANT")

    messages, ledger, _ = programs.answer((said("a long question " * 8),))
    _, _, events = programs.answer((*messages, said("and")), ledger, Shouting())
    assert usage_of(events).reused_tokens >= len("a long question " * 8)


def test_a_new_chat_with_the_same_system_prompt(programs: Programs) -> None:
    system = ChatMessage(Role.SYSTEM, "You are brief. " * 10)
    programs.answer((system, said("one thing")))
    _, _, events = programs.answer((system, said("something else")))
    assert usage_of(events).reused_tokens >= len(system.text)
