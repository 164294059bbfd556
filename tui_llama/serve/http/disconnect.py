"""Watches the client of one request: when it goes away, its work is cancelled and its place in the queue is free.

To be used when the whole body of the request has been read:

    async with watched(receive) as client, client.entering(queue.turn(who)) as engine:
        async with aclosing(client.events(engine, request)) as events:
            async for event in events:
                ...

Knows ASGI's `receive` and the engine's protocol; nothing of routes.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Coroutine, MutableMapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, aclosing, asynccontextmanager, nullcontext
from typing import Any, TypeAlias, TypeVar

from tui_llama.engine.protocol import Engine, ReplyEvent
from tui_llama.engine.requests import CompleteRequest, ReplyRequest
from tui_llama.errors import TuiLlamaError

Receive: TypeAlias = Callable[[], Awaitable[MutableMapping[str, Any]]]
Result = TypeVar("Result")


class ClientGone(TuiLlamaError):  # noqa: N818 - nobody's mistake, and nobody is told
    """The client has closed the connection; nobody reads the answer."""


class WatchedClient:
    """The client of one request. Made by `watched`."""

    def __init__(self) -> None:
        self._gone = asyncio.Event()
        self._cancel: Callable[[], None] | None = None

    @property
    def is_gone(self) -> bool:
        """True once the client has closed the connection."""
        return self._gone.is_set()

    @asynccontextmanager
    async def entering(self, context: AbstractAsyncContextManager[Result]) -> AsyncIterator[Result]:
        """Enters a context, such as a turn of the engine, but does not wait longer for it than the client does.

        Raises:
            ClientGone: the client has gone before the context was entered.
        """
        async with AsyncExitStack() as stack:
            yield await self._unless_gone(stack.enter_async_context(context))

    async def events(self, engine: Engine, request: ReplyRequest | CompleteRequest) -> AsyncGenerator[ReplyEvent, None]:
        """Yields the events of a reply.

        If the client goes, the engine is cancelled at once. The events from then on are taken, so that the engine is
        free for the next request, but not yielded. To be closed if it is not exhausted: that cancels as well.

        Raises:
            ClientGone: the client has gone; the engine has ended this reply.
            EngineError: the engine failed.
        """
        if self.is_gone:
            raise ClientGone("the client has gone")
        self._cancel = engine.cancel
        has_ended = False
        try:
            events = engine.reply(request)
            async with aclosing(events) if isinstance(events, AsyncGenerator) else nullcontext():
                async for event in events:
                    if not self.is_gone:
                        yield event
            has_ended = True
        finally:
            self._cancel = None
            if not has_ended:
                engine.cancel()
        if self.is_gone:
            raise ClientGone("the client has gone")

    async def _unless_gone(self, work: Coroutine[Any, Any, Result]) -> Result:
        doing, leaving = asyncio.ensure_future(work), asyncio.ensure_future(self._gone.wait())
        try:
            await asyncio.wait({doing, leaving}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (doing, leaving):
                task.cancel()
            await asyncio.gather(doing, leaving, return_exceptions=True)
        if self.is_gone:
            raise ClientGone("the client has gone")
        return doing.result()

    async def _listen(self, receive: Receive) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        self._gone.set()
        if self._cancel is not None:
            self._cancel()


@asynccontextmanager
async def watched(receive: Receive) -> AsyncIterator[WatchedClient]:
    """Watches a client while the block runs.

    Args:
        receive: The request's `receive`, whose body has been read: the next message is that the client goes.
    """
    client = WatchedClient()
    listening = asyncio.create_task(client._listen(receive), name="client watch")
    try:
        yield client
    finally:
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)
