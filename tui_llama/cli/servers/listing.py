"""Prints the servers in the settings file, and the models that a server offers."""

import asyncio
from collections.abc import Sequence
from typing import Final

from tui_llama.output import Output
from tui_llama.servers.address import Server
from tui_llama.servers.declared import key_place
from tui_llama.servers.keys import key_of
from tui_llama.text_safety import sanitize_line

_ANSWER_SECONDS: Final = 10.0
_GAP: Final = "  "


def print_servers(output: Output, servers: Sequence[Server]) -> None:
    """Prints a line for each server, without any key."""
    if not servers:
        output.notice("no server is in the settings file; tui-llama servers add NAME URL adds one")
        return
    _print_table(output, [(server.name, server.url, key_place(server), server.dialect) for server in servers])


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
    _print_table(output, rows)


def _print_table(output: Output, rows: Sequence[tuple[str, ...]]) -> None:
    rows = [tuple(sanitize_line(cell) for cell in row) for row in rows]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True))
        output.result(_GAP.join(cells).rstrip() + "\n")
