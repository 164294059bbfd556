"""The settings of one command: those that the user has set, replaced by those of the command line."""

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tui_llama.settings import Settings
    from tui_llama.settings_sources import SettingValue


def settings_from(options: Mapping[str, object]) -> "Settings":
    """Reads the settings file and the environment, and replaces what was written on the command line.

    Args:
        options: By the names of settings, without their sections; other names are passed over.

    Raises:
        SettingsError: the file, a variable or an option has a value that makes no sense.
    """
    from tui_llama import paths
    from tui_llama.settings_sources import load_models, load_servers, settings_of

    file = paths.settings_file()
    return settings_of(values_from(options), load_servers(file), load_models(file))


def values_from(options: Mapping[str, object]) -> "list[SettingValue]":
    """Returns the same settings with the source of each, in the order of declarations; raises as `settings_from`."""
    from tui_llama import paths
    from tui_llama.settings_sources import load_values, with_options

    given = dict(options)
    if given.get("group_size", 1) != 1:
        given["context_overflow"] = "extend"  # as for llama.cpp, where a group wins over a shift
    return with_options(load_values(paths.settings_file(), os.environ), given)
