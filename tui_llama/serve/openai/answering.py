"""Answers one request: waits for the engine, and sends what it says as it comes or as a whole.

What the engine says is taken as it comes, whether or not the client reads it: the next request need not wait for that.
"""

import asyncio
from collections.abc import AsyncGenerator, Iterable, Iterator
from contextlib import aclosing
from typing import Any, Final, Protocol, TypeAlias

import msgspec
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from tui_llama.chat import StopReason
from tui_llama.engine.descriptions import ModelInfo
from tui_llama.engine.events import Failed, Finished, Notice, PromptEncoded, PromptProgress, TextPiece
from tui_llama.engine.protocol import Engine
from tui_llama.engine.requests import CompleteRequest, ReplyRequest
from tui_llama.errors import UserError
from tui_llama.serve.http.access import client_of
from tui_llama.serve.http.disconnect import ClientGone, WatchedClient, watched
from tui_llama.serve.http.errors import ApiError, api_error_of
from tui_llama.serve.openai.event_stream import event_stream
from tui_llama.serve.openai.request.refusals import error_of_failure
from tui_llama.serve.queue import EngineQueue, QueueClosed, QueueFull, Turn

AnswerEvent: TypeAlias = PromptProgress | TextPiece | Finished

_EXPECTED: Final = (ApiError, UserError, QueueClosed, QueueFull)
_MOST_UNSENT_EVENTS: Final = 1 << 14
"""What is kept of an answer for a client that reads slowly. Most answers are shorter; for others the engine waits."""
_STOPPED: Final = (StopReason.STOPPED, StopReason.FAILED)


class Answer(Protocol):
    """Writes the events of a reply in the form of one endpoint."""

    def progress(self, event: PromptProgress) -> Iterator[dict[str, Any]]:
        """Yields the chunks of some progress."""
        ...

    def piece(self, piece: TextPiece) -> Iterator[dict[str, Any]]:
        """Yields the chunks of a piece of the answer."""
        ...

    def finish(self, event: Finished) -> Iterator[dict[str, Any]]:
        """Yields the last chunks."""
        ...

    def whole(self, pieces: Iterable[TextPiece], event: Finished) -> dict[str, Any]:
        """Returns the whole answer at once."""
        ...


class Question(Protocol):
    """One request, ready for the engine."""

    @property
    def request(self) -> ReplyRequest | CompleteRequest:
        """The engine's request."""
        ...

    @property
    def model(self) -> ModelInfo:
        """The model that is asked."""
        ...

    @property
    def is_streamed(self) -> bool:
        """Whether the answer is sent in chunks."""
        ...

    @property
    def prompt_field(self) -> str:
        """The field of the request that holds the prompt."""
        ...

    async def prepare(self, engine: Engine) -> None:
        """Asks the engine for what writing the answer needs."""
        ...

    def answer(self, prompt: PromptEncoded) -> Answer:
        """Returns what writes the answer to the prompt."""
        ...


class Answering:
    """An ASGI application that answers one question.

    Args:
        queue: The queue before the engine.
        question: What is asked.
        ping_seconds: After how long a silence a streamed answer shows that it is alive.
    """

    def __init__(self, queue: EngineQueue, question: Question, ping_seconds: float) -> None:
        self._queue = queue
        self._question = question
        self._ping_seconds = ping_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers; the body of the request has been read.

        Raises:
            ApiError: the request failed before its answer began.
            ClientGone: the client has gone.
        """
        turn = self._queue.turn(client_of(scope))
        async with watched(receive) as client:
            if self._question.is_streamed:
                await self._stream(client, turn, send)
            else:
                await self._send_whole(client, turn, scope, receive, send)

    async def _stream(self, client: WatchedClient, turn: Turn, send: Send) -> None:
        async with event_stream(send, self._ping_seconds) as stream:
            try:
                async with aclosing(self._taken(client, turn)) as events:
                    async for answer, event in events:
                        await stream.send([*_chunks(answer, event)])
                        if isinstance(event, Finished):  # now: the engine may save for a while
                            await stream.send_end()
            except ClientGone:
                raise
            except Exception as error:
                if not stream.has_begun:
                    raise
                await stream.send_error(api_error_of(error))
                if not isinstance(error, _EXPECTED):
                    raise  # for the log

    async def _send_whole(self, client: WatchedClient, turn: Turn, scope: Scope, receive: Receive, send: Send) -> None:
        pieces: list[TextPiece] = []
        async with aclosing(self._taken(client, turn)) as events:
            async for answer, event in events:
                if isinstance(event, TextPiece):
                    pieces.append(event)
                elif isinstance(event, Finished):
                    body = msgspec.json.encode(answer.whole(pieces, event))
                    headers = {"cache-control": "no-store"}
                    await Response(body, headers=headers, media_type="application/json")(scope, receive, send)

    async def _taken(self, client: WatchedClient, turn: Turn) -> AsyncGenerator[tuple[Answer, AnswerEvent], None]:
        """Yields and raises what `_events` does. The turn ends with the reply, not with the last thing yielded."""
        unsent: asyncio.Queue[tuple[Answer, AnswerEvent] | None] = asyncio.Queue()
        room = asyncio.Semaphore(_MOST_UNSENT_EVENTS)

        async def take() -> None:
            async with aclosing(self._events(client, turn)) as events:
                async for told in events:
                    await room.acquire()
                    unsent.put_nowait(told)

        taking = asyncio.create_task(take(), name="answer")
        taking.add_done_callback(lambda _: unsent.put_nowait(None))
        try:
            while (told := await unsent.get()) is not None:
                room.release()
                yield told
            taking.result()
        finally:
            taking.cancel()
            await asyncio.gather(taking, return_exceptions=True)

    async def _events(self, client: WatchedClient, turn: Turn) -> AsyncGenerator[tuple[Answer, AnswerEvent], None]:
        """Yields what the engine says, with what writes it.

        Raises:
            ApiError: the reply failed.
            QueueClosed: the server is shutting down.
        """
        question = self._question
        prompt = PromptEncoded(question.request.turn, 0, ())
        answer: Answer | None = None
        failure: Exception | None = None
        async with client.entering(turn) as engine:
            await question.prepare(engine)
            async with aclosing(client.events(engine, question.request)) as events:
                async for event in events:
                    if isinstance(event, PromptEncoded):
                        prompt = event
                        answer = question.answer(prompt)
                    elif isinstance(event, Failed):
                        failure = error_of_failure(
                            event, question.model, question.prompt_field, has_begun=answer is not None
                        )
                    elif isinstance(event, Finished) and event.stop_reason in _STOPPED:
                        failure = QueueClosed("the engine was stopped")
                    elif isinstance(event, Notice) and event.chat_id is not None:
                        self._queue.on_late_notice(event)
                    elif isinstance(event, AnswerEvent):
                        answer = answer or question.answer(prompt)
                        yield answer, event
        if failure is not None:
            raise failure


def _chunks(answer: Answer, event: AnswerEvent) -> Iterator[dict[str, Any]]:
    if isinstance(event, PromptProgress):
        return answer.progress(event)
    return answer.piece(event) if isinstance(event, TextPiece) else answer.finish(event)
