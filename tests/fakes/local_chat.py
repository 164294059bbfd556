"""Runs the chat on the screen with the real engine, in this process, with models that have no weights."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from msgspec.structs import replace

from tests.fakes.chat_app import ScreenDriver
from tests.fakes.fake_model import FakeModel, FakeOpener
from tests.fakes.models import FakeModels
from tests.fakes.served_models import server_engine
from tui_llama import paths
from tui_llama.app import ChatApp
from tui_llama.chats.store import Store
from tui_llama.engine.events import Failed, Finished, PromptEncoded, PromptEstimate, Tokenized
from tui_llama.engine.local import LocalEngine
from tui_llama.engine.protocol import IdlePrefillEvent, LoadEvent, ReplyEvent
from tui_llama.engine.requests import (
    CompleteRequest,
    EstimateRequest,
    IdlePrefillRequest,
    LoadRequest,
    ReplyRequest,
    TokenizeRequest,
)
from tui_llama.engine.routed import RoutedEngine
from tui_llama.engine.scripted import ScriptedEngine
from tui_llama.errors import EngineError
from tui_llama.sampling.settings import SamplingSettings
from tui_llama.settings import Settings

QUIET = replace(
    Settings(),
    read_ahead="off",
    theme="llama-dusk",
    sampling=SamplingSettings(temperature=0.0),
    given=frozenset({"sampling.temperature"}),
)
"""Settings with which the engine reads nothing in advance and a model writes exactly what its rule says."""


class NearEngine:
    """An `Engine` that works in this process. It records its requests and its answers."""

    def __init__(self, *models: FakeModel) -> None:
        self._local = LocalEngine(FakeOpener(*models))
        self._is_cancelled = self._answers_now = False
        self.is_alive = False
        self.requests: list[ReplyRequest | CompleteRequest] = []
        self.ahead_requests: list[IdlePrefillRequest] = []
        self.encoded: list[PromptEncoded] = []
        self.finished: list[Finished] = []

    async def load(self, request: LoadRequest) -> AsyncIterator[LoadEvent]:
        self.is_alive, self._is_cancelled = True, False
        progress: list[LoadEvent] = []
        last = self._local.load(request, lambda: self._is_cancelled, progress.append)
        for event in (*progress, last):
            yield event

    async def reply(self, request: ReplyRequest | CompleteRequest) -> AsyncIterator[ReplyEvent]:
        self._is_cancelled = self._answers_now = False
        self.requests.append(request)
        for event in self._local.reply(request, lambda: self._is_cancelled, lambda: self._answers_now):
            if isinstance(event, PromptEncoded):
                self.encoded.append(event)
            elif isinstance(event, Finished):
                self.finished.append(event)
            yield event

    async def idle_prefill(self, request: IdlePrefillRequest) -> AsyncIterator[IdlePrefillEvent]:
        self._is_cancelled = False
        self.ahead_requests.append(request)
        for event in self._local.idle_prefill(request, lambda: self._is_cancelled):
            yield event

    async def estimate(self, request: EstimateRequest) -> PromptEstimate:
        estimate = self._local.estimate(request)
        if isinstance(estimate, Failed):
            raise EngineError(estimate.message, estimate.hint)
        return estimate

    async def tokenize(self, request: TokenizeRequest) -> Tokenized:
        tokenized = self._local.tokenize(request)
        if isinstance(tokenized, Failed):
            raise EngineError(tokenized.message, tokenized.hint)
        return tokenized

    def cancel(self) -> None:
        self._is_cancelled = True

    def answer_now(self) -> None:
        self._answers_now = True

    async def close(self) -> None:
        self.is_alive = False
        self._local.close()


@dataclass
class LocalDriver(ScreenDriver):
    """A running app with the real engine."""

    engine: NearEngine

    async def settle(self) -> None:
        """Waits until the store has saved all messages."""
        await self.app.journal.settle()


@asynccontextmanager
async def chatting_with(
    *models: FakeModel, settings: Settings = QUIET, server: ScriptedEngine | None = None
) -> AsyncIterator[LocalDriver]:
    """Opens the program with the home's store and the first model. A test loads the others by their paths.

    Models of servers are answered for by `server`.
    """
    engine = NearEngine(*models)
    routed = RoutedEngine(lambda: engine, lambda: server or server_engine())
    with Store(paths.database_file()) as store:
        app = ChatApp(
            engine_factory=lambda: routed,
            store=store,
            settings=settings,
            model_path=models[0].info.path,
            models=FakeModels(),
        )
        app.animation_level = "none"
        async with app.run_test(size=(100, 30)) as pilot:
            driver = LocalDriver(app, pilot, store, engine)
            await driver.until_state("ready")
            yield driver
