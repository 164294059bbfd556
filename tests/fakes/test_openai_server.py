"""The server of chat completions that tests the remote engine does what its scripts say."""

import asyncio

import pytest

from tests.fakes.openai_dialects import KINDS, Kind
from tests.fakes.openai_server import CHAT, MODELS, Cut, FakeServer, Framing, Script, packets, raw, response, stream
from tui_llama.engine.scripted import Gate


async def connect(server: FakeServer) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection("127.0.0.1", server.port)


def request(path: str = CHAT, body: bytes = b"{}") -> bytes:
    return b"POST %s HTTP/1.1\r\nHost: here\r\nContent-Length: %d\r\n\r\n%s" % (path.encode(), len(body), body)


async def test_packets_arrive_as_http_chunks_and_the_connection_stays() -> None:
    async with FakeServer() as server:
        server.answer(stream(b"one", b"two"), response({"a": 1}))
        reader, writer = await connect(server)
        writer.write(request(body=b'{"x": 1}'))
        assert (await reader.readuntil(b"0\r\n\r\n")).partition(b"\r\n\r\n")[2] == b"3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n"
        writer.write(request())
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 OK")
        assert await reader.readexactly(8) == b'{"a": 1}'
        assert [one.json for one in server.asked()] == [{"x": 1}, {}]
        assert server.connection_count == 1
        assert not await server.last.was_left()
        writer.close()


async def test_it_sees_that_the_client_closes_the_connection_while_it_waits() -> None:
    gate = Gate()
    async with FakeServer() as server:
        server.answer(stream(b"one", gate, b"two"))
        reader, writer = await connect(server)
        writer.write(request())
        await reader.readuntil(b"one")
        await gate.reached()
        writer.close()
        assert await server.last.was_left()


async def test_a_reset_is_a_reset_after_what_was_sent() -> None:
    async with FakeServer() as server:
        server.answer(stream(b"one", Cut.RESET))
        reader, writer = await connect(server)
        writer.write(request())
        assert (await reader.readuntil(b"one")).endswith(b"\r\none")
        with pytest.raises(ConnectionResetError):
            await reader.readuntil(b"never")
        writer.close()


@pytest.mark.parametrize("script", [raw(b"SSH-2.0-x\r\n"), raw(b"SSH-2.0-x\r\n", Cut.CLOSE)])
async def test_it_may_send_what_is_no_http_and_close(script: Script) -> None:
    async with FakeServer() as server:
        server.answer(script)
        reader, writer = await connect(server)
        writer.write(request())
        assert await reader.read() == b"SSH-2.0-x\r\n"
        writer.close()


async def test_a_body_may_end_with_the_connection() -> None:
    async with FakeServer() as server:
        server.answer(stream(b"one", framing=Framing.UNTIL_CLOSE))
        reader, writer = await connect(server)
        writer.write(request())
        assert (await reader.read()).endswith(b"Connection: close\r\n\r\none")
        writer.close()


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
async def test_every_kind_lists_its_models(kind: Kind) -> None:
    async with kind.server() as server:
        reader, writer = await connect(server)
        writer.write(b"GET %s HTTP/1.1\r\nHost: here\r\n\r\n" % MODELS.encode())
        assert b"llama-3b" in await reader.readuntil(b"]}")
        writer.close()


def test_bytes_are_cut_into_packets_of_given_sizes() -> None:
    assert packets(b"abcdef", [1, 2]) == [b"a", b"bc", b"def"]
    assert packets(b"ab", [5, 1]) == [b"ab"]
    assert packets(b"", []) == []
