"""The user's settings while the program runs: read again after each change, which goes into the settings file."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path

from tui_llama import paths
from tui_llama.declarations import Setting, Value
from tui_llama.settings import ModelSettings, Settings
from tui_llama.settings_sources import SettingValue, load_models, load_servers, load_values, settings_of


class SettingsPlace:
    """The settings file, and what wins over it.

    Args:
        file: The settings file, which need not exist.
        read_values: Reads the values of all settings with their sources, from the file, variables and the command
            line.

    Attributes:
        file: The settings file.
    """

    def __init__(self, file: Path, read_values: Callable[[], Sequence[SettingValue]]) -> None:
        self.file = file
        self._read_values = read_values

    def values(self) -> Sequence[SettingValue]:
        """Returns the values of all settings. Raises SettingsError if one is wrong."""
        return self._read_values()

    def models(self) -> tuple[ModelSettings, ...]:
        """Returns what the file has for single models. Raises SettingsError if something in it is wrong."""
        return load_models(self.file)

    def settings(self) -> Settings:
        """Returns the settings. Raises SettingsError if one is wrong."""
        return settings_of(self.values(), load_servers(self.file), self.models())

    def change(self, setting: Setting, value: Value, model_name: str = "") -> None:
        """Sets a setting in the file, for one model or for all. Raises SettingsError if that cannot be."""
        from tui_llama.settings_changes import set_value  # here: the first frame does without

        set_value(self.file, setting, value, model_name)

    def reset(self, setting: Setting, model_name: str = "") -> None:
        """Removes a setting from the file, for one model or for all. Raises SettingsError if that cannot be."""
        from tui_llama.settings_changes import remove_value

        remove_value(self.file, setting, model_name)


def place_of_this_user() -> SettingsPlace:
    """Returns the settings file of this user, with the variables and without a command line."""
    file = paths.settings_file()
    return SettingsPlace(file, lambda: load_values(file, os.environ))
