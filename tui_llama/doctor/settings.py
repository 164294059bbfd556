"""Examines the settings: those that differ from their defaults, those that are wrong, and the servers."""

from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from tui_llama import paths
from tui_llama.declarations import VARIABLE_PREFIX, Setting
from tui_llama.doctor.report import Problem, Row, Section
from tui_llama.errors import SettingsError
from tui_llama.servers.address import Server
from tui_llama.settings import SETTINGS
from tui_llama.settings_sources import SettingValue, examine_models, examine_servers, examine_values

TITLE: Final = "Settings"

_PLACES: Final = frozenset({paths.HOME_VARIABLE, paths.KERNEL_CACHE_VARIABLE, "TUI_LLAMA_INSTRUCTION_SET"})
_FOR_TESTS: Final = frozenset(
    {"TUI_LLAMA_SHARED", "TUI_LLAMA_STARTER", "TUI_LLAMA_RELEASE_CHECK", "TUI_LLAMA_TEMPLATES"}
)
_PRIVATE: Final = frozenset({"system_prompt"})
"""Settings whose text may be personal."""
_THIS_MACHINE: Final = frozenset({"localhost", "127.0.0.1", "::1"})


def look_at_settings(file: Path, environment: Mapping[str, str]) -> Section:
    """Returns the section of the settings. Never fails, because wrong settings are part of the section."""
    values, errors = examine_values(file, environment)
    section = settings_section(file, values, errors, environment)
    servers, server_errors = examine_servers(file)
    rows = (Row(f"server {number}", _server_words(each, environment)) for number, each in enumerate(servers, 1))
    problems = list(section.problems)
    if any(str(error) not in map(str, errors) for error in server_errors):  # else the file is no TOML
        # The errors themselves name servers, and with them perhaps whose they are.
        problems.append(Problem(f"{file}: a server in it is wrong.", "tui-llama servers list says what is wrong."))
    if any(str(error) not in map(str, errors) for error in examine_models(file)[1]):
        problems.append(Problem(f"{file}: a setting of a model in it is wrong.", "tui-llama settings says what is."))
    return Section(section.title, (*section.rows, *rows), tuple(problems))


def settings_section(
    file: Path, values: Iterable[SettingValue], errors: Sequence[SettingsError], environment: Mapping[str, str]
) -> Section:
    """Returns the section of the settings.

    Args:
        file: The settings file.
        values: The values of all settings.
        errors: The errors in the file and the variables.
        environment: The environment variables, of which the section shows those of this program.
    """
    rows = [Row("file", f"{file}{'' if paths.is_there(file) else ', not created yet'}")]
    for each in values:
        if each.value != each.setting.default:
            shown = _shown(each.setting, each.value)
            rows.append(Row(each.setting.name, f"{shown}, from {each.source_words}", shown))
    settings_by_variable = {setting.variable: setting for setting in SETTINGS.values()}
    known = {*settings_by_variable, *_PLACES, *_FOR_TESTS}
    problems = [_problem(error) for error in errors]
    for variable in sorted(name for name in environment if name.startswith(VARIABLE_PREFIX)):
        if variable in _PLACES or variable in _FOR_TESTS:
            rows.append(Row(variable, environment[variable]))
        elif variable not in known:
            nearest = get_close_matches(variable, known, n=1)
            remedy = f"Did you mean {nearest[0]}?" if nearest else "tui-llama settings lists all variables."
            problems.append(Problem(f"There is no variable {variable}.", remedy, is_advice=True))
    return Section(TITLE, tuple(rows), tuple(problems))


def _server_words(server: Server, environment: Mapping[str, str]) -> str:
    """Returns where a server is and where its key comes from, without names."""
    parts = urlsplit(server.url)
    place = "on this machine" if parts.hostname in _THIS_MACHINE else f"on another machine, {parts.scheme}"
    if server.key_variable:
        key = f"key in a variable{'' if server.key_variable in environment else ' that is not set'}"
    elif server.key_command:
        key = "key from a command"
    else:
        key = "key in the keyring" if server.key_in_keyring else "no key"
    return ", ".join(filter(None, (place, key, server.dialect)))


def _shown(setting: Setting, value: object) -> str:
    if setting.name in _PRIVATE:
        return f"{len(str(value))} characters"
    return "-1" if value is None else str(value)


def _problem(error: SettingsError) -> Problem:
    text = str(error)
    for name in _PRIVATE:
        for spelling in (f"{name}: ", f"{SETTINGS[name].variable}: "):
            before, found, _ = text.partition(spelling)
            if found:  # the user's text follows, so it is left out
                return Problem(f"{before}{found}this is not {SETTINGS[name].allowed}.", error.hint)
    return Problem(f"{text}.", error.hint)
