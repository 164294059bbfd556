"""The models of the servers in the settings, and of those whose address was given, for the list of models.

All servers are asked at once. One that does not answer is a line with the reason, and delays nothing else.
"""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, TypeAlias

from tui_llama.errors import SettingsError, UserError
from tui_llama.screens.presenting import listed_served, listed_server
from tui_llama.servers.address import is_server_address
from tui_llama.servers.declared import find_server

# The first frame needs none of these.
if TYPE_CHECKING:
    from tui_llama.engine.remote.models import ServerModel
    from tui_llama.models.source import ModelSource
    from tui_llama.screens.dialogs.model_picker import ListedModel
    from tui_llama.servers.address import Server

_MOST_MODELS = 1000
"""More models of one server are not listed; a typed address reaches each of them."""

_Answer: TypeAlias = "list[ServerModel] | UserError"


class ServerModels:
    """What each server has said of its models.

    Args:
        source: Asks a server.
        servers: The servers of the settings.
    """

    def __init__(self, source: "ModelSource", servers: "Sequence[Server]") -> None:
        self._source = source
        self._servers = tuple(servers)
        self._answers: dict[Server, _Answer] = {}

    def remember(self, path: str) -> None:
        """Lists the server of a model's address from now on, also if the settings do not name it."""
        if not is_server_address(path):
            return
        with suppress(SettingsError):  # whoever loads it is told why it is none
            server = find_server(self._servers, path)
            if server not in self._servers:
                self._servers = (*self._servers, server)

    async def ask(self, on_answer: Callable[[], None]) -> None:
        """Asks all servers; calls back after each answer. Until then the answers of the last time stay."""
        await asyncio.gather(*(self._ask(server, on_answer) for server in self._servers))

    async def _ask(self, server: "Server", on_answer: Callable[[], None]) -> None:
        answer: _Answer
        try:
            answer = await self._source.models_of(server)
        except UserError as error:
            answer = error
        except Exception as error:  # a fault at one server must not take the screen away
            answer = UserError(f"{server.name} cannot be asked: {error or type(error).__name__}", "Check its settings.")
        self._answers[server] = answer
        on_answer()

    def listed(self) -> "list[ListedModel]":
        """Returns the lines of all servers, in the order of the settings, then as their addresses were given."""
        return [line for server in self._servers for line in self._lines(server)]

    def _lines(self, server: "Server") -> "list[ListedModel]":
        answer = self._answers.get(server)
        if answer is None:
            return [listed_server(server, "asking …", "The server has not answered yet.")]
        if isinstance(answer, UserError):
            return [listed_server(server, str(answer), answer.hint or "Check the server.")]
        if not answer:
            return [listed_server(server, "no models", "The server says that it has none.")]
        lines = [listed_served(server, model) for model in answer[:_MOST_MODELS]]
        more = len(answer) - len(lines)
        if more:
            how = f"Type {server.url}#NAME to load one of them."
            lines.append(listed_server(server, f"and {more:,} more", how))
        return lines
