"""A stop closes the connection at once, wherever the work is, and the engine can be used again."""

import asyncio
import threading
from contextlib import aclosing
from itertools import chain, repeat

import pytest
from msgspec.structs import replace

from tests.engine.remote.remote_chat import (
    ANSWER,
    Chat,
    chat_with,
    chatting,
    check_events,
    ended_well,
    events_of,
    failure_of,
    load_events,
    remote_engine,
    reply_request,
)
from tests.fakes import openai_streams as wire
from tests.fakes.engine_events import finish_of, text_of, thought_of
from tests.fakes.openai_dialects import LLAMA_SERVER, LOADING, MODEL, PLAIN, VLLM
from tests.fakes.openai_server import CHAT, MODELS, Cut, Script, raw, response, stream
from tests.patience import HANG_SECONDS
from tui_llama.chat import StopReason
from tui_llama.engine.events import (
    Failed,
    FailureCause,
    Finished,
    ModelLoaded,
    Notice,
    PromptProgress,
    TextPiece,
)
from tui_llama.engine.protocol import ReplyEvent
from tui_llama.engine.remote.engine import RemoteEngine
from tui_llama.engine.remote.patience import Patience
from tui_llama.engine.scripted import Gate
from tui_llama.servers.address import Server, base_url


def start(chat: Chat, *scripts: Script) -> asyncio.Task[list[ReplyEvent]]:
    """Starts a reply in a task of its own."""
    return asyncio.ensure_future(chat.ask(*scripts))


async def stopped(chat: Chat, reply: asyncio.Task[list[ReplyEvent]]) -> list[ReplyEvent]:
    """Stops a reply, which must end as a stopped one, and leave the server alone; returns its events."""
    chat.engine.cancel()
    events = await asyncio.wait_for(reply, HANG_SECONDS)
    assert finish_of(events).stop_reason == StopReason.STOPPED
    assert await chat.server.last.was_left()
    return events


# --- where the work may be ------------------------------------------------------------------------------------------


async def test_a_stop_before_the_server_has_said_anything() -> None:
    gate = Gate()
    async with chatting(PLAIN) as chat:
        reply = start(chat, raw(gate))
        await gate.reached()
        assert text_of(await stopped(chat, reply)) == ""
        await chat.works_again()


async def test_a_stop_between_the_headers_and_the_first_byte() -> None:
    gate = Gate()
    async with chatting(PLAIN) as chat:
        reply = start(chat, stream(gate))
        await gate.reached()
        assert text_of(await stopped(chat, reply)) == ""
        await chat.works_again()


@pytest.mark.parametrize("ping", [wire.PING, wire.KEEP_ALIVE])
async def test_a_stop_while_there_are_only_pings(ping: bytes) -> None:
    gate = Gate()
    async with chatting(LLAMA_SERVER) as chat:
        reply = start(chat, stream(*[ping] * 20, gate))
        await gate.reached()
        assert text_of(await stopped(chat, reply)) == ""
        await chat.works_again()


async def test_a_stop_while_the_prompt_is_read() -> None:
    gate = Gate()
    async with chatting(LLAMA_SERVER) as chat:
        chat.server.answer(stream(*wire.llama_server()[:1], gate))
        events: list[ReplyEvent] = []
        async for event in chat.engine.reply(reply_request()):
            events.append(event)
            if isinstance(event, PromptProgress):
                chat.engine.cancel()
        check_events(events, 7)
        assert finish_of(events).stop_reason == StopReason.STOPPED
        assert await chat.server.last.was_left()
        await chat.works_again()


