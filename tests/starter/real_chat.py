"""The chat with the starter: the real screen, headless, over the engine's own process."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec

from tests.fakes.chat_app import ScreenDriver, unhurried
from tests.fakes.models import FakeModels
from tui_llama import paths
from tui_llama.app import ChatApp
from tui_llama.chat import Usage
from tui_llama.chats.store import Store, StoredMessage
from tui_llama.engine.events import Finished, IdlePrefillFinished, PromptEstimate, TextPiece
from tui_llama.engine.process.worker import EngineWorker
from tui_llama.engine.protocol import IdlePrefillEvent, ReplyEvent
from tui_llama.engine.requests import CompleteRequest, EstimateRequest, IdlePrefillRequest, ReplyRequest
from tui_llama.sampling.settings import SamplingSettings
from tui_llama.settings import Settings

QUIET = msgspec.structs.replace(Settings(), read_ahead="off")
"""Nothing is read but what is asked for, so that every count of tokens is certain."""

GREEDY = msgspec.structs.replace(
    QUIET, sampling=SamplingSettings(temperature=0.0), given=frozenset({"sampling.temperature"})
)
SEEDED = msgspec.structs.replace(QUIET, sampling=SamplingSettings(seed=7), given=frozenset({"sampling.seed"}))
LIKE_A_NEW_USER_S = msgspec.structs.replace(SEEDED, read_ahead="on")

LOOPING = "What is the capital of France?"
"""A question that the starter answers, at temperature 0, with the same words until the context is full."""


@dataclass
class Turn:
    """One reply as the engine was asked for it, and what it did."""

    request: ReplyRequest | CompleteRequest
    token_ids: tuple[int, ...] = ()
    usage: Usage | None = None

    @property
    def cost(self) -> Usage:
        """The cost of the reply, which must have ended."""
        assert self.usage is not None
        return self.usage


class NotingWorker(EngineWorker):
    """The engine's process; notes what it is asked and what it answers.

    Attributes:
        turns: The replies, oldest first.
        estimates: What would have been sent, and what that would have cost.
        ready_tokens: How many tokens of the next prompt were there when reading ahead was last done.
    """

    def __init__(self) -> None:
        super().__init__()
        self.turns: list[Turn] = []
        self.estimates: list[tuple[EstimateRequest, PromptEstimate]] = []
        self.ready_tokens = 0

    def reply(self, request: ReplyRequest | CompleteRequest) -> AsyncGenerator[ReplyEvent, None]:
        self.turns.append(Turn(request))
        return self._noted(super().reply(request), self.turns[-1])

    async def idle_prefill(self, request: IdlePrefillRequest) -> AsyncGenerator[IdlePrefillEvent, None]:
        async with aclosing(super().idle_prefill(request)) as events:
            async for event in events:
                if isinstance(event, IdlePrefillFinished):
                    self.ready_tokens = event.ready_tokens
                yield event

    async def estimate(self, request: EstimateRequest) -> PromptEstimate:
        estimate = await super().estimate(request)
        self.estimates.append((request, estimate))
        return estimate

    @staticmethod
    async def _noted(events: AsyncGenerator[ReplyEvent, None], turn: Turn) -> AsyncGenerator[ReplyEvent, None]:
        async with aclosing(events):
            async for event in events:
                if isinstance(event, TextPiece):
                    turn.token_ids += event.token_ids
                elif isinstance(event, Finished):
                    turn.usage = event.usage
                yield event


@dataclass
class StarterDriver(ScreenDriver):
    """A running app that chats with the starter."""

    engine: NotingWorker

    @property
    def turns(self) -> list[Turn]:
        """The replies, oldest first."""
        return self.engine.turns

    async def stored_messages(self) -> list[StoredMessage]:
        """Returns the path of the newest chat as it is on disk."""
        await self.app.journal.settle()
        return self.store.messages(self.store.list_chats()[0].chat_id)

    async def stored_ledger(self) -> list[int]:
        """Returns all tokens of that path."""
        return self.store.ledger((await self.stored_messages())[-1].message_id).newest_ids

    async def open_newest_chat(self) -> None:
        """Goes to the chat that was used last."""
        await self.pilot.press("ctrl+pagedown")
        await self.until(lambda: self.questions, "the chat of before")


@asynccontextmanager
async def chatting(
    model: Path, settings: Settings = QUIET, size: tuple[int, int] = (100, 30)
) -> AsyncIterator[StarterDriver]:
    """Opens the program with the home's own store, and ends it as a user would."""
    engine = NotingWorker()
    with Store(paths.database_file()) as store:
        app = ChatApp(
            engine_factory=lambda: engine,
            store=store,
            settings=msgspec.structs.replace(settings, theme="llama-dusk"),
            model_path=str(model),
            models=FakeModels(),
        )
        app.animation_level = "none"
        async with unhurried(), app.run_test(size=size) as pilot:
            driver = StarterDriver(app, pilot, store, engine)
            await driver.until_state("ready")
            yield driver
