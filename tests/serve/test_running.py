"""The server from its start to its end: loading, signals, open answers, and what is left."""

import asyncio
import io
import os
import signal
from pathlib import Path

import pytest

from tests.patience import HANG_SECONDS
from tests.serve.running_server import received_by
from tui_llama.engine.events import Failed, LoadProgress, LoadStage, ModelLoaded, Notice, TextPiece
from tui_llama.engine.process.attached import ATTACHED, AttachingEngine
from tui_llama.engine.requests import LoadRequest
from tui_llama.engine.scripted import Gate, ScriptedEngine, Step, demo_model
from tui_llama.errors import EngineError
from tui_llama.output import Output
from tui_llama.serve.http.access import Access
from tui_llama.serve.http.listening import bound_sockets
from tui_llama.serve.running import Service, serve
from tui_llama.settings import Settings

LOAD = LoadRequest("/models/demo.gguf")
CHAT = b'{"messages":[{"role":"user","content":"hello"}],"stream":true}'
STREAM = b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n%b" % (len(CHAT), CHAT)


class Running:
    """A server whose end a test waits for."""

    def __init__(self, engine: ScriptedEngine, load: LoadRequest = LOAD) -> None:
        self.engine = engine
        self.messages = io.StringIO()
        self.sockets = bound_sockets("127.0.0.1", 0)
        self.port = self.sockets[0].getsockname()[1]
        self.name: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        service = Service(load, Settings(), Access(), self.sockets, lambda: engine)
        self.status = asyncio.create_task(serve(service, Output(io.StringIO(), self.messages), self.name.set_result))

    async def end_by(self, number: signal.Signals) -> int:
        os.kill(os.getpid(), number)
        async with asyncio.timeout(HANG_SECONDS):
            return await self.status


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)], ids=str
)
async def test_a_signal_ends_it_with_the_usual_status(number: signal.Signals, status: int) -> None:
    before = asyncio.all_tasks()
    running = Running(ScriptedEngine())
    assert await running.name == "demo"

    assert await running.end_by(number) == status
    assert running.engine.is_closed
    assert asyncio.all_tasks() - before <= {running.status}
    assert all(each.fileno() == -1 for each in running.sockets)


async def test_an_open_answer_ends_and_whoever_waits_is_refused() -> None:
    gate = Gate()
    running = Running(ScriptedEngine(replies=lambda _: (TextPiece(0, "one", (1,)), gate)))
    await running.name
    (first, writer), (second, other) = [await asyncio.open_connection("127.0.0.1", running.port) for _ in range(2)]
    writer.write(STREAM)
    begun_answer = await first.readuntil(b"one")
    other.write(STREAM.replace(b'"stream":true}', b'"stream":null}'))
    reading = asyncio.gather(received_by(first), received_by(second))
    while b"x-queue-length: 1" not in await _health(running.port):
        pass

    assert await running.end_by(signal.SIGINT) == 130

    answer, refused = await reading
    assert begun_answer.startswith(b"HTTP/1.1 200")
    assert b'"code":"shutting_down"' in answer
    assert answer.endswith(b"0\r\n\r\n")
    assert refused.startswith(b"HTTP/1.1 503")
    for each in (writer, other):
        each.close()


async def _health(port: int) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    try:
        return await received_by(reader)
    finally:
        writer.close()


async def test_a_client_that_reads_nothing_does_not_hold_up_the_end() -> None:
    text = "y" * (1 << 20)
    running = Running(ScriptedEngine(replies=lambda _: [TextPiece(0, text, (1,)) for _ in range(100)]))
    await running.name
    reader, writer = await asyncio.open_connection("127.0.0.1", running.port)
    writer.write(STREAM)
    await reader.readuntil(b"yyyy")

    assert await running.end_by(signal.SIGTERM) == 143
    writer.close()


async def test_a_signal_during_the_load_ends_that() -> None:
    gate = Gate()
    running = Running(ScriptedEngine(load=lambda _: (gate,)))
    await gate.reached()

    assert await running.end_by(signal.SIGINT) == 130
    assert running.engine.is_closed
    assert not running.name.done()


async def test_a_model_that_cannot_be_loaded_is_said_and_nothing_is_left() -> None:
    running = Running(ScriptedEngine(load=[Failed(None, "the file is damaged", "Fetch it again.")]))

    with pytest.raises(EngineError, match="the file is damaged"):
        await running.status
    assert running.engine.is_closed
    assert all(each.fileno() == -1 for each in running.sockets)


async def test_a_screen_that_starts_during_the_load_waits_for_it_and_loads_nothing(tmp_path: Path) -> None:
    path = tmp_path / "demo.gguf"
    path.touch()
    gate = Gate()
    progress, loaded = LoadProgress(LoadStage.COMPILE, 1, 2), ModelLoaded(demo_model(str(path)))
    running = Running(ScriptedEngine(load=[progress, gate, loaded]), LoadRequest(str(path)))
    await gate.reached()
    own = ScriptedEngine()
    screen = AttachingEngine(lambda: own, patience_seconds=HANG_SECONDS)

    events = []
    async for event in screen.load(LoadRequest(str(path))):
        events.append(event)
        gate.open()

    assert events[0] == progress
    assert events[-2:] == [Notice(ATTACHED), loaded]
    assert await running.name == "demo"
    assert (len(running.engine.load_requests), own.load_requests) == (1, [])
    await screen.close()
    await running.end_by(signal.SIGINT)


async def test_a_screen_whose_server_cannot_load_the_model_tries_it_itself(tmp_path: Path) -> None:
    path = tmp_path / "demo.gguf"
    path.touch()
    gate = Gate()
    running = Running(ScriptedEngine(load=[gate, Failed(None, "the file is damaged")]), LoadRequest(str(path)))
    await gate.reached()
    own = ScriptedEngine()
    screen = AttachingEngine(lambda: own, patience_seconds=HANG_SECONDS)

    async for _ in screen.load(LoadRequest(str(path))):
        gate.open()

    with pytest.raises(EngineError, match="the file is damaged"):
        await running.status
    assert len(own.load_requests) == 1
    await screen.close()


async def test_what_the_model_says_is_shown() -> None:
    load: list[Step] = [Notice("first"), ModelLoaded(demo_model(LOAD.model_path), ("second",))]
    running = Running(ScriptedEngine(load=load))
    await running.name
    await running.end_by(signal.SIGINT)

    assert running.messages.getvalue() == "note: first\nnote: second\n"
