"""A conversation is found again in the tokens that a chat template has written, or nothing is."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.fake_model import FakeTemplate, byte_tokenizer
from tests.fakes.tiny_model import CHATML_TEMPLATE, Architecture, VocabularyKind, make_tiny_model
from tui_llama.chat import ChatMessage, Role
from tui_llama.engine import open_model
from tui_llama.engine.llama_cpp.recover_messages import messages_in
from tui_llama.engine.prompting.ledger_prompt import encode_prompt
from tui_llama.errors import EngineError

SYSTEM = ChatMessage(Role.SYSTEM, "Be brief.")
TALK = (
    ChatMessage(Role.USER, "hello there"),
    ChatMessage(Role.ASSISTANT, "once upon a time\n\nthere was"),
    ChatMessage(Role.USER, "and then?"),
    ChatMessage(Role.ASSISTANT, "the sun was shi"),
)
TOKENIZER = byte_tokenizer()


def tokens_of(messages: Sequence[ChatMessage], end: str = "") -> list[int]:
    """A conversation whose last message is an answer under way."""
    text = FakeTemplate().render(messages[:-1]) + messages[-1].text + end
    return TOKENIZER.tokenize(text, parse_special=True)


@pytest.mark.parametrize("messages", [TALK, TALK[:2], (SYSTEM, *TALK), (SYSTEM, *TALK[:2])])
@pytest.mark.parametrize("end", ["", "</s>"])
def test_a_conversation_is_found_whether_its_last_answer_has_ended_or_not(
    messages: tuple[ChatMessage, ...], end: str
) -> None:
    assert messages_in(tokens_of(messages, end), TOKENIZER, FakeTemplate()) == messages


def test_an_answer_that_has_hardly_begun_is_found() -> None:
    messages = (TALK[0], ChatMessage(Role.ASSISTANT, ""))
    assert messages_in(tokens_of(messages), TOKENIZER, FakeTemplate()) == messages


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Once upon a time",
        "<s>user:hello",
        "<s>user:hello</s><s>assistant:yes</s><s>user:and",
        "<s>assistant:hello</s>",
        "<s>system:hello</s><s>assistant:yes",
        "x<s>user:hello</s><s>assistant:yes",
    ],
)
def test_nothing_is_found_in_what_is_no_conversation_up_to_an_answer(text: str) -> None:
    assert messages_in(TOKENIZER.tokenize(text, parse_special=True), TOKENIZER, FakeTemplate()) == ()


def test_what_only_looks_like_control_tokens_is_no_conversation() -> None:
    text = FakeTemplate().render(TALK[:1]) + "yes"
    assert messages_in(TOKENIZER.tokenize(text), TOKENIZER, FakeTemplate()) == ()


class Refusing(FakeTemplate):
    def render(
        self,
        messages: Sequence[ChatMessage],
        *,
        add_generation_prompt: bool = True,
        now: datetime | None = None,
        values: Mapping[str, Any] | None = None,
    ) -> str:
        raise EngineError("only one message")


class Plain(FakeTemplate):
    def render(
        self,
        messages: Sequence[ChatMessage],
        *,
        add_generation_prompt: bool = True,
        now: datetime | None = None,
        values: Mapping[str, Any] | None = None,
    ) -> str:
        return "".join(message.text for message in messages)


class LastAlone(FakeTemplate):
    def render(
        self,
        messages: Sequence[ChatMessage],
        *,
        add_generation_prompt: bool = True,
        now: datetime | None = None,
        values: Mapping[str, Any] | None = None,
    ) -> str:
        return super().render(messages[-1:], add_generation_prompt=add_generation_prompt)


@pytest.mark.parametrize("template", [Refusing(), Plain(), LastAlone()])
def test_a_template_that_tells_no_messages_apart_finds_nothing(template: FakeTemplate) -> None:
    assert messages_in(tokens_of(TALK), TOKENIZER, template) == ()


@pytest.mark.parametrize(("architecture", "vocabulary"), [("llama", "spm"), ("llama", "bpe"), ("qwen3", "bpe")])
def test_a_conversation_of_a_real_template_goes_on_with_all_of_its_tokens(
    tmp_path: Path, architecture: Architecture, vocabulary: VocabularyKind
) -> None:
    path = make_tiny_model(tmp_path / "tiny.gguf", architecture, vocabulary=vocabulary, chat_template=CHATML_TEMPLATE)
    with open_model(path, threads=1) as model:
        template, tokenizer = model.chat_template, model.tokenizer
        prompt = encode_prompt(tokenizer, template.render((SYSTEM, *TALK[:3])), [])
        ledger = [*prompt.token_ids, *tokenizer.tokenize(TALK[3].text, continues=True)]
        messages = messages_in(ledger, tokenizer, template)
        assert messages == (SYSTEM, *TALK)
        rendered = template.render((*messages, ChatMessage(Role.USER, "go on")))
        assert encode_prompt(tokenizer, rendered, ledger, ["go on"]).kept_tokens == len(ledger)
