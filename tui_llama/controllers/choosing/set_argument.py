"""Reads what follows `/set`: the name of a sampling setting and its value, as ollama's `/set parameter` has them."""

import re
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Final

from tui_llama.declarations import Setting, Value
from tui_llama.errors import SettingsError
from tui_llama.screens.commands import Choice
from tui_llama.settings import SAMPLING, SETTINGS
from tui_llama.text_safety import sanitize_line

DEFAULT: Final = "default"
"""The word that takes back what was chosen."""

_ARGUMENT = re.compile(r"(?:parameter\s+)?([\w-]+)(?:\s*=\s*|\s+)?(.*)", re.DOTALL)


def _names() -> Mapping[str, Setting]:
    """Returns the settings by all their names: their own, and those of their options, such as "temp"."""
    found: dict[str, Setting] = {}
    for setting in SETTINGS.values():
        if setting.name.startswith(f"{SAMPLING}."):
            flags = (flag.lstrip("-").replace("-", "_") for flag in setting.flags)
            found |= dict.fromkeys((setting.key, *flags), setting)
    return found


SAMPLING_SETTINGS: Final = _names()


def read_set_argument(argument: str) -> tuple[Setting, Value | str]:
    """Returns the setting, and its value or `DEFAULT`.

    Raises:
        SettingsError: there is no such setting, it got no value, or one that is not allowed.
    """
    match = _ARGUMENT.fullmatch(argument.strip())
    name = match[1].lower().replace("-", "_") if match else argument
    if match is None or name not in SAMPLING_SETTINGS:
        near = next(iter(get_close_matches(name, SAMPLING_SETTINGS, 1)), "")
        raise SettingsError(
            f"There is no sampling setting {name[:40]}", f"Did you mean {near}?" if near else "/set lists them."
        )
    setting, text = SAMPLING_SETTINGS[name], match[2].strip()
    if not text:
        raise SettingsError(f"{setting.key} needs a value", f"It must be {setting.allowed}, or {DEFAULT}.")
    return setting, DEFAULT if text.lower() == DEFAULT else setting.parse(text, setting.key)


def with_choice(chosen: Mapping[str, Value], setting: Setting, value: Value | str) -> dict[str, Value]:
    """Returns what is chosen with another value of a setting, without one for `DEFAULT`, in the order of settings."""
    others = {name: each for name, each in chosen.items() if name != setting.key}
    if value != DEFAULT:
        others[setting.key] = value
    order = list(SAMPLING_SETTINGS)
    return dict(sorted(others.items(), key=lambda item: order.index(item[0]) if item[0] in order else len(order)))


def sampling_choices(_typed: str) -> Sequence[Choice]:
    """Returns the beginnings of what may follow `/set`, for the composer's list."""
    settings = dict.fromkeys(setting.key for setting in SAMPLING_SETTINGS.values())
    return [Choice(f"{name} ", SAMPLING_SETTINGS[name].explanation) for name in settings]


def shown_value(value: Value) -> str:
    """Returns a value as people write it, safe to print: no seed is "random", no text "none"."""
    if isinstance(value, str):
        return sanitize_line(value) or "none"
    return "random" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
