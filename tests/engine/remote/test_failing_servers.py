"""Every way in which a server fails: the cause, what the user reads, and what of the answer is kept."""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.engine.remote.remote_chat import (
    KEY,
    QUESTION,
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
from tests.fakes.engine_events import finish_of, notices_of, text_of
from tests.fakes.openai_dialects import (
    KINDS,
    LLAMA_SERVER,
    LOADING,
    MODEL,
    OLLAMA,
    PLAIN,
    SGLANG,
    VLLM,
    Kind,
)
from tests.fakes.openai_server import CHAT, MODELS, Cut, FakeServer, Framing, Script, raw, response, stream
from tui_llama.chat import ChatMessage, Role, StopReason
from tui_llama.engine.protocol import Failed, FailureCause, ModelLoaded, TextPiece
from tui_llama.engine.remote.patience import Patience
from tui_llama.engine.scripted import Gate
from tui_llama.servers.address import Server, base_url

ANSWER = "".join(wire.ANSWER)
BEGUN = [wire.ROLE, *wire.texts(wire.ANSWER)]
"""The events of an answer without its end."""

POLLS_AT_ONCE = Patience(poll_seconds=0.0)

every_kind = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)


async def works_again(chat: Chat) -> None:
    """Checks that the next reply is as good as if nothing had happened."""
    ended_well(await chat.ask(wire.plain()), ANSWER)


# --- no connection --------------------------------------------------------------------------------------------------


