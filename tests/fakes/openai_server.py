"""A server of chat completions on this machine that says what a test tells it to, byte by byte.

It speaks real HTTP/1.1 on 127.0.0.1, in the event loop of the test. A script for each request is a list of steps: bytes
to send, a gate to wait at, a cut. It records every request, and whether the client went away before the end of the
script. `openai_streams` has the bytes of answers, `openai_dialects` what each kind of server says of itself.
"""

import asyncio
import json
import socket
import struct
from collections import deque
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Final, Self, TypeAlias

from tests.patience import HANG_SECONDS
from tui_llama.engine.scripted import Gate

CHAT: Final = "/v1/chat/completions"
MODELS: Final = "/v1/models"
EVENT_STREAM: Final = "text/event-stream"
JSON: Final = "application/json"

_REASONS: Final = {200: "OK", 302: "Found", 307: "Temporary Redirect", 308: "Permanent Redirect", 400: "Bad Request"}


class Cut(Enum):
    """A step that ends the connection: with a reset, as a process does that is killed, or as one that closes it."""

    RESET = "reset"
    CLOSE = "close"


class Framing(Enum):
    """The way in which the client learns where the body ends."""

    LENGTH = "length"
    CHUNKED = "chunked"
    UNTIL_CLOSE = "until close"
    RAW = "raw"
    """The steps are all that is sent, without status and headers."""


Step: TypeAlias = bytes | Gate | Cut


@dataclass(frozen=True, slots=True)
class Script:
    """What the server does with a request. Each step with bytes is a packet, and with `CHUNKED` an HTTP chunk.

    Steps that are no sequence serve for one request only, and may be without an end.
    """

    steps: Iterable[Step]
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    framing: Framing = Framing.CHUNKED


def stream(*steps: Step, framing: Framing = Framing.CHUNKED) -> Script:
    """Returns the script of a stream of events."""
    return Script(steps, 200, {"Content-Type": f"{EVENT_STREAM}; charset=utf-8"}, framing)


