"""The engine's process as the screen sees it: real children, killed, stopped and crossed in every phase."""

import asyncio
import os
import select
import signal
import stat
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path

import msgspec
import pytest

from tests.fakes.child_engines import PIECE_BYTES, model_info
from tests.patience import HANG_SECONDS, needs_descriptors_of_processes
from tui_llama import paths
from tui_llama.chat import ChatMessage, Role, StopReason
from tui_llama.engine.events import (
    Failed,
    Finished,
    IdlePrefillFinished,
    IdlePrefillProgress,
    LoadProgress,
    LoadStage,
    ModelLoaded,
    Notice,
    PromptEncoded,
    PromptEstimate,
    PromptProgress,
    TextPiece,
)
from tui_llama.engine.process.framing import MOST_MESSAGE_BYTES
from tui_llama.engine.process.worker import EngineWorker
from tui_llama.engine.protocol import Event
from tui_llama.engine.requests import (
    CompleteRequest,
    EstimateRequest,
    IdlePrefillRequest,
    LoadRequest,
    ReplyRequest,
)
from tui_llama.errors import CallerError, EngineError, EngineLostError

OBEDIENT = "tests.fakes.child_engines:ObedientEngine"


@pytest.fixture(autouse=True)
def unhurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """A child that is slow to end is not killed for it."""
    monkeypatch.setattr("tui_llama.engine.process.worker._CLOSING_SECONDS", HANG_SECONDS)
    monkeypatch.setattr("tui_llama.engine.process.worker._DYING_SECONDS", HANG_SECONDS)


@pytest.fixture
async def worker() -> AsyncIterator[EngineWorker]:
    worker = EngineWorker(OBEDIENT)
    yield worker
    await worker.close()


async def load(worker: EngineWorker, path: str = "model.gguf", folder: Path | str = "") -> list[Event]:
    return [event async for event in worker.load(LoadRequest(path, prompt_cache_folder=str(folder)))]


def say(text: str, turn: int = 1) -> ReplyRequest:
    return ReplyRequest(turn, (ChatMessage(Role.USER, text),))


async def reply(worker: EngineWorker, text: str, turn: int = 1) -> list[Event]:
    return [event async for event in worker.reply(say(text, turn))]


def kill(worker: EngineWorker) -> None:
    assert worker.process_id is not None
    os.kill(worker.process_id, signal.SIGKILL)


async def kill_at_first_event(worker: EngineWorker, events: AsyncIterator[Event]) -> None:
    """Kills the process once: events that it had sent already come later, when there is nobody to kill."""
    is_killed = False
    async for _ in events:
        if not is_killed:
            kill(worker)
            is_killed = True


def test_nothing_is_started_before_the_first_load() -> None:
    assert EngineWorker(OBEDIENT).process_id is None


async def test_loading_yields_progress_and_then_the_model(worker: EngineWorker) -> None:
    events = await load(worker)
    assert events == [LoadProgress(LoadStage.READ, 1, 2), ModelLoaded(model_info("model.gguf"))]


async def test_a_reply_yields_pieces_and_then_finished(worker: EngineWorker) -> None:
    await load(worker)
    events = await reply(worker, "say hello", turn=4)
    assert events[:2] == [PromptProgress(4, 0, 1, 1), TextPiece(4, "hello", (1, 2))]
    assert isinstance(events[2], Finished)
    assert events[2].turn == 4


async def test_a_raw_completion_is_answered_like_a_chat(worker: EngineWorker) -> None:
    await load(worker)
    events = [event async for event in worker.reply(CompleteRequest(2, "say hello"))]
    assert TextPiece(2, "hello", (1, 2)) in events


async def test_one_process_serves_one_request_after_the_other(worker: EngineWorker) -> None:
    await load(worker)
    first = worker.process_id
    await reply(worker, "say one")
    await load(worker, "other.gguf")
    await reply(worker, "say two", turn=2)
    assert worker.process_id == first


async def test_a_reply_without_a_process_says_that_the_engine_is_not_running(worker: EngineWorker) -> None:
    with pytest.raises(EngineLostError, match="not running"):
        await reply(worker, "say hello")


