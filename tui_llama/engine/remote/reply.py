"""The story of a reply from a server: write the request, ask, wait if it is busy, read the stream, say how it ended."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Final

import httpx2

from tui_llama.chat import ChatMessage, StopReason
from tui_llama.engine.prompting.prompt_messages import prompt_messages
from tui_llama.engine.protocol import (
    CompleteRequest,
    FailureCause,
    Finished,
    Notice,
    OverflowMode,
    ReplyEvent,
    ReplyRequest,
)
from tui_llama.engine.remote.answer import Answer, continued_messages
from tui_llama.engine.remote.chunk import END_OF_STREAM, read_chunk
from tui_llama.engine.remote.connection import MOST_ERROR_BYTES, Connection, read_body
from tui_llama.engine.remote.failures import (
    BusyError,
    PromptTooLongError,
    RemoteEngineError,
    connection_error,
    status_error,
)
from tui_llama.engine.remote.json_values import NotJsonError
from tui_llama.engine.remote.overflow import share_that_fits, without_oldest_turns
from tui_llama.engine.remote.patience import Patience
from tui_llama.engine.remote.probe import ServerFacts
from tui_llama.engine.remote.request_body import request_body
from tui_llama.engine.remote.sse import EventReader, EventTooLongError
from tui_llama.engine.remote.usage_meter import UsageMeter
from tui_llama.engine.remote.watchdog import Watchdog

_MOST_ATTEMPTS: Final = 8


class LongestPrompt:
    """The conversation that was last sent, and its tokens: servers that cut a prompt do not say so."""

    def __init__(self) -> None:
        self._messages: tuple[ChatMessage, ...] = ()
        self._tokens = 0

    def was_cut(self, messages: tuple[ChatMessage, ...], tokens: int) -> bool:
        """Notes a conversation that was sent; tells whether it is longer than the one before, but its prompt is not."""
        before, before_tokens = self._messages, self._tokens
        self._messages, self._tokens = messages, tokens
        has_grown = len(messages) > len(before) > 0 and messages[: len(before)] == before
        return has_grown and tokens < before_tokens


class RemoteReply:
    """One reply.

    Args:
        connection: The connection to the server.
        facts: What is known about the server and the model.
        request: What to answer or to continue.
        patience: How long to wait for what.
        prompts: What was sent before.
    """

    def __init__(
        self,
        connection: Connection,
        facts: ServerFacts,
        request: ReplyRequest | CompleteRequest,
        patience: Patience,
        prompts: LongestPrompt,
    ) -> None:
        self._connection = connection
        self._facts = facts
        self._request = request
        self._patience = patience
        self._prompts = prompts
        self._name = connection.server.name
        self._meter = UsageMeter(facts.context_size)
        self._answer = Answer(request, self._name, self._meter)

    async def run(self, tell: Callable[[ReplyEvent], Awaitable[None]]) -> ReplyEvent:
        """Tells the events of the reply but the last one, and returns that."""
        try:
            return await self._replied(tell)
        except RemoteEngineError as error:
            return error.failed(self._request.turn)

    def stopped(self) -> Finished:
        """Returns the end of a reply that was stopped, with what is known up to now."""
        return Finished(self._request.turn, StopReason.STOPPED, self._meter.usage())

    async def _replied(self, tell: Callable[[ReplyEvent], Awaitable[None]]) -> ReplyEvent:
        messages = self._messages()
        unknown = request_body(self._request, messages, self._facts.model, self._facts.dialect).unknown_names
        if unknown:
            await tell(Notice(unknown_notice(self._facts.dialect.title, unknown)))
        sent = await self._ask_until_answered(messages, tell)
        if self._facts.dialect.may_cut_prompt and len(sent) == len(messages):
            await self._check_prompt(messages, tell)
        *events, last = self._answer.end(self._facts.context_size)
        for event in events:
            await tell(event)
        return last

    def _messages(self) -> tuple[ChatMessage, ...]:
        """Returns the messages to send.

        Raises:
            RemoteEngineError: the server cannot be sent this.
        """
        request = self._request
        if isinstance(request, ReplyRequest):
            messages = prompt_messages(request.messages)
        elif request.messages:
            messages = prompt_messages(continued_messages(request))
        else:
            raise RemoteEngineError(
                FailureCause.ENGINE,
                f"{self._name} continues answers of a chat, and no text without one",
                "Use a local model for text without a chat.",
            )
        if not self._facts.sees_images and any(message.images for message in messages):
            raise RemoteEngineError(
                FailureCause.ENGINE,
                f"the model of {self._name} does not see images",
                "Choose a model that does, or remove the image.",
            )
        return messages

    async def _ask_until_answered(
        self, messages: tuple[ChatMessage, ...], tell: Callable[[ReplyEvent], Awaitable[None]]
    ) -> tuple[ChatMessage, ...]:
        """Asks, again if the server is busy or the prompt was too long; returns the messages that were answered."""
        waited_seconds = 0.0
        sent = messages
        for _attempt in range(_MOST_ATTEMPTS):
            try:
                await self._ask(sent, tell)
                return sent
            except BusyError as error:
                seconds = error.retry_seconds
                if seconds is None or waited_seconds + seconds > self._patience.busy_seconds:
                    raise
                await tell(Notice(f"{self._name} is busy; it is asked again in {seconds:.0f} s."))
                await asyncio.sleep(seconds)
                waited_seconds += seconds
            except PromptTooLongError as error:
                shorter = self._shorter(messages, error) if sent is messages else messages
                if len(shorter) == len(messages):
                    raise
                sent = shorter
                await tell(Notice(_left_out_notice(len(messages) - len(sent))))
        raise RemoteEngineError(FailureCause.BUSY, f"{self._name} is busy", "Wait a little, then try again.")

    def _shorter(self, messages: Sequence[ChatMessage], error: PromptTooLongError) -> tuple[ChatMessage, ...]:
        if self._request.overflow.mode is not OverflowMode.DROP_TURNS:
            return tuple(messages)
        context_size = error.context_size or self._facts.context_size
        return without_oldest_turns(
            messages, share_that_fits(error.prompt_tokens, context_size, self._request.max_tokens)
        )

    async def _ask(self, messages: tuple[ChatMessage, ...], tell: Callable[[ReplyEvent], Awaitable[None]]) -> None:
        """Sends the request once, and reads the answer to its end.

        Raises:
            RemoteEngineError: there is no answer, or no end of it.
        """
        body = request_body(self._request, messages, self._facts.model, self._facts.dialect).body
        watchdog = Watchdog(self._name, self._patience, self._is_alive, tell)
        self._meter.note_request()
        await watchdog.guard(self._exchange(body, watchdog, tell))

    async def _exchange(self, body: object, watchdog: Watchdog, tell: Callable[[ReplyEvent], Awaitable[None]]) -> None:
        url = f"{self._facts.base}/chat/completions"
        async with self._connection.request(url, body, {"Accept": "text/event-stream"}) as response:
            watchdog.heard()
            if response.status_code != 200:
                with suppress(httpx2.HTTPError):
                    raise status_error(
                        response.status_code,
                        response.headers,
                        await read_body(response, MOST_ERROR_BYTES),
                        self._connection.server,
                        self._facts.model,
                        self._connection.key,
                    )
                raise status_error(response.status_code, response.headers, b"", self._connection.server)
            await self._read(response, watchdog, tell)

    async def _read(
        self, response: httpx2.Response, watchdog: Watchdog, tell: Callable[[ReplyEvent], Awaitable[None]]
    ) -> None:
        """Reads the stream up to its end, or, once the answer has ended, as long as something comes soon."""
        reader = EventReader()
        pieces = response.aiter_bytes().__aiter__()
        try:
            while True:
                watchdog.listens()
                seconds = self._patience.usage_seconds if self._answer.finish_reason else None
                async with asyncio.timeout(seconds):
                    piece = await anext(pieces, None)
                watchdog.heard()
                for data in reader.finish() if piece is None else reader.push(piece):
                    if await self._take(data, watchdog, tell):
                        return
                if piece is None:
                    break
        except EventTooLongError as error:
            raise self._broken(f"{self._name} sends too much at once: {error}") from error
        except (httpx2.HTTPError, TimeoutError) as error:
            if not self._answer.finish_reason:
                raise connection_error(error, self._connection.server, has_begun=True) from error
        if not self._answer.finish_reason:
            raise RemoteEngineError(
                FailureCause.NO_END,
                f"{self._name} ended the stream without saying that the answer is complete",
                "Let it go on, or try again.",
            )

    async def _take(self, data: bytes, watchdog: Watchdog, tell: Callable[[ReplyEvent], Awaitable[None]]) -> bool:
        """Takes the data of one event; returns whether the stream says that it ends, after a complete answer."""
        if data.strip() == END_OF_STREAM:
            return bool(self._answer.finish_reason)
        try:
            chunk = read_chunk(data)
        except NotJsonError as error:
            raise self._broken(f"{self._name} sends something that is no JSON in the answer") from error
        for event in self._answer.take(chunk):
            await tell(event)
        if self._answer.has_begun:
            watchdog.answer_begins()
        return False

    def _broken(self, message: str) -> RemoteEngineError:
        return RemoteEngineError(FailureCause.ERROR_IN_STREAM, message, "Try again.")

    async def _is_alive(self) -> bool:
        """Asks the server anything; any answer at all is a sign of life."""
        try:
            await self._connection.get_json(f"{self._facts.base}/models", self._patience.probe_seconds)
        except RemoteEngineError:
            return False
        return True

    async def _check_prompt(
        self, messages: tuple[ChatMessage, ...], tell: Callable[[ReplyEvent], Awaitable[None]]
    ) -> None:
        tokens = self._meter.prompt_tokens
        if tokens is not None and self._prompts.was_cut(messages, tokens):
            await tell(
                Notice(
                    f"{self._name} has read less than before of a longer chat ({tokens} tokens): its context is full, "
                    "and it leaves out the beginning. Give the server a larger context."
                )
            )


def unknown_notice(title: str, names: Sequence[str]) -> str:
    """Returns the notice of settings that a server does not know."""
    listed = names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
    return f"{title} does not know {listed}; {'it is' if len(names) == 1 else 'they are'} not sent."


def _left_out_notice(count: int) -> str:
    messages = "message does" if count == 1 else f"{count} messages do"
    return f"The oldest {messages} not fit into the server's context and {'is' if count == 1 else 'are'} left out."
