"""The server of the engine's process in threads of this one, and an engine that waits until a test lets it go on."""

import os
import queue
import select
import threading
from collections.abc import Callable, Iterator
from typing import BinaryIO, cast

from tests.fakes.child_engines import ObedientEngine, model_info
from tests.patience import HANG_SECONDS
from tui_llama.chat import StopReason, Usage
from tui_llama.engine.events import (
    Failed,
    Finished,
    IdlePrefillFinished,
    IdlePrefillProgress,
    LoadProgress,
    LoadStage,
    ModelLoaded,
    PromptProgress,
)
from tui_llama.engine.process.framing import decode_event, encode_frame, read_frame
from tui_llama.engine.process.server import EngineServer, SynchronousEngine
from tui_llama.engine.protocol import Event, IdlePrefillEvent, ReplyEvent, Request
from tui_llama.engine.requests import CompleteRequest, IdlePrefillRequest, LoadRequest, ReplyRequest

UNTIL_STOPPED = "until stopped"


class Requests:
    """The stream of requests, to which a test gives one frame after the other."""

    def __init__(self) -> None:
        self._frames: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        self._rest = b""
        self._given_count = self._wait_count = 0
        self._is_waiting = threading.Condition()

    def read(self, size: int) -> bytes:
        if not self._rest:
            with self._is_waiting:
                self._wait_count += 1
                self._is_waiting.notify_all()
            self._rest = self._frames.get()
        piece, self._rest = self._rest[:size], self._rest[size:]
        return piece

    def give(self, frame: bytes) -> None:
        """Gives a frame; returns once the server waits for the one after it, so that it has heeded this one."""
        self._given_count += 1
        self._frames.put(frame)
        with self._is_waiting:
            assert self._is_waiting.wait_for(lambda: self._wait_count > self._given_count, HANG_SECONDS)

    def end(self, last_bytes: bytes = b"") -> None:
        """Gives some last bytes, after which the stream ends."""
        if last_bytes:
            self._frames.put(last_bytes)
        self._frames.put(b"")


class Served:
    """A server at work, and both ends of its streams."""

    def __init__(self, make_engine: Callable[[], SynchronousEngine]) -> None:
        self.requests = Requests()
        # The writing end is never closed: the engine's thread may still write, and then not to another file.
        reading_end, writing_end = os.pipe()
        self.events = os.fdopen(reading_end, "rb", buffering=0)
        self._server = EngineServer(make_engine, cast("BinaryIO", self.requests), writing_end)
        self._status: int | None = None
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        self._status = self._server.serve()

    def ask(self, request: Request) -> None:
        self.requests.give(encode_frame(request))

    def next_event(self) -> Event:
        assert select.select([self.events], [], [], HANG_SECONDS)[0]
        body = read_frame(cast("BinaryIO", self.events))
        assert body is not None
        return decode_event(body)

    def next_events(self, count: int) -> list[Event]:
        return [self.next_event() for _ in range(count)]

    @property
    def is_serving(self) -> bool:
        return self._status is None

    def status(self) -> int:
        """Waits for the end; returns the exit status."""
        self._thread.join(HANG_SECONDS)
        assert self._status is not None
        return self._status


class GatedEngine(ObedientEngine):
    """An engine that goes on when a test lets it, and whose last event says whether it was to stop.

    A reply to `UNTIL_STOPPED` goes on when it is to stop.
    """

    def __init__(self) -> None:
        self.go_on, self.may_save, self.saving, self.saved = (threading.Event() for _ in range(4))

    def load(
        self, request: LoadRequest, should_stop: Callable[[], bool], on_progress: Callable[[LoadProgress], None]
    ) -> ModelLoaded | Failed:
        on_progress(LoadProgress(LoadStage.READ, 1, 2))
        self.go_on.wait()
        return Failed(None, "loading was stopped") if should_stop() else ModelLoaded(model_info("fake.gguf"))

    def reply(
        self,
        request: ReplyRequest | CompleteRequest,
        should_stop: Callable[[], bool],
        should_answer: Callable[[], bool],
    ) -> Iterator[ReplyEvent]:
        yield PromptProgress(request.turn, 0, 0, 1)
        if isinstance(request, ReplyRequest) and request.messages[-1].text == UNTIL_STOPPED:
            while not should_stop():
                self.go_on.wait(0.001)
        else:
            self.go_on.wait()
        yield Finished(request.turn, StopReason.STOPPED if should_stop() else StopReason.LENGTH, Usage())
        self.saving.set()
        self.may_save.wait()
        self.saved.set()

    def idle_prefill(self, request: IdlePrefillRequest, should_stop: Callable[[], bool]) -> Iterator[IdlePrefillEvent]:
        yield IdlePrefillProgress(0, 1)
        self.go_on.wait()
        yield IdlePrefillFinished(0 if should_stop() else 1)

    def release(self) -> None:
        self.go_on.set()
        self.may_save.set()
