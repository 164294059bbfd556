"""Chooses the model of a server for a command, and refuses options that servers do not have."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

import click

from tui_llama.cli.options import ENGINE, OVERFLOW, PLACEMENT
from tui_llama.settings import SETTINGS

if TYPE_CHECKING:
    from tui_llama.settings import Settings

_OF_OUR_ENGINE: Final = (*ENGINE, *PLACEMENT, *OVERFLOW, "draft_max", "loop_guard", "prompt_cache_mib")


def server_model(options: Mapping[str, object], settings: "Settings") -> str | None:
    """Returns the address of the model that --server and --model name, None without --server.

    Without --model, it is the one behind the “#” of the server's URL, or that which the server has loaded.

    Raises:
        SettingsError: there is no such server.
    """
    words = options.get("server")
    if words is None:
        return None
    from tui_llama.servers.address import RemoteModel, is_server_address, remote_model
    from tui_llama.servers.declared import find_server

    typed = str(words).strip()
    server = find_server(settings.servers, typed)
    name = options.get("model") or (remote_model(typed).name if is_server_address(typed) else "")
    return str(RemoteModel(server.url, str(name)))


def refuse_options_of_our_engine(options: Mapping[str, object]) -> None:
    """Refuses options that have no effect on a model of a server.

    Raises:
        click.UsageError: there is one.
    """
    for name in _OF_OUR_ENGINE:
        if name in options:
            setting = SETTINGS[name]
            flags = setting.flags or tuple(switch.flag for switch in setting.switches)
            raise click.UsageError(
                f"{' and '.join(flags[-1:] if setting.flags else flags)} cannot be used with a model of a server: "
                "the server decides how it computes."
            )
