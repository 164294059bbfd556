"""Nothing is sent to any server but the one that the user has named."""

import logging

import pytest

from tests.engine.remote.remote_chat import (
    ANSWER,
    KEY,
    chat_with,
    chatting,
    ended_well,
    failure_of,
    first_failure,
)
from tests.fakes import openai_streams as wire
from tests.fakes.openai_dialects import CONTEXT_SIZE, LLAMA_SERVER, MODEL, PLAIN
from tests.fakes.openai_server import CHAT, MODELS, FakeServer, response, stream
from tests.patience import HANG_SECONDS
from tui_llama.engine.events import Failed, FailureCause
from tui_llama.engine.remote.models import list_models
from tui_llama.servers.address import Server, base_url


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("path", [CHAT, MODELS])
async def test_a_redirect_to_another_host_is_refused(status: int, path: str) -> None:
    async with FakeServer(PLAIN.routes) as other, PLAIN.server() as fake:
        away = response(b"", status, {"Location": f"{other.url.removesuffix('/v1')}{path}"})
        if path == MODELS:
            fake.serve("GET", MODELS, away)
            failure = await first_failure(fake.url, KEY)
            assert KEY not in failure.message + failure.hint
        else:
            async with chat_with(fake, key=KEY) as chat:
                failure = failure_of(await chat.ask(away), FailureCause.ENGINE)
                assert failure.hint
                assert KEY not in failure.message + failure.hint
        assert not other.requests


async def test_a_redirect_on_the_same_server_is_followed_with_the_whole_request() -> None:
    async with chatting(PLAIN, key=KEY) as chat:
        chat.server.answer(stream(*wire.plain()), path="/v2/chat")
        ended_well(await chat.ask(response(b"", 307, {"Location": "/v2/chat"})), ANSWER)
        (followed,) = chat.server.asked("/v2/chat")
        assert followed.method == "POST"
        assert followed.body == chat.server.last.body
        assert followed.header("authorization") == f"Bearer {KEY}"


async def test_the_key_stands_in_no_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with chatting(PLAIN, key=KEY) as chat:
        await chat.works_again()
        await chat.ask(response({"error": f"wrong key {KEY}"}, 401))
        assert KEY not in repr(chat.engine) + str(chat.loaded)
    assert KEY not in caplog.text


async def test_models_are_listed_with_the_key_and_nothing_else() -> None:
    async with LLAMA_SERVER.server() as fake:
        server = Server("fake", base_url(fake.url))
        (model,) = await list_models(server, KEY, HANG_SECONDS)
        assert (model.name, model.context_size) == (MODEL, CONTEXT_SIZE)
        (request,) = fake.requests
        assert request.target == MODELS
        assert request.header("authorization") == f"Bearer {KEY}"
        await list_models(server, "", HANG_SECONDS)
        assert fake.requests[-1].header("authorization") is None


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
