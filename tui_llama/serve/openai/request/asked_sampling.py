"""How the tokens of an answer are chosen: what a request says of it, in our names and meanings, checked."""

import math
from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

import msgspec

from tui_llama.chosen_sampling import SamplingSource, choose_sampling
from tui_llama.engine.descriptions import ModelInfo
from tui_llama.errors import SettingsError
from tui_llama.sampling.settings import SamplingSettings
from tui_llama.sampling.texts import TokenBias, biases_text, breakers_text, samplers_text
from tui_llama.serve.openai.request.bodies import CommonBody
from tui_llama.serve.openai.request.refusals import wrong
from tui_llama.serve.openai.request.sampling_fields import SamplingFields
from tui_llama.settings import SETTINGS, Settings

_OFF: Final = -1
_SEEDS: Final = 1 << 32
_MOST_DIGITS: Final = 9
_OTHER_NAMES: Final = {"repetition_penalty": "repeat_penalty", "repeat_last_n": "penalty_last_n"}
_NAMES: Final[Mapping[str, str]] = {
    field: _OTHER_NAMES.get(field, field)
    for field in SamplingFields.__annotations__  # without the fields of its base
}
"""The fields of `SamplingSettings` by the names in requests."""
_UP_TO_THE_CONTEXT: Final = ("repeat_last_n", "dry_penalty_last_n")


class AskedSampling(NamedTuple):
    """The sampling of an answer, and which of its fields the request or the user has chosen."""

    sampling: SamplingSettings
    given: tuple[str, ...]


def asked_sampling(body: CommonBody, settings: Settings, model: ModelInfo) -> AskedSampling:
    """Returns the request's sampling; what it does not say comes from the user's settings, then from the model's.

    Raises:
        ApiError: a value is not allowed.
    """
    chosen = choose_sampling(settings, model)
    given = {name for name, source in chosen.sources.items() if source is SamplingSource.USER}
    values: dict[str, object] = {}
    for field, name in _NAMES.items():
        value = getattr(body, field)
        if value is None or (field == "samplers" and not value):
            continue
        try:
            values[name] = SETTINGS[f"sampling.{name}"].check(_as_ours(field, value, model), field)
        except SettingsError as error:
            raise wrong(field, f"{error}. {error.hint}") from error
        given.add(name)
    return AskedSampling(msgspec.structs.replace(chosen.sampling, **values), tuple(sorted(given)))


def _as_ours(field: str, value: object, model: ModelInfo) -> object:
    """Returns a value in the form of our settings; also where another server's -1 stands for something else."""
    if field == "samplers" and isinstance(value, list):
        return samplers_text(value)
    if field == "dry_sequence_breakers" and isinstance(value, list):
        return breakers_text(value)
    if field == "logit_bias" and isinstance(value, dict | list):
        return biases_text(_biases(value.items() if isinstance(value, dict) else value))
    if isinstance(value, int) and field == "seed" and value != _OFF:
        return value % _SEEDS
    if value == _OFF and field in _UP_TO_THE_CONTEXT:
        return model.context_size
    return 0 if value == _OFF and field == "top_k" else value


def _biases(pairs: Iterable[tuple[int | str, float | bool]]) -> Iterable[TokenBias]:
    """Yields the biases, of tokens by their numbers and of texts; false rules a token out.

    Raises:
        ApiError: a bias is true or infinite, or a number is too long for one of a token.
    """
    for token, bias in pairs:
        if bias is True or (bias is not False and not math.isfinite(bias)):
            raise wrong("logit_bias", "A bias is a number, or false for never.")
        is_number = isinstance(token, str) and token.isascii() and token.isdecimal()
        if is_number and len(str(token)) > _MOST_DIGITS:
            raise wrong("logit_bias", "There are no tokens with such numbers.")
        yield TokenBias(int(token) if is_number else token, -math.inf if bias is False else float(bias))
