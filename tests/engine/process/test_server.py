"""The server of the engine's process, in threads of this one: the order of answers, cancelling, mistakes, the end."""

import os
import queue
import threading
from collections.abc import Callable, Iterator

import pytest

from tests.fakes.child_engines import ObedientEngine, model_info
from tests.fakes.served import UNTIL_STOPPED, GatedEngine, Served
from tests.patience import HANG_SECONDS
from tui_llama.chat import ChatMessage, Role, StopReason, Usage
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
)
from tui_llama.engine.process import server
from tui_llama.engine.process.border import LOG_HINT
from tui_llama.engine.process.framing import encode_frame
from tui_llama.engine.process.server import SynchronousEngine
from tui_llama.engine.protocol import Event, Request
from tui_llama.engine.requests import (
    CancelRequest,
    CompleteRequest,
    EstimateRequest,
    IdlePrefillRequest,
    LoadRequest,
    ReplyRequest,
    ShutdownRequest,
    StopIdlePrefill,
)

ENDED, GARBAGE, SPEECHLESS = 0, 3, 4  # exit statuses
Serve = Callable[[SynchronousEngine], Served]


@pytest.fixture
def gated() -> Iterator[GatedEngine]:
    engine = GatedEngine()
    yield engine
    engine.release()


@pytest.fixture
def serve_made(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Callable[[], SynchronousEngine]], Served]]:
    """Starts a server whose engine is made by a function."""
    monkeypatch.setattr(server, "KEEPING_SECONDS", HANG_SECONDS)
    started: list[Served] = []

    def start(make_engine: Callable[[], SynchronousEngine]) -> Served:
        started.append(Served(make_engine))
        return started[-1]

    yield start
    for served in started:
        served.requests.end()
        served.events.close()


@pytest.fixture
def serve(serve_made: Callable[[Callable[[], SynchronousEngine]], Served]) -> Serve:
    return lambda engine: serve_made(lambda: engine)


def said(text: str) -> tuple[ChatMessage, ...]:
    return (ChatMessage(Role.USER, text),)


LOAD, REPLY, COMPLETION = LoadRequest("fake.gguf"), ReplyRequest(3, said("say hello")), CompleteRequest(3, "say hello")
IDLE, ESTIMATE = IdlePrefillRequest(said("hello")), EstimateRequest(said("hello"))


def was_stopped(event: Event) -> bool:
    """Tells from the last event of a gated engine whether it was to stop."""
    if isinstance(event, Finished):
        return event.stop_reason is StopReason.STOPPED
    return isinstance(event, Failed) or event == IdlePrefillFinished(0)


# --- answers --------------------------------------------------------------------------------------------------------


def test_every_kind_of_request_is_answered_in_the_order_of_the_requests(serve: Serve) -> None:
    served = serve(ObedientEngine())
    for request in (LOAD, REPLY, IDLE, ESTIMATE, COMPLETION):
        served.ask(request)
    loading, reply = served.next_events(2), served.next_events(3)
    assert loading == [LoadProgress(LoadStage.READ, 1, 2), ModelLoaded(model_info("fake.gguf"))]
    assert reply == [
        PromptProgress(3, 0, 1, 1),
        TextPiece(3, "hello", (1, 2)),
        Finished(3, StopReason.END_OF_GENERATION, Usage(generated_tokens=2)),
    ]
    assert served.next_events(3) == [IdlePrefillProgress(1, 2), IdlePrefillFinished(2), PromptEstimate(7, 1, None)]
    assert served.next_events(3) == reply


def test_the_engine_is_made_once_in_its_own_thread_and_not_before_it_is_asked(
    serve_made: Callable[[Callable[[], SynchronousEngine]], Served],
) -> None:
    makers: list[str] = []

    def make_engine() -> SynchronousEngine:
        makers.append(threading.current_thread().name)
        return ObedientEngine()

    served = serve_made(make_engine)
    served.ask(CancelRequest(None))
    assert makers == []
    served.ask(LOAD)
    served.ask(ESTIMATE)
    served.next_events(3)
    assert makers == ["engine"]


