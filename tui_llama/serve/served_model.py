"""The model that the server answers with: loaded at the start, and again when the engine's process was lost."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing, nullcontext
from typing import Final

from tui_llama.engine.descriptions import ModelInfo
from tui_llama.engine.events import Failed, LoadProgress, LoadStage, ModelLoaded, Notice
from tui_llama.engine.protocol import Engine
from tui_llama.engine.requests import LoadRequest
from tui_llama.errors import CallerError, EngineError

_PROGRESS_SECONDS: Final = 0.25
_NO_PROGRESS: Final = LoadProgress(LoadStage.READ, 0, 1)


class ServedModel:
    """Keeps one model loaded.

    A load belongs to the server and not to whoever waits for it: clients that leave do not end it.

    Args:
        engine: Where it is loaded.
        request: What loads it.
        on_progress: Learns the progress of loading.
        on_notice: Learns what the user should know, a line each.
    """

    def __init__(
        self,
        engine: Engine,
        request: LoadRequest,
        on_progress: Callable[[LoadProgress], None],
        on_notice: Callable[[str], None],
    ) -> None:
        self._engine = engine
        self._request = request
        self._on_progress = on_progress
        self._on_notice = on_notice
        self._info: ModelInfo | None = None
        self._is_loaded = False
        self._loading: asyncio.Task[None] | None = None
        self._has_failed = False
        self._progress = _NO_PROGRESS

    @property
    def is_ready(self) -> bool:
        """True while the model is loaded and its engine lives."""
        return self._is_loaded and self._engine.is_alive

    def info(self) -> ModelInfo:
        """Returns what is known of the model; while it is loaded again, what was known before.

        Raises:
            CallerError: it was never loaded.
        """
        if self._info is None:
            raise CallerError("no model was loaded yet")
        return self._info

    async def make_ready(self) -> None:
        """Waits until the model is loaded; begins that if nobody has. The load goes on if the wait is cancelled.

        Raises:
            EngineError: it cannot be loaded.
        """
        if self.is_ready:
            return
        await self._end_of(self._load_under_way())

    async def progress(self) -> AsyncIterator[LoadProgress]:
        """Yields the progress, again and again, until the model is loaded; begins to load it if nobody has.

        Raises:
            EngineError: it cannot be loaded.
        """
        while not self.is_ready:
            loading = self._load_under_way()
            yield self._progress
            await asyncio.wait((loading,), timeout=_PROGRESS_SECONDS)
            if loading.done():
                await self._end_of(loading)

    def load_if_lost(self) -> None:
        """Begins to load a model that was lost, without waiting. One that could not be loaded waits for a request."""
        if not self.is_ready and not self._has_failed:
            self._load_under_way()

    async def close(self) -> None:
        """Ends a load that is under way. May be called twice."""
        if self._loading is not None:
            self._loading.cancel()
            await asyncio.wait((self._loading,))

    async def _end_of(self, loading: "asyncio.Task[None]") -> None:
        await asyncio.wait((loading,))
        if loading.cancelled():
            raise EngineError("loading the model was stopped")
        loading.result()

    def _load_under_way(self) -> "asyncio.Task[None]":
        if self._loading is None or self._loading.done():
            self._is_loaded = False  # also if the load is ended: the process then lives and has no model
            self._progress = _NO_PROGRESS
            self._loading = asyncio.create_task(self._load(), name="load")
            self._loading.add_done_callback(_note_seen)  # whoever waits gets the failure; perhaps nobody does
        return self._loading

    async def _load(self) -> None:
        self._has_failed = True  # until the end shows otherwise
        events = self._engine.load(self._request)
        async with aclosing(events) if isinstance(events, AsyncGenerator) else nullcontext():
            async for event in events:
                match event:
                    case LoadProgress():
                        self._progress = event
                        self._on_progress(event)
                    case Notice(text=text):
                        self._on_notice(text)
                    case Failed(message=message, hint=hint):
                        raise EngineError(message, hint)
                    case ModelLoaded(model=model, notices=notices):
                        self._info, self._is_loaded, self._has_failed = model, True, False
                        for notice in notices:
                            self._on_notice(notice)
        if not self._is_loaded:
            raise EngineError("the engine has not loaded the model")


def _note_seen(loading: "asyncio.Task[None]") -> None:
    """Keeps asyncio from reporting a failure that nobody waited for; the next request tries again and tells it."""
    if not loading.cancelled():
        loading.exception()
