"""What the settings screen shows of a setting, in words."""

from enum import StrEnum
from typing import Final

import msgspec

from tui_llama.declarations import MOST, NONE, OneOf, Setting, Value
from tui_llama.text_safety import sanitize_line

_SHORTS: Final = {"mib": "MiB", "numa": "NUMA", "cpu": "CPU"}


class Scope(StrEnum):
    """For what a setting is set."""

    ALL = "Everywhere"
    MODEL = "This model"
    CHAT = "This chat"


class SettingRow(msgspec.Struct, frozen=True):
    """A setting as it is now.

    Attributes:
        setting: Its declaration.
        value: The value that counts in the scope.
        is_set: Whether somebody has set it there, so that it can be set back.
        origin: Where the value comes from, in a few words, not safe to print; empty for the default.
        note: What else the user should know, such as what wins over the value; not safe to print.
    """

    setting: Setting
    value: Value
    is_set: bool = False
    origin: str = ""
    note: str = ""

    @property
    def title(self) -> str:
        """The name in words, such as "Context size"."""
        words = [_SHORTS.get(word, word) for word in self.setting.key.split("_")]
        return " ".join([words[0][:1].upper() + words[0][1:], *words[1:]])

    @property
    def is_toggle(self) -> bool:
        """True if there are two values, so that Enter takes the other one."""
        return isinstance(self.setting.range, OneOf) and len(self.setting.range.texts) == 2

    @property
    def about(self) -> str:
        """Two lines: what the setting does; when a change applies, the default, and what is allowed."""
        setting = self.setting
        facts = (
            f"applies {setting.applies.value}",
            f"default {shown_value(setting, setting.default)}",
            setting.allowed.replace(f" to {MOST}", " up"),
        )
        return f"{setting.explanation}\n{' · '.join(filter(None, facts))}"

    @property
    def places(self) -> str:
        """Where else it can be set: in the settings file, by a variable, on the command line."""
        return " · ".join(filter(None, (self.setting.name, self.setting.variable, *self.setting.flags[-1:])))


def shown_value(setting: Setting, value: Value) -> str:
    """Returns a value on one line, safe to print."""
    if value is None:
        return str(NONE)
    if value == "":
        return "the program's own" if setting.name == "theme" else "none"
    return sanitize_line(f"{value:g}" if isinstance(value, float) else str(value))
