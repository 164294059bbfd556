"""The sources of settings: defaults, the settings file and the environment. Also the printed page of all settings.

Later sources win: defaults, the file (TOML), `TUI_LLAMA_…` in the environment, the command line. The settings
themselves are declared in `settings`, and what a server has in `servers.declared`. Servers come from the file alone.
"""

import errno
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any, Final

from tui_llama.declarations import Setting, Value, as_toml
from tui_llama.errors import SettingsError
from tui_llama.sampling.settings import SamplingSettings
from tui_llama.servers.address import Server
from tui_llama.servers.declared import SERVERS, check_servers, section_text
from tui_llama.settings import SAMPLING, SETTINGS, ModelSettings, Settings

_NO_FILE: Final = {errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG}
"""The errors of systems if there is no file or can be none."""


MODELS: Final = "models"
"""The section of the settings file with the settings of single models, each in a section by the name of its file."""


class Source(Enum):
    """The source of a setting's value."""

    DEFAULT = "default"
    FILE = "settings file"
    VARIABLE = "variable"
    OPTION = "command line"


@dataclass(frozen=True, slots=True)
class SettingValue:
    """The value of a setting, and its source."""

    setting: Setting
    value: Value
    source: Source

    @property
    def source_words(self) -> str:
        """The source, in words that say where to change it, such as "TUI_LLAMA_THREADS" or "the settings file"."""
        return self.setting.variable if self.source is Source.VARIABLE else f"the {self.source.value}"


def load_settings(file: Path, environment: Mapping[str, str]) -> Settings:
    """Returns the settings of the file and the environment, checked, with defaults for the rest.

    Args:
        file: The settings file, in TOML. It need not exist.
        environment: The environment variables. Those that are no settings are ignored.

    Raises:
        SettingsError: a setting is wrong. Names the file and the key, or the variable, and the value.
    """
    return settings_of(load_values(file, environment), load_servers(file), load_models(file))


def settings_of(
    found: Iterable[SettingValue], servers: Iterable[Server] = (), models: Iterable[ModelSettings] = ()
) -> Settings:
    """Returns the settings with the given values.

    Args:
        found: The values of all settings.
        servers: The servers.
        models: The settings of single models. A variable and the command line win over them.
    """
    found = list(found)
    for_all = {each.setting.name for each in found if each.source in (Source.VARIABLE, Source.OPTION)}
    models = [
        ModelSettings(each.model_name, tuple(pair for pair in each.values if pair[0] not in for_all)) for each in models
    ]
    values: dict[str, Any] = {each.setting.name: each.value for each in found}
    sampling = {name: values.pop(f"{SAMPLING}.{name}") for name in SamplingSettings.__struct_fields__}
    given = frozenset(each.setting.name for each in found if each.source is not Source.DEFAULT)
    return Settings(
        **values, sampling=SamplingSettings(**sampling), given=given, servers=tuple(servers), models=tuple(models)
    )


def load_values(file: Path, environment: Mapping[str, str]) -> list[SettingValue]:
    """Returns the values of all settings with their sources, in the order of declarations.

    Raises the errors of `load_settings`.
    """
    values, errors = examine_values(file, environment)
    if errors:
        raise errors[0]
    return values


def load_servers(file: Path) -> tuple[Server, ...]:
    """Returns the servers of the settings file.

    Raises:
        SettingsError: the file or a server in it is wrong. Names the file and the key.
    """
    servers, errors = examine_servers(file)
    if errors:
        raise errors[0]
    return tuple(servers)


def examine_servers(file: Path) -> tuple[list[Server], list[SettingsError]]:
    """Returns the servers of the settings file, those that are right, and the errors in the others."""
    try:
        section = _parsed(file).get(SERVERS, {})
    except SettingsError as error:
        return [], [error]
    found = list(check_servers(section, f"{file}: "))
    servers = [each for each in found if isinstance(each, Server)]
    return servers, [each for each in found if isinstance(each, SettingsError)]