async def test_a_stop_in_the_answer_keeps_what_came() -> None:
    gate = Gate()
    async with chatting(PLAIN) as chat:
        chat.server.answer(stream(*wire.plain()[:3], gate))
        events: list[ReplyEvent] = []
        async for event in chat.engine.reply(reply_request()):
            events.append(event)
            if text_of(events) == "".join(wire.ANSWER[:2]) and isinstance(event, TextPiece):
                chat.engine.cancel()
                chat.engine.cancel()
        check_events(events, 7)
        assert text_of(events) == "".join(wire.ANSWER[:2])
        finish = finish_of(events)
        assert finish.stop_reason == StopReason.STOPPED
        assert not finish.usage.knows_tokens
        assert await chat.server.last.was_left()
        await chat.works_again()


async def test_a_stop_in_a_thought_keeps_what_came() -> None:
    gate = Gate()
    async with chatting(VLLM) as chat:
        chat.server.answer(stream(wire.ROLE, wire.chunk({"reasoning": "Let me"}), gate))
        events: list[ReplyEvent] = []
        async for event in chat.engine.reply(reply_request()):
            events.append(event)
            if "Let me" in thought_of(events) and isinstance(event, TextPiece):
                chat.engine.cancel()
        assert finish_of(events).stop_reason == StopReason.STOPPED
        assert thought_of(events) == "Let me"
        assert await chat.server.last.was_left()


async def test_a_stop_while_the_server_loads_its_model() -> None:
    async with chatting(LLAMA_SERVER) as chat:
        chat.server.serve("POST", CHAT, LOADING)
        events: list[ReplyEvent] = []
        async for event in chat.engine.reply(reply_request()):
            events.append(event)
            if isinstance(event, Notice):
                chat.engine.cancel()
        assert finish_of(events).stop_reason == StopReason.STOPPED
        await chat.works_again()


async def test_a_stop_while_a_busy_server_is_waited_for() -> None:
    async with chatting(PLAIN) as chat:
        reply = start(chat, response({"error": "busy"}, 429, {"Retry-After": "20"}))
        await chat.server.next_request()
        chat.engine.cancel()
        last = (await asyncio.wait_for(reply, HANG_SECONDS))[-1]
        assert isinstance(last, Failed) or (isinstance(last, Finished) and last.stop_reason == StopReason.STOPPED)
        await chat.works_again()


async def test_a_stop_behind_the_end_of_the_answer_leaves_it_whole() -> None:
    gate = Gate()
    async with chatting(PLAIN) as chat:
        reply = start(chat, stream(*wire.plain()[:-2], gate))
        await gate.reached()
        chat.engine.cancel()
        events = await asyncio.wait_for(reply, HANG_SECONDS)
        assert text_of(events) == ANSWER
        assert finish_of(events).stop_reason in {StopReason.STOPPED, StopReason.END_OF_GENERATION}
        assert await chat.server.last.was_left()


async def test_usage_that_never_comes_does_not_hold_a_whole_answer_back() -> None:
    gate = Gate()
    async with chatting(PLAIN, patience=Patience(usage_seconds=0.02)) as chat:
        events = await chat.ask(stream(*wire.plain()[:-2], gate))
        ended_well(events, ANSWER)
        assert await chat.server.last.was_left()


async def test_pings_that_never_end_do_not_hold_a_whole_answer_back() -> None:
    async with chatting(PLAIN, patience=Patience(usage_seconds=0.05)) as chat:
        endless = Script(chain(wire.plain()[:-2], repeat(wire.PING)))
        ended_well(await chat.ask(endless), ANSWER)
        assert await chat.server.last.was_left()


# --- who stops ------------------------------------------------------------------------------------------------------


async def test_a_reader_that_goes_away_closes_the_connection() -> None:
    gate = Gate()
    async with chatting(PLAIN) as chat:
        chat.server.answer(stream(*wire.plain()[:3], gate))
        async with aclosing(chat.engine.reply(reply_request())) as events:  # type: ignore[type-var]
            async for event in events:
                if isinstance(event, TextPiece):
                    break
        assert await chat.server.last.was_left()
        await chat.works_again()


