"""The fields of a request that say how tokens are chosen: what somebody has set, under the names of the dialect."""

import math
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from tui_llama.engine.remote.dialects import Dialect
from tui_llama.engine.requests import CompleteRequest, ReplyRequest
from tui_llama.sampling.texts import TokenBias, read_biases, read_breakers, read_samplers

_MOST_BIAS: Final = 100.0
"""The largest bias in OpenAI's protocol, where the least one rules a token out."""


class SamplingBody(NamedTuple):
    """The fields, and the names of those settings that the server does not know."""

    fields: dict[str, Any]
    unknown_names: list[str]


def sampling_fields(request: ReplyRequest | CompleteRequest, dialect: Dialect) -> SamplingBody:
    """Returns what somebody has set of sampling; a server has defaults of its own for the rest."""
    sent: dict[str, Any] = {}
    unknown: list[str] = []
    for name in request.given_sampling:
        value = getattr(request.sampling, name)
        if name not in dialect.sampling or (name == "logit_bias" and not _can_bias(value, dialect)):
            unknown.append(name)
        elif value is not None:  # a seed of None leaves the choice to the server
            sent[dialect.sampling[name]] = _as_json(name, value, dialect)
    return SamplingBody(sent, unknown)


def _can_bias(text: str, dialect: Dialect) -> bool:
    return dialect.biases_texts or all(isinstance(each.token, int) for each in read_biases(text))


def _as_json(name: str, value: Any, dialect: Dialect) -> Any:
    """Returns a value as servers take it, which have lists for what is a text in our settings."""
    if name == "samplers":
        return list(read_samplers(value))
    if name == "dry_sequence_breakers":
        return list(read_breakers(value)) or [""]  # llama-server refuses an empty list, and passes over an empty text
    if name == "logit_bias":
        return _biases(read_biases(value), dialect)
    return value


def _biases(biases: Sequence[TokenBias], dialect: Dialect) -> Any:
    if dialect.biases_texts:
        return [[each.token, False if each.bias == -math.inf else each.bias] for each in biases]
    return {str(each.token): min(max(each.bias, -_MOST_BIAS), _MOST_BIAS) for each in biases}
