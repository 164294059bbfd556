"""Screens that chat with a server's engine, wait for it, stop it, leave it, and talk nonsense to it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.fakes.attached_screens import MESSAGES, Serving, events_of, finished, gated, last_reason, say, serving, until
from tests.patience import HANG_SECONDS
from tests.serve.openai.asking import Asker, said
from tui_llama import paths
from tui_llama.chat import StopReason, Usage
from tui_llama.engine.events import (
    Failed,
    Finished,
    IdlePrefillFinished,
    IdlePrefillProgress,
    ModelLoaded,
    Notice,
    PromptEstimate,
    TextPiece,
    Tokenized,
)
from tui_llama.engine.process.attached import ATTACHED
from tui_llama.engine.process.framing import decode_event, encode_frame, receive_frame
from tui_llama.engine.process.sockets import address, socket_path
from tui_llama.engine.process.worker import EngineWorker
from tui_llama.engine.protocol import Engine, Event, IdlePrefillEvent, Request
from tui_llama.engine.requests import (
    CancelRequest,
    EstimateRequest,
    IdlePrefillRequest,
    LoadRequest,
    ShutdownRequest,
    StopIdlePrefill,
    TokenizeRequest,
)
from tui_llama.engine.scripted import Gate, Loss, ScriptedEngine, demo_model
from tui_llama.errors import EngineError, EngineLostError

STOPPED = StopReason.STOPPED
CHAT = "0" * 32
HALF = TextPiece(0, "half", (1,))


@pytest.fixture
def model_file(tmp_path: Path) -> Path:
    path = tmp_path / "model.gguf"
    path.write_bytes(b"weights")
    return path


async def test_a_screen_chats_with_the_model_that_the_server_has_loaded(model_file: Path) -> None:
    async with serving(model_file) as server, server.screen() as screen:
        assert server.loaded == [Notice(ATTACHED), ModelLoaded(demo_model(str(model_file)))]

        events = await events_of(screen, say(3))

    assert events == await events_of(ScriptedEngine(), say(3))
    assert len(server.engine.load_requests) == 1


async def test_a_screen_estimates_and_tokenises_as_with_an_engine_of_its_own(model_file: Path) -> None:
    async with serving(model_file) as server, server.screen() as screen:
        request = EstimateRequest(MESSAGES, shows_prompt=True)

        assert await screen.estimate(request) == await ScriptedEngine().estimate(request)
        assert await screen.tokenize(TokenizeRequest("añ")) == Tokenized((97, 241), "añ")


async def test_the_chat_stays_the_owner_of_what_is_stored(model_file: Path) -> None:
    async with serving(model_file) as server, server.screen() as screen:
        await events_of(screen, say(chat_id=CHAT))

    assert server.engine.reply_requests == [say(chat_id=CHAT)]


async def test_nothing_is_stored_for_a_user_who_wants_that(model_file: Path) -> None:
    async with serving(model_file) as server, server.screen(prompt_cache_folder="") as screen:
        await events_of(screen, say(chat_id=CHAT))
        await screen.estimate(EstimateRequest(MESSAGES, chat_id=CHAT))

    assert server.engine.reply_requests == [say()]
    assert server.engine.estimate_requests == [EstimateRequest(MESSAGES)]


async def test_a_user_is_told_that_the_server_stores_nothing(model_file: Path) -> None:
    stored = str(model_file.parent / "prompts")
    async with (
        serving(model_file, load_request=LoadRequest(str(model_file))) as server,
        server.screen(prompt_cache_folder=stored),
    ):
        loaded = server.loaded[-1]

    assert isinstance(loaded, ModelLoaded)
    assert "stores no prompts" in loaded.notices[0]


async def test_an_error_of_the_engine_is_one_of_the_screen(model_file: Path) -> None:
    def refuse(_request: EstimateRequest) -> Any:
        raise EngineError("the prompt is too long", "Shorten it.")

    async with serving(model_file, ScriptedEngine(estimate=refuse)) as server, server.screen() as screen:
        with pytest.raises(EngineError, match="too long") as error:
            await screen.estimate(EstimateRequest(MESSAGES))

        assert error.value.hint == "Shorten it."
        assert last_reason(await events_of(screen, say())) is StopReason.END_OF_GENERATION


async def test_a_mistake_of_ours_is_a_message_and_noted_in_the_log(model_file: Path) -> None:
    def mistaken(_request: EstimateRequest) -> Any:
        raise ZeroDivisionError("a mistake")

    async with serving(model_file, ScriptedEngine(estimate=mistaken)) as server, server.screen() as screen:
        with pytest.raises(EngineError, match="ZeroDivisionError: a mistake"):
            await screen.estimate(EstimateRequest(MESSAGES))

        assert screen.is_alive
    assert "ZeroDivisionError" in paths.log_file().read_text()


async def test_an_engine_that_the_server_loses_is_a_failure_and_the_server_stays(model_file: Path) -> None:
    engine = ScriptedEngine(replies=[[Loss("the process ended", "Try again.")]])
    async with serving(model_file, engine) as server, server.screen() as screen:
        assert await events_of(screen, say(2)) == [Failed(2, "the process ended", "Try again.")]

        assert screen.is_alive
        assert last_reason(await events_of(screen, say(3))) is StopReason.END_OF_GENERATION


async def test_an_answer_without_an_end_is_a_failure(model_file: Path) -> None:
    engine = ScriptedEngine(replies=[[TextPiece(0, "a", (1,))]])
    async with serving(model_file, engine) as server, server.screen() as screen:
        events = await events_of(screen, say(2))

    assert events == [TextPiece(2, "a", (1,)), Failed(2, "the engine ended without an answer")]


@asynccontextmanager
async def worker() -> AsyncIterator[EngineWorker]:
    """A real process of the engine, as the server has it."""
    engine = EngineWorker("tests.fakes.child_engines:ObedientEngine")
    yield engine
    await engine.close()


async def test_a_screen_is_served_by_the_process_of_a_real_engine(model_file: Path) -> None:
    async with worker() as engine, serving(model_file, engine) as server, server.screen() as screen:
        assert (await events_of(screen, say(text="say hello")))[1] == TextPiece(1, "hello", (1, 2))
        with pytest.raises(EngineError, match="no such token"):
            await screen.tokenize(TokenizeRequest("no such token"))

        events: list[Event] = []
        async for event in screen.reply(say(text="write more")):
            events.append(event)
            screen.cancel()
        assert last_reason(events) is STOPPED


async def test_what_failed_after_an_answer_is_told_to_the_screen_whose_chat_it_is(model_file: Path) -> None:
    async with (
        worker() as engine,
        serving(model_file, engine) as server,
        bare_screen(server) as owner,
        server.screen() as other,
    ):
        owner.send(say(3, "save " + str(model_file.parent / "saved"), CHAT))
        while not isinstance(await owner.receive(), Finished):
            pass
        others = [await events_of(other, say(3, "say hello")) for _ in range(2)]

        assert not any(isinstance(event, Notice) for events in others for event in events)
        assert await owner.receive() == Notice("the state was not saved", chat_id=CHAT)


async def test_what_failed_after_an_answer_does_not_go_to_a_program_that_asks_by_http(model_file: Path) -> None:
    late = Notice("the state was not saved", chat_id=CHAT)
    asker = Asker([said("one"), [late, *said("two")]])
    told: list[Notice] = []
    asker.queue.on_late_notice = told.append
    await asker.ask()

    assert (await asker.ask()).json["choices"][0]["message"]["content"] == "two"
    assert told == [late]


# --- cancelling and leaving -----------------------------------------------------------------------------------------


async def test_a_reply_under_way_is_cancelled_at_once(model_file: Path) -> None:
    engine, _ = gated(HALF)
    async with serving(model_file, engine) as server, server.screen() as screen:
        events: list[Event] = []
        async for event in screen.reply(say()):
            events.append(event)
            screen.cancel()

        assert events[0] == TextPiece(1, "half", (1,))
        assert last_reason(events) is STOPPED


async def test_a_cancel_while_waiting_leaves_the_queue_and_not_the_other_ones_answer(model_file: Path) -> None:
    engine, gate = gated()
    async with serving(model_file, engine) as server, server.screen() as first, server.screen() as second:
        answering = asyncio.create_task(events_of(first, say()))
        await gate.reached()
        waiting = asyncio.create_task(events_of(second, say(7)))
        await until(lambda: server.queue.length == 1)
        second.cancel()

        assert last_reason(await waiting) is STOPPED
        assert server.queue.length == 0
        gate.open()
        await answering
        assert not engine._cancelled.is_set()
        assert len(engine.reply_requests) == 1


async def test_a_screen_that_disappears_ends_its_answer_for_the_next_one(model_file: Path) -> None:
    engine, gate = gated()
    async with serving(model_file, engine) as server, server.screen() as second:
        async with server.screen() as first:
            answering = asyncio.create_task(events_of(first, say()))
            await gate.reached()
        with pytest.raises(EngineLostError, match="was closed"):
            await answering

        assert last_reason(await events_of(second, say())) is StopReason.END_OF_GENERATION


async def test_a_screen_that_disappears_while_it_waits_waits_no_more(model_file: Path) -> None:
    engine, gate = gated()
    async with serving(model_file, engine) as server, server.screen() as first:
        answering = asyncio.create_task(events_of(first, say()))
        await gate.reached()
        async with server.screen() as second:
            waiting = asyncio.create_task(events_of(second, say()))
            await until(lambda: server.queue.length == 1)
        await until(lambda: server.queue.length == 0)
        with pytest.raises(EngineLostError):
            await waiting
        gate.open()
        await answering


async def test_a_screen_that_leaves_an_answer_half_read_can_ask_again(model_file: Path) -> None:
    engine, _ = gated(HALF)
    async with serving(model_file, engine) as server, server.screen() as screen:
        events = screen.reply(say())
        async with aclosing(events):  # type: ignore[type-var]
            await anext(events)

        assert last_reason(await events_of(screen, say(2))) is StopReason.END_OF_GENERATION


async def test_leaving_does_no_harm_to_the_server(model_file: Path) -> None:
    async with serving(model_file) as server:
        for _ in range(3):
            async with server.screen() as screen:
                await events_of(screen, say())

        assert server.engine.is_alive
        assert not server.engine.is_closed


async def test_the_end_of_the_server_is_a_lost_engine(model_file: Path) -> None:
    async with serving(model_file) as server, server.screen() as screen:
        await server.stop()

        with pytest.raises(EngineLostError, match="has ended"):
            await events_of(screen, say())


async def test_a_queue_that_is_closed_ends_the_connection(model_file: Path) -> None:
    async with serving(model_file) as server, server.screen() as screen:
        server.queue.close()

        with pytest.raises(EngineLostError, match="has ended"):
            await events_of(screen, say())


# --- waiting --------------------------------------------------------------------------------------------------------


async def test_two_screens_and_a_client_of_http_are_served_in_turn(model_file: Path) -> None:
    engine, gate = gated()

    async def ask_by_http(text: str) -> None:
        async with server.queue.turn("http") as given:
            await events_of(given, say(text=text))

    async with serving(model_file, engine) as server, server.screen() as one, server.screen() as two:
        tasks = [asyncio.create_task(ask_by_http("http 1"))]
        await gate.reached()
        asked = (ask_by_http("http 2"), events_of(one, say(text="one")), events_of(two, say(text="two")))
        for length, asking in enumerate((*asked, ask_by_http("http 3")), start=1):
            tasks.append(asyncio.create_task(asking))  # type: ignore[arg-type]
            await until(lambda length=length: server.queue.length == length)  # type: ignore[misc]
        gate.open()
        await asyncio.gather(*tasks)

    texts = [request.messages[0].text for request in engine.reply_requests]
    assert texts == ["http 1", "one", "two", "http 2", "http 3"]


async def test_whoever_waits_long_is_told_how_many_are_before_him(model_file: Path) -> None:
    engine, gate = gated()
    heard: list[list[Event]] = [[], [], []]

    async def ask(screen: Engine, events: list[Event]) -> None:
        async for event in screen.reply(say()):
            events.append(event)

    async with (
        serving(model_file, engine, notice_seconds=0) as server,
        server.screen() as one,
        server.screen() as two,
        server.screen() as three,
    ):
        tasks = [asyncio.create_task(ask(one, heard[0]))]
        await gate.reached()
        for screen, events in ((two, heard[1]), (three, heard[2])):
            tasks.append(asyncio.create_task(ask(screen, events)))
            await until(lambda events=events: bool(events))  # type: ignore[misc]
        gate.open()
        await asyncio.gather(*tasks)

    assert heard[1][0] == Notice("Waiting for another program: 1 request before this one.")
    assert heard[2][0] == Notice("Waiting for other programs: at most 2 requests before this one.")
    assert [sum(isinstance(event, Notice) for event in events) for events in heard] == [0, 1, 1]


async def test_whoever_does_not_wait_is_told_nothing(model_file: Path) -> None:
    async with serving(model_file, notice_seconds=HANG_SECONDS) as server, server.screen() as screen:
        assert not any(isinstance(event, Notice) for event in await events_of(screen, say()))


async def test_a_screen_is_told_when_too_many_wait(model_file: Path) -> None:
    engine, gate = gated()
    async with serving(model_file, engine, most_waiting=0) as server, server.screen() as one, server.screen() as two:
        answering = asyncio.create_task(events_of(one, say()))
        await gate.reached()

        (failed,) = await events_of(two, say(5))

        gate.open()
        await answering
    assert isinstance(failed, Failed)
    assert failed.turn == 5
    assert "too many programs wait" in failed.message


async def test_a_screen_that_takes_nothing_does_not_hold_up_the_others(model_file: Path) -> None:
    pieces = [TextPiece(0, "x" * 1_000_000, (number,)) for number in range(20)]
    engine = ScriptedEngine(replies=[[*pieces, finished()]])
    async with serving(model_file, engine) as server, bare_screen(server) as stopped, server.screen() as screen:
        stopped.requests.transport.pause_reading()  # type: ignore[attr-defined]
        stopped.send(say())
        await until(lambda: len(engine.reply_requests) == 1)

        assert last_reason(await events_of(screen, say())) is StopReason.END_OF_GENERATION


async def test_a_question_that_waits_ends_with_the_next_one_and_does_not_hold_up_a_reply(model_file: Path) -> None:
    engine, gate = gated()
    async with serving(model_file, engine) as server, server.screen() as other, bare_screen(server) as screen:
        answering = asyncio.create_task(events_of(other, say()))
        await gate.reached()
        screen.send(*(EstimateRequest(MESSAGES) for _ in range(40)), say(7), CancelRequest(7))

        for _ in range(40):
            assert isinstance(await screen.receive(), Failed)
        assert await screen.receive() == Finished(7, STOPPED, Usage())
        assert server.queue.length == 0
        gate.open()
        await answering
    assert not engine.estimate_requests


async def test_a_reply_behind_a_question_is_told_that_it_waits(model_file: Path) -> None:
    engine, gate = gated()
    async with (
        serving(model_file, engine, notice_seconds=0) as server,
        server.screen() as other,
        bare_screen(server) as screen,
    ):
        answering = asyncio.create_task(events_of(other, say()))
        await gate.reached()
        screen.send(EstimateRequest(MESSAGES), say(7))

        assert isinstance(await screen.receive(), Failed)
        assert await screen.receive() == Notice("Waiting for another program: 1 request before this one.")
        gate.open()
        await answering


# --- idle prefill ---------------------------------------------------------------------------------------------------


def prefilling() -> tuple[ScriptedEngine, list[Gate]]:
    """An engine whose idle prefills wait each at a gate of its own."""
    gates: list[Gate] = []

    def steps(_request: IdlePrefillRequest) -> list[Any]:
        gates.append(Gate())
        return [IdlePrefillProgress(1, 9), gates[-1], IdlePrefillFinished(9)]

    return ScriptedEngine(idle_prefill=steps), gates


async def prefill(engine: Engine) -> list[IdlePrefillEvent]:
    return [event async for event in engine.idle_prefill(IdlePrefillRequest(MESSAGES))]


async def test_a_screen_prefills_while_nothing_is_asked(model_file: Path) -> None:
    engine, gates = prefilling()
    async with serving(model_file, engine) as server, server.screen() as screen:
        prefilled = asyncio.create_task(prefill(screen))
        await until(lambda: bool(gates))
        gates[0].open()

        assert await prefilled == [IdlePrefillProgress(1, 9), IdlePrefillFinished(9)]


async def test_idle_prefill_gives_way_at_once_to_any_other_client(model_file: Path) -> None:
    async with (
        worker() as engine,
        serving(model_file, engine) as server,
        server.screen() as one,
        server.screen() as two,
    ):
        prefill_events = one.idle_prefill(IdlePrefillRequest(MESSAGES, "endless"))
        assert await anext(prefill_events) == IdlePrefillProgress(1, 2)

        assert TextPiece(1, "hello", (1, 2)) in await events_of(two, say(text="say hello"))
        assert [event async for event in prefill_events] == [IdlePrefillFinished(0)]


async def test_idle_prefill_gives_way_to_an_estimate(model_file: Path) -> None:
    async with (
        worker() as engine,
        serving(model_file, engine) as server,
        server.screen() as one,
        server.screen() as two,
    ):
        prefill_events = one.idle_prefill(IdlePrefillRequest(MESSAGES, "endless"))
        assert await anext(prefill_events) == IdlePrefillProgress(1, 2)

        assert await two.estimate(EstimateRequest(MESSAGES)) == PromptEstimate(7, 1, None)
        assert [event async for event in prefill_events] == [IdlePrefillFinished(0)]


async def test_there_is_no_idle_prefill_while_another_one_is_answered(model_file: Path) -> None:
    engine, gate = gated()
    async with serving(model_file, engine) as server, server.screen() as one, server.screen() as two:
        answering = asyncio.create_task(events_of(one, say()))
        await gate.reached()

        assert await prefill(two) == [IdlePrefillFinished(0)]
        assert not engine.idle_prefill_requests
        gate.open()
        await answering


async def test_a_screens_own_request_ends_its_idle_prefill(model_file: Path) -> None:
    engine, gates = prefilling()
    async with serving(model_file, engine) as server, server.screen() as screen:
        prefilled = asyncio.create_task(prefill(screen))
        await until(lambda: bool(gates))

        assert last_reason(await events_of(screen, say())) is StopReason.END_OF_GENERATION
        assert IdlePrefillFinished(9) not in await prefilled


async def test_a_screen_that_stops_its_idle_prefill_ends_it_at_the_server(model_file: Path) -> None:
    engine, gates = prefilling()
    async with serving(model_file, engine) as server, bare_screen(server) as screen:
        screen.send(IdlePrefillRequest(MESSAGES))
        await until(lambda: bool(gates))
        assert await screen.receive() == IdlePrefillProgress(1, 9)
        screen.send(StopIdlePrefill())

        assert await screen.receive() == IdlePrefillFinished(0)


async def test_idle_prefill_that_was_not_begun_ends_with_the_next_request(model_file: Path) -> None:
    engine, gate = gated()
    async with serving(model_file, engine) as server, bare_screen(server) as screen:
        screen.send(say(1), IdlePrefillRequest(MESSAGES), say(2), CancelRequest(2))
        await gate.reached()
        gate.open()

        assert await screen.receive() == msgspec.structs.replace(finished(), turn=1)
        assert await screen.receive() == IdlePrefillFinished(0)
        assert await screen.receive() == Finished(2, STOPPED, Usage())
        assert not engine.idle_prefill_requests
        assert len(engine.reply_requests) == 1


# --- nonsense -------------------------------------------------------------------------------------------------------


class BareScreen:
    """The frames of a screen, without its manners."""

    def __init__(self, events: asyncio.StreamReader, requests: asyncio.StreamWriter) -> None:
        self.requests = requests
        self._events = events

    def send(self, *requests: Request) -> None:
        for request in requests:
            self.requests.write(encode_frame(request))

    async def receive(self) -> Event | None:
        """The next event; None if the server has ended the connection."""
        async with asyncio.timeout(HANG_SECONDS):
            try:
                body = await receive_frame(self._events)
            except ConnectionError:
                return None
        return None if body is None else decode_event(body)


@asynccontextmanager
async def bare_screen(server: Serving, *, has_model: bool = True) -> AsyncIterator[BareScreen]:
    with address(socket_path(server.folder, server.load_request.model_path)) as place:
        screen = BareScreen(*await asyncio.open_unix_connection(place))
    if has_model:
        screen.send(server.load_request)
        assert isinstance(await screen.receive(), ModelLoaded)
    try:
        yield screen
    finally:
        screen.requests.transport.abort()


GARBAGE = {
    "length": b"\xff" * 8,
    "no length": b"\0" * 8,
    "type": b"\x02\0\0\0\x81\xa1",
    "event": encode_frame(IdlePrefillFinished(1)),
    "half": encode_frame(LoadRequest("m"))[:-1],
    "http": b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
}


@pytest.mark.parametrize("garbage", GARBAGE.values(), ids=GARBAGE.keys())
@pytest.mark.parametrize("has_model", [False, True], ids=["before the load", "after the load"])
async def test_garbage_ends_its_own_connection_only(model_file: Path, garbage: bytes, has_model: bool) -> None:
    async with serving(model_file) as server, server.screen() as decent:
        async with bare_screen(server, has_model=has_model) as screen:
            screen.requests.write(garbage)
            screen.requests.write_eof()

            assert await screen.receive() is None
        assert last_reason(await events_of(decent, say())) is StopReason.END_OF_GENERATION
    assert "FrameError" in paths.log_file().read_text()


async def test_garbage_in_mid_answer_ends_the_answer(model_file: Path) -> None:
    engine, _ = gated(HALF)
    async with serving(model_file, engine) as server, bare_screen(server) as screen, server.screen() as decent:
        screen.send(say())
        assert await screen.receive() == TextPiece(1, "half", (1,))
        screen.requests.write(b"\xff" * 8)

        assert await screen.receive() is None
        assert last_reason(await events_of(decent, say())) is StopReason.END_OF_GENERATION


async def test_a_request_before_a_model_was_asked_for_is_a_failure(model_file: Path) -> None:
    async with serving(model_file) as server, bare_screen(server, has_model=False) as screen:
        screen.send(say(4))
        assert await screen.receive() == Failed(4, "no model is loaded", "Load a model first.")

        screen.send(LoadRequest("another"), TokenizeRequest("a"))
        assert await screen.receive() == Failed(None, "it has loaded another file")
        assert await screen.receive() == Failed(None, "no model is loaded", "Load a model first.")

        screen.send(server.load_request, TokenizeRequest("a"))
        assert isinstance(await screen.receive(), ModelLoaded)
        assert await screen.receive() == Tokenized((97,), "a")


async def test_a_path_that_cannot_be_one_is_another_file(model_file: Path) -> None:
    async with serving(model_file) as server, bare_screen(server, has_model=False) as screen:
        screen.send(LoadRequest("zero\0byte"))

        assert await screen.receive() == Failed(None, "it has loaded another file")


@pytest.mark.parametrize(
    "asked",
    [[say(turn) for turn in range(2, 40)], [TokenizeRequest("a")] * 1000],
    ids=["replies", "questions that end each other"],
)
async def test_a_screen_that_asks_for_far_too_much_at_once_is_sent_away(model_file: Path, asked: list[Request]) -> None:
    engine, gate = gated()
    async with serving(model_file, engine) as server, bare_screen(server) as screen:
        screen.send(say())
        await gate.reached()
        screen.send(*asked)

        assert await screen.receive() is None


async def test_a_cancel_of_nothing_cancels_nothing(model_file: Path) -> None:
    async with serving(model_file) as server, bare_screen(server) as screen:
        screen.send(CancelRequest(None), CancelRequest(9), StopIdlePrefill(), TokenizeRequest("a"))

        assert await screen.receive() == Tokenized((97,), "a")


async def test_a_screen_that_says_goodbye_ends_its_connection_and_nothing_else(model_file: Path) -> None:
    async with serving(model_file) as server, bare_screen(server) as screen:
        screen.send(ShutdownRequest())

        assert await screen.receive() is None
        assert not server.engine.is_closed


async def test_more_screens_than_anybody_has_are_sent_away(model_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tui_llama.serve.attach._MOST_SCREENS", 1)
    async with serving(model_file) as server, server.screen() as first, server.screen() as second:
        assert (first.is_attached, second.is_attached) == (True, False)


async def test_a_screen_for_which_far_too_much_is_kept_is_sent_away(
    model_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tui_llama.serve.attached_screen._MOST_UNSENT_BYTES", 1_000_000)
    pieces = [TextPiece(0, "x" * 1_000_000, (number,)) for number in range(20)]
    engine = ScriptedEngine(replies=[[*pieces, Gate()]])
    async with serving(model_file, engine) as server, bare_screen(server) as stopped, server.screen() as screen:
        stopped.requests.transport.pause_reading()  # type: ignore[attr-defined]
        stopped.send(say())

        await until(lambda: len(engine.reply_requests) == 1)
        assert last_reason(await events_of(screen, say())) is StopReason.END_OF_GENERATION
