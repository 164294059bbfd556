"""The settings of one command: what the user has set for good, with what the command line says instead."""

import dataclasses
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tui_llama.settings import Settings

# As for llama.cpp: another seed every time, and no limit.
_MINUS_ONE_IS_NONE = ("seed", "max_tokens")


def settings_from(options: Mapping[str, object]) -> "Settings":
    """Reads the settings file and the environment, and replaces what was written on the command line.

    Args:
        options: By the names of settings and of sampling settings; other names are passed over.

    Raises:
        SettingsError: the file or a variable has a value that makes no sense.
    """
    import msgspec

    from tui_llama import paths
    from tui_llama.settings import SETTINGS, load_settings

    settings = load_settings(paths.settings_file(), os.environ)
    given: dict[str, Any] = {
        name: None if name in _MINUS_ONE_IS_NONE and value == -1 else value for name, value in options.items()
    }
    if given.get("group_size", 1) != 1:
        given["context_overflow"] = "extend"  # as for llama.cpp, where a group wins over a shift
    general = {name: value for name, value in given.items() if name in SETTINGS}
    sampling = {name: value for name, value in given.items() if f"sampling.{name}" in SETTINGS}
    return dataclasses.replace(
        settings,
        **general,
        sampling=msgspec.structs.replace(settings.sampling, **sampling),
        given=settings.given.union(general, (f"sampling.{name}" for name in sampling)),
    )
