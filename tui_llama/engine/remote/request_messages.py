"""The messages of a conversation as a server gets them."""

from collections.abc import Sequence
from typing import Any

import msgspec

from tui_llama.chat import ChatMessage, Role
from tui_llama.engine.remote.dialects import Dialect
from tui_llama.engine.remote.json_values import clean_text
from tui_llama.engine.remote.thinking import split_thinking


def request_messages(messages: Sequence[ChatMessage], dialect: Dialect) -> list[dict[str, Any]]:
    """Returns the messages in the form of a request.

    The thinking at the start of an answer is taken out and goes under the names that the dialect has for it, if any.
    """
    return [_message(message, dialect) for message in messages]


def _message(message: ChatMessage, dialect: Dialect) -> dict[str, Any]:
    text, thinking = message.text, ""
    if message.role is Role.ASSISTANT:
        thinking, text, _has_ended = split_thinking(message.text)
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
    value = msgspec.json.decode(fields) if fields else {}
    return {name: field for name, field in value.items() if name not in ("role", "content")}
