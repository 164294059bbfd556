"""The owner of a served conversation's stored prompt. A client sends no id, so the conversation's beginning is one."""

from collections.abc import Sequence
from typing import Final

import msgspec

from tui_llama.chat import ChatMessage, Role
from tui_llama.engine.prompt_cache.owner import served_owner_id

_BEGINNING_CHARACTERS: Final = 256
_BEGINNING_TOKENS: Final = 64


def conversation_owner(messages: Sequence[ChatMessage], template_values: str) -> str:
    """Returns the owner of a conversation: the same for all that begin with the same instructions and first question.

    Args:
        messages: The messages of the request.
        template_values: Its further values for the template, such as tools.
    """
    asked = next((place for place, each in enumerate(messages) if each.role is Role.USER), len(messages))
    return served_owner_id(msgspec.json.encode((messages[: asked + 1], template_values)))


def text_owner(text: str, token_ids: Sequence[int]) -> str:
    """Returns the owner of a text, or of tokens, that go on: the same for all that begin alike."""
    return served_owner_id(msgspec.json.encode((text[:_BEGINNING_CHARACTERS], token_ids[:_BEGINNING_TOKENS])))
