"""Nothing is sent to any server but the one that the user has named."""

import pytest

from tests.engine.remote.remote_chat import (
    KEY,
    chat_with,
    chatting,
    failure_of,
    first_failure,
)
from tests.fakes.openai_dialects import (
    PLAIN,
)
from tests.fakes.openai_server import CHAT, MODELS, FakeServer, response
from tui_llama.engine.protocol import Failed, FailureCause


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
