"""A client that goes away: its work is cancelled at the next token, its place is free, and nobody else notices."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import Any

import pytest

from tests.patience import HANG_SECONDS
from tests.serve.running_server import running, spoken
from tui_llama.chat import StopReason
from tui_llama.engine.events import Finished, TextPiece
from tui_llama.engine.protocol import ReplyEvent
from tui_llama.engine.requests import ReplyRequest
from tui_llama.engine.scripted import AfterCancel, Gate, ScriptedEngine
from tui_llama.serve.http.disconnect import ClientGone, WatchedClient, watched
from tui_llama.serve.http.json_body import whole_body
from tui_llama.serve.queue import EngineQueue

REQUEST = ReplyRequest(1, ())
POST = b"POST /reply HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n"


class Connection:
    """A client's connection, as ASGI shows it."""

    def __init__(self) -> None:
        self._gone = asyncio.Event()

    def close(self) -> None:
        self._gone.set()

    async def receive(self) -> dict[str, object]:
        await self._gone.wait()
        return {"type": "http.disconnect"}


@asynccontextmanager
async def connected() -> AsyncIterator[tuple[Connection, WatchedClient]]:
    connection = Connection()
    async with watched(connection.receive) as client:
        yield connection, client


async def test_all_events_come_while_the_client_is_there() -> None:
    engine = ScriptedEngine(replies=[spoken("a", "b")])
    async with connected() as (_, client):
        events = [event async for event in client.events(engine, REQUEST)]

    assert [event.text for event in events if isinstance(event, TextPiece)] == ["a", "b"]


async def test_a_client_that_goes_cancels_at_once_and_the_rest_is_taken_and_not_shown() -> None:
    gate = Gate()
    engine = ScriptedEngine(replies=[[*spoken("a"), gate, AfterCancel(TextPiece(0, "late", (1,)))]])
    seen: list[ReplyEvent] = []
    async with connected() as (connection, client):
        with pytest.raises(ClientGone):
            async with asyncio.timeout(HANG_SECONDS), aclosing(client.events(engine, REQUEST)) as events:
                async for event in events:
                    seen.append(event)
                    connection.close()

    assert [event.text for event in seen if isinstance(event, TextPiece)] == ["a"]
    assert not any(isinstance(event, Finished) and event.stop_reason is StopReason.STOPPED for event in seen)


async def test_the_engine_is_cancelled_even_while_nobody_takes_its_events() -> None:
    engine = ScriptedEngine(replies=[spoken("a", "b", "c")])
    async with connected() as (connection, client), aclosing(client.events(engine, REQUEST)) as events:
        await anext(events)
        connection.close()
        while not client.is_gone:
            await asyncio.sleep(0)

        assert engine._cancelled.is_set()


async def test_events_that_are_left_early_cancel_the_engine() -> None:
    engine = ScriptedEngine(replies=[spoken("a", "b", "c")])
    async with connected() as (_, client), aclosing(client.events(engine, REQUEST)) as events:
        await anext(events)

    assert engine._cancelled.is_set()


async def test_a_client_that_has_gone_before_gets_nothing_done() -> None:
    engine = ScriptedEngine()
    async with connected() as (connection, client):
        connection.close()
        while not client.is_gone:
            await asyncio.sleep(0)
        with pytest.raises(ClientGone):
            await anext(client.events(engine, REQUEST))

    assert engine.reply_requests == []


async def test_a_client_that_goes_while_it_waits_leaves_the_queue() -> None:
    queue = EngineQueue(ScriptedEngine())
    async with queue.turn("first"), connected() as (connection, client):
        waiting = asyncio.create_task(_enter(client, queue))
        while not queue.length:
            await asyncio.sleep(0)
        connection.close()

        with pytest.raises(ClientGone):
            await waiting
        assert queue.length == 0
    assert not queue.is_taken


async def _enter(client: WatchedClient, queue: EngineQueue) -> None:
    async with client.entering(queue.turn("second")):
        raise AssertionError("nobody is there")


async def test_a_client_that_goes_when_its_turn_comes_gives_it_on() -> None:
    queue = EngineQueue(ScriptedEngine())
    async with connected() as (connection, client):
        async with queue.turn("first"):
            waiting = asyncio.create_task(_enter(client, queue))
            while not queue.length:
                await asyncio.sleep(0)
            connection.close()
        with pytest.raises(ClientGone):
            await waiting

    assert not queue.is_taken


async def test_a_task_that_is_cancelled_while_it_waits_leaves_the_queue() -> None:
    queue = EngineQueue(ScriptedEngine())
    async with queue.turn("first"), connected() as (_, client):
        waiting = asyncio.create_task(_enter(client, queue))
        while not queue.length:
            await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.wait({waiting})

        assert queue.length == 0


async def test_watching_leaves_no_task_behind() -> None:
    before = asyncio.all_tasks()
    async with connected():
        assert len(asyncio.all_tasks()) == len(before) + 1

    assert asyncio.all_tasks() == before


async def test_a_body_that_breaks_off_is_of_a_client_that_has_gone() -> None:
    messages: list[dict[str, Any]] = [
        {"type": "http.disconnect"},
        {"type": "http.request", "body": b"a", "more_body": True},
    ]

    async def receive() -> dict[str, Any]:
        return messages.pop()

    with pytest.raises(ClientGone):
        await whole_body(receive)


async def test_over_a_socket_a_closed_connection_stops_the_answer_and_serves_the_next() -> None:
    gate = Gate()
    engine = ScriptedEngine(replies=[[*spoken("one"), gate, *spoken("never")], spoken("next")])
    async with running(engine) as server:
        reader, writer = await server.connect()
        writer.write(POST)
        await reader.readuntil(b"one")
        _, waiting = await server.connect()
        waiting.write(POST)
        while not server.queue.length:
            await asyncio.sleep(0)
        writer.close()
        second = await server.send(POST.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
        waiting.close()
        await server.has_no_connections()
        metrics = (await server.ask("GET", "/metrics")).body.decode()

        assert not server.queue.is_taken
    assert second.endswith(b"these?\n\r\n0\r\n\r\n")  # the demonstration goes on where no reply is written
    assert 'route="/reply",status="200"' in metrics
    assert len(engine.reply_requests) == 3


async def test_nothing_is_left_of_many_clients_that_go() -> None:
    engine = ScriptedEngine(replies=lambda _: spoken("a", between=(Gate(),)))
    async with running(engine) as server:
        before = asyncio.all_tasks()
        for _ in range(20):
            _, writer = await server.connect()
            writer.write(POST)
            writer.close()
        await server.has_no_connections()

        assert (server.queue.length, server.queue.is_taken) == (0, False)
        assert asyncio.all_tasks() <= before
