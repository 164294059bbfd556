"""The words that every layer shares: who speaks, what was said, why an answer ended and what it cost."""

from enum import StrEnum
from typing import Annotated, Final, TypeAlias

import msgspec
from msgspec import Meta

from tui_llama.declarations import MOST, option

# What comes from an engine is believed to be what it should be, but not that it makes sense: the store keeps 64 bits.
Count: TypeAlias = Annotated[int, Meta(ge=0, le=2**63 - 1)]
TokenId: TypeAlias = Annotated[int, Meta(ge=0, le=MOST)]
Seconds: TypeAlias = Annotated[float, Meta(ge=0, le=1e12)]


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
    """How the next token is chosen; names and defaults are llama.cpp's. Part of `settings.Settings`.

    `temperature` 0 is greedy. `top_k` 0, `top_p` 1, `min_p` 0, penalties 1 / 0 / 0 and `penalty_last_n` 0 switch a
    step off. `seed` None draws a new one for every answer.
    """

    seed: (
        Annotated[
            int,
            Meta(
                ge=0,
                le=2**32 - 1,
                description="Start of the random numbers; -1: another one for each answer.",
                extra=option("--seed"),
            ),
        ]
        | None
    ) = None
    temperature: Annotated[
        float,
        Meta(ge=0, description="How freely tokens are chosen; 0: always the likeliest.", extra=option("--temp")),
    ] = 0.8
    top_k: Annotated[
        int,
        Meta(
            ge=0,
            le=MOST,
            description="Choose among this many of the likeliest tokens; 0: off.",
            extra=option("--top-k"),
        ),
    ] = 40
    top_p: Annotated[
        float,
        Meta(
            ge=0,
            le=1,
            description="Choose among the likeliest tokens that have this probability together; 1: off.",
            extra=option("--top-p"),
        ),
    ] = 0.95
    min_p: Annotated[
        float,
        Meta(
            ge=0,
            le=1,
            description="Drop tokens less likely than this share of the likeliest; 0: off.",
            extra=option("--min-p"),
        ),
    ] = 0.05
    repeat_penalty: Annotated[
        float,
        Meta(gt=0, description="Divides the weight of tokens used lately; 1: off.", extra=option("--repeat-penalty")),
    ] = 1.0
    frequency_penalty: Annotated[
        float,
        Meta(description="Taken off for each use of a token lately; 0: off.", extra=option("--frequency-penalty")),
    ] = 0.0
    presence_penalty: Annotated[
        float,
        Meta(description="Taken off once for a token used lately; 0: off.", extra=option("--presence-penalty")),
    ] = 0.0
    penalty_last_n: Annotated[
        int,
        Meta(
            ge=0,
            le=MOST,
            description="How many tokens count as lately; 0: penalties are off.",
            extra=option("--repeat-last-n"),
        ),
    ] = 64


class Usage(msgspec.Struct, frozen=True):
    """What one answer cost, in tokens and seconds.

    `reused_tokens` were in the cache (memory or state file), `read_tokens` had to be read, and together they are
    the prompt. `context_used` counts every token in the cache at the end, of `context_size` available. Of
    `drafted_tokens`, guessed from what stands in the context, `accepted_tokens` came true.
    """

    reused_tokens: Count = 0
    read_tokens: Count = 0
    generated_tokens: Count = 0
    read_seconds: Seconds = 0.0
    generate_seconds: Seconds = 0.0
    context_used: Count = 0
    context_size: Count = 0
    drafted_tokens: Count = 0
    accepted_tokens: Count = 0