async def test_two_things_at_once_are_refused(worker: EngineWorker) -> None:
    await load(worker)
    async with aclosing(worker.reply(say("write"))) as events:
        await anext(events)
        with pytest.raises(CallerError):
            await reply(worker, "say more", turn=2)


async def test_a_load_is_stopped_by_cancel(worker: EngineWorker) -> None:
    events: list[Event] = []
    async for event in worker.load(LoadRequest("endless")):
        events.append(event)
        worker.cancel()
    assert events == [LoadProgress(LoadStage.READ, 1, 2), Failed(None, "loading was stopped")]


@pytest.mark.parametrize(("instruction", "events_before_the_end"), [("read", 1), ("write", 2)])
async def test_cancel_ends_a_reply_with_stopped(
    worker: EngineWorker, instruction: str, events_before_the_end: int
) -> None:
    await load(worker)
    events: list[Event] = []
    async for event in worker.reply(say(instruction)):
        events.append(event)
        if len(events) == events_before_the_end:
            worker.cancel()
    assert len(events) == events_before_the_end + 1
    assert isinstance(events[-1], Finished)
    assert events[-1].stop_reason is StopReason.STOPPED


async def test_a_cancel_before_the_process_has_started_is_not_lost(worker: EngineWorker) -> None:
    loading = asyncio.create_task(load(worker, "endless"))
    while worker._exchange is None:
        await asyncio.sleep(0)
    worker.cancel()
    assert (await loading)[-1] == Failed(None, "loading was stopped")


async def test_a_cancel_with_nothing_under_way_stops_nothing_later(worker: EngineWorker) -> None:
    await load(worker)
    await reply(worker, "say one")
    worker.cancel()
    assert TextPiece(1, "two", (1, 2)) in await reply(worker, "say two")


async def test_a_reply_that_nobody_listens_to_any_more_is_stopped_and_forgotten(worker: EngineWorker) -> None:
    await load(worker)
    async with aclosing(worker.reply(say("write one"))) as events:
        await anext(events)
    following = await reply(worker, "say two", turn=2)
    assert [event.turn for event in following if isinstance(event, PromptProgress | TextPiece | Finished)] == [2, 2, 2]


async def test_killing_the_process_while_it_loads_is_an_engine_lost(worker: EngineWorker) -> None:
    with pytest.raises(EngineLostError, match="SIGKILL"):
        await kill_at_first_event(worker, worker.load(LoadRequest("endless")))


@pytest.mark.parametrize("instruction", ["read", "write"])
async def test_killing_the_process_during_a_reply_is_an_engine_lost(worker: EngineWorker, instruction: str) -> None:
    await load(worker)
    with pytest.raises(EngineLostError, match="SIGKILL"):
        await kill_at_first_event(worker, worker.reply(say(instruction)))


async def test_what_came_before_the_process_was_killed_is_still_delivered(worker: EngineWorker) -> None:
    await load(worker)
    received: list[Event] = []
    with pytest.raises(EngineLostError):
        async for event in worker.reply(say("write partial")):
            received.append(event)
            if isinstance(event, TextPiece):
                kill(worker)
    assert received[-1] == TextPiece(1, "partial", (1, 2))


async def test_killing_the_idle_process_makes_the_next_reply_an_engine_lost(worker: EngineWorker) -> None:
    await load(worker)
    kill(worker)
    with pytest.raises(EngineLostError, match="SIGKILL"):
        await reply(worker, "say hello")


async def test_killing_the_process_while_it_saves_spares_the_answer(worker: EngineWorker) -> None:
    await load(worker)
    events = await reply(worker, "save forever")
    kill(worker)
    assert isinstance(events[-1], Finished)
    with pytest.raises(EngineLostError):
        await reply(worker, "say hello", turn=2)


async def test_the_next_load_starts_a_new_process(worker: EngineWorker) -> None:
    await load(worker)
    first = worker.process_id
    kill(worker)
    with pytest.raises(EngineLostError):
        await reply(worker, "read")
    await load(worker)
    assert worker.process_id not in (None, first)
    assert TextPiece(2, "again", (1, 2)) in await reply(worker, "say again", turn=2)


