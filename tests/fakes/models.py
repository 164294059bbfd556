"""A source of models that do not exist. They are found, inspected, fetched and removed as a test says."""

import asyncio
import threading
from collections.abc import AsyncGenerator, Sequence
from pathlib import Path

from tests.patience import HANG_SECONDS
from tui_llama.engine.descriptions import ModelFacts
from tui_llama.engine.remote.models import ServerModel
from tui_llama.errors import UserError
from tui_llama.models.downloads import Downloaded, DownloadEvent, DownloadFailed, Progress
from tui_llama.models.library import FoundModel
from tui_llama.models.machine import Machine
from tui_llama.servers.address import Server

MACHINE = Machine("A test's processor", 2, 16 * 10**9, 8 * 10**9, 20e9)


def found_models(count: int = 3) -> list[FoundModel]:
    """Returns found models that do not exist."""
    origins = ("our folder", "Hugging Face", "Ollama")
    return [
        FoundModel(Path(f"/models/model-{number}.gguf"), f"Model {number}", 10**9 * number, origins[number % 3])
        for number in range(1, count + 1)
    ]


def facts_of(found: FoundModel, **changed: object) -> ModelFacts:
    """Returns the facts of such a model."""
    facts: dict[str, object] = {
        "name": found.name,
        "architecture": "llama",
        "quantization": "Q4_K",
        "weight_bytes": found.size_bytes,
        "bytes_read_per_token": found.size_bytes,
        "trained_context_size": 32_768,
        "key_value_bytes_per_token": 100_000,
        "licence": "mit",
    }
    return ModelFacts(str(found.path), **{**facts, **changed})  # type: ignore[arg-type]


class FakeModels:
    """A `ModelSource` of models that do not exist.

    Attributes:
        found: The models on the machine.
        facts: The facts of files, by their paths, if they differ from the usual facts.
        pulled: The files that may be removed.
        events: The events of a download, one for each call of `step`. A test ends it with `Downloaded` or
            `DownloadFailed`.
        wanted: The names that were to be fetched.
        cancelled: The names whose download was cancelled.
        on_servers: The models of each server, by its name, or the error with which asking ends.
        answering: Servers by name whose answer waits until a test sets the event.
        asked: The servers that were asked, by name.
    """

    def __init__(self, found: Sequence[FoundModel] = ()) -> None:
        self.found = list(found)
        self.facts: dict[str, ModelFacts] = {}
        self.pulled: set[Path] = set()
        self.events: asyncio.Queue[DownloadEvent | Exception] = asyncio.Queue()
        self.wanted: list[str] = []
        self.cancelled: list[str] = []
        self.on_servers: dict[str, list[ServerModel] | Exception] = {}
        self.answering: dict[str, asyncio.Event] = {}
        self.asked: list[str] = []
        self.searching = threading.Event()
        self.searching.set()

    def find(self) -> list[FoundModel]:
        """Does what `ModelSource` says. Waits while a test has cleared `searching`."""
        assert self.searching.wait(HANG_SECONDS)
        return list(self.found)

    def machine(self) -> Machine:
        """Does what `ModelSource` says."""
        return MACHINE

    async def inspect(self, paths: Sequence[Path]) -> AsyncGenerator[ModelFacts, None]:
        """Does what `ModelSource` says."""
        by_path = {found.path: found for found in self.found}
        for path in paths:
            yield self.facts.get(str(path)) or facts_of(by_path[path])

    async def pull(self, name: str) -> AsyncGenerator[DownloadEvent, None]:
        """Does what `ModelSource` says."""
        self.wanted.append(name)
        try:
            while True:
                event = await self.events.get()
                if isinstance(event, Exception):
                    raise event
                yield event
                if isinstance(event, Downloaded | DownloadFailed):
                    return
        except (GeneratorExit, asyncio.CancelledError):
            self.cancelled.append(name)
            raise

    def was_pulled(self, path: Path) -> bool:
        """Does what `ModelSource` says."""
        return path in self.pulled

    def remove(self, path: Path) -> int:
        """Does what `ModelSource` says."""
        if path not in self.pulled:
            raise UserError("it was not fetched by this program")
        self.found = [found for found in self.found if found.path != path]
        return 1

    async def models_of(self, server: Server) -> list[ServerModel]:
        """Does what `ModelSource` says."""
        self.asked.append(server.name)
        if server.name in self.answering:
            await self.answering[server.name].wait()
        answer = self.on_servers[server.name]
        if isinstance(answer, Exception):
            raise answer
        return answer

    # --- for tests ---

    def step(self, done_bytes: int, total_bytes: int = 100_000_000) -> None:
        """Lets the download make progress."""
        self.events.put_nowait(Progress("downloading", done_bytes, total_bytes))

    def arrive(self, found: FoundModel) -> None:
        """Ends the download well, with this model."""
        self.found.append(found)
        self.pulled.add(found.path)
        self.events.put_nowait(Downloaded(str(found.path)))

    def fail(self, message: str, hint: str = "") -> None:
        """Ends the download with a failure."""
        self.events.put_nowait(DownloadFailed(message, hint))