def test_an_engine_that_cannot_be_made_is_a_failure_and_is_tried_again_for_the_next_request(
    serve_made: Callable[[Callable[[], SynchronousEngine]], Served],
) -> None:
    engines: list[SynchronousEngine] = [ObedientEngine()]
    errors = [ImportError("no compiler")]

    def make_engine() -> SynchronousEngine:
        if errors:
            raise errors.pop()
        return engines.pop()

    served = serve_made(make_engine)
    served.ask(LOAD)
    assert served.next_event() == Failed(None, "the engine failed: ImportError: no compiler", LOG_HINT)
    served.ask(ESTIMATE)
    assert served.next_event() == PromptEstimate(7, 1, None)


# --- cancelling -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("job", "request_after_it", "is_stopped"),
    [
        (REPLY, CancelRequest(3), True),
        (REPLY, CancelRequest(2), False),
        (REPLY, CancelRequest(None), False),
        (REPLY, StopIdlePrefill(), False),
        (REPLY, ESTIMATE, False),
        (COMPLETION, CancelRequest(3), True),
        (COMPLETION, CancelRequest(None), False),
        (LOAD, CancelRequest(None), True),
        (LOAD, CancelRequest(3), False),
        (LOAD, StopIdlePrefill(), False),
        (IDLE, StopIdlePrefill(), True),
        (IDLE, REPLY, True),
        (IDLE, COMPLETION, True),
        (IDLE, LOAD, True),
        (IDLE, ESTIMATE, True),
        (IDLE, IDLE, True),
        (IDLE, CancelRequest(None), False),
        (IDLE, CancelRequest(3), False),
    ],
)
def test_a_cancel_stops_its_own_job_and_any_other_request_stops_idle_prefill(
    serve: Serve, gated: GatedEngine, job: Request, request_after_it: Request, is_stopped: bool
) -> None:
    served = serve(gated)
    served.ask(job)
    served.next_event()
    served.ask(request_after_it)
    gated.go_on.set()
    assert was_stopped(served.next_event()) is is_stopped


def test_what_stops_one_job_does_not_stop_the_next(serve: Serve, gated: GatedEngine) -> None:
    served = serve(gated)
    served.ask(IDLE)
    served.ask(REPLY)
    gated.go_on.set()
    events = served.next_events(4)
    assert events[1] == IdlePrefillFinished(0)
    assert not was_stopped(events[3])


def test_a_job_that_is_cancelled_while_another_runs_is_stopped_as_soon_as_it_begins(
    serve: Serve, gated: GatedEngine
) -> None:
    served = serve(gated)
    served.ask(IDLE)
    served.ask(REPLY)
    served.ask(CancelRequest(3))
    gated.go_on.set()
    assert was_stopped(served.next_events(4)[3])


def test_a_job_is_cancelled_although_requests_came_since_that_are_no_jobs(serve: Serve, gated: GatedEngine) -> None:
    served = serve(gated)
    for request in (REPLY, StopIdlePrefill(), CancelRequest(2), CancelRequest(3)):
        served.ask(request)
    gated.go_on.set()
    assert was_stopped(served.next_events(2)[1])


def test_a_cancel_with_nothing_to_cancel_stops_nothing_later(serve: Serve, gated: GatedEngine) -> None:
    served = serve(gated)
    served.ask(CancelRequest(3))
    served.ask(REPLY)
    gated.go_on.set()
    assert not was_stopped(served.next_events(2)[1])


# --- mistakes -------------------------------------------------------------------------------------------------------

MISTAKE = "the engine failed: ZeroDivisionError: a mistake in the engine"


