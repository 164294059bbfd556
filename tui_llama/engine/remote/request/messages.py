"""The messages of a conversation as a server gets them."""

from collections.abc import Sequence
from typing import Any

import msgspec

from tui_llama.chat import ChatMessage, Role
from tui_llama.engine.prompting.prompt_messages import prompt_messages
from tui_llama.engine.remote.dialects import Dialect
from tui_llama.engine.remote.stream.json_values import NotJsonError, clean_text, decode_json
from tui_llama.engine.remote.stream.thinking import OPENING, split_thinking
from tui_llama.errors import EngineError


def request_messages(messages: Sequence[ChatMessage], dialect: Dialect, goes_on: bool = False) -> list[dict[str, Any]]:
    """Returns the messages in the form of a request.

    The thought of an answer goes under the names that the dialect has for it, if any.

    Args:
        messages: The conversation.
        dialect: How the server speaks.
        goes_on: The last message is an answer that goes on.
    """
    last = len(messages) - 1
    return [_message(message, dialect, goes_on and place == last) for place, message in enumerate(messages)]


def stands_in_thinking(answer: ChatMessage) -> bool:
    """Tells whether an answer was cut in its thought."""
    _thinking, text, has_ended = split_thinking(answer.text)
    return not has_ended or (bool(answer.thought) and not text.strip())


def in_order(messages: Sequence[ChatMessage], dialect: Dialect) -> tuple[ChatMessage, ...]:
    """Returns the messages as the templates of servers accept them, see `prompt_messages`.

    A server that takes no thinking is sent none, and no answer that was stopped before its first word.

    Whoever sends calls of tools or images has put the messages in order, and joining them would lose both. An answer
    that goes on within its thought has no word yet, and stays.
    """
    sent = tuple(messages) if dialect.thinking_names else _without_thinking(messages)
    if any(message.images or message.fields or message.role is Role.TOOL for message in sent):
        return sent
    if sent and sent[-1].role is Role.ASSISTANT and sent[-1].thought and not sent[-1].text.strip():
        return (*prompt_messages(sent[:-1]), sent[-1])
    return prompt_messages(sent)


def _without_thinking(messages: Sequence[ChatMessage]) -> tuple[ChatMessage, ...]:
    """Returns the messages without thinking and without the answers that are nothing else, but for the last message."""
    kept: list[ChatMessage] = []
    for message in messages[:-1]:
        _thinking, text, _has_ended = split_thinking(message.text)
        if message.role is not Role.ASSISTANT or text == message.text:
            kept.append(message)
        elif text.strip() or message.fields or message.images:
            kept.append(msgspec.structs.replace(message, text=text))
    return (*kept, *messages[-1:])


def _message(message: ChatMessage, dialect: Dialect, goes_on: bool) -> dict[str, Any]:
    text, thinking = message.text, ""
    if message.role is Role.ASSISTANT:
        thinking, text, _has_ended = split_thinking(message.text)
        thinking = thinking or message.thought
        if goes_on and stands_in_thinking(message) and not dialect.continues_thinking:
            text, thinking = f"{OPENING}\n{thinking}", ""
    sent: dict[str, Any] = {"role": str(message.role), "content": _content(clean_text(text), message.images)}
    if thinking:
        sent.update(dict.fromkeys(dialect.thinking_names, clean_text(thinking)))
    return {**sent, **_fields(message.fields)}


def _content(text: str, images: Sequence[str]) -> Any:
    if not images:
        return text
    parts: list[dict[str, Any]] = [{"type": "image_url", "image_url": {"url": image}} for image in images]
    return [*parts, {"type": "text", "text": text}] if text else parts


def _fields(fields: str) -> dict[str, Any]:
    """Returns the further fields of a message; they never replace its author and its text."""
    try:
        value = decode_json(fields.encode()) if fields else {}
    except NotJsonError:
        value = None
    if not isinstance(value, dict):
        raise EngineError("the further fields of a message are no JSON object", "Correct them.")
    return {name: field for name, field in value.items() if name not in ("role", "content")}
