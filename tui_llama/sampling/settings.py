"""The settings of sampling: each is declared once, with its name and default as in llama.cpp."""

from typing import Annotated, Any

import msgspec
from msgspec import Meta

from tui_llama.declarations import MOST, Group, option


def _option(*flags: str) -> dict[str, Any]:
    return option(*flags, group=Group.SAMPLING, per_model=True)


class SamplingSettings(msgspec.Struct, frozen=True):
    """The settings that decide how the next token is chosen. A part of `settings.Settings`.

    Names and defaults are llama.cpp's. `temperature` 0 is greedy. These values switch a step off: `top_k` 0, `top_p` 1,
    `min_p` 0, penalties 1 / 0 / 0, `penalty_last_n` 0. With `seed` None every answer gets a new random seed.
    """

    seed: (
        Annotated[
            int,
            Meta(
                ge=0,
                le=2**32 - 1,
                description="Seed of the random numbers; -1: a new one for each answer.",
                extra=_option("--seed"),
            ),
        ]
        | None
    ) = None
    temperature: Annotated[
        float,
        Meta(ge=0, description="How freely tokens are chosen; 0: always the likeliest.", extra=_option("--temp")),
    ] = 0.8
    top_k: Annotated[
        int,
        Meta(
            ge=0,
            le=MOST,
            description="Choose among this many of the likeliest tokens; 0: off.",
            extra=_option("--top-k"),
        ),
    ] = 40
    top_p: Annotated[
        float,
        Meta(
            ge=0,
            le=1,
            description="Choose among the likeliest tokens that have this probability together; 1: off.",
            extra=_option("--top-p"),
        ),
    ] = 0.95
    min_p: Annotated[
        float,
        Meta(
            ge=0,
            le=1,
            description="Drop tokens less likely than this share of the likeliest; 0: off.",
            extra=_option("--min-p"),
        ),
    ] = 0.05
    repeat_penalty: Annotated[
        float,
        Meta(
            gt=0, description="Factor that makes recent tokens less likely; 1: off.", extra=_option("--repeat-penalty")
        ),
    ] = 1.0
    frequency_penalty: Annotated[
        float,
        Meta(description="Penalty for each recent use of a token; 0: off.", extra=_option("--frequency-penalty")),
    ] = 0.0
    presence_penalty: Annotated[
        float,
        Meta(description="Penalty for a token that was used recently; 0: off.", extra=_option("--presence-penalty")),
    ] = 0.0
    penalty_last_n: Annotated[
        int,
        Meta(
            ge=0,
            le=MOST,
            description="Number of recent tokens that get penalties; 0: none.",
            extra=_option("--repeat-last-n"),
        ),
    ] = 64
