"""The border between the screen and the tensors: what an engine does with requests, and which events answer them.

Four engines speak this protocol: `local` (our kernels, in a process of its own behind `process/worker`), `remote` (the
model of a server), `routed` (one of both, by the model) and `scripted` (replays a script). The messages are in
`requests` and `events`. None of these modules knows weights, arrays or widgets.
"""

from collections.abc import AsyncIterator
from typing import Protocol, TypeAlias

from tui_llama.engine.events import (
    Failed,
    Finished,
    GrammarProgress,
    IdlePrefillFinished,
    IdlePrefillProgress,
    LoadProgress,
    ModelLoaded,
    Notice,
    PromptEncoded,
    PromptEstimate,
    PromptProgress,
    TextPiece,
    Tokenized,
)
from tui_llama.engine.requests import (
    AnswerNow,
    CancelRequest,
    CompleteRequest,
    EstimateRequest,
    IdlePrefillRequest,
    LoadRequest,
    ReplyRequest,
    ShutdownRequest,
    StopIdlePrefill,
    TokenizeRequest,
)

AnsweredRequest: TypeAlias = (
    LoadRequest | ReplyRequest | CompleteRequest | IdlePrefillRequest | EstimateRequest | TokenizeRequest
)
Request: TypeAlias = AnsweredRequest | StopIdlePrefill | AnswerNow | CancelRequest | ShutdownRequest
LoadEvent: TypeAlias = LoadProgress | ModelLoaded | Notice | Failed
ReplyEvent: TypeAlias = GrammarProgress | PromptEncoded | PromptProgress | TextPiece | Notice | Finished | Failed
IdlePrefillEvent: TypeAlias = IdlePrefillProgress | Notice | IdlePrefillFinished | Failed
Event: TypeAlias = LoadEvent | ReplyEvent | IdlePrefillEvent | PromptEstimate | Tokenized

LAST_EVENTS = (ModelLoaded, Finished, IdlePrefillFinished, PromptEstimate, Tokenized, Failed)
"""The events that end the answer to a request."""


class Engine(Protocol):
    """Answers requests, one at a time; idle prefill gives way to any other request."""

    def load(self, request: LoadRequest) -> AsyncIterator[LoadEvent]:
        """Yields progress, then exactly one of `ModelLoaded` and `Failed`.

        Raises:
            EngineLostError: the engine's process ended.
        """
        ...

    def reply(self, request: ReplyRequest | CompleteRequest) -> AsyncIterator[ReplyEvent]:
        """Yields the events of a reply, the last of them `Finished` or `Failed`.

        Raises:
            EngineLostError: the engine's process ended; the next `load` starts a new one.
        """
        ...

    def idle_prefill(self, request: IdlePrefillRequest) -> AsyncIterator[IdlePrefillEvent]:
        """Yields the events of idle prefill, the last of them `IdlePrefillFinished` or `Failed`.

        A caller that stops iterating ends idle prefill. Any other request ends the events without a last one.

        Raises:
            EngineLostError: the engine's process ended.
        """
        ...

    async def estimate(self, request: EstimateRequest) -> PromptEstimate:
        """Returns what a reply would have to read.

        Raises:
            EngineError: there can be no such prompt, and why.
            EngineLostError: the engine's process ended.
        """
        ...

    async def tokenize(self, request: TokenizeRequest) -> Tokenized:
        """Returns the tokens of a text, or the text of tokens.

        Raises:
            EngineError: there is no such token, or this engine does not know them.
            EngineLostError: the engine's process ended.
        """
        ...

    @property
    def is_alive(self) -> bool:
        """True if there is a process to ask: false before the first load, and once it has ended."""
        ...

    def cancel(self) -> None:
        """Stops the current request at the next token, chunk or stage; does nothing if there is none.

        A stopped reply still ends with `Finished`, its reason `STOPPED`.
        """
        ...

    def answer_now(self) -> None:
        """Closes the thought of the current reply at the next token, so that its text begins.

        Does nothing if there is no reply, or if it is not in a thought; one that is still to come is closed too.
        """
        ...

    async def close(self) -> None:
        """Ends the engine, once it has saved what it is saving. May be called twice."""
        ...