def response(
    body: object, status: int = 200, headers: Mapping[str, str] | None = None, *, content_type: str = JSON
) -> Script:
    """Returns the script of one whole answer: bytes, or anything else as JSON."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Script((content,), status, {"Content-Type": content_type, **(headers or {})}, Framing.LENGTH)


def raw(*steps: Step) -> Script:
    """Returns a script that sends bytes as they are, which may be no HTTP at all."""
    return Script(steps, framing=Framing.RAW)


class Received:
    """A request as it arrived, and what became of its answer.

    Attributes:
        method: Such as "POST".
        target: The path, with the query.
        headers: The headers as they were sent, with names in lower case.
        body: The bytes of the body.
        connection: The number of its connection, from 0.
    """

    def __init__(self, method: str, target: str, headers: tuple[tuple[str, str], ...], connection: int) -> None:
        self.method = method
        self.target = target
        self.headers = headers
        self.body = b""
        self.connection = connection
        self._ended = asyncio.Event()
        self._was_left = False

    @property
    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)

    def header(self, name: str) -> str | None:
        """Returns the only header of this name, or None."""
        values = [value for key, value in self.headers if key == name.lower()]
        assert len(values) <= 1, values
        return values[0] if values else None

    def end(self, *, was_left: bool) -> None:
        """Notes that the script has ended, or that the client has left it."""
        self._was_left = was_left
        self._ended.set()

    async def was_left(self) -> bool:
        """Waits for the end of the script; returns whether the client closed the connection before it."""
        await asyncio.wait_for(self._ended.wait(), HANG_SECONDS)
        return self._was_left


class FakeServer:
    """The server. Use it with `async with`.

    Args:
        routes: The answers to requests for information, by method and path. They stay the same, however often asked.
        not_found: The answer to any other request.
        host: The name by which the client is to call it.

    Attributes:
        requests: All requests, oldest first.
        connection_count: How many connections there have been.
    """

    def __init__(
        self,
        routes: Mapping[tuple[str, str], Script] | None = None,
        not_found: Script | None = None,
        *,
        host: str = "127.0.0.1",
    ) -> None:
        self.requests: list[Received] = []
        self.connection_count = 0
        self._routes = dict(routes or {})
        self._queues: dict[tuple[str, str], deque[Script]] = {}
        self._not_found = not_found or response({"detail": "Not Found"}, 404)
        self._host = host
        self._listener: asyncio.Server | None = None
        self._conversations: dict[asyncio.Task[None], _Conversation] = {}
        self._arrived = asyncio.Condition()

    async def __aenter__(self) -> Self:
        self._listener = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Stops listening and ends all connections. May be called twice."""
        if self._listener is not None:
            self._listener.close()
        await self.drop_connections()

    async def drop_connections(self) -> None:
        """Ends all connections, and listens for new ones."""
        conversations = dict(self._conversations)
        for task, conversation in conversations.items():
            task.cancel()
            conversation.abort()
        await asyncio.gather(*conversations, return_exceptions=True)
        # Only now are the sockets closed.
        await asyncio.gather(*(one.closed() for one in conversations.values()), return_exceptions=True)

    # --- what a test sets up ---

    @property
    def port(self) -> int:
        """The port at which it listens."""
        assert self._listener is not None
        return int(self._listener.sockets[0].getsockname()[1])

    @property
    def url(self) -> str:
        """The base URL."""
        return f"http://{self._host}:{self.port}/v1"

    def serve(self, method: str, path: str, script: Script) -> None:
        """Sets the answer to all requests of this kind."""
        self._routes[method, path] = script

    def answer(self, *scripts: Script, method: str = "POST", path: str = CHAT) -> None:
        """Appends answers to the next requests of this kind, one each."""
        self._queues.setdefault((method, path), deque()).extend(scripts)

    # --- what a test looks at ---

    def asked(self, path: str = CHAT) -> list[Received]:
        """Returns the requests so far for a path."""
        return [request for request in self.requests if request.target.partition("?")[0] == path]

    @property
    def last(self) -> Received:
        """The last request for a chat completion."""
        return self.asked()[-1]

    async def next_request(self, count: int = 1, path: str = CHAT) -> Received:
        """Waits until there have been so many requests for a path; returns the last of these."""
        async with self._arrived:
            await asyncio.wait_for(self._arrived.wait_for(lambda: len(self.asked(path)) >= count), HANG_SECONDS)
        return self.asked(path)[count - 1]

    async def all_left(self) -> None:
        """Waits until the client has closed all connections so far."""
        await asyncio.wait_for(asyncio.gather(*self._conversations), HANG_SECONDS)

    # --- the server at work ---

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        conversation = _Conversation(reader, writer, self.connection_count)
        self.connection_count += 1
        task = asyncio.ensure_future(self._serve(conversation))
        self._conversations[task] = conversation

    async def _serve(self, conversation: "_Conversation") -> None:
        try:
            with suppress(ConnectionError):
                while (received := await conversation.next_request()) is not None:
                    script = await self._record(received)
                    if not await conversation.act(received, script):
                        break
        finally:
            conversation.close()

    async def _record(self, received: Received) -> Script:
        async with self._arrived:
            self.requests.append(received)
            self._arrived.notify_all()
        kind = received.method, received.target.partition("?")[0]
        queue = self._queues.get(kind)
        return queue.popleft() if queue else self._routes.get(kind, self._not_found)


class _ClientLeftError(Exception):
    """The client closed the connection."""


