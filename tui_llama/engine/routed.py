"""The engine of the screen: models in files are loaded by one engine, those of servers by another.

Each load goes to the engine of its kind, which is opened when it is first needed. Everything else goes to the engine of
the last load. When a model of the other kind is loaded, the engine left behind is closed, because its memory may be
what the user wants back; the next load of its kind opens another.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, aclosing, nullcontext
from typing import Any, TypeVar

from tui_llama.engine.events import ModelLoaded, Notice, PromptEstimate, Tokenized
from tui_llama.engine.protocol import Engine, Event, IdlePrefillEvent, LoadEvent, ReplyEvent
from tui_llama.engine.requests import (
    CompleteRequest,
    EstimateRequest,
    IdlePrefillRequest,
    LoadRequest,
    ReplyRequest,
    TokenizeRequest,
)
from tui_llama.errors import CallerError, EngineError, EngineLostError
from tui_llama.servers.address import is_server_address

SomeEvent = TypeVar("SomeEvent", bound=Event)


class _Work:
    """A request under way, whose events somebody is taking."""

    def __init__(self, engine: Engine, *, is_idle_prefill: bool) -> None:
        self.engine = engine
        self.is_idle_prefill = is_idle_prefill
        self.has_given_way = False


class RoutedEngine:
    """An `Engine` that leaves its work to one of two others.

    Args:
        make_local: Opens an engine for models in files.
        make_remote: Opens an engine for models of servers.
    """

    def __init__(self, make_local: Callable[[], Engine], make_remote: Callable[[], Engine]) -> None:
        self._make = {False: make_local, True: make_remote}
        self._engines: dict[bool, Engine] = {}
        self._current: Engine | None = None
        self._work: _Work | None = None

    @property
    def is_alive(self) -> bool:
        """See `Engine.is_alive`; it is asked of the engine of the last load."""
        return self._current is not None and self._current.is_alive

    async def load(self, request: LoadRequest) -> AsyncGenerator[LoadEvent, None]:
        """See `Engine.load`. Once the model is loaded, but before that is told, the other engine is closed.

        Raises:
            EngineLostError: the engine's process ended.
            CallerError: the other engine is carrying out a request.
        """
        is_remote = is_server_address(request.model_path)
        if is_remote not in self._engines:
            self._engines[is_remote] = self._make[is_remote]()
        engine = self._engines[is_remote]
        self._leave_for(engine)
        self._current = engine
        async with aclosing(self._events(engine, engine.load(request))) as events:
            async for event in events:
                if isinstance(event, ModelLoaded) and (problem := await self._close_one(not is_remote)):
                    yield Notice(problem)
                yield event

    async def reply(self, request: ReplyRequest | CompleteRequest) -> AsyncGenerator[ReplyEvent, None]:
        """See `Engine.reply`; raises as that does."""
        engine = self._loaded()
        async with aclosing(self._events(engine, engine.reply(request))) as events:
            async for event in events:
                yield event

    async def idle_prefill(self, request: IdlePrefillRequest) -> AsyncGenerator[IdlePrefillEvent, None]:
        """See `Engine.idle_prefill`; raises as that does."""
        engine = self._loaded()
        async with aclosing(self._events(engine, engine.idle_prefill(request), is_idle_prefill=True)) as events:
            async for event in events:
                yield event

    async def estimate(self, request: EstimateRequest) -> PromptEstimate:
        """See `Engine.estimate`; raises as that does."""
        return await self._loaded().estimate(request)

    async def tokenize(self, request: TokenizeRequest) -> Tokenized:
        """See `Engine.tokenize`; raises as that does."""
        return await self._loaded().tokenize(request)

    def cancel(self) -> None:
        """See `Engine.cancel`."""
        if self._current is not None:
            self._current.cancel()

    def answer_now(self) -> None:
        """See `Engine.answer_now`."""
        if self._current is not None:
            self._current.answer_now()

    async def close(self) -> None:
        """Ends both engines; see `Engine.close`.

        Raises:
            EngineError: one of them could not be ended. The other one was told to end all the same.
        """
        ends = await asyncio.gather(*(engine.close() for engine in self._engines.values()), return_exceptions=True)
        for end in ends:
            if isinstance(end, BaseException):
                raise end

    def _loaded(self) -> Engine:
        if self._current is None:
            raise EngineLostError("the engine is not running", "Load a model first.")
        return self._current

    def _leave_for(self, engine: Engine) -> None:
        """Ends the idle prefill of the other engine; one engine would do that by itself."""
        work = self._work
        if work is None or work.engine is engine:
            return
        if not work.is_idle_prefill:
            raise CallerError("the engine carries out one request at a time")
        work.has_given_way = True
        work.engine.cancel()

    async def _events(
        self, engine: Engine, events: AsyncIterator[SomeEvent], *, is_idle_prefill: bool = False
    ) -> AsyncGenerator[SomeEvent, None]:
        """Yields the events of a request to an engine. If the caller stops early, so does the engine."""
        work = self._work = _Work(engine, is_idle_prefill=is_idle_prefill)
        try:
            async with _closing(events):
                async for event in events:
                    if work.has_given_way:
                        return
                    yield event
        finally:
            if self._work is work:
                self._work = None

    async def _close_one(self, is_remote: bool) -> str:
        """Closes an engine, if there is one; returns what went wrong, else an empty text."""
        engine = self._engines.get(is_remote)
        if engine is None:
            return ""
        try:
            await engine.close()
        except EngineError as error:
            return f"The engine of the last model could not be ended: {error}."
        del self._engines[is_remote]  # only now, so that `close` ends it if this was interrupted
        return ""


def _closing(events: AsyncIterator[SomeEvent]) -> AbstractAsyncContextManager[Any]:
    """Returns a context that closes a generator of events at its end."""
    return aclosing(events) if isinstance(events, AsyncGenerator) else nullcontext()
