"""Which samplers are at work with some settings, and in which order: the chain, before anything computes.

    chain_words(SamplingSettings())  # top_k 40 → top_p 0.95 → min_p 0.05 → temperature 0.8 → random

Order and conditions are llama.cpp's (common/sampling.cpp, src/llama-sampler.cpp). Samplers that would change nothing
are left out. The last name of a chain is what takes the token.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Final

from tui_llama.sampling.settings import SamplingSettings
from tui_llama.sampling.texts import read_biases, read_samplers

LOGIT_BIAS: Final = "logit_bias"
PENALTIES: Final = "penalties"
DRY: Final = "dry"
TOP_N_SIGMA: Final = "top_n_sigma"
TOP_K: Final = "top_k"
TYPICAL_P: Final = "typ_p"
TOP_P: Final = "top_p"
MIN_P: Final = "min_p"
XTC: Final = "xtc"
TEMPERATURE: Final = "temperature"
GREEDY: Final = "greedy"
RANDOM: Final = "random"
MIROSTAT: Final = "mirostat"
ADAPTIVE_P: Final = "adaptive_p"

LEAST_TEMPERATURE: Final = 2.0**-126
"""The least normal number in 32 bits. A lower temperature is greedy: dividing by it would also leave the best alone."""
_LARGEST_XTC_THRESHOLD: Final = 0.5
_KEEPS_THE_BEST: Final = (TOP_N_SIGMA, TOP_K, TOP_P, MIN_P)
"""The samplers after which the best token is still there, and still the best."""


def chain_names(settings: SamplingSettings) -> tuple[str, ...]:
    """Returns the names of the samplers that are at work, in their order.

    Raises:
        ValueError: a text in the settings cannot be read.
    """
    names = [LOGIT_BIAS] if read_biases(settings.logit_bias) else []
    names += (name for name in _asked(settings) if _IS_AT_WORK[name](settings))
    if _is_greedy(settings) and TEMPERATURE in names:
        del names[names.index(TEMPERATURE) :]
        while names and names[-1] in _KEEPS_THE_BEST:
            names.pop()
        return (*names, GREEDY)
    return (*names, _last(settings))


def chain_words(settings: SamplingSettings) -> str:
    """Returns the chain in one line: each sampler with its values. Raises as `chain_names`."""
    return " → ".join(_WORDS[name](settings) for name in chain_names(settings))


def _asked(settings: SamplingSettings) -> Iterator[str]:
    """Yields the samplers before the one that takes the token."""
    if settings.mirostat:
        yield TEMPERATURE
    else:
        yield from (name for name in read_samplers(settings.samplers) if name != ADAPTIVE_P)


def _last(settings: SamplingSettings) -> str:
    if settings.mirostat:
        return MIROSTAT
    return ADAPTIVE_P if ADAPTIVE_P in read_samplers(settings.samplers) else RANDOM


def has_dynamic_temperature(settings: SamplingSettings) -> bool:
    """Tells whether the temperature depends on the model's doubt; mirostat has a plain one."""
    return settings.dynatemp_range > 0 and not settings.mirostat


def _is_greedy(settings: SamplingSettings) -> bool:
    return settings.temperature < LEAST_TEMPERATURE and not has_dynamic_temperature(settings)


def _has_penalties(settings: SamplingSettings) -> bool:
    values = (settings.repeat_penalty, settings.frequency_penalty, settings.presence_penalty)
    return settings.penalty_last_n > 0 and values != (1.0, 0.0, 0.0)


def _has_dry(settings: SamplingSettings) -> bool:
    return settings.dry_multiplier > 0 and settings.dry_base >= 1 and settings.dry_penalty_last_n > 0


_IS_AT_WORK: Final[Mapping[str, Callable[[SamplingSettings], bool]]] = {
    PENALTIES: _has_penalties,
    DRY: _has_dry,
    TOP_N_SIGMA: lambda settings: settings.top_n_sigma > 0,
    TOP_K: lambda settings: settings.top_k > 0,
    TYPICAL_P: lambda settings: settings.typical_p < 1,
    TOP_P: lambda settings: settings.top_p < 1,
    MIN_P: lambda settings: settings.min_p > 0,
    XTC: lambda settings: settings.xtc_probability > 0 and settings.xtc_threshold <= _LARGEST_XTC_THRESHOLD,
    TEMPERATURE: lambda settings: settings.temperature != 1 or has_dynamic_temperature(settings),
}


def _penalties_words(settings: SamplingSettings) -> str:
    values = (
        ("repeat", settings.repeat_penalty, 1.0),
        ("frequency", settings.frequency_penalty, 0.0),
        ("presence", settings.presence_penalty, 0.0),
    )
    active = " ".join(f"{name} {value:g}" for name, value, off in values if value != off)
    return f"penalties last {settings.penalty_last_n} {active}"


def _dry_words(settings: SamplingSettings) -> str:
    return (
        f"dry {settings.dry_multiplier:g} base {settings.dry_base:g} allowed {settings.dry_allowed_length} "
        f"last {settings.dry_penalty_last_n}"
    )


def _temperature_words(settings: SamplingSettings) -> str:
    if not has_dynamic_temperature(settings):
        return f"temperature {settings.temperature:g}"
    middle, reach = settings.temperature, settings.dynatemp_range
    exponent = "" if settings.dynatemp_exponent == 1 else f" exponent {settings.dynatemp_exponent:g}"
    return f"temperature {max(0.0, middle - reach):g} to {middle + reach:g}{exponent}"


def _mirostat_words(settings: SamplingSettings) -> str:
    return f"mirostat {settings.mirostat} tau {settings.mirostat_tau:g} eta {settings.mirostat_eta:g}"


def _adaptive_words(settings: SamplingSettings) -> str:
    if settings.adaptive_target < 0:
        return "adaptive_p off"
    return f"adaptive_p {settings.adaptive_target:g} decay {settings.adaptive_decay:g}"


def _keeping(settings: SamplingSettings, words: str) -> str:
    return f"{words} keep {settings.min_keep}" if settings.min_keep > 1 else words


_WORDS: Final[Mapping[str, Callable[[SamplingSettings], str]]] = {
    LOGIT_BIAS: lambda settings: f"logit_bias {len(read_biases(settings.logit_bias))}",
    PENALTIES: _penalties_words,
    DRY: _dry_words,
    TOP_N_SIGMA: lambda settings: f"top_n_sigma {settings.top_n_sigma:g}",
    TOP_K: lambda settings: f"top_k {settings.top_k}",
    TYPICAL_P: lambda settings: _keeping(settings, f"typ_p {settings.typical_p:g}"),
    TOP_P: lambda settings: _keeping(settings, f"top_p {settings.top_p:g}"),
    MIN_P: lambda settings: _keeping(settings, f"min_p {settings.min_p:g}"),
    XTC: lambda settings: _keeping(settings, f"xtc {settings.xtc_probability:g} from {settings.xtc_threshold:g}"),
    TEMPERATURE: _temperature_words,
    GREEDY: lambda _: "greedy",
    RANDOM: lambda _: "random",
    MIROSTAT: _mirostat_words,
    ADAPTIVE_P: _adaptive_words,
}
