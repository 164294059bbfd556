"""Servers that cannot be reached, and servers that say no: the cause, and what the user reads."""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.engine.remote.remote_chat import (
    ANSWER,
    KEY,
    chatting,
    ended_well,
    events_of,
    failure_of,
    first_failure,
    reply_request,
)
from tests.fakes import openai_streams as wire
from tests.fakes.engine_events import notices_of, text_of
from tests.fakes.openai_dialects import (
    KINDS,
    LLAMA_SERVER,
    MODEL,
    PLAIN,
    Kind,
)
from tests.fakes.openai_server import CHAT, Cut, FakeServer, Script, raw, response, stream
from tui_llama.engine.events import Failed, FailureCause
from tui_llama.engine.remote.patience import Patience
from tui_llama.engine.scripted import Gate

every_kind = pytest.mark.parametrize("kind", KINDS, ids=repr)


# --- no connection --------------------------------------------------------------------------------------------------


@asynccontextmanager
async def refused_address() -> AsyncIterator[str]:
    """Gives the URL of a port at which nobody listens, and nobody else will."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{taken.getsockname()[1]}/v1"


async def test_a_refused_connection_says_where() -> None:
    async with refused_address() as url:
        failure = await first_failure(url)
    assert failure.cause == FailureCause.REFUSED
    assert url in failure.message
    assert failure.hint


async def test_a_name_that_nobody_knows_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_arguments: object, **_more: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    failure = await first_failure("http://llama.invalid:8080/v1")
    assert failure.cause == FailureCause.NOT_FOUND
    assert "llama.invalid" in failure.message
    assert failure.hint


async def test_a_certificate_that_nobody_trusts_is_refused() -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(Path(__file__).parents[3] / "fixtures" / "self-signed.pem")
    received: list[bytes] = []

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        received.append(await reader.read())
        writer.close()

    listener = await asyncio.start_server(listen, "127.0.0.1", 0, ssl=context)
    async with listener:
        port = listener.sockets[0].getsockname()[1]
        failure = await first_failure(f"https://127.0.0.1:{port}/v1", KEY)
    assert failure.cause == FailureCause.NOT_TRUSTED
    assert failure.hint
    assert KEY not in failure.message + failure.hint
    assert not any(received)


async def test_a_server_without_tls_is_not_asked_as_if_it_had() -> None:
    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")
        writer.close()

    listener = await asyncio.start_server(listen, "127.0.0.1", 0)
    async with listener:
        port = listener.sockets[0].getsockname()[1]
        failure = await first_failure(f"https://127.0.0.1:{port}/v1")
    assert failure.cause in {FailureCause.NOT_TRUSTED, FailureCause.CUT_OFF}
    assert failure.hint


async def test_a_server_that_goes_away_after_the_load_refuses_the_reply() -> None:
    async with chatting(PLAIN) as chat:
        await chat.server.close()
        failure = failure_of(await chat.ask(), FailureCause.REFUSED)
        assert failure.hint


@pytest.mark.parametrize("variable", ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"])
async def test_this_machine_is_not_asked_through_a_proxy(monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    async with FakeServer() as proxy:
        monkeypatch.setenv(variable, f"http://127.0.0.1:{proxy.port}")
        async with chatting(PLAIN, key=KEY) as chat:
            await chat.works_again()
        assert not proxy.requests


# --- an error instead of an answer ----------------------------------------------------------------------------------


HTML = b"<!DOCTYPE html><html><head><title>Sign in</title></head><body>\x1b[31mSign in</body></html>"


@pytest.mark.parametrize("status", [401, 403])
@pytest.mark.parametrize(
    "refusal",
    [
        {"error": {"message": "Invalid API Key", "type": "authentication_error", "code": 401}},
        {"error": "Unauthorized"},
        {"object": "error", "message": "Unauthorized", "code": 401},
        {"detail": "Unauthorized"},
        b"Unauthorized",
        HTML,
        b"",
        {"error": {"message": f"Incorrect API key provided: {KEY}"}},
    ],
    ids=["object", "text in object", "flat", "detail", "text", "HTML", "nothing", "repeats the key"],
)
async def test_a_refused_key_is_told_without_the_key(refusal: object, status: int) -> None:
    async with chatting(PLAIN, key=KEY) as chat:
        failure = failure_of(await chat.ask(response(refusal, status)), FailureCause.KEY_REFUSED)
        assert KEY not in failure.message + failure.hint
        assert failure.hint
        await chat.works_again()


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind is not LLAMA_SERVER], ids=repr)
async def test_a_wrong_model_says_which_and_that_there_are_others(kind: Kind) -> None:
    assert kind.wrong_model is not None
    async with chatting(kind) as chat:
        failure = failure_of(await chat.ask(kind.wrong_model), FailureCause.NO_SUCH_MODEL)
        assert MODEL in failure.message
        assert failure.hint
        await chat.works_again()


@every_kind
async def test_what_a_server_does_not_accept_is_told_in_its_words(kind: Kind) -> None:
    async with chatting(kind) as chat:
        failure = failure_of(await chat.ask(kind.bad_request), FailureCause.ENGINE)
        assert "temperature is too high" in failure.message
        assert "{" not in failure.message
        assert failure.hint


@pytest.mark.parametrize("retry_after", ["3600", "Fri, 01 Jan 2999 00:00:00 GMT"])
async def test_a_busy_server_is_told_and_not_asked_again_too_soon(retry_after: str) -> None:
    async with chatting(PLAIN) as chat:
        busy = response({"error": {"message": "Rate limit reached"}}, 429, {"Retry-After": retry_after})
        failure = failure_of(await chat.ask(busy), FailureCause.BUSY)
        assert "Rate limit reached" in failure.message
        assert failure.hint
        assert len(chat.server.asked()) == 1
        await chat.works_again()


@pytest.mark.parametrize("status", [429, 503])
async def test_a_busy_server_that_names_a_short_time_is_asked_again(status: int) -> None:
    async with chatting(PLAIN, patience=Patience(poll_seconds=0.0)) as chat:
        busy = response({"error": {"message": "Rate limit reached"}}, status, {"Retry-After": "0"})
        events = await chat.ask(busy, busy, stream(*wire.plain()))
        ended_well(events, ANSWER)
        assert len(chat.server.asked()) == 3
        assert all("busy" in notice for notice in notices_of(events))
        assert notices_of(events)


@pytest.mark.parametrize("retry_after", ["soon", "-1", "nan", "inf", "9" * 400, "Fri, 99 Foo 2999", "\x1b[2J"])
async def test_a_time_that_is_none_is_no_reason_to_wait(retry_after: str) -> None:
    async with chatting(PLAIN) as chat:
        failure_of(await chat.ask(response(b"", 429, {"Retry-After": retry_after})), FailureCause.BUSY)


@pytest.mark.parametrize("status", [500, 501, 502, 504, 599])
@pytest.mark.parametrize("body", [HTML, b"", {"error": {"message": "out of memory", "type": "server_error"}}])
async def test_a_fault_of_the_server_is_told_with_its_status(status: int, body: object) -> None:
    async with chatting(PLAIN) as chat:
        failure = failure_of(await chat.ask(response(body, status)), FailureCause.SERVER_ERROR)
        assert str(status) in failure.message
        assert failure.hint
        assert len(chat.server.asked()) == 1
        await chat.works_again()


@pytest.mark.parametrize("status", [400, 401, 429, 500])
async def test_an_error_whose_body_never_ends_is_told_all_the_same(status: int) -> None:
    never = Gate()
    script = Script((b'{"error": {"message": "no", ', never), status)
    async with chatting(PLAIN) as chat:
        chat.lose_patience(probe_seconds=0.02)
        events = await chat.ask(script)
        assert isinstance(events[-1], Failed)
        assert await chat.server.last.was_left()
        await chat.works_again()


@pytest.mark.parametrize("cut", [Cut.RESET, Cut.CLOSE])
async def test_an_error_whose_body_is_cut_is_told_by_its_status(cut: Cut) -> None:
    async with chatting(PLAIN) as chat:
        failure_of(await chat.ask(Script((b'{"error": ', cut), 500)), FailureCause.SERVER_ERROR)


@pytest.mark.parametrize("status", [418, 400, 405, 422])
async def test_any_other_refusal_is_told_with_its_status(status: int) -> None:
    async with chatting(PLAIN) as chat:
        failure = failure_of(await chat.ask(response({"detail": "no"}, status)), FailureCause.ENGINE)
        assert str(status) in failure.message


@pytest.mark.parametrize(
    "script",
    [
        response(HTML, content_type="text/html"),
        response(b"", 204),
        response(b"", content_type="text/event-stream"),
        response({"error": "Unexpected endpoint or method. (POST /v1/chat/completions)"}),
        response({"choices": []}),
        response(b"[]"),
        response(b"null"),
        response(b"\x1b[2Jhello", content_type="text/plain"),
    ],
    ids=["HTML", "nothing", "no events", "an error with 200", "no choices", "a list", "null", "text"],
)
async def test_a_success_without_an_answer_is_a_failure(script: Script) -> None:
    async with chatting(PLAIN) as chat:
        events = await chat.ask(script)
        assert isinstance(events[-1], Failed)
        failure_of(events, events[-1].cause)
        assert events[-1].cause != FailureCause.NO_SUCH_MODEL
        assert text_of(events) == ""
        await chat.works_again()


@pytest.mark.parametrize(
    "script",
    [
        raw(b"SSH-2.0-OpenSSH_9.2\r\n"),
        raw(b"HTTP/1.1 abc\r\n\r\n"),
        raw(b"HTTP/1.1 200 OK\r\nA: " + b"b" * 200_000 + b"\r\n\r\n"),
        raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nno number\r\n"),
        raw(b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n"),
        raw(b"\0" * 1000),
        raw(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\nabcd"),
    ],
    ids=["SSH", "status", "long header", "chunk", "length", "zeros", "gzip"],
)
async def test_what_is_no_http_is_a_failure_and_no_crash(script: Script) -> None:
    async with chatting(PLAIN) as chat:
        chat.server.serve("POST", CHAT, script)
        events = await events_of(chat.engine, reply_request())
        assert isinstance(events[-1], Failed)
        assert events[-1].cause in {FailureCause.CUT_OFF, FailureCause.SERVER_ERROR, FailureCause.NO_END}
        failure_of(events, events[-1].cause)
        assert events[-1].hint
        assert len(chat.server.asked()) <= 2  # once more where the connection was used before
        await chat.works_again()


@pytest.mark.parametrize("cut", [Cut.CLOSE, Cut.RESET])
async def test_a_server_that_closes_every_connection_is_a_failure(cut: Cut) -> None:
    async with chatting(PLAIN) as chat:
        chat.server.serve("POST", CHAT, raw(cut))
        failure = failure_of(await events_of(chat.engine, reply_request()), FailureCause.CUT_OFF)
        assert failure.hint
        assert len(chat.server.asked()) <= 2  # once more where the connection was used before
        await chat.works_again()
