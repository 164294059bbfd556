"""Leaves out the oldest turns of a conversation that does not fit into the context of a server's model."""

from collections.abc import Sequence
from typing import Final

from tui_llama.chat import ChatMessage, Role

_SLACK: Final = 0.9
"""Tokens are only known for the whole prompt, so the share that fits is taken by characters, with some room."""
_UNKNOWN_SHARE: Final = 0.5


def share_that_fits(prompt_tokens: int | None, context_size: int | None, max_tokens: int | None) -> float:
    """Returns the share of a prompt that fits into the context beside an answer, 0 to 1.

    The answer gets `max_tokens`, or a quarter of the context. If the sizes in tokens are not known, it is a half.
    """
    if not prompt_tokens or not context_size or prompt_tokens <= context_size // 2:
        return _UNKNOWN_SHARE
    answer_tokens = min(context_size // 4 if max_tokens is None else max_tokens, context_size // 2)
    return min(1.0, _SLACK * (context_size - answer_tokens) / prompt_tokens)


def without_oldest_turns(messages: Sequence[ChatMessage], share: float) -> tuple[ChatMessage, ...]:
    """Returns the messages without the oldest turns, so that about `share` of the characters are left.

    A turn begins with a message of the user. System messages stay, and everything from the user's last message on. At
    least one turn is left out, if there is one.
    """
    begins = [place for place, message in enumerate(messages) if message.role is Role.USER]
    if len(begins) < 2:
        return tuple(messages)
    budget = share * sum(map(_length, messages))
    for begin in begins[1:]:
        kept = tuple(each for place, each in enumerate(messages) if place >= begin or each.role is Role.SYSTEM)
        if sum(map(_length, kept)) <= budget:
            return kept
    return tuple(each for place, each in enumerate(messages) if place >= begins[-1] or each.role is Role.SYSTEM)


def _length(message: ChatMessage) -> int:
    return len(message.text) + len(message.fields)
