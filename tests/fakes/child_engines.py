"""An engine for the worker's child process that follows instructions in the requests, without any model.

`load` reads its instruction from the model's path, `reply` from the last message's text.
"""

import os
import stat
import threading
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from tui_llama.chat import StopReason, Usage
from tui_llama.engine.descriptions import ModelInfo
from tui_llama.engine.events import (
    Failed,
    Finished,
    IdlePrefillFinished,
    IdlePrefillProgress,
    LoadProgress,
    LoadStage,
    ModelLoaded,
    Notice,
    PromptEstimate,
    PromptProgress,
    TextPiece,
    Tokenized,
)
from tui_llama.engine.protocol import IdlePrefillEvent, ReplyEvent
from tui_llama.engine.requests import (
    CompleteRequest,
    EstimateRequest,
    IdlePrefillRequest,
    LoadRequest,
    ReplyRequest,
    TokenizeRequest,
)

if TYPE_CHECKING:
    from tui_llama.engine.local import LocalEngine

PIECE_BYTES = 16 * 1024


class ObedientEngine:
    """An engine that carries out one-word instructions, which its methods compare with."""

    def load(
        self, request: LoadRequest, should_stop: Callable[[], bool], on_progress: Callable[[LoadProgress], None]
    ) -> ModelLoaded | Failed:
        on_progress(LoadProgress(LoadStage.READ, 1, 2))
        if request.model_path == "endless":
            _wait_for(should_stop)
            return Failed(None, "loading was stopped")
        if request.model_path == "mistake":
            raise ZeroDivisionError("a mistake in the engine")
        return ModelLoaded(model_info(request.model_path))

    def reply(
        self,
        request: ReplyRequest | CompleteRequest,
        should_stop: Callable[[], bool],
        should_answer: Callable[[], bool],
    ) -> Iterator[ReplyEvent]:
        text = request.messages[-1].text if isinstance(request, ReplyRequest) else request.text
        instruction, _, argument = text.partition(" ")
        yield PromptProgress(request.turn, 0, 1, 1)
        if instruction == "read":
            _wait_for(should_stop)
            yield Finished(request.turn, StopReason.STOPPED, Usage())
            return
        yield from _thought(request.turn, should_answer) if instruction == "think" else ()
        if instruction == "garbage":
            _write_to_every_pipe(b"\xff" * 8)
        if instruction == "print":
            print("a stray line on standard output", flush=True)
            os.write(1, b"and a stray write\n")
        if instruction == "leave":
            os._exit(7)
        if instruction == "mistake":
            raise ZeroDivisionError("a mistake in the engine")
        if instruction == "surrogate":
            yield TextPiece(request.turn, "\udcff", (1,))
        if instruction == "exit":
            raise SystemExit(0)
        if instruction == "pieces":
            for number in range(int(argument)):
                yield TextPiece(request.turn, "x" * PIECE_BYTES, (number,))
        yield TextPiece(request.turn, argument, (1, 2))
        if instruction == "write":
            _wait_for(should_stop)
            yield Finished(request.turn, StopReason.STOPPED, Usage())
            return
        yield Finished(request.turn, StopReason.END_OF_GENERATION, Usage(generated_tokens=2))
        if instruction == "late":
            raise ZeroDivisionError("a mistake after the end")
        if instruction == "save":
            yield from _save(argument)

    def idle_prefill(self, request: IdlePrefillRequest, should_stop: Callable[[], bool]) -> Iterator[IdlePrefillEvent]:
        """Follows the instruction in the draft. `endless` runs until it is stopped."""
        if request.draft == "mistake":
            raise ZeroDivisionError("a mistake in the engine")
        yield IdlePrefillProgress(1, 2)
        if request.draft == "troubled":
            yield Notice("a saved state was not used")
        if request.draft == "endless":
            _wait_for(should_stop)
        yield IdlePrefillFinished(1 if request.draft == "endless" else 2)

    def estimate(self, request: EstimateRequest) -> PromptEstimate | Failed:
        if request.messages[-1].text == "too long":
            return Failed(None, "the prompt is too long", "Write less.")
        return PromptEstimate(7, len(request.messages), None)

    def tokenize(self, request: TokenizeRequest) -> Tokenized | Failed:
        if request.text == "no such token":
            return Failed(None, "there is no such token")
        return Tokenized((7, 8), request.text or "of tokens")


def _save(what: str) -> Iterator[Notice]:
    """Does not save what a reply leaves, in one of the ways in which that happens."""
    if what == "forever":
        threading.Event().wait()
    if what == "mistake":
        raise ZeroDivisionError("a mistake while saving")
    if what:
        yield Notice("the state was not saved")


def engine_without_weights() -> "LocalEngine":
    """Returns the real engine over a model that needs no weights: `fake.gguf`."""
    from tests.fakes.fake_model import FakeOpener
    from tui_llama.engine.local import LocalEngine

    return LocalEngine(FakeOpener())


def model_info(path: str) -> ModelInfo:
    """Returns the facts of a model that does not exist, for the screen."""
    return ModelInfo("fake", path, "llama", "F32", 1, 4, 8, 64, 64, 16, "built in")


def _thought(turn: int, should_answer: Callable[[], bool]) -> Iterator[ReplyEvent]:
    yield TextPiece(turn, "", (1,), thought="hm")
    _wait_for(should_answer)


def _wait_for(should_stop: Callable[[], bool]) -> None:
    pause = threading.Event()
    while not should_stop():
        pause.wait(0.001)


def _write_to_every_pipe(data: bytes) -> None:
    for descriptor in range(3, 32):
        try:
            if stat.S_ISFIFO(os.fstat(descriptor).st_mode):
                os.write(descriptor, data)
        except OSError:  # closed, or the reading end
            continue
