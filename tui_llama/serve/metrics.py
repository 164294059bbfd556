"""What the server counts, for Prometheus, and the engine that counts what it does."""

import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing, nullcontext
from typing import Final

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from tui_llama.chat import Usage
from tui_llama.engine.events import Finished, PromptEstimate, TextPiece, Tokenized
from tui_llama.engine.protocol import Engine, IdlePrefillEvent, LoadEvent, ReplyEvent
from tui_llama.engine.requests import (
    CompleteRequest,
    EstimateRequest,
    IdlePrefillRequest,
    LoadRequest,
    ReplyRequest,
    TokenizeRequest,
)

CONTENT_TYPE: Final = CONTENT_TYPE_LATEST
_SECONDS: Final = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)
_SPEEDS: Final = (1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 50.0, 75.0, 100.0, 150.0, 250.0)


class Metrics:
    """The counts of one server, which begin with it."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "tui_llama_requests", "Requests that were answered.", ("route", "status"), registry=self._registry
        )
        self._waiting = Gauge("tui_llama_queue_length", "Requests that wait for the engine.", registry=self._registry)
        self._first_token = Histogram(
            "tui_llama_first_token_seconds",
            "Time from when a request has the engine to its first token.",
            buckets=_SECONDS,
            registry=self._registry,
        )
        self._prompt = Counter("tui_llama_prompt_tokens", "Tokens of prompts.", registry=self._registry)
        self._cached = Counter(
            "tui_llama_cached_tokens", "Tokens of prompts that were not read again.", registry=self._registry
        )
        self._generated = Counter("tui_llama_generated_tokens", "Tokens of answers.", registry=self._registry)
        self._speed = Histogram(
            "tui_llama_tokens_per_second",
            "Generated tokens a second, one observation for each answer.",
            buckets=_SPEEDS,
            registry=self._registry,
        )

    def watch_queue(self, length: Callable[[], int]) -> None:
        """Shows what `length` returns as the length of the queue."""
        self._waiting.set_function(length)

    def note_request(self, route: str, status: int) -> None:
        """Counts an answer; `route` is the pattern of a route, so that there are few."""
        self._requests.labels(route, str(status)).inc()

    def note_first_token(self, seconds: float) -> None:
        """Counts a first token, `seconds` after its request had the engine."""
        self._first_token.observe(seconds)

    def note_usage(self, usage: Usage) -> None:
        """Counts the tokens of an answer that has ended."""
        self._prompt.inc(usage.reused_tokens + usage.read_tokens)
        self._cached.inc(usage.reused_tokens)
        self._generated.inc(usage.generated_tokens)
        if usage.generated_tokens and usage.generate_seconds:
            self._speed.observe(usage.generated_tokens / usage.generate_seconds)

    def page(self) -> bytes:
        """Returns all counts in Prometheus' text format."""
        return generate_latest(self._registry)


class MeasuredEngine:
    """An `Engine` that counts what goes through it.

    Args:
        engine: What does the work.
        metrics: Where it is counted.
    """

    def __init__(self, engine: Engine, metrics: Metrics) -> None:
        self._engine = engine
        self._metrics = metrics

    def load(self, request: LoadRequest) -> AsyncIterator[LoadEvent]:
        """See `Engine.load`."""
        return self._engine.load(request)

    async def reply(self, request: ReplyRequest | CompleteRequest) -> AsyncGenerator[ReplyEvent, None]:
        """See `Engine.reply`."""
        begun_at, has_begun = time.monotonic(), False
        events = self._engine.reply(request)
        async with aclosing(events) if isinstance(events, AsyncGenerator) else nullcontext():
            async for event in events:
                if isinstance(event, TextPiece) and not has_begun:
                    has_begun = True
                    self._metrics.note_first_token(time.monotonic() - begun_at)
                elif isinstance(event, Finished):
                    self._metrics.note_usage(event.usage)
                yield event

    def idle_prefill(self, request: IdlePrefillRequest) -> AsyncIterator[IdlePrefillEvent]:
        """See `Engine.idle_prefill`."""
        return self._engine.idle_prefill(request)

    async def estimate(self, request: EstimateRequest) -> PromptEstimate:
        """See `Engine.estimate`."""
        return await self._engine.estimate(request)

    async def tokenize(self, request: TokenizeRequest) -> Tokenized:
        """See `Engine.tokenize`."""
        return await self._engine.tokenize(request)

    @property
    def is_alive(self) -> bool:
        """See `Engine.is_alive`."""
        return self._engine.is_alive

    def answer_now(self) -> None:
        """See `Engine.answer_now`."""
        self._engine.answer_now()

    def cancel(self) -> None:
        """See `Engine.cancel`."""
        self._engine.cancel()

    async def close(self) -> None:
        """See `Engine.close`."""
        await self._engine.close()
