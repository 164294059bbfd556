"""The screen's source of models, which finds, looks into, fetches and removes them. A test has another source.

The source asks servers for their models, too.
"""

from collections.abc import AsyncGenerator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

from tui_llama.engine.descriptions import ModelFacts
from tui_llama.engine.events import FailureCause
from tui_llama.models.downloads import DownloadEvent
from tui_llama.models.library import FoundModel
from tui_llama.models.machine import Machine
from tui_llama.servers.address import Server
from tui_llama.system.daemon_threads import in_daemon_thread

if TYPE_CHECKING:
    from tui_llama.engine.remote.models import ServerModel

SERVER_SECONDS: Final = 2.0
"""A server that has not listed its models by then counts as one that does not answer."""


class ModelSource(Protocol):
    """Answers questions about models. `find`, `machine`, `was_pulled` and `remove` may take some time."""

    def find(self) -> list[FoundModel]:
        """Returns the model files on this machine."""
        ...

    def machine(self) -> Machine:
        """Returns what this machine has for a model."""
        ...

    def inspect(self, paths: Sequence[Path]) -> AsyncGenerator[ModelFacts, None]:
        """Yields what each file says of itself, in order."""
        ...

    def pull(self, name: str) -> AsyncGenerator[DownloadEvent, None]:
        """Fetches a model. A caller that stops iterating cancels the download."""
        ...

    def was_pulled(self, path: Path) -> bool:
        """Tells whether this program has fetched a file."""
        ...

    def remove(self, path: Path) -> int:
        """Removes a file that this program has fetched; returns the bytes that are free now.

        Raises:
            UserError: it is none of ours, or cannot be removed.
        """
        ...

    async def models_of(self, server: Server) -> "list[ServerModel]":
        """Returns the models of a server.

        Raises:
            UserError: it has no key, or cannot be asked, or does not say.
        """
        ...


class ThisMachine:
    """The `ModelSource` of the program. What it needs is imported when it is asked for, after the first frame.

    Keys of servers are remembered while the program runs, because a command or a keyring may ask the user for each.
    """

    def __init__(self) -> None:
        self._keys: dict[Server, str] = {}

    def find(self) -> list[FoundModel]:
        """See `ModelSource`."""
        from tui_llama.models.library import find_models

        return find_models()

    def machine(self) -> Machine:
        """See `ModelSource`."""
        from tui_llama.models.machine import measured_machine

        return measured_machine()

    def inspect(self, paths: Sequence[Path]) -> AsyncGenerator[ModelFacts, None]:
        """See `ModelSource`."""
        from tui_llama.models.inspection import inspect_beside

        return inspect_beside(paths)

    def pull(self, name: str) -> AsyncGenerator[DownloadEvent, None]:
        """See `ModelSource`."""
        from tui_llama.models.pull import pull_beside

        return pull_beside(name)

    def was_pulled(self, path: Path) -> bool:
        """See `ModelSource`."""
        from tui_llama.models.record import was_pulled

        return was_pulled(path)

    def remove(self, path: Path) -> int:
        """See `ModelSource`."""
        from tui_llama.models.record import remove_pulled

        return remove_pulled(path)

    async def models_of(self, server: Server) -> "list[ServerModel]":
        """See `ModelSource`."""
        key = self._keys.get(server)
        if key is None:
            key = await in_daemon_thread(partial(_key_of, server))
        from tui_llama.engine.remote.failures import RemoteEngineError
        from tui_llama.engine.remote.models import list_models

        self._keys[server] = key
        try:
            return await list_models(server, key, SERVER_SECONDS)
        except RemoteEngineError as error:
            if error.cause is FailureCause.KEY_REFUSED:
                self._keys.pop(server, None)
            raise


def _key_of(server: Server) -> str:
    """Returns the server's key, and imports what asks the server: both take too long for the thread that draws."""
    from tui_llama.servers.keys import key_of

    return key_of(server)
