"""The part of an `Engine` that is the same wherever its work is done: one request at a time goes over a line."""

from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import Path
from typing import TypeVar, cast

from tui_llama.engine.events import Failed, PromptEstimate, Tokenized
from tui_llama.engine.process.border import engine_errors
from tui_llama.engine.process.exchange import Exchange
from tui_llama.engine.process.line import Line
from tui_llama.engine.protocol import AnsweredRequest, Event, IdlePrefillEvent, LoadEvent, ReplyEvent
from tui_llama.engine.requests import (
    CompleteRequest,
    EstimateRequest,
    IdlePrefillRequest,
    LoadRequest,
    ReplyRequest,
    TokenizeRequest,
)
from tui_llama.errors import CallerError, EngineError

Answer = TypeVar("Answer", PromptEstimate, Tokenized)


class AskingEngine(ABC):
    """The requests of an `Engine` whose work is done at the other end of a line.

    Args:
        log_file: File for tracebacks of unexpected exceptions; None is `paths.log_file()`.
    """

    def __init__(self, log_file: Path | None = None) -> None:
        self._log_file = log_file
        self._exchange: Exchange | None = None

    @abstractmethod
    async def _line_for(self, request: AnsweredRequest) -> Line:
        """Returns the line for a request; for a load it may be a new one.

        Raises:
            EngineLostError: nobody answers.
        """

    def load(self, request: LoadRequest) -> AsyncGenerator[LoadEvent, None]:
        """See `Engine.load`.

        Raises:
            EngineLostError: whoever does the work ended or could not be reached.
            CallerError: something else is under way.
        """
        return cast("AsyncGenerator[LoadEvent, None]", self._converse(request))

    def reply(self, request: ReplyRequest | CompleteRequest) -> AsyncGenerator[ReplyEvent, None]:
        """See `Engine.reply`.

        Raises:
            EngineLostError: whoever does the work ended, during this reply or before it.
            CallerError: something else is under way.
        """
        return cast("AsyncGenerator[ReplyEvent, None]", self._converse(request))

    def idle_prefill(self, request: IdlePrefillRequest) -> AsyncGenerator[IdlePrefillEvent, None]:
        """See `Engine.idle_prefill`.

        Raises:
            EngineLostError: whoever does the work ended.
            CallerError: something else is under way.
        """
        return cast("AsyncGenerator[IdlePrefillEvent, None]", self._converse(request))

    async def estimate(self, request: EstimateRequest) -> PromptEstimate:
        """See `Engine.estimate`.

        Raises:
            EngineError: there can be no such prompt, and why.
            EngineLostError: whoever does the work ended.
            CallerError: something else is under way.
        """
        return await self._only_answer(request, PromptEstimate)

    async def tokenize(self, request: TokenizeRequest) -> Tokenized:
        """See `Engine.tokenize`; raises as `estimate`."""
        return await self._only_answer(request, Tokenized)

    def cancel(self) -> None:
        """See `Engine.cancel`. To be called from the event loop's thread."""
        if self._exchange is not None:
            self._exchange.cancel()

    def answer_now(self) -> None:
        """See `Engine.answer_now`. To be called from the event loop's thread."""
        if self._exchange is not None:
            self._exchange.answer_now()

    async def _only_answer(self, request: EstimateRequest | TokenizeRequest, kind: type[Answer]) -> Answer:
        async with aclosing(self._converse(request)) as events:
            async for event in events:
                if isinstance(event, kind):
                    return event
                if isinstance(event, Failed):
                    raise EngineError(event.message, event.hint)
        raise EngineError("the engine got another request in the meantime")

    async def _converse(self, request: AnsweredRequest) -> AsyncGenerator[Event, None]:
        if self._exchange is not None:
            if not self._exchange.is_idle_prefill:
                raise CallerError("the engine carries out one request at a time")
            self._exchange.abandon()
        exchange = self._exchange = Exchange(request)
        with engine_errors(self._log_file):
            try:
                line = await self._line_for(request)
                await line.begin(exchange)
                while (event := await exchange.next()) is not None:
                    yield event
            finally:
                # A caller that stops listening early wants no more events; the remaining ones are dropped.
                exchange.abandon()
                if self._exchange is exchange:
                    self._exchange = None
