"""The settings of sampling: each is declared once, with its name and default as in llama.cpp."""

from typing import Annotated, Any

import msgspec
from msgspec import Meta

from tui_llama.declarations import MOST, Group, TextForm, option
from tui_llama.sampling.texts import BIASES_FORM, BREAKERS_FORM, SAMPLERS_FORM, USUAL_SAMPLERS, samplers_text


def _option(*flags: str, metavar: str = "", form: TextForm | None = None) -> dict[str, Any]:
    return option(*flags, metavar=metavar, form=form, group=Group.SAMPLING, per_model=True)


class SamplingSettings(msgspec.Struct, frozen=True):
    """The settings that decide how the next token is chosen. A part of `settings.Settings`.

    Names and defaults are llama.cpp's (common/common.h). `temperature` 0 is greedy. Which values switch a sampler off
    is said in `chain`. With `seed` None every answer gets a new random seed. The forms of the texts are in `texts`.
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
    typical_p: Annotated[
        float,
        Meta(
            ge=0,
            le=1,
            description="Choose among tokens that are as likely as is usual there, up to this probability; 1: off.",
            extra=_option("--typical-p", "--typical"),
        ),
    ] = 1.0
    top_n_sigma: Annotated[
        float,
        Meta(
            description="Drop tokens whose logit is this many standard deviations below the best; 0 or less: off.",
            extra=_option("--top-nsigma", "--top-n-sigma"),
        ),
    ] = -1.0
    min_keep: Annotated[
        int,
        Meta(
            ge=0,
            le=MOST,
            description="Least number of tokens that top_p, min_p, typical_p and xtc leave.",
            extra=_option(),
        ),
    ] = 0
    xtc_probability: Annotated[
        float,
        Meta(
            ge=0,
            le=1,
            description="How often xtc drops all likely tokens but the last of them; 0: off.",
            extra=_option("--xtc-probability"),
        ),
    ] = 0.0
    xtc_threshold: Annotated[
        float,
        Meta(
            ge=0,
            le=1,
            description="From which probability on a token is likely, for xtc; above 0.5: off.",
            extra=_option("--xtc-threshold"),
        ),
    ] = 0.1
    dynatemp_range: Annotated[
        float,
        Meta(
            ge=0,
            description="How far the temperature goes up and down with the model's doubt; 0: it stays.",
            extra=_option("--dynatemp-range"),
        ),
    ] = 0.0
    dynatemp_exponent: Annotated[
        float,
        Meta(
            ge=0,
            description="How doubt becomes temperature, as an exponent; above 1: later.",
            extra=_option("--dynatemp-exp"),
        ),
    ] = 1.0
    dry_multiplier: Annotated[
        float,
        Meta(
            ge=0,
            description="Strength of DRY, which makes it unlikely that a passage is repeated; 0: off.",
            extra=_option("--dry-multiplier"),
        ),
    ] = 0.0
    dry_base: Annotated[
        float,
        Meta(
            ge=0,
            description="Factor of DRY for each further token of a repetition; below 1: off.",
            extra=_option("--dry-base"),
        ),
    ] = 1.75
    dry_allowed_length: Annotated[
        int,
        Meta(
            ge=0,
            le=MOST,
            description="Length in tokens from which on DRY counts a repetition.",
            extra=_option("--dry-allowed-length"),
        ),
    ] = 2
    dry_penalty_last_n: Annotated[
        int,
        Meta(
            ge=0,
            le=MOST,
            description="Number of recent tokens in which DRY looks for repetitions; 0: none.",
            extra=_option("--dry-penalty-last-n"),
        ),
    ] = 64
    dry_sequence_breakers: Annotated[
        str,
        Meta(
            description="Texts across which DRY sees no repetition.",
            extra=_option("--dry-sequence-breaker", form=BREAKERS_FORM),
        ),
    ] = r'\n : " *'
    mirostat: Annotated[
        int,
        Meta(
            ge=0,
            le=2,
            description="Version of mirostat, which takes the place of all samplers but the temperature; 0: off.",
            extra=_option("--mirostat"),
        ),
    ] = 0
    mirostat_tau: Annotated[
        float,
        Meta(
            ge=0,
            description="Surprise that mirostat aims at, in bits.",
            extra=_option("--mirostat-ent"),
        ),
    ] = 5.0
    mirostat_eta: Annotated[
        float,
        Meta(
            ge=0,
            description="How fast mirostat learns.",
            extra=_option("--mirostat-lr"),
        ),
    ] = 0.1
    adaptive_target: Annotated[
        float,
        Meta(
            ge=-1,
            le=1,
            description="Probability that adaptive_p, if it is one of the samplers, aims at; below 0: off.",
            extra=_option("--adaptive-target"),
        ),
    ] = -1.0
    adaptive_decay: Annotated[
        float,
        Meta(
            ge=0,
            le=0.99,
            description="How long adaptive_p remembers; 0.9 is about 10 tokens.",
            extra=_option("--adaptive-decay"),
        ),
    ] = 0.9
    samplers: Annotated[
        str,
        Meta(
            description="The samplers in their order; one that is left out is off.",
            extra=_option("--samplers", "--sampling-seq", "--sampler-seq", form=SAMPLERS_FORM),
        ),
    ] = samplers_text(USUAL_SAMPLERS)
    logit_bias: Annotated[
        str,
        Meta(
            description="What is added to the logits of tokens, to make them likelier or to rule them out.",
            extra=_option("-l", "--logit-bias", metavar="TOKEN+BIAS", form=BIASES_FORM),
        ),
    ] = ""
