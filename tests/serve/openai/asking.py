"""Asks the routes without a network: the application is called as a server would call it."""

import asyncio
import json
from collections.abc import Iterable, MutableMapping
from itertools import count
from typing import Any

import msgspec
from starlette.applications import Starlette
from starlette.middleware import Middleware

from tui_llama.chat import StopReason, Usage
from tui_llama.engine.descriptions import Capabilities, ModelInfo
from tui_llama.engine.events import Finished, PromptEncoded, PromptProgress, TextPiece, TokenProbability
from tui_llama.engine.requests import CompleteRequest, ReplyRequest
from tui_llama.engine.scripted import ReplyScript, ScriptedEngine, Step, demo_model
from tui_llama.serve.http.answering import AnsweringMiddleware
from tui_llama.serve.metrics import Metrics
from tui_llama.serve.openai.chunks import Ids
from tui_llama.serve.openai.routes import openai_routes
from tui_llama.serve.queue import EngineQueue
from tui_llama.settings import Settings

CHAT, TEXT = "/v1/chat/completions", "/v1/completions"
QUESTION = [{"role": "user", "content": "Who are you?"}]
USAGE = Usage(
    reused_tokens=3,
    read_tokens=2,
    generated_tokens=4,
    read_seconds=0.5,
    generate_seconds=2.0,
    context_used=8,
    context_size=8192,
)
MODEL = msgspec.structs.replace(
    demo_model("llama.gguf"),
    capabilities=Capabilities(has_probabilities=True),
    template_marks=("<think>", "</think>", "<tool_call>"),
    vocabulary="v",
)


def said(*texts: str, reason: StopReason = StopReason.END_OF_GENERATION, prompt: str = "Hello") -> list[Step]:
    """Returns the steps of an answer, piece by piece. The prompt has a token for each character."""
    return [
        PromptEncoded(0, 0, tuple(map(ord, prompt))),
        PromptProgress(0, 3, 3, 5),
        PromptProgress(0, 3, 5, 5),
        *(_piece(text, place) for place, text in enumerate(texts)),
        Finished(0, reason, USAGE),
    ]


class Thought(str):
    """A text that the model thinks before its answer."""

    __slots__ = ()


def _piece(text: str, token_id: int) -> TextPiece:
    is_thought = isinstance(text, Thought)
    return TextPiece(0, "" if is_thought else text, (token_id,), thought=str(text) if is_thought else "")


def probable(text: str, log_probability: float = -0.5, *others: str) -> TextPiece:
    """Returns a piece of one token with its probability."""
    alternatives = tuple(TokenProbability(each.encode(), -1.5, 9) for each in others)
    return TextPiece(0, text, (7,), (TokenProbability(text.encode(), log_probability, 7, alternatives),))


class Reply:
    """An answer of the application, while it comes."""

    def __init__(self) -> None:
        self.status = 0
        self.headers: dict[str, str] = {}
        self.body = b""
        self.has_ended = False
        self._news = asyncio.Event()
        self._left = asyncio.Event()

    def leave(self) -> None:
        """Lets the client close the connection."""
        self._left.set()

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> dict[str, Any]:
        return dict(self.json["error"])

    @property
    def chunks(self) -> list[Any]:
        """The JSON of the events, without the mark of the end."""
        datas = [line.removeprefix("data: ") for line in self.body.decode().split("\n\n") if line.startswith("data: ")]
        return [json.loads(data) for data in datas if data != "[DONE]"]

    @property
    def deltas(self) -> list[Any]:
        return [chunk["choices"][0]["delta"] for chunk in self.chunks if chunk["choices"]]

    @property
    def text(self) -> str:
        return "".join(delta.get("content") or "" for delta in self.deltas)

    async def until(self, part: bytes) -> None:
        """Waits until the body has this part."""
        while part not in self.body:
            self._news.clear()
            await self._news.wait()

    async def left(self) -> None:
        """Waits until the client leaves."""
        await self._left.wait()

    async def take(self, message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.headers = {name.decode(): value.decode() for name, value in message["headers"]}
        else:
            self.body += message.get("body", b"")
            self.has_ended = not message.get("more_body", False)
        self._news.set()


class Asker:
    """The routes over a scripted engine whose ids and times never change.

    Args:
        replies: The script of the engine.
        model: The model that is served.
        settings: The user's settings.
        options: Further arguments of `openai_routes`.
    """

    def __init__(
        self,
        replies: Iterable[Iterable[Step]] | ReplyScript | None = None,
        model: ModelInfo = MODEL,
        settings: Settings | None = None,
        **options: Any,
    ) -> None:
        numbers = count()
        ids = Ids(lambda: f"{next(numbers):09d}", lambda: 1_700_000_000.0, lambda: 0.0)
        self.engine = ScriptedEngine(replies=replies)
        self.queue = EngineQueue(self.engine)
        options = {"ids": ids, **options}
        routes = openai_routes(self.queue, lambda: model, settings or Settings(), **options)
        answering = Middleware(AnsweringMiddleware, queue=self.queue, metrics=Metrics())
        self.app = Starlette(routes=routes, middleware=[answering])

    @property
    def request(self) -> ReplyRequest | CompleteRequest:
        """The last request that the engine got."""
        return self.engine.reply_requests[-1]

    async def ask(self, path: str = CHAT, body: bytes | None = None, **fields: Any) -> Reply:
        """Sends a request and returns the whole answer; a chat has a question unless `messages` says another."""
        reply = Reply()
        await self.send(reply, path, body, **fields)
        return reply

    async def send(self, reply: Reply, path: str = CHAT, body: bytes | None = None, **fields: Any) -> None:
        """Sends a request whose answer goes to `reply`."""
        if path == CHAT:
            fields = {"messages": QUESTION, **fields}
        messages = [{"type": "http.request", "body": json.dumps(fields).encode() if body is None else body}]

        async def receive() -> MutableMapping[str, Any]:
            if messages:
                return messages.pop()
            await reply.left()
            return {"type": "http.disconnect"}

        scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "method": "POST",
            "path": path,
            "raw_path": path.encode(),
            "root_path": "",
            "query_string": b"",
            "headers": [(b"content-type", b"application/json")],
            "client": ("127.0.0.1", 1),
            "server": ("127.0.0.1", 2),
            "scheme": "http",
            "http_version": "1.1",
        }
        await self.app(scope, receive, reply.take)
