"""Chooses the sampling settings: the chat's, else the user's, else those recommended for the model, else the defaults.

The recommended settings of a model are the keys `general.sampling.*` of its file, which llama.cpp reads too, and then
those that the catalogue has from the model's card. Each setting is chosen separately. The model of a server has no
recommended settings: a server has defaults of its own, and the name of its model may be another model's.
"""

from collections.abc import Mapping
from enum import StrEnum
from pathlib import PurePath
from typing import Final

import msgspec

from tui_llama.declarations import Value
from tui_llama.engine.descriptions import ModelFacts, ModelInfo
from tui_llama.errors import SettingsError
from tui_llama.models.catalogue import CatalogueEntry, entry_for_file
from tui_llama.sampling.settings import SamplingSettings
from tui_llama.servers.address import is_server_address
from tui_llama.settings import SETTINGS, Settings

NOTHING: Final[Mapping[str, Value]] = {}


class SamplingSource(StrEnum):
    """The source of a field's value, in the words that users read."""

    CHAT = "this chat"
    USER = "your settings"
    FILE = "the model file"
    CATALOGUE = "the catalogue"
    PROGRAM = "the program's default"


class ChosenSampling(msgspec.Struct, frozen=True):
    """The chosen sampling settings, and the source of each."""

    sampling: SamplingSettings
    sources: Mapping[str, SamplingSource]


def choose_sampling(
    settings: Settings, model: ModelInfo | ModelFacts | None, of_chat: Mapping[str, Value] = NOTHING
) -> ChosenSampling:
    """Chooses the sampling settings for one model, or for none.

    Args:
        settings: The user's settings. Their `given` tells which of them the user has set.
        model: The facts of the model. Recommended values that are out of range are ignored.
        of_chat: What was chosen for one chat, which counts before all else.
    """
    if model is not None:
        settings = settings.for_model(model.path)
    file = None if model is None or is_server_address(model.path) else model
    entry = entry_of(file) if file is not None else None
    advice = (
        (SamplingSource.FILE, file.sampling if file is not None else {}),
        (SamplingSource.CATALOGUE, entry.sampling.given() if entry is not None else {}),
    )
    values: dict[str, Value] = {}
    sources: dict[str, SamplingSource] = {}
    for name in SamplingSettings.__struct_fields__:
        sources[name] = SamplingSource.PROGRAM
        if name in of_chat:
            values[name], sources[name] = of_chat[name], SamplingSource.CHAT
            continue
        if f"sampling.{name}" in settings.given:
            sources[name] = SamplingSource.USER
            continue
        for source, recommended in advice:
            value = _sensible(name, recommended.get(name))
            if value is not None:
                values[name], sources[name] = value, source
                break
    return ChosenSampling(msgspec.structs.replace(settings.sampling, **values), sources)


def entry_of(model: ModelInfo | ModelFacts) -> CatalogueEntry | None:
    """Returns the catalogue's entry of a model, by the name of its file and the name in its metadata."""
    return entry_for_file(PurePath(model.path).name, model.name)


def _sensible(name: str, value: Value) -> Value:
    """Returns the value with the type of the field, or None if there is none or it is out of range."""
    if value is None:
        return None
    setting = SETTINGS[f"sampling.{name}"]
    if setting.kind is int and isinstance(value, float) and value.is_integer():
        value = int(value)
    try:
        return setting.check(value, name)
    except SettingsError:
        return None