async def test_a_process_that_leaves_is_reported_with_its_exit_status(worker: EngineWorker) -> None:
    await load(worker)
    with pytest.raises(EngineLostError, match="exit status 7"):
        await reply(worker, "leave")


async def test_garbage_on_the_pipe_ends_the_process(worker: EngineWorker) -> None:
    await load(worker)
    process_id = worker.process_id
    assert process_id is not None
    with pytest.raises(EngineLostError, match="sent an invalid message"):
        await reply(worker, "garbage")
    with pytest.raises(ProcessLookupError):
        os.kill(process_id, 0)


async def test_what_no_pipe_carries_is_a_failure_and_the_process_lives_on(worker: EngineWorker) -> None:
    await load(worker)
    process_id = worker.process_id
    (_, failed) = await reply(worker, "surrogate")
    assert isinstance(failed, Failed) and "not valid Unicode" in failed.message
    assert isinstance((await reply(worker, "say hello", turn=2))[-1], Finished)
    assert worker.process_id == process_id


@pytest.mark.parametrize("instruction", ["late", "save mistake"])
async def test_a_mistake_after_the_answer_is_a_notice_and_the_process_lives_on(
    worker: EngineWorker, instruction: str
) -> None:
    await load(worker)
    process_id = worker.process_id
    assert isinstance((await reply(worker, instruction))[-1], Finished)
    notice, *events = await reply(worker, "say hello", turn=2)
    assert isinstance(notice, Notice)
    assert notice.text.startswith("the engine failed: ZeroDivisionError: a mistake")
    assert isinstance(events[-1], Finished)
    assert worker.process_id == process_id
    assert "ZeroDivisionError" in paths.log_file().read_text()


async def test_an_engine_that_wants_to_leave_is_lost_and_keeps_nobody_waiting(worker: EngineWorker) -> None:
    await load(worker)
    with pytest.raises(EngineLostError, match="exit status 4"):
        await reply(worker, "exit")


async def test_stray_prints_of_the_engine_land_in_the_log(worker: EngineWorker) -> None:
    await load(worker)
    events = await reply(worker, "print hello")
    await worker.close()
    assert isinstance(events[-1], Finished)
    log = paths.log_file()
    assert log.read_text().splitlines()[1:] == ["a stray line on standard output", "and a stray write"]
    assert stat.S_IMODE(log.stat().st_mode) == 0o600


async def test_without_a_place_for_the_log_the_engine_works_all_the_same(
    worker: EngineWorker, home_folder: Path
) -> None:
    (home_folder / "cache").write_text("somebody else's")
    assert isinstance((await load(worker))[-1], ModelLoaded)
    assert isinstance((await reply(worker, "say hello"))[-1], Finished)
    kill(worker)
    with pytest.raises(EngineLostError) as caught:
        await reply(worker, "say hello", turn=2)
    assert "engine.log" not in caught.value.hint


async def test_a_mistake_while_loading_is_a_failure_and_the_process_lives_on(worker: EngineWorker) -> None:
    events = await load(worker, "mistake")
    assert isinstance(events[-1], Failed)
    assert "ZeroDivisionError" in events[-1].message
    assert isinstance((await load(worker))[-1], ModelLoaded)


async def test_a_mistake_in_a_reply_is_a_failure_and_the_process_lives_on(worker: EngineWorker) -> None:
    await load(worker)
    events = await reply(worker, "mistake")
    assert isinstance(events[-1], Failed)
    assert events[-1].turn == 1
    assert isinstance((await reply(worker, "say hello", turn=2))[-1], Finished)


async def test_a_notice_after_the_end_of_a_reply_opens_the_next(worker: EngineWorker) -> None:
    await load(worker)
    await reply(worker, "save badly")
    events = await reply(worker, "say hello", turn=2)
    assert events[0] == Notice("the state was not saved")


async def test_a_slow_listener_gets_all_of_the_text_in_few_events(worker: EngineWorker) -> None:
    await load(worker)
    count = 4000
    async with aclosing(worker.reply(say(f"pieces {count}"))) as events:
        received = [await anext(events)]
        exchange = worker._exchange
        assert exchange is not None
        while not exchange.ended:
            exchange._changed.clear()
            await exchange._changed.wait()
        received += [event async for event in events]
    pieces = [event for event in received if isinstance(event, TextPiece)]
    assert len(received) < 300
    assert sum(len(piece.text) for piece in pieces) == count * PIECE_BYTES + len(str(count))
    assert [token for piece in pieces for token in piece.token_ids] == [*range(count), 1, 2]