async def test_a_task_that_is_cancelled_closes_the_connection() -> None:
    gate = Gate()
    async with chatting(PLAIN) as chat:
        reply = start(chat, stream(wire.ROLE, gate))
        await gate.reached()
        reply.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reply
        assert await chat.server.last.was_left()
        await chat.works_again()


async def test_closing_the_engine_closes_the_connection_and_ends_the_reply() -> None:
    gate = Gate()
    async with chatting(PLAIN) as chat:
        reply = start(chat, stream(wire.ROLE, gate))
        await gate.reached()
        await chat.engine.close()
        await chat.engine.close()
        assert await chat.server.last.was_left()
        last = (await asyncio.wait_for(reply, HANG_SECONDS))[-1]
        assert isinstance(last, (Finished, Failed))
        assert not chat.engine.is_alive


async def test_a_stop_without_work_does_nothing() -> None:
    async with chatting(PLAIN) as chat:
        chat.engine.cancel()
        await chat.works_again()
        chat.engine.cancel()
        await chat.works_again()


async def test_a_load_can_be_stopped() -> None:
    gate = Gate()
    async with PLAIN.server() as fake:
        fake.serve("GET", MODELS, raw(gate))
        server = Server("fake", base_url(fake.url))
        async with remote_engine(server) as engine:
            load = asyncio.ensure_future(load_events(engine, f"{server.url}#{MODEL}"))
            await gate.reached()
            engine.cancel()
            assert isinstance((await asyncio.wait_for(load, HANG_SECONDS))[-1], Failed)
            assert await fake.asked(MODELS)[0].was_left()
            fake.serve("GET", MODELS, PLAIN.routes["GET", MODELS])
            async with chat_with(fake) as chat:
                await chat.works_again()


# --- silence --------------------------------------------------------------------------------------------------------

SHORT_SECONDS = 0.02
NERVOUS = Patience(probe_seconds=HANG_SECONDS, silence_seconds=SHORT_SECONDS)
"""Finds a server silent after a moment, but waits for its answer to the question whether it lives."""


async def test_a_server_that_reads_a_long_prompt_is_waited_for() -> None:
    gate = Gate()
    async with chatting(LLAMA_SERVER, patience=NERVOUS) as chat:
        asked_before = len(chat.server.requests)
        chat.server.answer(stream(gate, *wire.llama_server()))
        events: list[ReplyEvent] = []
        async for event in chat.engine.reply(reply_request()):
            events.append(event)
            if isinstance(event, Notice):
                assert len(chat.server.requests) > asked_before + 1  # it was asked whether it lives
                gate.open()
        ended_well(events, ANSWER)
        assert len([event for event in events if isinstance(event, Notice)]) == 1


@pytest.mark.parametrize("sent", [[], [wire.PING], wire.llama_server()[:1], wire.plain()[:3]])
async def test_a_server_that_is_dead_is_given_up_and_the_answer_kept(sent: list[bytes]) -> None:
    gate = Gate()
    async with chatting(LLAMA_SERVER, patience=NERVOUS) as chat:
        for path in (MODELS, "/health", "/props"):
            chat.server.serve("GET", path, raw(Cut.RESET))
        events = await chat.ask(stream(*sent, gate))
        assert failure_of(events, FailureCause.SILENT).hint
        assert text_of(events) == ("".join(wire.ANSWER[:2]) if len(sent) == 3 else "")
        assert await chat.server.last.was_left()


async def test_a_server_that_answers_nothing_else_while_it_reads_is_waited_for() -> None:
    gate, unanswered = Gate(), Gate()
    patience = Patience(probe_seconds=SHORT_SECONDS, silence_seconds=SHORT_SECONDS)
    async with chatting(LLAMA_SERVER) as chat:
        chat.engine._patience = patience  # from now on: a load with these would fail on a busy machine
        asked_before = len(chat.server.asked(MODELS))
        chat.server.serve("GET", MODELS, raw(unanswered))
        reply = start(chat, stream(gate, b"".join(wire.llama_server())))
        await chat.server.next_request(asked_before + 4, MODELS)
        gate.open()
        events = await asyncio.wait_for(reply, HANG_SECONDS)
        ended_well(events, ANSWER)
        assert len([event for event in events if isinstance(event, Notice)]) == 1