def load_models(file: Path) -> tuple[ModelSettings, ...]:
    """Returns the settings of single models in the settings file.

    Raises:
        SettingsError: the file or a model's setting in it is wrong. Names the file and the key.
    """
    models, errors = examine_models(file)
    if errors:
        raise errors[0]
    return tuple(models)


def examine_models(file: Path) -> tuple[list[ModelSettings], list[SettingsError]]:
    """Returns the settings of single models, those that are right, and the errors in the others."""
    try:
        sections = _parsed(file).get(MODELS, {})
    except SettingsError as error:
        return [], [error]
    if not isinstance(sections, dict):
        return [], [SettingsError(f"{file}: {MODELS} must be a section", f'Write [{MODELS}."FILE"] for a model.')]
    models, errors = [], []
    for name, content in sections.items():
        found = list(_values_of_model(name, content, file))
        errors += [each for each in found if isinstance(each, SettingsError)]
        values = [(each.setting.name, each.value) for each in found if isinstance(each, SettingValue)]
        models.append(ModelSettings(name, tuple(values)))
    return models, errors


def _values_of_model(model_name: str, content: object, file: Path) -> Iterator[SettingValue | SettingsError]:
    place = f"{file}: {MODELS}.{as_toml(model_name)}"
    if not isinstance(content, dict):
        yield SettingsError(f"{place} must be a section", f"Write [{MODELS}.{as_toml(model_name)}] on its own line.")
        return
    for name, value in _flat(content):
        try:
            setting = SETTINGS[_known(name, file)]
            if not setting.per_model:
                allowed = ", ".join(each.name for each in SETTINGS.values() if each.per_model)
                raise SettingsError(f"{place}: {name} cannot be set for one model", f"These can: {allowed}.")
            yield SettingValue(setting, setting.check(value, f"{place}: {name}"), Source.FILE)
        except SettingsError as error:
            yield error


def with_options(values: Iterable[SettingValue], options: Mapping[str, object]) -> list[SettingValue]:
    """Returns the values, of which those on the command line are replaced.

    Args:
        values: The values of all settings.
        options: The values on the command line, by the names of settings without their sections. Other names are
            ignored.

    Raises:
        SettingsError: an option has a wrong value.
    """
    return [
        SettingValue(each.setting, each.setting.check(options[each.setting.key], each.setting.name), Source.OPTION)
        if each.setting.key in options
        else each
        for each in values
    ]


def examine_values(file: Path, environment: Mapping[str, str]) -> tuple[list[SettingValue], list[SettingsError]]:
    """Returns the values of all settings, and all errors. A wrong setting keeps its value from an earlier source.

    The servers in the file are passed over; see `examine_servers`.

    Args:
        file: The settings file, in TOML. It need not exist.
        environment: The environment variables. Those that are no settings are ignored.

    Returns:
        A value for every setting, and the errors, first those of the file.
    """
    values = {name: SettingValue(setting, setting.default, Source.DEFAULT) for name, setting in SETTINGS.items()}
    errors = []
    for found in (*_values_of_file(file), *_values_of_environment(environment)):
        if isinstance(found, SettingValue):
            values[found.setting.name] = found
        else:
            errors.append(found)
    return list(values.values()), errors


