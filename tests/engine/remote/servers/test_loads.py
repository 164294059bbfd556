"""A load asks a server what it is, and a server may be loading its model."""

import pytest

from tests.engine.remote.remote_chat import (
    ANSWER,
    KEY,
    chat_with,
    chatting,
    ended_well,
    failure_of,
    first_failure,
    load_events,
    remote_engine,
)
from tests.fakes import openai_streams as wire
from tests.fakes.engine_events import notices_of
from tests.fakes.openai_dialects import (
    LLAMA_SERVER,
    LOADING,
    MODEL,
    PLAIN,
)
from tests.fakes.openai_server import MODELS, Cut, FakeServer, Script, raw, response, stream
from tui_llama.engine.events import FailureCause, ModelLoaded, Notice
from tui_llama.engine.remote.patience import Patience
from tui_llama.servers.address import Server, base_url

POLLS_AT_ONCE = Patience(poll_seconds=0.0)
HTML = b"<!DOCTYPE html><html><head><title>Sign in</title></head><body>\x1b[31mSign in</body></html>"


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
        await chat.works_again()


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


@pytest.mark.parametrize("status", [429, 503])
async def test_a_server_that_is_busy_when_it_is_asked_what_it_is_is_asked_again(status: int) -> None:
    busy = response({"error": "too many questions"}, status, {"Retry-After": "0"})
    async with PLAIN.server() as fake:
        fake.answer(busy, busy, method="GET", path=MODELS)
        server = Server("fake", base_url(fake.url))
        async with remote_engine(server, patience=POLLS_AT_ONCE) as engine:
            events = await load_events(engine, f"{server.url}#{MODEL}")
        assert isinstance(events[-1], ModelLoaded)
        notices = [event.text for event in events if isinstance(event, Notice)]
        assert ["busy" in notice for notice in notices] == [True, True]


@pytest.mark.parametrize(("headers", "hint"), [({}, "a little"), ({"Retry-After": "90"}, "90 s")])
async def test_a_server_that_is_busy_for_long_fails_the_load(headers: dict[str, str], hint: str) -> None:
    async with FakeServer({("GET", MODELS): response({"error": "too many questions"}, 429, headers)}) as fake:
        failure = await first_failure(fake.url)
        assert failure.cause == FailureCause.BUSY
        assert hint in failure.hint


async def test_any_other_503_is_a_fault() -> None:
    async with chatting(PLAIN) as chat:
        failure_of(await chat.ask(response(b"Service Unavailable", 503)), FailureCause.SERVER_ERROR)
