"""Prompts of a real engine that end inside a thought."""

from pathlib import Path
from typing import cast

import pytest

from tests.fakes.talk import load, never
from tests.fakes.tiny_model import CHATML_TEMPLATE, VocabularyKind, make_tiny_model
from tui_llama.chat import ChatMessage, Role
from tui_llama.engine.events import PromptEncoded, Tokenized
from tui_llama.engine.local import LocalEngine
from tui_llama.engine.protocol import Engine
from tui_llama.engine.requests import CompleteRequest, LoadRequest, ReplyRequest, TokenizeRequest
from tui_llama.serve.openai.answer_text.open_thought import OpenThoughts

QUESTION = ChatMessage(Role.USER, "Is <think> a word?")


class Tokenizing:
    """The part of an `Engine` that is needed here, of a real one."""

    def __init__(self, engine: LocalEngine) -> None:
        self._engine = engine

    async def tokenize(self, request: TokenizeRequest) -> Tokenized:
        tokenized = self._engine.tokenize(request)
        assert isinstance(tokenized, Tokenized)
        return tokenized


def opened(path: Path, vocabulary: VocabularyKind, ending: str) -> LocalEngine:
    """Opens a model whose template ends a prompt so."""
    template = CHATML_TEMPLATE.replace("assistant\n'", "assistant\n" + ending + "'")
    engine = LocalEngine()
    load(engine, LoadRequest(str(make_tiny_model(path / "tiny.gguf", vocabulary=vocabulary, chat_template=template))))
    return engine


def prompt_of(engine: LocalEngine, request: ReplyRequest | CompleteRequest) -> PromptEncoded:
    return next(event for event in engine.reply(request, never) if isinstance(event, PromptEncoded))


async def is_open(engine: LocalEngine, request: ReplyRequest | CompleteRequest) -> bool:
    thoughts = OpenThoughts()
    await thoughts.learn(cast("Engine", Tokenizing(engine)), engine.info)
    return thoughts.is_open_at_end(prompt_of(engine, request))


@pytest.mark.parametrize("vocabulary", ["bpe", "spm"])
@pytest.mark.parametrize(
    ("ending", "opens"),
    [
        ("<think>", True),
        ("<think>\n", True),
        ("<think>\n\n", True),
        ("", False),
        ("<think>\n\n</think>\n\n", False),
        ("I think", False),
    ],
)
async def test_the_mark_at_the_end_of_a_prompt_is_found(
    tmp_path: Path, vocabulary: VocabularyKind, ending: str, opens: bool
) -> None:
    engine = opened(tmp_path, vocabulary, ending)
    try:
        assert await is_open(engine, ReplyRequest(1, (QUESTION,), max_tokens=0)) is opens
    finally:
        engine.close()


@pytest.mark.parametrize("vocabulary", ["bpe", "spm"])
@pytest.mark.parametrize(("ending", "opens"), [("<think>\n", True), ("", False)])
async def test_the_mark_before_a_continued_answer_is_found(
    tmp_path: Path, vocabulary: VocabularyKind, ending: str, opens: bool
) -> None:
    engine = opened(tmp_path, vocabulary, ending)
    messages = (QUESTION, ChatMessage(Role.ASSISTANT, "So it is"))
    try:
        request = CompleteRequest(1, "", answer="So it is", messages=messages, max_tokens=0)
        assert await is_open(engine, request) is opens
    finally:
        engine.close()
