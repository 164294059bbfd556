"""The engine's own process: requests come in on standard input, events go out on standard output.

Two threads share the work. The reader waits for requests, so that it notices a cancel or the end of the stream while
the engine computes. The engine thread does one job after the other. The process ends when its input ends, which also
happens when the process that started it dies. It then waits only for an answer in progress and the saving after it, and
not for long.

`worker` starts this process. This module knows framing and scheduling, and no models.
"""

import argparse
import faulthandler
import os
import queue
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from importlib import import_module
from typing import BinaryIO, Protocol

from tui_llama.engine.events import Failed, LoadProgress, ModelLoaded, Notice, PromptEstimate, Tokenized
from tui_llama.engine.process.border import LOG_HINT, failure_words
from tui_llama.engine.process.framing import FrameError, decode_request, encode_frame, read_frame
from tui_llama.engine.protocol import (
    LAST_EVENTS,
    AnsweredRequest,
    Event,
    IdlePrefillEvent,
    ReplyEvent,
    Request,
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

DEFAULT_ENGINE = "tui_llama.engine.local:LocalEngine"

# How long an ending process waits for an answer to stop and its state to be saved.
KEEPING_SECONDS = 10.0

_EXIT_ENDED = 0
_EXIT_GARBAGE = 3
_EXIT_SPEECHLESS = 4


class SynchronousEngine(Protocol):
    """The engine that runs in this process: `LocalEngine`, or an engine of a test."""

    def load(
        self, request: LoadRequest, should_stop: Callable[[], bool], on_progress: Callable[[LoadProgress], None]
    ) -> ModelLoaded | Failed:
        """Opens a model, and calls `on_progress` meanwhile."""
        ...

    def reply(
        self,
        request: ReplyRequest | CompleteRequest,
        should_stop: Callable[[], bool],
        should_answer: Callable[[], bool],
    ) -> Iterator[ReplyEvent]:
        """Yields the reply's events up to `Finished` or `Failed`, and then saves what the reply leaves.

        If saving fails, a `Notice` follows. A thought is closed once `should_answer` returns true.
        """
        ...

    def idle_prefill(self, request: IdlePrefillRequest, should_stop: Callable[[], bool]) -> Iterator[IdlePrefillEvent]:
        """Yields the events of idle prefill, then exactly one of `IdlePrefillFinished` and `Failed`."""
        ...

    def estimate(self, request: EstimateRequest) -> PromptEstimate | Failed:
        """Returns how much a reply would have to read."""
        ...

    def tokenize(self, request: TokenizeRequest) -> Tokenized | Failed:
        """Returns the tokens of a text, or the text of tokens."""
        ...


@dataclass
class _Job:
    request: AnsweredRequest
    stop: threading.Event = field(default_factory=threading.Event)
    answer_now: threading.Event = field(default_factory=threading.Event)

    @property
    def turn(self) -> int | None:
        return self.request.turn if isinstance(self.request, ReplyRequest | CompleteRequest) else None

    @property
    def is_idle_prefill(self) -> bool:
        return isinstance(self.request, IdlePrefillRequest)

    def note(self, request: AnswerNow) -> None:
        """Takes the wish that the thought of a turn be closed, if it is this job's turn."""
        if self.turn == request.turn:
            self.answer_now.set()

    def is_cancelled_by(self, request: CancelRequest) -> bool:
        names_a_turn = isinstance(self.request, LoadRequest | ReplyRequest | CompleteRequest)
        return names_a_turn and self.turn == request.turn


class EngineServer:
    """Reads requests, runs them on an engine, and writes events.

    Args:
        make_engine: Called once, in the engine's thread; may import heavy modules.
        requests: Binary stream of frames.
        events_descriptor: File descriptor that frames are written to.
    """

    def __init__(
        self, make_engine: Callable[[], SynchronousEngine], requests: BinaryIO, events_descriptor: int
    ) -> None:
        self._make_engine = make_engine
        self._requests = requests
        self._events_descriptor = events_descriptor
        self._listened_to = True
        self._engine: SynchronousEngine | None = None
        self._has_answered = False
        self._chat_id: str | None = None
        self._jobs: queue.SimpleQueue[_Job] = queue.SimpleQueue()
        # Held during a reply and the saving after it: the end of the process waits for these only.
        self._keeping = threading.Lock()

    def serve(self) -> int:
        """Serves until the requests end; returns the exit status.

        The engine's thread may still be computing then.
        """
        threading.Thread(target=self._work, name="engine", daemon=True).start()
        newest: _Job | None = None
        status = _EXIT_ENDED
        try:
            while not isinstance(request := self._next_request(), ShutdownRequest):
                if newest is not None and isinstance(request, AnswerNow):
                    newest.note(request)
                elif newest is not None and self._ends(newest, request):
                    newest.stop.set()
                if not isinstance(request, CancelRequest | StopIdlePrefill | AnswerNow):
                    newest = _Job(request)
                    self._jobs.put(newest)
        except FrameError:
            traceback.print_exc()
            status = _EXIT_GARBAGE
        if newest is not None:
            newest.stop.set()
        self._keeping.acquire(timeout=KEEPING_SECONDS)
        return status

    @staticmethod
    def _ends(job: _Job, request: Request) -> bool:
        """Tells whether a request stops a job: a cancel stops its own job, and any other request stops idle prefill."""
        return job.is_cancelled_by(request) if isinstance(request, CancelRequest) else job.is_idle_prefill

    def _next_request(self) -> Request:
        body = read_frame(self._requests)
        return ShutdownRequest() if body is None else decode_request(body)

    def _work(self) -> None:
        try:
            while True:
                self._answer(self._jobs.get())
        except BaseException:
            # The client would wait for its answer for ever. It does notice the end of the process.
            traceback.print_exc()
            sys.stderr.flush()
            os._exit(_EXIT_SPEECHLESS)

    def _answer(self, job: _Job) -> None:
        self._has_answered = False
        self._chat_id = getattr(job.request, "chat_id", None)
        try:
            self._engine = self._engine or self._make_engine()
            self._carry_out(self._engine, job)
        except Exception as error:
            # Catches our own mistakes: the screen gets a message, the log the traceback.
            traceback.print_exc()
            words = failure_words(error)
            self._send(Notice(f"{words}. {LOG_HINT}") if self._has_answered else Failed(job.turn, words, LOG_HINT))

    def _carry_out(self, engine: SynchronousEngine, job: _Job) -> None:
        match job.request:
            case LoadRequest() as request:
                self._send(engine.load(request, job.stop.is_set, self._send))
            case IdlePrefillRequest() as request:
                for read_event in engine.idle_prefill(request, job.stop.is_set):
                    self._send(read_event)
            case EstimateRequest() as request:
                self._send(engine.estimate(request))
            case TokenizeRequest() as request:
                self._send(engine.tokenize(request))
            case ReplyRequest() | CompleteRequest() as request:
                self._reply(engine, request, job)

    def _reply(self, engine: SynchronousEngine, request: ReplyRequest | CompleteRequest, job: _Job) -> None:
        with self._keeping:
            for event in engine.reply(request, job.stop.is_set, job.answer_now.is_set):
                self._send(event)

    def _send(self, event: Event) -> None:
        """Writes an event, and waits while the pipe is full; does nothing once nobody reads any more."""
        if not self._listened_to:
            return
        if self._has_answered and isinstance(event, Notice):
            event = Notice(event.text, chat_id=self._chat_id)
        waiting = memoryview(encode_frame(event))
        self._has_answered = self._has_answered or isinstance(event, LAST_EVENTS)
        try:
            while waiting:
                waiting = waiting[os.write(self._events_descriptor, waiting) :]
        except BrokenPipeError:
            self._listened_to = False


def main(arguments: list[str]) -> None:
    """Runs the process to its end; never returns.

    Args:
        arguments: `--engine module:callable` names the function that makes the engine.
    """
    parser = argparse.ArgumentParser(prog="tui-llama engine")
    parser.add_argument("--engine", default=DEFAULT_ENGINE, help="module:callable that makes the engine")
    options = parser.parse_args(arguments)
    # Ctrl+C belongs to the screen's process, which sends a cancel when it wants one.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    faulthandler.enable()
    requests, events_descriptor = _take_over_standard_streams()
    status = EngineServer(lambda: _make_engine(options.engine), requests, events_descriptor).serve()
    # Not sys.exit: the engine's thread may be deep in a compiler or a kernel, and cannot be asked to return.
    sys.stderr.flush()
    os._exit(status)


def _make_engine(name: str) -> SynchronousEngine:
    module, _, attribute = name.partition(":")
    engine: SynchronousEngine = getattr(import_module(module), attribute)()
    return engine


def _take_over_standard_streams() -> tuple[BinaryIO, int]:
    """Moves the pipes to descriptors of their own, so that no stray print or read can damage the protocol."""
    requests = os.fdopen(os.dup(0), "rb")
    events_descriptor = os.dup(1)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    return requests, events_descriptor


if __name__ == "__main__":
    main(sys.argv[1:])
