"""One request for an answer and the stream that comes back, read to its end."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

import httpx2

from tui_llama.engine.events import FailureCause
from tui_llama.engine.protocol import ReplyEvent
from tui_llama.engine.remote.connection import MOST_BODY_BYTES, MOST_ERROR_BYTES, Connection, read_body
from tui_llama.engine.remote.failures import RemoteEngineError, UnansweredError, cut_off, short, status_error
from tui_llama.engine.remote.patience import Patience
from tui_llama.engine.remote.probe import ServerFacts
from tui_llama.engine.remote.stream.answer import Answer
from tui_llama.engine.remote.stream.chunk import END_OF_STREAM, read_chunk
from tui_llama.engine.remote.stream.json_values import NotJsonError
from tui_llama.engine.remote.stream.sse import EventReader, EventTooLongError
from tui_llama.engine.remote.watchdog import Sign, Watchdog

TellReply: TypeAlias = Callable[[ReplyEvent], Awaitable[None]]

_TRY_AGAIN = "Try again; if it happens again, look at the server's own messages."


class Exchange:
    """Sends a request, and gives what comes back to an answer.

    Args:
        connection: The connection to the server.
        facts: What is known about the server and the model.
        answer: Takes the chunks.
        patience: How long to wait for what.
        tell: Tells the events of the reply.
    """

    def __init__(
        self, connection: Connection, facts: ServerFacts, answer: Answer, patience: Patience, tell: TellReply
    ) -> None:
        self._connection = connection
        self._facts = facts
        self._answer = answer
        self._patience = patience
        self._tell = tell
        self._name = connection.server.name
        self._end_at: float | None = None  # on the clock of the event loop
        self._watchdog = Watchdog(self._name, patience, self._ask_for_life, tell)

    async def run(self, body: dict[str, Any]) -> None:
        """Sends the body of a request, and reads until the answer has ended.

        Raises:
            RemoteEngineError: there is no answer, or no end of it.
        """
        await self._watchdog.guard(self._run(body))

    async def _run(self, body: dict[str, Any]) -> None:
        url = f"{self._facts.base}/chat/completions"
        async with self._connection.request(url, body, {"Accept": "text/event-stream"}) as response:
            self._watchdog.heard()
            if response.status_code != 200:
                raise await self._refusal(response)
            kind = response.headers.get("content-type", "").partition(";")[0].strip().casefold()
            if kind == "text/html":
                raise RemoteEngineError(
                    FailureCause.SERVER_ERROR,
                    f"{self._name} sends a web page instead of an answer",
                    "Check the server's URL; most end in /v1.",
                )
            try:
                await (self._read_whole(response) if kind == "application/json" else self._read_stream(response))
            except httpx2.HTTPError as error:
                if not self._answer.finish_reason:
                    raise cut_off(self._connection.server) from error
        if not self._answer.finish_reason:
            raise RemoteEngineError(
                FailureCause.NO_END,
                f"{self._name} ended the stream without saying that the answer is complete",
                "Let it go on, or try again." if self._facts.dialect.continue_fields else "Try again.",
            )

    async def _refusal(self, response: httpx2.Response) -> RemoteEngineError:
        """Returns the error that a response of another status than 200 tells."""
        try:
            async with asyncio.timeout(self._patience.probe_seconds):
                body = await read_body(response, MOST_ERROR_BYTES)
        except (httpx2.HTTPError, TimeoutError):
            body = b""  # the status says enough
        connection = self._connection
        return status_error(
            response.status_code, response.headers, body, connection.server, self._facts.model, connection.key
        )

    async def _read_stream(self, response: httpx2.Response) -> None:
        """Reads events up to the end of the stream, or, once the answer has ended, as long as one comes soon."""
        reader = EventReader()
        pieces = aiter(response.aiter_bytes())
        while True:
            self._watchdog.listens()
            try:
                async with asyncio.timeout_at(self._end_at):
                    piece = await anext(pieces, None)
            except TimeoutError:
                return
            self._watchdog.heard()
            try:
                for data in reader.finish() if piece is None else reader.push(piece):
                    await self._take(data)
            except EventTooLongError as error:
                raise self._broken(f"sends too much at once: {error}") from error
            if piece is None:
                return

    def _ends_in(self, seconds: float) -> None:
        """Notes that the stream is read for so long at most, whatever still comes, even pings for ever."""
        moment = asyncio.get_running_loop().time() + seconds
        self._end_at = moment if self._end_at is None else min(self._end_at, moment)

    async def _read_whole(self, response: httpx2.Response) -> None:
        """Reads one JSON: an error with the status of a success, or the answer of a server that does not stream."""
        self._watchdog.listens()
        body = await read_body(response, MOST_BODY_BYTES)
        if len(body) > MOST_BODY_BYTES:
            raise self._broken("sends an answer that is too long")
        await self._take(body)

    async def _take(self, data: bytes) -> None:
        """Takes the data of one event."""
        if data.strip() == END_OF_STREAM:
            self._ends_in(self._patience.close_seconds)
            return
        try:
            chunk = read_chunk(data)
        except NotJsonError as error:
            start = short(data.decode("utf-8", "replace"), self._connection.key)
            raise self._broken(f"sends something that is no JSON in the answer: {start}") from error
        for event in self._answer.take(chunk):
            await self._tell(event)
        if self._answer.has_begun:
            self._watchdog.answer_begins()
        if self._answer.finish_reason:
            self._ends_in(self._patience.usage_seconds)

    def _broken(self, what: str) -> RemoteEngineError:
        return RemoteEngineError(FailureCause.ERROR_IN_STREAM, f"{self._name} {what}", _TRY_AGAIN)

    async def _ask_for_life(self) -> Sign:
        """Asks the server anything; any answer at all is a sign of life."""
        try:
            await self._connection.get_json(f"{self._facts.base}/models", self._patience.probe_seconds)
        except UnansweredError:
            return Sign.SAYS_NOTHING
        except RemoteEngineError:
            return Sign.IS_GONE
        return Sign.ANSWERS