async def test_a_message_too_large_is_refused_before_it_is_sent(worker: EngineWorker) -> None:
    await load(worker)
    with pytest.raises(EngineError, match="longer than the engine accepts"):
        await reply(worker, "x" * (MOST_MESSAGE_BYTES + 1))
    assert isinstance((await reply(worker, "say hello", turn=2))[-1], Finished)


async def test_a_file_name_that_is_no_unicode_is_refused_in_words(worker: EngineWorker) -> None:
    with pytest.raises(EngineError, match="not valid Unicode"):
        await load(worker, "model-\udcff.gguf")


@pytest.mark.parametrize("phase", ["idle", "load", "read", "write"])
async def test_close_leaves_no_process_behind(phase: str) -> None:
    worker = EngineWorker(OBEDIENT)
    if phase == "load":
        task = asyncio.create_task(load(worker, "endless"))
    else:
        await load(worker)
        task = asyncio.create_task(reply(worker, "say hello" if phase == "idle" else phase))
    while worker.process_id is None or (phase == "idle" and not task.done()):
        await asyncio.sleep(0)
    process_id = worker.process_id
    await worker.close()
    await asyncio.wait((task,))
    with pytest.raises(ProcessLookupError):
        os.kill(process_id, 0)
    assert phase == "idle" or task.exception() is not None or isinstance(task.result()[-1], Finished | Failed)


async def test_close_may_be_called_twice_and_before_anything(worker: EngineWorker) -> None:
    await worker.close()
    await load(worker)
    await worker.close()
    await worker.close()
    assert worker.process_id is None


# --- reading ahead ----------------------------------------------------------------------------------------------------


def ahead(draft: str = "") -> IdlePrefillRequest:
    return IdlePrefillRequest((ChatMessage(Role.USER, "hi"),), draft)


async def idle_prefill(worker: EngineWorker, draft: str = "") -> list[Event]:
    return [event async for event in worker.idle_prefill(ahead(draft))]


async def endless(worker: EngineWorker) -> asyncio.Task[list[Event]]:
    """A reading ahead that has begun and does not end by itself."""
    began = asyncio.Event()

    async def listen() -> list[Event]:
        events: list[Event] = []
        async for event in worker.idle_prefill(ahead("endless")):
            events.append(event)
            began.set()
        return events

    task = asyncio.create_task(listen())
    await began.wait()
    return task


async def test_reading_ahead_says_how_far_it_is_and_ends(worker: EngineWorker) -> None:
    await load(worker)
    assert await idle_prefill(worker) == [IdlePrefillProgress(1, 2), IdlePrefillFinished(2)]


async def test_a_reply_ends_what_is_read_ahead_and_gets_its_own_events_only(worker: EngineWorker) -> None:
    await load(worker)
    reading = await endless(worker)
    events = await reply(worker, "say hello")
    assert [type(event) for event in events] == [PromptProgress, TextPiece, Finished]
    assert await reading == [IdlePrefillProgress(1, 2)]


async def test_a_load_ends_what_is_read_ahead(worker: EngineWorker) -> None:
    await load(worker)
    reading = await endless(worker)
    assert await load(worker, "other.gguf") == [
        LoadProgress(LoadStage.READ, 1, 2),
        ModelLoaded(model_info("other.gguf")),
    ]
    assert await reading == [IdlePrefillProgress(1, 2)]


async def test_another_draft_ends_what_is_read_ahead(worker: EngineWorker) -> None:
    await load(worker)
    reading = await endless(worker)
    assert await idle_prefill(worker) == [IdlePrefillProgress(1, 2), IdlePrefillFinished(2)]
    assert await reading == [IdlePrefillProgress(1, 2)]


async def test_an_estimate_ends_what_is_read_ahead(worker: EngineWorker) -> None:
    await load(worker)
    reading = await endless(worker)
    assert await worker.estimate(EstimateRequest((ChatMessage(Role.USER, "hi"),))) == PromptEstimate(7, 1, None)
    assert await reading == [IdlePrefillProgress(1, 2)]


