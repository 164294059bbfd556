"""Hostile bytes on real sockets: what is too large, too slow, too many or no HTTP at all ends in an error, at once."""

import asyncio

import pytest

from tests.serve.running_server import Running, answer_of, error_of, received_by, running, spoken
from tui_llama.engine.scripted import Gate, ScriptedEngine
from tui_llama.serve.http.limits import Limits

AT_ONCE = Limits(head_seconds=0.0, body_seconds=0.0, keep_alive_seconds=0.0, unread_seconds=0.0)
"""Every wait has passed when it begins."""
HEAD = b"GET /health HTTP/1.1\r\nHost: localhost\r\n"
POST = b"POST /tokenize HTTP/1.1\r\nHost: localhost\r\n"


REFUSED: dict[str, tuple[bytes, int]] = {
    "10,000 headers": (HEAD + b"".join(b"X-%d: y\r\n" % number for number in range(10_000)) + b"\r\n", 431),
    "101 headers": (HEAD + b"".join(b"X-%d: y\r\n" % number for number in range(101)) + b"\r\n", 431),
    "a long header": (HEAD + b"X: " + b"y" * (64 * 1024) + b"\r\n\r\n", 431),
    "a long path": (b"GET /" + b"y" * (1 << 20) + b" HTTP/1.1\r\nHost: localhost\r\n\r\n", 431),
    "a long line": (b"y" * (1 << 20), 431),
    "an unknown encoding": (HEAD + b"Transfer-Encoding: gzip, chunked\r\n\r\n", 501),
    "TLS": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400),
    "no host": (b"GET / HTTP/1.1\r\n\r\n", 400),
    "no version": (b"GET  /health\r\n\r\n", 400),
    "a negative length": (HEAD + b"Content-Length: -5\r\n\r\n", 400),
    "two lengths": (HEAD + b"Content-Length: 5, 6\r\n\r\n", 400),
    "no colon": (HEAD + b"no colon\r\n\r\n", 400),
    "two hosts": (HEAD + b"Host: another\r\n\r\n", 400),
    "a wrong chunk": (POST + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n", 400),
}


@pytest.mark.parametrize(("request_bytes", "status"), REFUSED.values(), ids=REFUSED)
async def test_what_is_too_much_or_no_http_is_refused_in_the_usual_shape(request_bytes: bytes, status: int) -> None:
    async with running() as server:
        answer = answer_of(await server.send(request_bytes))
        await server.has_no_connections()

    assert answer.status == status
    assert error_of(answer)["type"] == "invalid_request_error"
    assert answer.headers["connection"] == "close"
    assert answer.headers["x-queue-length"] == "0"
    assert answer.headers["x-request-id"].startswith("req_")


async def test_a_head_that_drips_is_refused_when_its_time_is_over() -> None:
    async with running(limits=AT_ONCE) as server:
        answer = answer_of(await server.send(HEAD + b"X: "))

    assert (answer.status, error_of(answer)["code"]) == (408, "request_timeout")


async def test_a_connection_on_which_nothing_comes_is_ended() -> None:
    async with running(limits=AT_ONCE) as server:
        assert answer_of(await server.send()).status == 408


async def test_more_bytes_do_not_prolong_the_time_of_a_head() -> None:
    async with running(limits=Limits(head_seconds=0.2)) as server:
        reader, writer = await server.connect()
        writer.write(HEAD)
        dripping = asyncio.create_task(_drip(writer))
        answer = answer_of(await received_by(reader))
        dripping.cancel()
        writer.close()

    assert answer.status == 408


async def _drip(writer: asyncio.StreamWriter) -> None:
    while True:
        writer.write(b"X: y\r\n")
        await asyncio.sleep(0.01)


@pytest.mark.parametrize(
    "beginning",
    [
        POST + b'Content-Length: 100\r\n\r\n{"content":',
        POST + b'Transfer-Encoding: chunked\r\n\r\n5\r\n{"con\r\n',
    ],
)
async def test_a_body_that_does_not_come_is_refused_when_its_time_is_over(beginning: bytes) -> None:
    async with running(limits=Limits(body_seconds=0.0)) as server:
        answer = answer_of(await server.send(beginning))
        await server.has_no_connections()

    assert (answer.status, error_of(answer)["code"]) == (408, "request_timeout")


async def test_a_request_in_time_is_answered_however_short_the_times_are() -> None:
    async with running(limits=Limits(body_seconds=0.0, keep_alive_seconds=0.0)) as server:
        answer = await server.ask("POST", "/tokenize", {"content": "ab"})

    assert answer.json() == {"tokens": [97, 98]}


async def test_an_idle_connection_is_closed_when_its_time_is_over() -> None:
    async with running(limits=Limits(keep_alive_seconds=0.0)) as server:
        assert answer_of(await server.send(HEAD + b"\r\n")).status == 200


async def test_the_next_request_on_a_connection_has_the_time_of_a_head() -> None:
    async with running(limits=Limits(head_seconds=0.2)) as server:
        received = await server.send(HEAD + b"\r\n", HEAD)

    assert received.startswith(b"HTTP/1.1 200")
    assert b"HTTP/1.1 408" in received


