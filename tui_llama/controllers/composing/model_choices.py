"""The models that can be named behind a slash command."""

import asyncio
from collections import Counter
from collections.abc import Callable, Coroutine, Sequence
from time import monotonic
from typing import TYPE_CHECKING, Any

from tui_llama.screens.commands import Choice

if TYPE_CHECKING:
    from tui_llama.models.library import FoundModel
    from tui_llama.models.source import ModelSource
    from tui_llama.servers.address import Server

LASTING_SECONDS = 10.0


class ModelChoices:
    """The model files on this machine and the servers of the settings, by the names that people type.

    Args:
        source: Finds the files.
        servers: The servers of the settings.
        run_beside: Runs a coroutine of a group beside others.
        on_found: Called when the files are found.
    """

    def __init__(
        self,
        source: "ModelSource",
        servers: "Sequence[Server]",
        run_beside: Callable[[Callable[[], Coroutine[Any, Any, None]], str], object],
        on_found: Callable[[], None],
    ) -> None:
        self._source = source
        self._servers = servers
        self._run_beside = run_beside
        self._on_found = on_found
        self._found: list[FoundModel] = []
        self._is_looking = False
        self._looked_at: float | None = None

    def choices(self, typed: str) -> Sequence[Choice]:
        """Returns what is known now. Where an argument is begun, the files are looked for again after a while."""
        is_old = self._looked_at is None or (not typed and monotonic() - self._looked_at > LASTING_SECONDS)
        if is_old and not self._is_looking:
            self._is_looking = True
            self._run_beside(self._look, "model names")
        servers = [Choice(server.url, f"{server.name}, a server") for server in self._servers]
        return [*(Choice(name, found.origin) for name, found in self._named()), *servers]

    def path_of(self, argument: str) -> str:
        """Returns the path of the model that is named so; `argument` itself where none is."""
        return next((str(found.path) for name, found in self._named() if name == argument), argument)

    async def _look(self) -> None:
        try:
            self._found = await asyncio.to_thread(self._source.find)
        finally:
            self._is_looking = False
        self._looked_at = monotonic()
        self._on_found()

    def _named(self) -> "list[tuple[str, FoundModel]]":
        """Returns each file with its name, or with its path where others have the same name."""
        counts = Counter(found.name for found in self._found)
        return [(found.name if counts[found.name] == 1 else str(found.path), found) for found in self._found]