@asynccontextmanager
async def refused_address() -> AsyncIterator[str]:
    """Gives the URL of a port at which nobody listens, and nobody else will."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{taken.getsockname()[1]}/v1"


async def first_failure(url: str, key: str = "") -> Failed:
    """Returns the failure of a server that has never been reached: of the load, or else of the first reply."""
    server = Server("fake", base_url(url))
    async with remote_engine(server, key) as engine:
        last = (await load_events(engine, f"{server.url}#{MODEL}"))[-1]
        if isinstance(last, ModelLoaded):
            reply = (await events_of(engine, reply_request()))[-1]
            assert isinstance(reply, Failed)
            return reply
        assert isinstance(last, Failed)
        return last


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
    context.load_cert_chain(Path(__file__).parents[2] / "fixtures" / "self-signed.pem")
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
            await works_again(chat)
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
        await works_again(chat)


@every_kind
async def test_a_wrong_model_says_which_and_that_there_are_others(kind: Kind) -> None:
    if kind.wrong_model is None:
        pytest.skip("it does not look at the name")
    async with chatting(kind) as chat:
        failure = failure_of(await chat.ask(kind.wrong_model), FailureCause.NO_SUCH_MODEL)
        assert MODEL in failure.message
        assert failure.hint
        await works_again(chat)


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
        await works_again(chat)


async def test_a_busy_server_that_names_a_short_time_is_asked_again_or_told() -> None:
    async with chatting(PLAIN) as chat:
        busy = response({"error": {"message": "Rate limit reached"}}, 429, {"Retry-After": "0"})
        events = await chat.ask(busy, stream(*wire.plain()))
        if isinstance(events[-1], Failed):
            failure_of(events, FailureCause.BUSY)
        else:
            ended_well(events, ANSWER)


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
        await works_again(chat)


@pytest.mark.parametrize("status", [400, 401, 429, 500])
async def test_an_error_whose_body_never_ends_is_told_all_the_same(status: int) -> None:
    never = Gate()
    script = Script((b'{"error": {"message": "no", ', never), status)
    async with chatting(PLAIN, patience=Patience(usage_seconds=0.01, silence_seconds=0.01)) as chat:
        events = await chat.ask(script)
        assert isinstance(events[-1], Failed)
        assert await chat.server.last.was_left()
        await works_again(chat)


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
        await works_again(chat)


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
        raw(),
        raw(Cut.RESET),
    ],
    ids=["SSH", "status", "long header", "chunk", "length", "zeros", "gzip", "closed", "reset"],
)
async def test_what_is_no_http_is_a_failure_and_no_crash(script: Script) -> None:
    async with chatting(PLAIN) as chat:
        events = await chat.ask(script)
        assert isinstance(events[-1], Failed)
        assert events[-1].cause in {FailureCause.CUT_OFF, FailureCause.SERVER_ERROR, FailureCause.NO_END}
        failure_of(events, events[-1].cause)
        assert events[-1].hint
        await works_again(chat)


# --- questions of a load --------------------------------------------------------------------------------------------

LISTS_THAT_ARE_NONE = {
    "cut": Script((b'{"data": [', Cut.CLOSE)),
    "reset": Script((b'{"data": [', Cut.RESET)),
    "no HTTP": raw(b"SSH-2.0-OpenSSH_9.2\r\n"),
    "HTML": response(HTML, content_type="text/html"),
    "deep": response(b"[" * 100_000),
    "no text": response(b'{"data": "\xff"}'),
    "gzip": response(b"abcd", headers={"Content-Encoding": "gzip"}),
    "list": response(b"[]"),
    "number": response({"data": 5}),
    "fault": response(HTML, 500),
    "key": response({"error": "Unauthorized"}, 401),
}


@pytest.mark.parametrize("script", LISTS_THAT_ARE_NONE.values(), ids=LISTS_THAT_ARE_NONE.keys())
async def test_a_list_of_models_that_is_none_fails_the_load(script: Script) -> None:
    async with FakeServer({("GET", MODELS): script}) as fake:
        failure = await first_failure(fake.url, KEY)
        assert failure.message
        assert failure.hint
        assert KEY not in failure.message + failure.hint
        assert failure.cause == (FailureCause.KEY_REFUSED if script.status == 401 else failure.cause)


@pytest.mark.parametrize("data", [[], [None, 5, "x"], [{"id": 5}, {"id": ""}], [{"id": "other"}, {"id": "\x1b[2J"}]])
async def test_a_model_that_is_not_in_the_list_is_none(data: object) -> None:
    async with FakeServer({("GET", MODELS): response({"data": data})}) as fake:
        failure = await first_failure(fake.url)
        assert failure.cause == FailureCause.NO_SUCH_MODEL
        assert failure.hint
        assert "\x1b" not in failure.message + failure.hint


@pytest.mark.parametrize("script", [raw(Cut.RESET), raw(b"\0"), response(b"[" * 100_000), response(HTML, 500)])
async def test_a_server_that_breaks_at_further_questions_is_one_that_does_not_know_them(script: Script) -> None:
    async with FakeServer(PLAIN.routes, script) as fake, chat_with(fake) as chat:
        await works_again(chat)


# --- a model that is being loaded -----------------------------------------------------------------------------------


async def test_a_server_that_loads_its_model_is_waited_for_with_the_reason() -> None:
    async with chatting(LLAMA_SERVER, patience=POLLS_AT_ONCE) as chat:
        events = await chat.ask(LOADING, LOADING, LOADING, stream(*wire.llama_server()))
        ended_well(events, ANSWER)
        assert len(chat.server.asked()) == 4
        (notice,) = notices_of(events)
        assert "loading" in notice


async def test_a_server_may_load_its_model_while_it_is_asked_what_it_is() -> None:
    async with LLAMA_SERVER.server() as fake:
        for path in (MODELS, "/props", "/health"):
            fake.answer(LOADING, LOADING, method="GET", path=path)
        async with chat_with(fake, patience=POLLS_AT_ONCE) as chat:
            assert chat.loaded.model.context_size == 2048
            ended_well(await chat.ask(wire.llama_server()), ANSWER)


async def test_any_other_503_is_a_fault() -> None:
    async with chatting(PLAIN) as chat:
        failure_of(await chat.ask(response(b"Service Unavailable", 503)), FailureCause.SERVER_ERROR)


# --- too long -------------------------------------------------------------------------------------------------------


LONG_CHAT = (
    ChatMessage(Role.SYSTEM, "Be brief."),
    *(
        ChatMessage(role, f"{role} {turn} " + "llama " * 200)
        for turn in range(8)
        for role in (Role.USER, Role.ASSISTANT)
    ),
    QUESTION,
)


@pytest.mark.parametrize("kind", [PLAIN, LLAMA_SERVER, VLLM, SGLANG], ids=lambda kind: kind.name)
async def test_a_prompt_that_is_too_long_is_sent_again_without_its_oldest_turns(kind: Kind) -> None:
    assert kind.too_long is not None
    async with chatting(kind) as chat:
        events = await chat.ask(kind.too_long, stream(*wire.plain()), request=reply_request(*LONG_CHAT))
        ended_well(events, ANSWER)
        first, second = (request.json for request in chat.server.asked())
        assert len(first["messages"]) == len(LONG_CHAT)
        assert second["messages"][0] == first["messages"][0]
        rest = second["messages"][1:]
        assert rest == first["messages"][-len(rest) :]
        assert 0 < len(rest) < len(LONG_CHAT) - 1
        assert rest[0]["role"] == "user"
        assert {**first, "messages": None} == {**second, "messages": None}


@pytest.mark.parametrize("kind", [PLAIN, LLAMA_SERVER, VLLM, SGLANG], ids=lambda kind: kind.name)
async def test_a_prompt_that_stays_too_long_is_refused(kind: Kind) -> None:
    assert kind.too_long is not None
    async with chatting(kind) as chat:
        events = await chat.ask(*[kind.too_long] * 9, request=reply_request(*LONG_CHAT))
        failure = failure_of(events, FailureCause.ENGINE)
        assert "too long" in failure.message
        assert failure.hint
        assert len(chat.server.asked()) <= 4


async def test_a_single_message_that_is_too_long_is_not_sent_again() -> None:
    assert LLAMA_SERVER.too_long is not None
    async with chatting(LLAMA_SERVER) as chat:
        failure_of(await chat.ask(LLAMA_SERVER.too_long), FailureCause.ENGINE)
        assert len(chat.server.asked()) == 1


async def test_a_server_that_may_have_cut_the_prompt_is_told_of() -> None:
    async with chatting(OLLAMA) as chat:
        one, two = ([*wire.ollama()[:-2], wire.usage({**wire.USAGE, "prompt_tokens": count})] for count in (500, 300))
        assert not notices_of(await chat.ask(one, request=reply_request(*LONG_CHAT[:-2], QUESTION)))
        longer = (*LONG_CHAT[:-2], QUESTION, ChatMessage(Role.ASSISTANT, ANSWER), QUESTION)
        (notice,) = notices_of(await chat.ask(two, request=reply_request(*longer)))
        assert notice


# --- in the middle of an answer -------------------------------------------------------------------------------------


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
        await works_again(chat)


@pytest.mark.parametrize("framing", [Framing.CHUNKED, Framing.UNTIL_CLOSE])
@pytest.mark.parametrize("pieces", [[], [wire.DONE], [wire.usage(), wire.DONE]], ids=["nothing", "DONE", "usage"])
async def test_a_stream_without_a_reason_for_its_end_is_no_whole_answer(pieces: list[bytes], framing: Framing) -> None:
    async with chatting(PLAIN) as chat:
        events = await chat.ask(stream(*BEGUN, *pieces, framing=framing))
        assert text_of(events) == ANSWER
        assert failure_of(events, FailureCause.NO_END).hint
        await works_again(chat)


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
        await works_again(chat)


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


# --- to whom nothing is sent ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("path", [CHAT, MODELS])
async def test_a_redirect_to_another_host_is_refused(status: int, path: str) -> None:
    async with FakeServer(PLAIN.routes) as other, PLAIN.server() as fake:
        away = response(b"", status, {"Location": f"{other.url.removesuffix('/v1')}{path}"})
        if path == MODELS:
            fake.answer(away, method="GET", path=MODELS)
            last = await _load(fake)
            assert isinstance(last, (Failed, ModelLoaded))
        else:
            async with chat_with(fake, key=KEY) as chat:
                failure = failure_of(await chat.ask(away), FailureCause.ENGINE)
                assert failure.hint
                assert KEY not in failure.message + failure.hint
        assert not other.requests


async def _load(fake: FakeServer) -> object:
    server = Server("fake", base_url(fake.url))
    async with remote_engine(server, KEY) as engine:
        return (await load_events(engine, f"{server.url}#{MODEL}"))[-1]


@pytest.mark.parametrize("location", ["", "/v1/chat/completions", "http://[", "\x1b[2J", "file:///etc/passwd", "//x"])
async def test_a_redirect_to_itself_or_to_nowhere_comes_to_an_end(location: str) -> None:
    async with chatting(PLAIN, key=KEY) as chat:
        events = await chat.ask(*[response(b"", 307, {"Location": location})] * 4)
        assert isinstance(events[-1], Failed)
        failure_of(events, events[-1].cause)
        assert len(chat.server.asked()) <= 4


async def test_a_key_that_cannot_be_a_header_is_refused_without_telling_it() -> None:
    async with PLAIN.server() as fake:
        failure = await first_failure(fake.url, "sk-äöü\r\nX: y")
        assert "äöü" not in failure.message + failure.hint
        assert not any("x" in dict(request.headers) for request in fake.requests)
