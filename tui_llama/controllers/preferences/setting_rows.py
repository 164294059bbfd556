"""Makes the lines of the settings screen: of everything, of the loaded model, of the open chat."""

from collections.abc import Iterator, Mapping, Sequence

from tui_llama.chats.open_chat import OpenChat
from tui_llama.chosen_sampling import SamplingSource, choose_sampling
from tui_llama.controllers.preferences.chat_rows import rows_of_chat
from tui_llama.declarations import Setting, Value
from tui_llama.engine.descriptions import ModelInfo
from tui_llama.screens.settings.rows import Scope, SettingRow
from tui_llama.settings import SAMPLING, Settings, model_name
from tui_llama.settings_sources import SettingValue, Source


def setting_rows(
    values: Sequence[SettingValue],
    settings: Settings,
    file_of_models: Mapping[str, Mapping[str, Value]],
    model: ModelInfo | None,
    chat: OpenChat,
) -> dict[Scope, list[SettingRow]]:
    """Returns the lines of each scope. Without a model there are none for it.

    Args:
        values: The values of all settings, with their sources.
        settings: The settings that these values make.
        file_of_models: What the settings file has for single models, by their names.
        model: The loaded model.
        chat: The open chat.
    """
    own = file_of_models.get(model_name(model.path), {}) if model is not None else {}
    of_model = [] if model is None else list(_of_model(values, settings, own, model))
    rows = {
        Scope.ALL: list(_everywhere(values, own)),
        Scope.MODEL: of_model,
        Scope.CHAT: list(rows_of_chat(settings, model, chat)),
    }
    return {scope: _by_groups(each) for scope, each in rows.items()}


def _by_groups(rows: Sequence[SettingRow]) -> list[SettingRow]:
    groups = list(type(rows[0].setting.group)) if rows else []
    return sorted(rows, key=lambda row: groups.index(row.setting.group))


def _everywhere(values: Sequence[SettingValue], own: Mapping[str, Value]) -> Iterator[SettingRow]:
    for each in values:
        note = ""
        if each.source in (Source.VARIABLE, Source.OPTION):
            note = f"{each.source_words} sets it for now, and wins over the settings file."
        elif each.setting.name in own:
            note = "The loaded model has its own value; Tab shows it."
        is_set = each.source is not Source.DEFAULT
        origin = each.setting.variable if each.source is Source.VARIABLE else each.source.value
        yield SettingRow(each.setting, each.value, is_set, origin if is_set else "", note)


def _of_model(
    values: Sequence[SettingValue], settings: Settings, own: Mapping[str, Value], model: ModelInfo
) -> Iterator[SettingRow]:
    chosen = choose_sampling(settings, model)
    for each in values:
        setting = each.setting
        if not setting.per_model:
            continue
        is_winning = each.source in (Source.VARIABLE, Source.OPTION)
        note = f"{each.source_words} wins over what is set for single models." if is_winning else ""
        if setting.name in own:
            yield SettingRow(setting, own[setting.name], True, "this model", note)
        elif _is_sampling(setting):
            source = chosen.sources[setting.key]
            origin = "everywhere" if source is SamplingSource.USER else source.value.removeprefix("the program's ")
            value = getattr(chosen.sampling, setting.key)
            yield SettingRow(setting, value, False, "" if source is SamplingSource.PROGRAM else origin, note)
        else:
            is_default = each.source is Source.DEFAULT
            yield SettingRow(setting, each.value, False, "" if is_default else "everywhere", note)


def _is_sampling(setting: Setting) -> bool:
    return setting.name.startswith(f"{SAMPLING}.")
