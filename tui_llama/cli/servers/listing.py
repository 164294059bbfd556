"""Prints the servers in the settings file, and the models that a server offers."""

import asyncio
from collections.abc import Sequence
from typing import Final

from tui_llama.cli.table import print_table
from tui_llama.output import Output
from tui_llama.servers.address import Server
from tui_llama.servers.declared import key_place
from tui_llama.servers.keys import key_of

_ANSWER_SECONDS: Final = 10.0


def print_servers(output: Output, servers: Sequence[Server]) -> None:
    """Prints a line for each server, without any key."""
    if not servers:
        output.notice("no server is in the settings file; tui-llama servers add NAME URL adds one")
        return
    print_table(output, [(server.name, server.url, key_place(server), server.dialect) for server in servers])


def print_models(output: Output, server: Server) -> None:
    """Asks a server for its models, and prints a line for each.

    Raises:
        UserError: the server cannot be asked, or its key cannot be found.
    """
    from tui_llama.engine.remote.models import list_models

    key = key_of(server)
    output.progress(f"asking {server.url}")
    models = asyncio.run(list_models(server, key, _ANSWER_SECONDS))
    if not models:
        output.notice(f"{server.name} answers, and offers no model")
    rows = [
        (
            model.name,
            f"{model.context_size:,} tokens" if model.context_size else "",
            "sees images" if model.sees_images else "",
        )
        for model in models
    ]
    print_table(output, rows)