async def test_requests_that_come_at_once_are_answered_in_order() -> None:
    async with running() as server:
        received = await server.send((HEAD + b"\r\n") * 3 + HEAD + b"Connection: close\r\n\r\n")

    assert received.count(b"HTTP/1.1 200") == 4


async def test_connections_that_are_too_many_are_refused_while_all_others_are_at_work() -> None:
    gate = Gate()
    engine = ScriptedEngine(replies=lambda _: spoken("a", between=(gate,)))
    async with running(engine, limits=Limits(connections=2)) as server:
        held = [await server.connect() for _ in range(2)]
        for _, writer in held:
            writer.write(_reply_request().replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
        await gate.reached()
        while server.queue.length < 1:
            await asyncio.sleep(0)

        refused = answer_of(await server.send(HEAD + b"\r\n"))
        gate.open()
        served = [answer_of(await received_by(reader)) for reader, _ in held]
        for _, writer in held:
            writer.close()

    assert (refused.status, error_of(refused)["code"]) == (503, "too_many_connections")
    assert [answer.status for answer in served] == [200, 200]


@pytest.mark.parametrize("beginning", [b"", HEAD, HEAD + b"\r\n"], ids=["silent", "half a head", "kept alive"])
async def test_connections_that_lie_idle_shut_nobody_out(beginning: bytes) -> None:
    async with running(limits=Limits(connections=2)) as server:
        held = []
        for number in range(2):
            held.append(await server.connect())
            held[-1][1].write(beginning)
            if beginning.endswith(b"\r\n\r\n"):
                await held[-1][0].readuntil(b"}")
            while len(server.server.server_state.connections) <= number:
                await asyncio.sleep(0)

        served = await server.ask("GET", "/health")
        closed = await received_by(held[0][0])
        held[1][1].write(b"Connection: close\r\n\r\n" if beginning == HEAD else HEAD + b"Connection: close\r\n\r\n")
        kept = answer_of(await received_by(held[1][0]))
        for _, writer in held:
            writer.close()

    assert (served.status, closed, kept.status) == (200, b"", 200)


async def test_a_client_that_does_not_read_its_answer_is_ended_and_the_engine_free() -> None:
    engine = ScriptedEngine(replies=lambda _: spoken(*["y" * (1 << 20)] * 100))
    async with running(engine, limits=Limits(unread_seconds=0.0)) as server:
        _reader, writer = await server.connect()  # whose reader stops when its buffer is full
        writer.write(_reply_request())
        await server.has_no_connections()

        assert not server.queue.is_taken
        writer.close()


async def test_a_large_body_is_refused_by_its_declared_length_before_it_is_sent() -> None:
    async with running() as server:
        answer = answer_of(await server.send(POST + b"Expect: 100-continue\r\nContent-Length: 1073741824\r\n\r\n"))

    assert (answer.status, error_of(answer)["code"]) == (413, "body_too_large")


async def test_a_large_body_in_chunks_is_refused_without_reading_its_rest() -> None:
    async with running(limits=Limits(body_bytes=1 << 20)) as server:
        reader, writer = await server.connect()
        writer.write(POST + b"Transfer-Encoding: chunked\r\n\r\n")
        endless = asyncio.create_task(_send_without_end(writer))
        answer = answer_of(await received_by(reader))
        endless.cancel()
        await asyncio.gather(endless, return_exceptions=True)
        writer.close()
        await server.has_no_connections()

    assert (answer.status, error_of(answer)["code"]) == (413, "body_too_large")


async def _send_without_end(writer: asyncio.StreamWriter) -> None:
    chunk = b"10000\r\n" + b"y" * 0x10000 + b"\r\n"
    while True:
        writer.write(chunk)
        await writer.drain()


async def test_a_refused_request_whose_body_is_still_coming_closes_its_connection() -> None:
    async with running() as server:
        answer = answer_of(await server.send(b"POST /nowhere HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n"))

    assert answer.status == 404
    assert answer.headers["connection"] == "close"


async def test_an_upgrade_is_not_made() -> None:
    async with running() as server:
        answer = await server.ask("GET", "/health", headers=[("Upgrade", "websocket")])

    assert answer.status == 200


async def test_a_client_that_has_sent_its_next_request_is_still_seen_to_go() -> None:
    gate = Gate()
    engine = ScriptedEngine(replies=lambda _: spoken("one", between=(gate,)))
    async with running(engine) as server:
        _reader, writer = await server.connect()
        writer.write(_reply_request() + HEAD + b"\r\n")
        await gate.reached()
        while not _has_come(server):
            await asyncio.sleep(0)
        writer.close()
        await server.has_no_connections()

        assert not server.queue.is_taken


def _has_come(server: Running) -> bool:
    """Tells whether the next request waits in the connection."""
    (connection,) = server.server.server_state.connections
    return bool(connection.conn.trailing_data[0])  # type: ignore[union-attr] # one of our own protocols


def _reply_request() -> bytes:
    return b"POST /reply HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n"


async def test_a_refusal_of_a_request_for_a_head_has_no_body() -> None:
    async with running() as server:
        received = await server.send(HEAD.replace(b"GET", b"HEAD") + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n")

    assert received.startswith(b"HTTP/1.1 400")
    assert received.endswith(b"\r\n\r\n")