async def test_a_server_that_lives_and_says_no_more_of_its_answer_is_given_up() -> None:
    gate = Gate()
    patience = replace(NERVOUS, answer_silence_seconds=2 * SHORT_SECONDS)
    async with chatting(PLAIN, patience=patience) as chat:
        events = await chat.ask(stream(*wire.plain()[:3], gate))
        assert text_of(events) == "".join(wire.ANSWER[:2])
        failure_of(events, FailureCause.SILENT)
        assert await chat.server.last.was_left()


# --- connections ----------------------------------------------------------------------------------------------------


async def test_whole_answers_are_read_on_one_connection() -> None:
    async with chatting(PLAIN) as chat:
        for _ in range(3):
            await chat.works_again()
        assert len({request.connection for request in chat.server.asked()}) == 1


async def test_a_connection_that_the_server_has_closed_meanwhile_is_no_failure() -> None:
    async with chatting(PLAIN, patience=Patience(reuse_seconds=HANG_SECONDS)) as chat:
        await chat.works_again()
        await chat.server.drop_connections()
        await chat.works_again()


@pytest.mark.parametrize("end", [Cut.CLOSE, Cut.RESET])
async def test_a_connection_that_is_closed_while_it_is_used_again_is_no_failure(end: Cut) -> None:
    # llama-server closes the connection after each stream, and does not say so.
    async with chatting(PLAIN, patience=Patience(reuse_seconds=HANG_SECONDS)) as chat:
        await chat.works_again()
        chat.server.answer(raw(end))
        await chat.works_again()


async def test_another_load_changes_the_server_and_closes_the_connection_to_the_first() -> None:
    async with PLAIN.server() as first, VLLM.server() as second:
        servers = {fake.url: Server(name, fake.url) for name, fake in (("first", first), ("second", second))}
        engine = RemoteEngine(servers.__getitem__, lambda server: f"key-of-{server.name}")
        for fake in (first, second):
            assert isinstance((await load_events(engine, f"{fake.url}#{MODEL}"))[-1], ModelLoaded)
        await first.all_left()
        second.answer(stream(*wire.vllm()))
        ended_well(await events_of(engine, reply_request()), ANSWER)
        assert {request.header("authorization") for request in first.requests} == {"Bearer key-of-first"}
        assert {request.header("authorization") for request in second.requests} == {"Bearer key-of-second"}
        await engine.close()
        await second.all_left()


async def test_a_reply_of_which_nothing_is_read_leaves_nothing_behind() -> None:
    async with chatting(PLAIN) as chat:
        chat.engine.reply(reply_request())
        await chat.works_again()
        assert len(chat.server.asked()) == 1


def test_a_key_that_never_comes_does_not_hold_up_the_end_of_the_program() -> None:
    asked, comes = threading.Event(), threading.Event()
    asking: list[threading.Thread] = []
    server = Server("fake", "http://127.0.0.1:1/v1")

    def read_key(_server: Server) -> str:
        asking.append(threading.current_thread())
        asked.set()
        comes.wait()
        return ""

    async def give_up() -> None:
        engine = RemoteEngine(lambda _url: server, read_key)
        load = asyncio.ensure_future(load_events(engine, f"{server.url}#{MODEL}"))
        await asyncio.to_thread(asked.wait)
        engine.cancel()
        assert isinstance((await load)[-1], Failed)
        await engine.close()
        if not asking[0].daemon:  # the end of the loop would wait for it, and this test with it
            comes.set()

    asyncio.run(give_up())
    assert not comes.is_set()
    comes.set()
