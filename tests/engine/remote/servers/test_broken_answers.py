"""Answers that break off, fail or have no end: what came is kept, and the cause is told."""

import pytest

from tests.engine.remote.remote_chat import (
    ANSWER,
    BEGUN,
    KEY,
    chatting,
    check_events,
    ended_well,
    failure_of,
    reply_request,
)
from tests.fakes import openai_streams as wire
from tests.fakes.engine_events import finish_of, text_of
from tests.fakes.openai_dialects import (
    LLAMA_SERVER,
    OLLAMA,
    PLAIN,
    SGLANG,
    Kind,
)
from tests.fakes.openai_server import Cut, Framing, stream
from tui_llama.chat import StopReason
from tui_llama.engine.events import Failed, FailureCause, TextPiece
from tui_llama.engine.scripted import Gate

LLAMA = "🦙".encode()

CUTS: dict[str, list[bytes]] = {
    "between two events": [],
    "in a line": [b"dat"],
    "in a JSON text": [wire.text(" more")[:60]],
    "in a character": [wire.text("🦙").partition(LLAMA)[0] + LLAMA[:2]],
    "after a line": [wire.text(" more").rstrip(b"\n")[:-1] + b"\n"],
}


@pytest.mark.parametrize("cut", [Cut.RESET, Cut.CLOSE])
@pytest.mark.parametrize("pieces", CUTS.values(), ids=CUTS.keys())
async def test_an_answer_that_is_cut_off_is_kept_as_far_as_it_came(pieces: list[bytes], cut: Cut) -> None:
    async with chatting(PLAIN) as chat:
        failure = failure_of(await chat.ask(stream(*BEGUN, *pieces, cut)), FailureCause.CUT_OFF)
        assert failure.hint
        await chat.works_again()


@pytest.mark.parametrize(
    "event",
    [f"data: {'x' * 194} {KEY} is no key\n\n".encode(), wire.event({"error": {"message": f"{'x' * 194} {KEY}"}})],
    ids=["no JSON", "error"],
)
async def test_no_part_of_the_key_is_shown_that_a_server_repeats_in_an_answer(event: bytes) -> None:
    async with chatting(PLAIN, key=KEY) as chat:
        failure = failure_of(await chat.ask(stream(*BEGUN, event)), FailureCause.ERROR_IN_STREAM)
        assert KEY[:4] not in failure.message


@pytest.mark.parametrize("framing", [Framing.CHUNKED, Framing.UNTIL_CLOSE])
@pytest.mark.parametrize("pieces", [[], [wire.DONE], [wire.usage(), wire.DONE]], ids=["nothing", "DONE", "usage"])
async def test_a_stream_without_a_reason_for_its_end_is_no_whole_answer(pieces: list[bytes], framing: Framing) -> None:
    async with chatting(PLAIN) as chat:
        events = await chat.ask(stream(*BEGUN, *pieces, framing=framing))
        assert text_of(events) == ANSWER
        assert failure_of(events, FailureCause.NO_END).hint
        await chat.works_again()


@pytest.mark.parametrize("kind", [LLAMA_SERVER, SGLANG, OLLAMA, PLAIN], ids=repr)
async def test_the_hint_speaks_of_going_on_only_where_an_answer_can(kind: Kind) -> None:
    async with chatting(kind) as chat:
        failure = failure_of(await chat.ask(stream(*BEGUN)), FailureCause.NO_END)
        assert ("go on" in failure.hint) == chat.loaded.model.capabilities.can_continue
        assert "ry again" in failure.hint


async def test_ollamas_swallowed_error_is_no_whole_answer() -> None:
    async with chatting(OLLAMA) as chat:
        events = await chat.ask([*wire.ollama()[:2], wire.text("")])
        assert text_of(events) == "".join(wire.ANSWER[:2])
        failure_of(events, FailureCause.NO_END)


@pytest.mark.parametrize("end", [[], [wire.DONE]], ids=["no DONE", "DONE"])
@pytest.mark.parametrize(
    "error",
    [
        {"code": 500, "message": "out of memory", "type": "server_error"},
        {"object": "error", "message": "out of memory", "type": "InternalServerError", "code": 500},
        "out of memory",
    ],
    ids=["object", "SGLang", "text"],
)
async def test_an_error_in_the_stream_is_told_and_the_answer_kept(error: object, end: list[bytes]) -> None:
    async with chatting(PLAIN) as chat:
        events = await chat.ask([*BEGUN, wire.error_event(error), *end])
        assert text_of(events) == ANSWER
        failure = failure_of(events, FailureCause.ERROR_IN_STREAM)
        assert "out of memory" in failure.message
        assert failure.hint
        await chat.works_again()


@pytest.mark.parametrize("error", [None, {}, 5, [], {"message": 5}, {"message": ""}, {"message": "\x1b]0;x\x07"}])
async def test_an_error_in_the_stream_may_have_any_shape(error: object) -> None:
    async with chatting(PLAIN) as chat:
        events = await chat.ask([*BEGUN, wire.error_event(error), wire.STOP, wire.DONE])
        assert text_of(events) == ANSWER
        if isinstance(events[-1], Failed):
            failure_of(events, FailureCause.ERROR_IN_STREAM)
        else:
            assert not isinstance(error, dict) or "message" not in error


async def test_no_done_is_needed_after_the_end() -> None:
    async with chatting(PLAIN) as chat:
        ended_well(await chat.ask([*BEGUN, wire.STOP]), ANSWER)


@pytest.mark.parametrize("cut", [Cut.RESET, Cut.CLOSE])
async def test_a_whole_answer_stays_one_when_the_connection_breaks_behind_it(cut: Cut) -> None:
    async with chatting(PLAIN) as chat:
        events = await chat.ask(stream(*BEGUN, wire.STOP, cut))
        check_events(events, 7)
        assert text_of(events) == ANSWER
        if isinstance(events[-1], Failed):
            failure_of(events, FailureCause.CUT_OFF)
        else:
            assert finish_of(events).stop_reason == StopReason.END_OF_GENERATION


async def test_what_came_before_a_reset_is_shown_before_it() -> None:
    gate = Gate()
    async with chatting(PLAIN) as chat:
        chat.server.answer(stream(*BEGUN, gate, Cut.RESET))
        text = ""
        async for event in chat.engine.reply(reply_request()):
            if isinstance(event, TextPiece):
                text += event.text
                if text == ANSWER:
                    gate.open()
        assert text == ANSWER
