"""Where settings come from: defaults, the settings file, the environment; and what can be printed of all of them.

What comes later wins: defaults, the file (TOML), `TUI_LLAMA_…` in the environment, the command line. What there is to
set is declared in `settings`.
"""

import errno
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any, Final

from tui_llama.chat import SamplingSettings
from tui_llama.declarations import NONE, Setting, Value
from tui_llama.errors import SettingsError
from tui_llama.settings import SAMPLING, SETTINGS, Settings

_NO_FILE: Final = {errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG}
"""What systems say where there is no file, or can be none."""


class Source(Enum):
    """Where the value of a setting comes from."""

    DEFAULT = "default"
    FILE = "settings file"
    VARIABLE = "variable"
    OPTION = "command line"


@dataclass(frozen=True, slots=True)
class SettingValue:
    """The value that a setting has, and where it comes from."""

    setting: Setting
    value: Value
    source: Source

    @property
    def source_words(self) -> str:
        """The source in words that say where to change it, such as "TUI_LLAMA_THREADS" or "the settings file"."""
        return self.setting.variable if self.source is Source.VARIABLE else f"the {self.source.value}"


def load_settings(file: Path, environment: Mapping[str, str]) -> Settings:
    """What the file and the environment set, checked; defaults for the rest.

    Args:
        file: TOML; need not be there.
        environment: Variables; those that are no setting are left alone.

    Raises:
        SettingsError: names the file and the key, or the variable, and the value.
    """
    return settings_of(load_values(file, environment))


def settings_of(found: Iterable[SettingValue]) -> Settings:
    """Settings with these values.

    Args:
        found: The values of all settings.
    """
    found = list(found)
    values: dict[str, Any] = {each.setting.name: each.value for each in found}
    sampling = {name: values.pop(f"{SAMPLING}.{name}") for name in SamplingSettings.__struct_fields__}
    given = frozenset(each.setting.name for each in found if each.source is not Source.DEFAULT)
    return Settings(**values, sampling=SamplingSettings(**sampling), given=given)


def load_values(file: Path, environment: Mapping[str, str]) -> list[SettingValue]:
    """The same with the source of each, in the order of declarations; raises as `load_settings`."""
    values, errors = examine_values(file, environment)
    if errors:
        raise errors[0]
    return values


def with_options(values: Iterable[SettingValue], options: Mapping[str, object]) -> list[SettingValue]:
    """The values with those of the command line in their places.

    Args:
        values: Of all settings.
        options: By the names of settings, without their sections; other names are passed over.

    Raises:
        SettingsError: an option has a value that makes no sense.
    """
    return [
        SettingValue(each.setting, each.setting.check(options[each.setting.key], each.setting.name), Source.OPTION)
        if each.setting.key in options
        else each
        for each in values
    ]


def examine_values(file: Path, environment: Mapping[str, str]) -> tuple[list[SettingValue], list[SettingsError]]:
    """The same for who has to know everything that is wrong; what is wrong is passed over.

    Args:
        file: TOML; need not be there.
        environment: Variables; those that are no setting are left alone.

    Returns:
        A value for every setting, and the errors, those of the file first.
    """
    values = {name: SettingValue(setting, setting.default, Source.DEFAULT) for name, setting in SETTINGS.items()}
    errors = []
    for found in (*_values_of_file(file), *_values_of_environment(environment)):
        if isinstance(found, SettingValue):
            values[found.setting.name] = found
        else:
            errors.append(found)
    return list(values.values()), errors


def describe_settings(values: Iterable[SettingValue] | None = None) -> str:
    """A settings file that has every setting, with explanation, range and variable above each.

    Settings that nobody has set are commented out, so that the text, saved as the settings file, changes nothing: a
    default that is written down would count as the user's wish.

    Args:
        values: Of all settings; by default their defaults.
    """
    if values is None:
        values = [SettingValue(setting, setting.default, Source.DEFAULT) for setting in SETTINGS.values()]
    lines = ["# Settings of tui_llama. What is commented out has its default."]
    for each in values:
        setting = each.setting
        section, _, key = setting.name.rpartition(".")
        if section and f"[{section}]" not in lines:
            lines += ["", f"[{section}]"]
        lines += ["", f"# {setting.explanation}", f"# {setting.allowed}; {setting.variable}"]
        if each.source is Source.DEFAULT:
            lines.append(f"#{key} = {_as_toml(each.value)}")
        else:
            origin = f"from {each.source_words}; the default is {_as_toml(setting.default)}"
            lines.append(f"{key} = {_as_toml(each.value)}  # {origin}")
    return "\n".join(lines) + "\n"


def _values_of_file(file: Path) -> Iterator[SettingValue | SettingsError]:
    try:
        content = _parsed(file)
    except SettingsError as error:
        yield error
        return
    for name, value in _flat(content, file):
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


def _flat(content: Mapping[str, Any], file: Path) -> Iterator[tuple[str, object]]:
    """What a file sets, by names that have their section before them."""
    for key, value in content.items():
        if key == SAMPLING and isinstance(value, dict):
            yield from ((f"{key}.{inner}", inner_value) for inner, inner_value in value.items())
        else:
            yield key, value


def _parsed(file: Path) -> dict[str, Any]:
    import tomllib

    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        if error.errno in _NO_FILE:
            return {}
        raise SettingsError(f"{file} cannot be read: {error.strerror}", "Check the file's permissions.") from error
    except (ValueError, RecursionError) as error:  # neither TOML nor, perhaps, UTF-8
        raise SettingsError(f"{file} is not valid TOML: {error}", "Mend or remove the file.") from error


def _known(name: str, file: Path) -> str:
    if name in SETTINGS:
        return name
    if name == SAMPLING:
        raise SettingsError(f"{file}: {name} is no section", f"Write [{name}] on a line of its own.")
    nearest = _nearest(name)
    hint = f"Did you mean {nearest}?" if nearest else "Known are " + ", ".join(SETTINGS) + "."
    raise SettingsError(f"{file}: there is no setting {name!r}", hint)


def _nearest(name: str) -> str | None:
    """The setting whose name, wherever its section, is most like this one's."""
    import difflib

    by_key = {known.rpartition(".")[2]: known for known in SETTINGS}
    key = name.rpartition(".")[2].lower().replace("-", "_")
    close = difflib.get_close_matches(key, by_key, n=1)
    return by_key[close[0]] if close else None


def _as_toml(value: Value) -> str:
    if isinstance(value, str):
        return '"' + "".join(map(_toml_character, value)) + '"'
    return str(NONE if value is None else value)


def _toml_character(character: str) -> str:
    """A character in a basic string of TOML, where JSON's pairs of surrogates are no characters."""
    if character in '"\\':
        return f"\\{character}"
    if character.isprintable():
        return character
    code = ord(character)
    if 0xD800 <= code < 0xE000:  # half of a pair, or a byte of a variable that is no text
        return "\ufffd"
    return f"\\u{code:04X}" if code < 0x10000 else f"\\U{code:08X}"
