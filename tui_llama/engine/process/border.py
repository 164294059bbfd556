"""The border around an engine: every failure behind it comes out as an `EngineError`.

The turn machine has a row for an engine that fails and one for an engine that is lost, and none for any other
exception. An unexpected exception keeps its type and text in the message, and its traceback in the engine's log.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from contextlib import aclosing, contextmanager, nullcontext
from pathlib import Path
from typing import TypeVar

from tui_llama import paths
from tui_llama.engine.events import PromptEstimate, Tokenized
from tui_llama.engine.process.engine_log import note_traceback
from tui_llama.engine.protocol import Engine, IdlePrefillEvent, LoadEvent, ReplyEvent
from tui_llama.engine.requests import (
    CompleteRequest,
    EstimateRequest,
    IdlePrefillRequest,
    LoadRequest,
    ReplyRequest,
    TokenizeRequest,
)
from tui_llama.errors import EngineError, UserError

SomeEvent = TypeVar("SomeEvent")

LOG_HINT = "The engine's log has details."
_LONGEST_TEXT = 300


class GuardedEngine:
    """An `Engine` that raises nothing but `EngineError`, whatever engine is behind it.

    Args:
        make_engine: Opens the engine; called once, when the first model is loaded.
        log_file: File for tracebacks; None is `paths.log_file()`.
    """

    def __init__(self, make_engine: Callable[[], Engine], log_file: Path | None = None) -> None:
        self._make_engine = make_engine
        self._log_file = log_file
        self._engine: Engine | None = None

    def load(self, request: LoadRequest) -> AsyncGenerator[LoadEvent, None]:
        """Loads a model; see `Engine.load`."""
        return self._guarded(lambda engine: engine.load(request))

    def reply(self, request: ReplyRequest | CompleteRequest) -> AsyncGenerator[ReplyEvent, None]:
        """Generates a reply; see `Engine.reply`."""
        return self._guarded(lambda engine: engine.reply(request))

    def idle_prefill(self, request: IdlePrefillRequest) -> AsyncGenerator[IdlePrefillEvent, None]:
        """Prefills while idle; see `Engine.idle_prefill`."""
        return self._guarded(lambda engine: engine.idle_prefill(request))

    async def estimate(self, request: EstimateRequest) -> PromptEstimate:
        """Estimates a prompt's cost; see `Engine.estimate`."""
        with engine_errors(self._log_file):
            return await self._opened().estimate(request)

    async def tokenize(self, request: TokenizeRequest) -> Tokenized:
        """Returns tokens of a text, or the text of tokens; see `Engine.tokenize`."""
        with engine_errors(self._log_file):
            return await self._opened().tokenize(request)

    @property
    def is_alive(self) -> bool:
        """True if the engine is alive; see `Engine.is_alive`."""
        return self._engine is not None and self._engine.is_alive

    def cancel(self) -> None:
        """Cancels the work in progress; see `Engine.cancel`.

        Raises:
            EngineError: the engine could not be told.
        """
        if self._engine is not None:
            with engine_errors(self._log_file):
                self._engine.cancel()

    def answer_now(self) -> None:
        """Closes the thought in progress; see `Engine.answer_now`.

        Raises:
            EngineError: the engine could not be told.
        """
        if self._engine is not None:
            with engine_errors(self._log_file):
                self._engine.answer_now()

    async def close(self) -> None:
        """Closes the engine; see `Engine.close`.

        Raises:
            EngineError: the engine could not be ended.
        """
        if self._engine is not None:
            with engine_errors(self._log_file):
                await self._engine.close()

    def _opened(self) -> Engine:
        if self._engine is None:
            self._engine = self._make_engine()
        return self._engine

    async def _guarded(self, ask: Callable[[Engine], AsyncIterator[SomeEvent]]) -> AsyncGenerator[SomeEvent, None]:
        with engine_errors(self._log_file):
            events = ask(self._opened())
            async with aclosing(events) if isinstance(events, AsyncGenerator) else nullcontext():
                async for event in events:
                    yield event


@contextmanager
def engine_errors(log_file: Path | None = None) -> Iterator[None]:
    """Turns every exception inside the block into an `EngineError`.

    Args:
        log_file: File for tracebacks of unexpected exceptions; None is `paths.log_file()`.
    """
    try:
        yield
    except EngineError:
        raise
    except UserError as error:
        raise EngineError(str(error), error.hint) from error
    except Exception as error:
        note_traceback(error, log_file or paths.log_file())
        raise EngineError(failure_words(error), LOG_HINT) from error


def failure_words(error: BaseException) -> str:
    """Returns one line that says that the engine failed for an unexpected reason."""
    try:
        text = " ".join(str(error).split())[:_LONGEST_TEXT]
    except Exception:  # an exception may even fail to say what it is
        text = ""
    kind = type(error).__name__
    # Surrogates, from file names that are not text, cannot go through a pipe.
    shown = f"{kind}: {text}" if text else kind
    return f"the engine failed: {shown}".encode("utf-8", "backslashreplace").decode()