class _Conversation:
    """One connection. All that comes is read at once, so that the end of it is seen while a script is under way."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int) -> None:
        self._writer = writer
        self._number = number
        self._bytes = bytearray()
        self._has_news = asyncio.Event()
        self._left = asyncio.Event()
        self._pump = asyncio.ensure_future(self._read_all(reader))
        writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    async def _read_all(self, reader: asyncio.StreamReader) -> None:
        with suppress(ConnectionError):
            while piece := await reader.read(65536):
                self._bytes += piece
                self._has_news.set()
        self._left.set()
        self._has_news.set()

    async def next_request(self) -> Received | None:
        """Returns the next request, or None at the end of the connection."""
        while (end := self._bytes.find(b"\r\n\r\n")) < 0:
            if not await self._more():
                return None
        head = self._bytes[:end].decode("latin-1").split("\r\n")
        del self._bytes[: end + 4]
        method, target, _ = head[0].split(" ")
        pairs = (line.partition(":") for line in head[1:])
        received = Received(
            method, target, tuple((name.strip().lower(), value.strip()) for name, _, value in pairs), self._number
        )
        length = int(received.header("content-length") or 0)
        while len(self._bytes) < length:
            if not await self._more():
                return None
        received.body = bytes(self._bytes[:length])
        del self._bytes[:length]
        return received

    async def _more(self) -> bool:
        """Waits for more bytes; returns whether there can be more."""
        if self._left.is_set():
            return False
        self._has_news.clear()
        await self._has_news.wait()
        return True

    async def act(self, received: Received, script: Script) -> bool:
        """Carries out a script; returns whether the connection stays open."""
        was_left = True
        try:
            stays = await self._carry_out(script)
            was_left = False
            return stays
        except (_ClientLeftError, ConnectionError):
            return False
        finally:
            received.end(was_left=was_left)

    async def _carry_out(self, script: Script) -> bool:
        if script.framing is not Framing.RAW:
            self._writer.write(_head(script))
        for step in script.steps:
            match step:
                case Gate():
                    await self._wait_at(step)
                case Cut.RESET:
                    await self._writer.drain()
                    linger = struct.pack("ii", 1, 0)
                    self._writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                    self._writer.transport.abort()
                    return False
                case Cut.CLOSE:
                    return False
                case bytes():
                    await self._send(_chunk(step) if script.framing is Framing.CHUNKED else step)
        if script.framing is Framing.CHUNKED:
            await self._send(b"0\r\n\r\n")
        return script.framing in {Framing.CHUNKED, Framing.LENGTH}

    async def _send(self, packet: bytes) -> None:
        if self._left.is_set():
            raise _ClientLeftError
        self._writer.write(packet)
        await self._writer.drain()
        await asyncio.sleep(0)  # so that a client in the same loop may read it as a packet of its own

    async def _wait_at(self, gate: Gate) -> None:
        await self._writer.drain()
        waits = asyncio.ensure_future(gate.wait()), asyncio.ensure_future(self._left.wait())
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
            await asyncio.gather(*waits, return_exceptions=True)
        if self._left.is_set():
            raise _ClientLeftError

    def close(self) -> None:
        """Ends the connection when all is sent."""
        self._pump.cancel()
        self._writer.close()

    def abort(self) -> None:
        """Ends the connection at once."""
        self._pump.cancel()
        self._writer.transport.abort()

    async def closed(self) -> None:
        """Waits until the connection is closed."""
        await asyncio.gather(self._pump, return_exceptions=True)
        await self._writer.wait_closed()


def _head(script: Script) -> bytes:
    headers = dict(script.headers)
    if script.framing is Framing.LENGTH:
        headers["Content-Length"] = str(sum(len(step) for step in script.steps if isinstance(step, bytes)))
    elif script.framing is Framing.CHUNKED:
        headers["Transfer-Encoding"] = "chunked"
    else:
        headers["Connection"] = "close"
    lines = [f"HTTP/1.1 {script.status} {_REASONS.get(script.status, 'Status')}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode()


def _chunk(content: bytes) -> bytes:
    """Returns an HTTP chunk. An empty one would end the body."""
    return b"%x\r\n%s\r\n" % (len(content), content) if content else b""


def packets(content: bytes, sizes: Iterable[int]) -> list[bytes]:
    """Cuts bytes into packets of these sizes, the rest in a last one."""
    pieces, start = [], 0
    for size in sizes:
        if start >= len(content):
            break
        pieces.append(content[start : start + size])
        start += size
    return [piece for piece in (*pieces, content[start:]) if piece]