def describe_settings(
    values: Iterable[SettingValue] | None = None,
    servers: Iterable[Server] = (),
    models: Iterable[ModelSettings] = (),
) -> str:
    """Returns the text of a settings file with every setting, and its explanation, range and variable above it.

    The settings of single models follow, then the servers, with the places of their keys. There is no key in it.

    Settings that nobody has set are commented out, because a default in the file would count as the user's choice. So
    the text can be saved as the settings file without changing anything.

    Args:
        values: The values of all settings. By default these are the defaults.
        servers: The servers.
        models: The settings of single models.
    """
    if values is None:
        values = [SettingValue(setting, setting.default, Source.DEFAULT) for setting in SETTINGS.values()]
    lines = ["# Settings of tui_llama. A setting that is commented out has its default."]
    for each in values:
        setting = each.setting
        section, _, key = setting.name.rpartition(".")
        if section and f"[{section}]" not in lines:
            lines += ["", f"[{section}]"]
        lines += ["", f"# {setting.explanation}", f"# {setting.allowed}; {setting.variable}"]
        if each.source is Source.DEFAULT:
            lines.append(f"#{key} = {as_toml(each.value)}")
        else:
            origin = f"from {each.source_words}; the default is {as_toml(setting.default)}"
            lines.append(f"{key} = {as_toml(each.value)}  # {origin}")
    text = "\n".join([*lines, *(line for model in models for line in _model_lines(model))]) + "\n"
    return text + "".join(f"\n{section_text(server)}" for server in servers)


def _model_lines(model: ModelSettings) -> Iterator[str]:
    """Yields the lines of one model's sections."""
    header = f"{MODELS}.{as_toml(model.model_name)}"
    yield from ("", f"[{header}]")
    yield from (f"{name} = {as_toml(value)}" for name, value in model.values if "." not in name)
    sampling = [(name, value) for name, value in model.values if "." in name]
    if sampling:
        yield from ("", f"[{header}.{SAMPLING}]")
        yield from (f"{name.rpartition('.')[2]} = {as_toml(value)}" for name, value in sampling)


def _values_of_file(file: Path) -> Iterator[SettingValue | SettingsError]:
    try:
        content = _parsed(file)
    except SettingsError as error:
        yield error
        return
    for name, value in _flat(content):
        try:
            setting = SETTINGS[_known(name, file)]
            yield SettingValue(setting, setting.check(value, f"{file}: {name}"), Source.FILE)
        except SettingsError as error:
            yield error


def _values_of_environment(environment: Mapping[str, str]) -> Iterator[SettingValue | SettingsError]:
    for setting in SETTINGS.values():
        if setting.variable in environment:
            try:
                value = setting.parse(environment[setting.variable], setting.variable)
                yield SettingValue(setting, value, Source.VARIABLE)
            except SettingsError as error:
                yield error


def _flat(content: Mapping[str, Any]) -> Iterator[tuple[str, object]]:
    """Yields the names and values in a file. A name has its section before it."""
    for key, value in content.items():
        if key == SAMPLING and isinstance(value, dict):
            yield from ((f"{key}.{inner}", inner_value) for inner, inner_value in value.items())
        elif key not in (SERVERS, MODELS):
            yield key, value


def _parsed(file: Path) -> dict[str, Any]:
    import tomllib

    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        if error.errno in _NO_FILE:
            return {}
        raise SettingsError(f"{file} cannot be read: {error.strerror}", "Check the file's permissions.") from error
    except (ValueError, RecursionError) as error:  # not TOML, or not UTF-8
        raise SettingsError(f"{file} is not valid TOML: {error}", "Correct or remove the file.") from error


def _known(name: str, file: Path) -> str:
    if name in SETTINGS:
        return name
    if name == SAMPLING:
        raise SettingsError(f"{file}: {name} must be a section", f"Write [{name}] on a line of its own.")
    nearest = _nearest(name)
    hint = f"Did you mean {nearest}?" if nearest else "Known settings: " + ", ".join(SETTINGS) + "."
    raise SettingsError(f"{file}: there is no setting {name!r}", hint)


def _nearest(name: str) -> str | None:
    """Returns the setting whose name without its section is most like this one's, or None if none is like it."""
    import difflib

    by_key = {known.rpartition(".")[2]: known for known in SETTINGS}
    key = name.rpartition(".")[2].lower().replace("-", "_")
    close = difflib.get_close_matches(key, by_key, n=1)
    return by_key[close[0]] if close else None