async def test_cancel_ends_what_is_read_ahead(worker: EngineWorker) -> None:
    await load(worker)
    reading = await endless(worker)
    worker.cancel()
    assert (await reading)[-1] == IdlePrefillFinished(1)


async def test_a_task_that_is_cancelled_while_it_reads_ahead_stops_the_reading(worker: EngineWorker) -> None:
    await load(worker)
    reading = await endless(worker)
    reading.cancel()
    await asyncio.wait((reading,))
    assert await idle_prefill(worker) == [IdlePrefillProgress(1, 2), IdlePrefillFinished(2)]


async def test_many_drafts_one_after_the_other_keep_the_order_of_the_pipe(worker: EngineWorker) -> None:
    await load(worker)
    for turn in range(1, 30):
        reading = await endless(worker)
        events = await reply(worker, f"say {turn}", turn)
        assert TextPiece(turn, str(turn), (1, 2)) in events
        assert await reading == [IdlePrefillProgress(1, 2)]


async def test_reading_ahead_while_a_reply_is_under_way_is_refused(worker: EngineWorker) -> None:
    await load(worker)
    async with aclosing(worker.reply(say("write"))) as events:
        await anext(events)
        with pytest.raises(CallerError):
            await idle_prefill(worker)


async def test_a_notice_while_reading_ahead_is_one_of_its_events(worker: EngineWorker) -> None:
    await load(worker)
    notice = Notice("a saved state was not used")
    events = await idle_prefill(worker, "troubled")
    assert notice in events and events[-1] == IdlePrefillFinished(2)
    assert notice not in await reply(worker, "say hello")


async def test_a_notice_that_a_dropped_reading_ahead_has_not_shown_opens_the_next_reply(worker: EngineWorker) -> None:
    await load(worker)
    async with aclosing(worker.idle_prefill(ahead("troubled"))) as events:
        assert await anext(events) == IdlePrefillProgress(1, 2)
    assert (await reply(worker, "say hello"))[0] == Notice("a saved state was not used")


async def test_a_notice_of_a_failed_save_comes_with_the_reading_ahead_after_it(worker: EngineWorker) -> None:
    await load(worker)
    notice = Notice("the state was not saved")
    await reply(worker, "save badly")
    assert notice in await idle_prefill(worker)
    assert notice not in await reply(worker, "say hello", turn=2)


async def test_a_mistake_while_reading_ahead_is_a_failure_and_the_process_lives_on(worker: EngineWorker) -> None:
    await load(worker)
    (failed,) = await idle_prefill(worker, "mistake")
    assert isinstance(failed, Failed)
    assert isinstance((await reply(worker, "say hello"))[-1], Finished)


async def test_killing_the_process_while_it_reads_ahead_is_an_engine_lost(worker: EngineWorker) -> None:
    await load(worker)
    reading = await endless(worker)
    kill(worker)
    with pytest.raises(EngineLostError, match="SIGKILL"):
        await reading


async def test_close_does_not_wait_for_what_is_read_ahead(worker: EngineWorker) -> None:
    await load(worker)
    reading = await endless(worker)
    await worker.close()
    await asyncio.wait((reading,))
    assert worker.process_id is None


async def test_an_estimate_that_is_refused_says_why(worker: EngineWorker) -> None:
    await load(worker)
    with pytest.raises(EngineError, match="too long"):
        await worker.estimate(EstimateRequest((ChatMessage(Role.USER, "too long"),)))
    assert isinstance((await reply(worker, "say hello"))[-1], Finished)


async def test_what_was_read_ahead_is_reused_by_the_reply(worker: EngineWorker) -> None:
    worker = EngineWorker("tests.fakes.child_engines:engine_without_weights")
    await load(worker, "fake.gguf")
    (*_, finished) = [event async for event in worker.idle_prefill(IdlePrefillRequest((), "a long draft"))]
    request = ReplyRequest(1, (ChatMessage(Role.USER, "a long draft of text"),), max_tokens=1)
    events = [event async for event in worker.reply(request)]
    await worker.close()
    assert isinstance(finished, IdlePrefillFinished)
    assert isinstance(events[-1], Finished)
    assert events[-1].usage.reused_tokens == finished.ready_tokens == len("<user:a long draft")


