"""The words that every layer shares: who speaks, what was said, why an answer ended and what it cost."""

from enum import StrEnum
from typing import Final

import msgspec


class Role(StrEnum):
    """Who a message is from."""

    SYSTEM = "system"
    USER = "user"
    ASSISTANT = "assistant"


class StopReason(StrEnum):
    """Why an answer ended."""

    END_OF_GENERATION = "end of generation"
    STOP_TEXT = "stop text"
    LENGTH = "length"
    CONTEXT_FULL = "context full"
    LOOP = "loop"
    STOPPED = "stopped"
    FAILED = "failed"


ENDED_BY_ITSELF: Final = (StopReason.END_OF_GENERATION, StopReason.STOP_TEXT)
"""Why an answer ends that was not cut off."""


class ChatMessage(msgspec.Struct, frozen=True):
    """One message as the chat template sees it."""

    role: Role
    text: str


class SamplingSettings(msgspec.Struct, frozen=True):
    """How the next token is chosen; names and defaults are llama.cpp's.

    `temperature` 0 is greedy. `top_k` 0, `top_p` 1, `min_p` 0, penalties 1 / 0 / 0 and `penalty_last_n` 0 switch a
    step off. `seed` None draws a new one for every answer.
    """

    seed: int | None = None
    temperature: float = 0.8
    top_k: int = 40
    top_p: float = 0.95
    min_p: float = 0.05
    repeat_penalty: float = 1.0
    frequency_penalty: float = 0.0
    presence_penalty: float = 0.0
    penalty_last_n: int = 64


class Usage(msgspec.Struct, frozen=True):
    """What one answer cost, in tokens and seconds.

    `reused_tokens` were in the cache (memory or state file), `read_tokens` had to be read, and together they are
    the prompt. `context_used` counts every token in the cache at the end, of `context_size` available. Of
    `drafted_tokens`, guessed from what stands in the context, `accepted_tokens` came true.
    """

    reused_tokens: int = 0
    read_tokens: int = 0
    generated_tokens: int = 0
    read_seconds: float = 0.0
    generate_seconds: float = 0.0
    context_used: int = 0
    context_size: int = 0
    drafted_tokens: int = 0
    accepted_tokens: int = 0