@pytest.mark.parametrize(
    ("request_with_a_mistake", "events"),
    [
        (LoadRequest("mistake"), [LoadProgress(LoadStage.READ, 1, 2), Failed(None, MISTAKE, LOG_HINT)]),
        (ReplyRequest(5, said("mistake")), [PromptProgress(5, 0, 1, 1), Failed(5, MISTAKE, LOG_HINT)]),
        (CompleteRequest(6, "mistake"), [PromptProgress(6, 0, 1, 1), Failed(6, MISTAKE, LOG_HINT)]),
        (IdlePrefillRequest(said("x"), draft="mistake"), [Failed(None, MISTAKE, LOG_HINT)]),
        (EstimateRequest(()), [Failed(None, "the engine failed: IndexError: tuple index out of range", LOG_HINT)]),
        (
            ReplyRequest(7, said("late x")),
            [
                PromptProgress(7, 0, 1, 1),
                TextPiece(7, "x", (1, 2)),
                Finished(7, StopReason.END_OF_GENERATION, Usage(generated_tokens=2)),
                Notice(f"the engine failed: ZeroDivisionError: a mistake after the end. {LOG_HINT}"),
            ],
        ),
    ],
)
def test_a_mistake_is_a_failure_or_after_the_end_a_notice_and_the_next_request_is_answered(
    serve: Serve, capfd: pytest.CaptureFixture[str], request_with_a_mistake: Request, events: list[Event]
) -> None:
    served = serve(ObedientEngine())
    served.ask(LOAD)
    served.next_events(2)
    served.ask(request_with_a_mistake)
    assert served.next_events(len(events)) == events
    served.ask(ESTIMATE)
    assert served.next_event() == PromptEstimate(7, 1, None)
    assert "Traceback" in capfd.readouterr().err


def test_an_engine_that_ends_its_thread_ends_the_process(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    statuses: queue.SimpleQueue[int] = queue.SimpleQueue()
    monkeypatch.setattr(os, "_exit", statuses.put)
    serve(ObedientEngine()).ask(ReplyRequest(1, said("exit")))
    assert statuses.get(timeout=HANG_SECONDS) == SPEECHLESS


def test_a_reply_that_nobody_reads_is_saved_all_the_same(serve: Serve, gated: GatedEngine) -> None:
    served = serve(gated)
    served.events.close()
    gated.release()
    served.ask(REPLY)
    assert gated.saved.wait(HANG_SECONDS)


# --- the end --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("last_bytes", "status"),
    [
        (b"", ENDED),
        (encode_frame(ShutdownRequest()), ENDED),
        (bytes(4), GARBAGE),
        (b"\xff" * 8, GARBAGE),
        (b"\3\0", GARBAGE),
        (b"\3\0\0\0ab", GARBAGE),
        (b"\3\0\0\0abc", GARBAGE),
    ],
    ids=["end", "shutdown", "no length", "long", "cut length", "cut message", "no message"],
)
def test_the_status_says_whether_the_requests_ended_as_they_should(
    serve: Serve, last_bytes: bytes, status: int
) -> None:
    served = serve(ObedientEngine())
    served.requests.end(last_bytes)
    assert served.status() == status


@pytest.mark.parametrize("last_bytes", [b"", encode_frame(ShutdownRequest()), b"\xff" * 8])
def test_at_the_end_an_answer_in_progress_is_stopped_and_its_saving_is_waited_for(
    serve: Serve, gated: GatedEngine, last_bytes: bytes
) -> None:
    served = serve(gated)
    served.ask(ReplyRequest(3, said(UNTIL_STOPPED)))
    served.next_event()
    served.requests.end(last_bytes)
    assert was_stopped(served.next_event())
    assert gated.saving.wait(HANG_SECONDS)
    assert served.is_serving
    gated.may_save.set()
    served.status()
    assert gated.saved.is_set()


def test_the_end_does_not_wait_for_a_load(serve: Serve, gated: GatedEngine) -> None:
    served = serve(gated)
    served.ask(LOAD)
    served.next_event()
    served.requests.end()
    assert served.status() == ENDED
    assert not gated.go_on.is_set()


def test_the_end_does_not_wait_for_ever_for_an_answer_to_be_saved(
    serve: Serve, gated: GatedEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "KEEPING_SECONDS", 0.0)
    served = serve(gated)
    served.ask(REPLY)
    served.next_event()
    gated.go_on.set()
    assert gated.saving.wait(HANG_SECONDS)
    served.requests.end()
    assert served.status() == ENDED
    assert not gated.saved.is_set()
