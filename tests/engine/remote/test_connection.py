"""Nothing is sent to any server but the one that the user has named."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from tests.patience import HANG_SECONDS
from tui_llama.engine.events import FailureCause
from tui_llama.engine.remote.connection import Connection, is_this_machine, proxy_for, shown_proxy
from tui_llama.engine.remote.failures import RemoteEngineError
from tui_llama.engine.remote.patience import Patience
from tui_llama.servers.address import Server

PROXY = "http://name:word@proxy:3128"


@pytest.fixture(autouse=True)
def _no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@asynccontextmanager
async def served(serve: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]) -> AsyncIterator[int]:
    """Serves connections at a port of 127.0.0.1, and waits for the end of all at the end."""
    tasks: set[asyncio.Task[None]] = set()

    async def serve_and_close(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            await serve(reader, writer)
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()

    def begin(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks.add(asyncio.ensure_future(serve_and_close(reader, writer)))

    async with await asyncio.start_server(begin, "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()[1]
        await asyncio.gather(*tasks)


@asynccontextmanager
async def answering(*answers: str) -> AsyncIterator[tuple[int, list[str]]]:
    """Answers requests one after the other, each on a connection of its own; gives the port and their heads."""
    heads: list[str] = []
    waiting = list(answers)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append((await reader.readuntil(b"\r\n\r\n")).decode())
        writer.write(waiting.pop(0).replace("\n", "\r\n").encode())
        await writer.drain()

    async with served(serve) as port:
        yield port, heads


async def asked(url: str, key: str = "") -> tuple[Any, Connection]:
    connection = Connection(Server("box", url), key, Patience())
    try:
        return (await connection.get_json(f"{url}/models", HANG_SECONDS)).value, connection
    finally:
        await connection.close()


def ok(body: str) -> str:
    return f"HTTP/1.1 200 OK\nContent-Length: {len(body)}\n\n{body}"


def moved(location: str) -> str:
    return f"HTTP/1.1 307 Moved\nLocation: {location}\nContent-Length: 0\n\n"


@pytest.mark.parametrize(
    ("variables", "address", "proxy"),
    [
        ({}, "http://box:8080/v1", ""),
        ({"HTTP_PROXY": PROXY}, "http://box:8080/v1", PROXY),
        ({"HTTP_PROXY": PROXY}, "https://box/v1", ""),
        ({"HTTPS_PROXY": PROXY}, "https://box/v1", PROXY),
        ({"ALL_PROXY": "proxy:3128"}, "https://box/v1", "http://proxy:3128"),
        ({"HTTP_PROXY": PROXY, "NO_PROXY": "other,box"}, "http://box:8080/v1", ""),
        ({"HTTP_PROXY": PROXY, "NO_PROXY": "*"}, "http://box:8080/v1", ""),
        ({"HTTP_PROXY": PROXY, "NO_PROXY": ".example.com"}, "http://box.example.com/v1", ""),
        ({"HTTP_PROXY": PROXY}, "http://localhost:8080/v1", ""),
        ({"HTTP_PROXY": PROXY}, "http://127.0.0.2:8080/v1", ""),
        ({"ALL_PROXY": PROXY}, "http://[::1]:8080/v1", ""),
    ],
)
def test_a_proxy_is_used_only_by_the_usual_variables(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], address: str, proxy: str
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name.lower(), value)
    assert proxy_for(address) == proxy


def test_a_proxy_is_shown_without_its_password() -> None:
    assert shown_proxy(PROXY) == "http://proxy:3128"
    assert shown_proxy("") == ""


def test_a_proxy_that_is_none_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "gopher://proxy")
    with pytest.raises(RemoteEngineError, match="proxy") as caught:
        Connection(Server("box", "http://box/v1"), "", Patience())
    assert caught.value.cause is FailureCause.REFUSED


@pytest.mark.parametrize("content", [None, "no certificate"])
def test_certificates_that_cannot_be_read_are_a_failure_of_this_machine(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, content: str | None
) -> None:
    file = tmp_path / "certificates.pem"
    if content is not None:
        file.write_text(content, encoding="utf-8")
    monkeypatch.setenv("SSL_CERT_FILE", str(file))
    with pytest.raises(RemoteEngineError, match="certificates of this machine") as caught:
        Connection(Server("box", "https://box/v1"), "", Patience())
    assert caught.value.cause is FailureCause.NOT_TRUSTED
    assert "SSL_CERT_FILE" in caught.value.hint
    Connection(Server("box", "http://box/v1"), "", Patience())  # without TLS they do not matter


@pytest.mark.parametrize("host", ["localhost", "a.localhost", "127.0.0.1", "127.9.9.9", "::1"])
def test_this_machine_has_several_names(host: str) -> None:
    assert is_this_machine(host)


@pytest.mark.parametrize("host", ["localhost.example.com", "10.0.0.1", "::2", ""])
def test_other_machines_are_not_this_one(host: str) -> None:
    assert not is_this_machine(host)


@pytest.mark.parametrize("key", ["two words", "line\nend", "ключ", "\x00"])
def test_a_key_that_would_be_another_header_is_not_sent(key: str) -> None:
    with pytest.raises(RemoteEngineError) as caught:
        Connection(Server("box", "http://127.0.0.1/v1"), key, Patience())
    assert caught.value.cause is FailureCause.KEY_REFUSED
    assert key not in str(caught.value)


async def test_a_request_tells_no_more_than_it_has_to(monkeypatch: pytest.MonkeyPatch) -> None:
    async with answering("HTTP/1.1 200 OK\nSet-Cookie: a=b\nContent-Length: 2\n\n{}", ok("{}")) as (port, heads):
        connection = Connection(Server("box", f"http://127.0.0.1:{port}/v1"), "", Patience())
        for _ in range(2):
            await connection.get_json(f"http://127.0.0.1:{port}/v1/models", HANG_SECONDS)
        await connection.close()
    names = {line.partition(":")[0].lower() for head in heads for line in head.split("\r\n")[1:] if line}
    assert names == {"host", "user-agent", "accept-encoding", "accept", "connection"}


async def test_a_redirect_on_the_same_server_is_followed_with_the_key() -> None:
    async with answering(moved("/v2/models"), ok('{"data": []}')) as (port, heads):
        value, _connection = await asked(f"http://127.0.0.1:{port}/v1", key="sk-1")
    assert value == {"data": []}
    assert [head.split(" ")[1] for head in heads] == ["/v1/models", "/v2/models"]
    assert all("Authorization: Bearer sk-1\r\n" in head for head in heads)


@pytest.mark.parametrize(
    "location",
    [
        "http://127.0.0.2/v1/models",
        "http://127.0.0.1:1/v1/models",
        "https://127.0.0.1/v1/models",
        "//evil.example/v1/models",
        "http://name@127.0.0.1/",
        "ftp://127.0.0.1/",
        "http://[",
        "",
    ],
)
async def test_a_redirect_to_another_server_is_refused(location: str) -> None:
    async with answering(*[moved(location)] * 4) as (port, heads):
        with pytest.raises(RemoteEngineError, match=r"redirects|another address"):
            await asked(f"http://127.0.0.1:{port}/v1", key="sk-1")
    assert len(heads) == (1 if location else 4)


async def test_localhost_is_found_at_its_other_address(monkeypatch: pytest.MonkeyPatch) -> None:
    real = socket.getaddrinfo

    def resolve(host: Any, *rest: Any, **more: Any) -> Any:
        return real("::1" if host in ("localhost", b"localhost") else host, *rest, **more)

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    async with answering(ok("{}"), ok("{}")) as (port, heads):
        value, connection = await asked(f"http://localhost:{port}/v1")
    assert value == {}
    assert f"Host: localhost:{port}\r\n" in heads[0]
    assert connection.notices == ("box does not listen at localhost, but at 127.0.0.1.",)


async def test_an_answer_of_another_length_than_it_says_is_cut_off() -> None:
    async with answering("HTTP/1.1 200 OK\nContent-Length: 100\n\n{}") as (port, _heads):
        with pytest.raises(RemoteEngineError) as caught:
            await asked(f"http://127.0.0.1:{port}/v1")
    assert caught.value.cause is FailureCause.CUT_OFF


async def test_a_kept_connection_that_breaks_is_replaced_by_a_new_one() -> None:
    """llama-server offers to keep connections, and closes some when the next request comes."""
    heads: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(ok("{}").replace("\n", "\r\n").encode())
        await reader.readuntil(b"\r\n\r\n")

    async with served(serve) as port:
        url = f"http://127.0.0.1:{port}/v1"
        connection = Connection(Server("box", url), "", Patience(), clock=lambda: 0.0)
        for _ in range(3):
            assert (await connection.get_json(url, HANG_SECONDS)).value == {}
        await connection.close()
    assert len(heads) == 3


async def test_a_kept_connection_that_breaks_late_is_a_failure_and_nothing_is_sent_twice() -> None:
    """A server that has worked on a request for minutes has not closed the connection before it came."""
    heads: list[bytes] = []
    seconds = 0.0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal seconds
        heads.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(ok("{}").replace("\n", "\r\n").encode())
        heads.append(await reader.readuntil(b"\r\n\r\n"))
        seconds += 100.0

    async with served(serve) as port:
        url = f"http://127.0.0.1:{port}/v1"
        connection = Connection(Server("box", url), "", Patience(), clock=lambda: seconds)
        assert (await connection.get_json(url, HANG_SECONDS)).value == {}
        with pytest.raises(RemoteEngineError) as caught:
            await connection.get_json(url, HANG_SECONDS, {"messages": []})
        await connection.close()
    assert caught.value.cause is FailureCause.CUT_OFF
    assert len(heads) == 2


async def test_a_new_connection_that_breaks_is_a_failure() -> None:
    async with answering("", "", "") as (port, heads):
        with pytest.raises(RemoteEngineError) as caught:
            await asked(f"http://127.0.0.1:{port}/v1")
    assert caught.value.cause is FailureCause.CUT_OFF
    assert len(heads) == 1
