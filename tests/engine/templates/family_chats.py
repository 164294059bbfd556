"""Chats with small models of every architecture that have the vocabulary and a template of one of its families.

A chat tells how its prompt is split into tokens, and which tokens end an answer.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from msgspec.structs import replace

from tests.engine.model.random_model import write_model_of
from tests.engine.tokenizer.families import Family, families_of, vocabulary_of
from tests.fakes.engine_events import finish_of, text_of, thought_of
from tests.fakes.talk import GREEDY, load, never
from tui_llama.chat import ChatMessage, Role, StopReason
from tui_llama.engine.events import PromptEncoded
from tui_llama.engine.local import LocalEngine, open_requested
from tui_llama.engine.model.interface import ReportProgress
from tui_llama.engine.model.model import Model
from tui_llama.engine.requests import LoadRequest, ReplyRequest
from tui_llama.engine.templates.known import KNOWN_TEMPLATES
from tui_llama.engine.tokenizer.tokenizer import Tokenizer

ROLES: Final = (Role.SYSTEM, Role.USER, Role.ASSISTANT, Role.USER)
NO_FAMILY: Final = Family((), "gpt-2", ("<end>",), frozenset({"<end>"}), {"eos": "<end>"})
"""For architectures of which no family is known."""
_ANSWER_TOKENS: Final = 2


@dataclass(frozen=True, slots=True)
class Chat:
    """What came of a chat.

    Attributes:
        source: Where the template was from.
        marks: The special tokens of the prompt, in order.
        written_marks: Their texts that the template wrote; what others wrote is text, whatever it looks like.
        is_lossless: Whether the tokens of the prompt write what the template wrote.
        ends: Special tokens of the vocabulary or the family that end an answer at once, without any text.
        goes_on: Those after which the model goes on.
    """

    source: str
    marks: tuple[str, ...]
    written_marks: tuple[str, ...]
    is_lossless: bool
    ends: frozenset[str]
    goes_on: frozenset[str]


def chats_of(architecture: str) -> Iterator[tuple[str, Family, str]]:
    """Yields the chats to try with an architecture: the name of a family, the family, and a known template or ""."""
    for name, family in (families_of(architecture) or {"": NO_FAMILY}).items():
        for template in family.templates or ("",):
            yield name, family, template


def chat_with(path: Path, architecture: str, family: Family, template: str) -> Chat:
    """Makes a model of an architecture with a family's vocabulary and template, and chats with it.

    Args:
        path: Where the model is written.
        architecture: Its name in GGUF.
        family: What the vocabulary is like.
        template: The name of the known template in the file; "" for none.
    """
    source = KNOWN_TEMPLATES[template] if template else ""
    write_model_of(path, architecture, {"context_length": 512}, vocabulary_of(family), source)
    opened: list[Model] = []

    def opener(request: LoadRequest, on_progress: ReportProgress) -> Model:
        opened.append(open_requested(request, on_progress))
        return opened[-1]

    engine = LocalEngine(opener)
    load(engine, LoadRequest(str(path), threads=1))
    try:
        return _chat(engine, opened[0], family)
    finally:
        engine.close()


def _chat(engine: LocalEngine, model: Model, family: Family) -> Chat:
    """Encodes a conversation, and forces each special token as the first one of an answer to it."""
    special, template = _special_texts(model.tokenizer), model.chat_template
    pattern = "|".join(map(re.escape, sorted(special, key=len, reverse=True)))
    hostile = _messages(f"hi {min(family.ends)}")
    prompt, rendered = _prompt(engine, hostile), template.render(hostile)
    pieces = b"".join(model.tokenizer.piece(token_id, special=True) for token_id in prompt)
    kinds: dict[StopReason, set[str]] = {StopReason.END_OF_GENERATION: set(), StopReason.LENGTH: set()}
    for text in {*special, *family.special}:
        kinds[_reason_after(engine, model.tokenizer.token_id(text))].add(text)
    return Chat(
        source=template.source,
        marks=tuple(text for each in prompt if (text := model.tokenizer.token_text(each)) in special),
        written_marks=(*filter(None, [family.begins]), *re.findall(pattern, template.render(_messages("hi")))),
        is_lossless=pieces.decode() == family.begins + rendered,
        ends=frozenset(kinds[StopReason.END_OF_GENERATION]),
        goes_on=frozenset(kinds[StopReason.LENGTH]),
    )


def _special_texts(tokenizer: Tokenizer) -> frozenset[str]:
    """Returns the texts of the special tokens of a vocabulary."""
    return frozenset(tokenizer.token_text(each) for each in range(tokenizer.vocab_size) if tokenizer.is_special(each))


def _messages(question: str) -> tuple[ChatMessage, ...]:
    return tuple(map(ChatMessage, ROLES, ("be brief", question, "hi hi", "who are you")))


def _prompt(engine: LocalEngine, messages: tuple[ChatMessage, ...]) -> tuple[int, ...]:
    """Returns the tokens of the prompt that asks for an answer."""
    events = engine.reply(ReplyRequest(1, messages, sampling=GREEDY, max_tokens=1), never)
    return next(event.token_ids for event in events if isinstance(event, PromptEncoded))


def _reason_after(engine: LocalEngine, token_id: int | None) -> StopReason:
    """Returns why an answer ends that is made of one token, as often as it may be written; it must have no text."""
    sampling = replace(GREEDY, logit_bias=f"{token_id}+1000000")
    events = list(engine.reply(ReplyRequest(1, _messages("hi"), sampling=sampling, max_tokens=_ANSWER_TOKENS), never))
    reason = finish_of(events).stop_reason
    shown = text_of(events) + thought_of(events)
    if reason is StopReason.END_OF_GENERATION and shown:
        raise AssertionError(f"token {token_id} ends an answer and shows {shown!r}")
    return reason