async def test_ctrl_c_in_the_terminal_does_not_reach_the_process(worker: EngineWorker) -> None:
    await load(worker)
    assert worker.process_id is not None
    os.kill(worker.process_id, signal.SIGINT)
    assert os.getsid(worker.process_id) != os.getsid(0)
    assert isinstance((await reply(worker, "say hello"))[-1], Finished)


async def first_turn(worker: EngineWorker, folder: Path) -> tuple[ReplyRequest, tuple[int, ...]]:
    """One turn with the real engine over a fake model; returns its request and the ledger after it."""
    await load(worker, "fake.gguf", folder)
    request = ReplyRequest(1, (ChatMessage(Role.USER, "hi"),), max_tokens=9, chat_id="c" * 32)
    ledger: tuple[int, ...] = ()
    async for event in worker.reply(request):
        if isinstance(event, PromptEncoded | TextPiece):
            ledger += event.token_ids
    return request, ledger


async def test_after_a_kill_the_chat_goes_on_from_its_state_file(tmp_path: Path) -> None:
    worker = EngineWorker("tests.fakes.child_engines:engine_without_weights")
    request, ledger = await first_turn(worker, tmp_path)
    await load(worker, "fake.gguf", tmp_path)  # served once the state is saved
    kill(worker)
    with pytest.raises(EngineLostError):
        await reply(worker, "lost")
    await load(worker, "fake.gguf", tmp_path)
    again = msgspec.structs.replace(request, turn=2, ledger=ledger)
    events = [event async for event in worker.reply(again)]
    await worker.close()
    assert not [event for event in events if isinstance(event, Notice)]
    assert isinstance(events[-1], Finished)
    assert events[-1].usage.reused_tokens == len(ledger) - 9 - 1


async def test_closing_during_an_answer_saves_what_there_is_of_it(tmp_path: Path) -> None:
    worker = EngineWorker("tests.fakes.child_engines:engine_without_weights")
    await load(worker, "fake.gguf", tmp_path)
    request = ReplyRequest(1, (ChatMessage(Role.USER, "hi"),), chat_id="c" * 32)
    async with aclosing(worker.reply(request)) as events:
        while not isinstance(await anext(events), TextPiece):
            pass  # before anything is read there is nothing to save
        await worker.close()
    assert len(list(tmp_path.rglob("*.tlk"))) == 1


PARENT = """
import asyncio, sys
from tui_llama.engine.requests import CompleteRequest, LoadRequest
from tui_llama.engine.process.worker import EngineWorker

async def main():
    worker = EngineWorker("tests.fakes.child_engines:ObedientEngine")
    async for _ in worker.load(LoadRequest(sys.argv[1])):
        if sys.argv[1] == "endless":
            print(worker.process_id, flush=True)
    async for _ in worker.reply(CompleteRequest(1, sys.argv[2])):
        print(worker.process_id, flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


@needs_descriptors_of_processes
@pytest.mark.parametrize(
    ("model", "text"), [("endless", ""), ("m.gguf", "read"), ("m.gguf", "write"), ("m.gguf", "say hello")]
)
def test_the_process_ends_when_its_parent_is_killed(model: str, text: str) -> None:
    root = Path(__file__).parents[3]
    command = [sys.executable, "-c", PARENT, model, text]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=root, text=True) as parent:
        assert parent.stdout is not None
        descriptor = os.pidfd_open(int(parent.stdout.readline()))
        parent.kill()
    try:
        ended, _, _ = select.select([descriptor], [], [], HANG_SECONDS)
    finally:
        os.close(descriptor)
    assert ended


async def test_a_child_that_reads_garbage_leaves_with_a_status_of_its_own(worker: EngineWorker) -> None:
    await load(worker)
    child = worker._child
    assert child is not None
    child._write(b"\xff" * 8)
    with pytest.raises(EngineLostError, match="exit status 3"):
        await reply(worker, "write")
    assert "FrameError" in paths.log_file().read_text()
