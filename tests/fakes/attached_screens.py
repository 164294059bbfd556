"""A server's engine and the screens that use it, over real sockets."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec

from tests.patience import HANG_SECONDS
from tui_llama.chat import ChatMessage, Role, StopReason, Usage
from tui_llama.engine.events import Finished, ModelLoaded
from tui_llama.engine.process.attached import AttachingEngine
from tui_llama.engine.protocol import Engine, Event
from tui_llama.engine.requests import CompleteRequest, LoadRequest, ReplyRequest
from tui_llama.engine.scripted import Gate, ScriptedEngine, Step, demo_model
from tui_llama.serve.attach import AttachedScreens, attached_screens
from tui_llama.serve.queue import EngineQueue

MESSAGES = (ChatMessage(Role.USER, "hi"),)


def say(turn: int = 1, text: str = "hi", chat_id: str | None = None) -> ReplyRequest:
    """Asks for an answer."""
    return ReplyRequest(turn, (ChatMessage(Role.USER, text),), chat_id=chat_id)


class Serving:
    """A server, by default with a scripted engine, put together as `tui-llama serve` does it.

    Args:
        model_file: The file that is served; the sockets are in a folder beside it.
        engine: The engine behind the queue.
        load_request: How the model is loaded; None stores prompts in a folder beside the file.
        most_waiting: How many requests may wait.
        options: Further arguments of `attached_screens`.
    """

    def __init__(
        self,
        model_file: Path,
        engine: Engine | None = None,
        load_request: LoadRequest | None = None,
        most_waiting: int = 64,
        **options: Any,
    ) -> None:
        self.engine: Any = engine or ScriptedEngine()
        self.folder = model_file.parent / "run"
        self.load_request = load_request or LoadRequest(
            str(model_file), prompt_cache_folder=str(model_file.parent / "prompts")
        )
        self.queue = EngineQueue(self.engine, most_waiting)
        self.loaded: list[Event] = []
        self._options = options
        self._stack = AsyncExitStack()

    async def start(self) -> AttachedScreens:
        """Loads the model, and lets screens come."""
        async for _ in self.engine.load(self.load_request):
            pass
        model = demo_model(self.load_request.model_path)
        screens = attached_screens(self.queue, lambda: model, self.load_request, self.folder, **self._options)
        return await self._stack.enter_async_context(screens)

    async def stop(self) -> None:
        """Ends the server."""
        self.queue.close()
        await self._stack.aclose()

    @asynccontextmanager
    async def screen(self, **fields: Any) -> AsyncIterator[AttachingEngine]:
        """Gives the engine of a screen that has asked for the model; what it was told is in `loaded`.

        Args:
            fields: What it asks otherwise than the server did.
        """
        engine = AttachingEngine(_own_engine, self.folder, HANG_SECONDS)
        request = msgspec.structs.replace(self.load_request, **fields)
        self.loaded = [event async for event in engine.load(request)]
        try:
            yield engine
        finally:
            await engine.close()


@asynccontextmanager
async def serving(model_file: Path, engine: Engine | None = None, **options: Any) -> AsyncIterator[Serving]:
    """Gives a running server; see `Serving`."""
    server = Serving(model_file, engine, **options)
    screens = await server.start()
    assert not screens.refusal
    try:
        yield server
    finally:
        await server.stop()


def _own_engine() -> ScriptedEngine:
    return ScriptedEngine(load=[ModelLoaded(demo_model("loaded here"))])


def loads_here(events: Sequence[Event]) -> bool:
    """Tells whether a screen has loaded the model itself."""
    return isinstance(events[-1], ModelLoaded) and events[-1].model.path == "loaded here"


def gated(*steps: Step) -> tuple[ScriptedEngine, Gate]:
    """Returns an engine whose first reply waits at a gate after some steps; the others are the demonstration's."""
    gate = Gate()
    return ScriptedEngine(replies=[[*steps, gate, finished()]]), gate


def finished() -> Finished:
    """Returns the end of an answer."""
    return Finished(0, StopReason.END_OF_GENERATION, Usage())


async def events_of(engine: Engine, request: ReplyRequest | CompleteRequest) -> list[Event]:
    """Returns all events of a reply."""
    return [event async for event in engine.reply(request)]


def last_reason(events: Sequence[Event]) -> StopReason:
    """Returns why an answer has ended."""
    assert isinstance(events[-1], Finished)
    return events[-1].stop_reason


async def until(is_true: Callable[[], bool]) -> None:
    """Returns once a condition holds."""
    async with asyncio.timeout(HANG_SECONDS):
        while not is_true():
            await asyncio.sleep(0)
