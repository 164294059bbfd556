"""A server on a port of its own in the test's event loop, and a client that writes bytes as they are."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from tests.patience import HANG_SECONDS
from tui_llama.chat import ChatMessage, Role
from tui_llama.engine.events import TextPiece
from tui_llama.engine.protocol import Engine
from tui_llama.engine.requests import LoadRequest, ReplyRequest
from tui_llama.engine.scripted import ScriptedEngine, Step, demo_model
from tui_llama.errors import EngineError
from tui_llama.serve.app import make_app
from tui_llama.serve.http.access import Access, client_of
from tui_llama.serve.http.disconnect import watched
from tui_llama.serve.http.limits import Limits
from tui_llama.serve.http.listening import bound_sockets
from tui_llama.serve.metrics import MeasuredEngine, Metrics
from tui_llama.serve.queue import MOST_WAITING, EngineQueue
from tui_llama.serve.running import HttpServer
from tui_llama.serve.served_model import ServedModel
from tui_llama.settings import Settings

QUESTION = (ChatMessage(Role.USER, "Tell me of llamas."),)
MODEL = demo_model("/models/demo.gguf")


@dataclass
class Answer:
    """An answer as it came."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Running:
    """A server that runs.

    Attributes:
        server: uvicorn's side.
        queue: The queue before the engine.
        port: Where it listens.
    """

    server: HttpServer
    queue: EngineQueue
    port: int

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self.port)

    async def send(self, *pieces: bytes) -> bytes:
        """Sends bytes on a connection of its own; returns all that comes until the server closes it."""
        reader, writer = await self.connect()
        reading = asyncio.create_task(received_by(reader))
        try:
            with suppress(ConnectionError):
                for piece in pieces:
                    writer.write(piece)
                    await writer.drain()
            return await reading
        finally:
            writer.close()

    async def ask(
        self, method: str, path: str, content: object = None, headers: Iterable[tuple[str, str]] = (), body: bytes = b""
    ) -> Answer:
        """Sends one well-formed request and returns its answer."""
        body = json.dumps(content).encode() if content is not None else body
        given = {name.lower() for name, _ in headers}
        lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers), "Connection: close"]
        if "host" not in given:
            lines.append(f"Host: 127.0.0.1:{self.port}")
        if body:
            lines.append(f"Content-Length: {len(body)}")
        return answer_of(await self.send("\r\n".join([*lines, "", ""]).encode("latin-1") + body))

    async def has_no_connections(self) -> None:
        """Returns when the server has no connection and no task left."""
        state = self.server.server_state
        async with asyncio.timeout(HANG_SECONDS):
            while state.connections or state.tasks:
                await asyncio.sleep(0)


async def received_by(reader: asyncio.StreamReader) -> bytes:
    """Returns all that comes until the server closes the connection or resets it."""
    received = bytearray()
    with suppress(ConnectionError):
        async with asyncio.timeout(HANG_SECONDS):
            while piece := await reader.read(1 << 16):
                received += piece
    return bytes(received)


def answer_of(received: bytes) -> Answer:
    """Reads one answer, of a connection that was closed behind it."""
    head, _, body = received.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    if headers.get("transfer-encoding") == "chunked":
        body = b"".join(_chunks(body))
    return Answer(int(first.split(" ")[1]), headers, body)


def _chunks(body: bytes) -> Iterable[bytes]:
    while body:
        size, _, body = body.partition(b"\r\n")
        yield body[: int(size, 16)]
        body = body[int(size, 16) + 2 :]


def error_of(answer: Answer) -> Any:
    """Returns the error of an answer, which must have OpenAI's shape."""
    content = answer.json()
    assert set(content) == {"error"}
    assert set(content["error"]) == {"message", "type", "code", "param"}
    assert content["error"]["message"]
    return content["error"]


@asynccontextmanager
async def running(
    engine: Engine | None = None,
    access: Access | None = None,
    limits: Limits | None = None,
    routes: Callable[[EngineQueue], Sequence[Route]] = lambda _queue: (),
    most_waiting: int = MOST_WAITING,
) -> AsyncIterator[Running]:
    """Runs a server while the block runs; it has the route `/reply` beside its own."""
    metrics, limits = Metrics(), limits or Limits()
    measured = MeasuredEngine(engine or ScriptedEngine(), metrics)
    model = ServedModel(measured, LoadRequest(MODEL.path), lambda _progress: None, lambda _notice: None)
    queue = EngineQueue(measured, most_waiting, model.make_ready, lambda: model.is_ready)
    with suppress(EngineError):
        await model.make_ready()
    app = make_app(
        *(queue, lambda: MODEL, Settings(), access or Access(), limits, metrics), load_if_lost=model.load_if_lost
    )
    app.router.routes.extend([Route("/reply", reply_route(queue), methods=["POST"]), *routes(queue)])
    server, sockets = HttpServer(app, limits, queue), bound_sockets("127.0.0.1", 0)
    answering = asyncio.create_task(server.answer(sockets))
    while not server.started:
        await asyncio.sleep(0)
    try:
        yield Running(server, queue, sockets[0].getsockname()[1])
    finally:
        queue.close()
        server.should_exit = True
        async with asyncio.timeout(HANG_SECONDS):
            await answering
        await model.close()


def reply_route(queue: EngineQueue) -> Callable[[Request], Any]:
    """A route that streams the texts of a reply, with the helpers that all routes use."""

    async def reply(request: Request) -> Response:
        await request.body()
        turn = queue.turn(client_of(request.scope))

        async def texts() -> AsyncIterator[str]:
            async with watched(request.receive) as client, client.entering(turn) as engine:
                async for event in client.events(engine, ReplyRequest(1, QUESTION)):
                    if isinstance(event, TextPiece):
                        yield event.text

        return StreamingResponse(texts())

    return reply


def spoken(*texts: str, between: Sequence[Step] = ()) -> list[Step]:
    """The steps of a reply that says texts, with other steps after each of them."""
    steps: list[Step] = []
    for token, text in enumerate(texts):
        steps += [TextPiece(0, text, (token,)), *between]
    return steps


def encoded(content: object) -> bytes:
    return msgspec.json.encode(content)
