"""The messages of a conversation as a server gets them."""

from collections.abc import Sequence
from typing import Any

import msgspec

from tui_llama.chat import ChatMessage, Role
from tui_llama.engine.prompting.prompt_messages import prompt_messages
from tui_llama.engine.remote.dialects import Dialect
from tui_llama.engine.remote.stream.json_values import NotJsonError, clean_text, decode_json
from tui_llama.engine.remote.stream.thinking import split_thinking
from tui_llama.errors import EngineError


def request_messages(messages: Sequence[ChatMessage], dialect: Dialect, goes_on: bool = False) -> list[dict[str, Any]]:
    """Returns the messages in the form of a request.

    The thinking at the start of an answer is taken out and goes under the names that the dialect has for it, if any.

    Args:
        messages: The conversation.
        dialect: How the server speaks.
        goes_on: The last message is an answer that goes on.
    """
    last = len(messages) - 1
    return [_message(message, dialect, goes_on and place == last) for place, message in enumerate(messages)]


def stands_in_thinking(answer: str) -> bool:
    """Tells whether an answer was cut in its thinking."""
    return not split_thinking(answer)[2]


def in_order(messages: Sequence[ChatMessage], dialect: Dialect) -> tuple[ChatMessage, ...]:
    """Returns the messages as the templates of servers accept them, see `prompt_messages`.

    A server that takes no thinking is sent none, and no answer that was stopped before its first word.

    Whoever sends calls of tools or images has put the messages in order, and joining them would lose both.
    """
    sent = tuple(messages) if dialect.thinking_names else _without_thinking(messages)
    if any(message.images or message.fields or message.role is Role.TOOL for message in sent):
        return sent
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
    cuts_thinking = stands_in_thinking(text) and not dialect.continues_thinking
    is_sent_whole = goes_on and (cuts_thinking or dialect.continues_whole)
    if message.role is Role.ASSISTANT and not is_sent_whole:
        thinking, text, _has_ended = split_thinking(message.text)
        thinking = thinking or message.thought
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
