"""The remote engine at work with fake servers, through the `Engine` protocol alone."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any

from msgspec.structs import replace

from tests.fakes import openai_streams as wire
from tests.fakes.engine_events import finish_of, text_of
from tests.fakes.openai_dialects import MODEL, Kind
from tests.fakes.openai_server import FakeServer, Script, stream
from tests.patience import HANG_SECONDS
from tui_llama.chat import ChatMessage, Role, StopReason
from tui_llama.engine.events import (
    Failed,
    FailureCause,
    Finished,
    ModelLoaded,
    Notice,
    PromptProgress,
    TextPiece,
)
from tui_llama.engine.process.framing import decode_event, encode_frame
from tui_llama.engine.protocol import Event, LoadEvent, ReplyEvent
from tui_llama.engine.remote.engine import RemoteEngine
from tui_llama.engine.requests import CompleteRequest, LoadRequest, ReplyRequest
from tui_llama.sampling.settings import SamplingSettings
from tui_llama.servers.address import RemoteModel, Server, base_url

KEY = "sk-1234567890abcdef"
TURN = 7

QUESTION = ChatMessage(Role.USER, "How does a llama sound?")


def reply_request(*messages: ChatMessage, **fields: Any) -> ReplyRequest:
    """Returns a request for the answer to messages, by default to one question."""
    return ReplyRequest(TURN, messages or (QUESTION,), **fields)


def sampled(**values: Any) -> ReplyRequest:
    """Returns a request with these sampling values, which somebody has chosen."""
    return reply_request(sampling=SamplingSettings(**values), given_sampling=tuple(values))


ANSWER = "".join(wire.ANSWER)
BEGUN = [wire.ROLE, *wire.texts(wire.ANSWER)]
"""The events of an answer without its end."""


@dataclass
class Chat:
    """An engine that has loaded the model of a server."""

    engine: RemoteEngine
    server: FakeServer
    loaded: ModelLoaded

    async def ask(
        self, *scripts: Script | list[bytes], request: ReplyRequest | CompleteRequest | None = None
    ) -> list[ReplyEvent]:
        """Returns the events of a reply for which the server has these scripts, or these events in a stream."""
        self.server.answer(*(script if isinstance(script, Script) else stream(*script) for script in scripts))
        return await events_of(self.engine, request or reply_request())

    def lose_patience(self, **seconds: float) -> None:
        """Shortens waits from now on: a load with short ones would fail on a busy machine."""
        self.engine._patience = replace(self.engine._patience, **seconds)

    async def works_again(self) -> None:
        """Checks that the next reply is as good as if nothing had happened."""
        ended_well(await self.ask(wire.plain()), ANSWER)

    @property
    def sent(self) -> dict[str, Any]:
        """The body of the last request for a reply."""
        body = self.server.last.json
        assert isinstance(body, dict)
        return body


async def events_of(engine: RemoteEngine, request: ReplyRequest | CompleteRequest) -> list[ReplyEvent]:
    """Returns all events of a reply, which must be such as the protocol promises."""
    events: list[ReplyEvent] = []
    async with asyncio.timeout(HANG_SECONDS):
        async for event in engine.reply(request):
            events.append(event)
    check_events(events, request.turn)
    return events


def check_events(events: list[ReplyEvent], turn: int) -> None:
    """Checks what is true of the events of every reply."""
    *first, last = events
    assert isinstance(last, (Finished, Failed)), last
    assert not any(isinstance(event, (Finished, Failed)) for event in first)
    assert all(event.turn == turn for event in events if not isinstance(event, Notice))
    check_values(events)
    done = 0
    for event in first:
        if isinstance(event, PromptProgress):
            assert done <= event.done_tokens <= event.total_tokens
            assert event.reused_tokens <= event.done_tokens
            done = event.done_tokens
        elif isinstance(event, TextPiece):
            assert not event.token_ids


def check_values(events: Iterable[Event]) -> None:
    """Checks that all values are such as the protocol allows, by a way through the frames of a pipe."""
    for event in events:
        assert decode_event(encode_frame(event)[4:]) == event
        if isinstance(event, Notice):
            assert "\x1b" not in event.text
            assert "\n" not in event.text


def failure_of(events: list[ReplyEvent], cause: FailureCause) -> Failed:
    """Returns the last event, which must be a failure of this cause that says what to do."""
    last = events[-1]
    assert isinstance(last, Failed), last
    assert last.cause == cause, last
    assert last.message
    assert "\x1b" not in last.message + last.hint
    assert len(last.message) < 1000
    return last


def ended_well(events: list[ReplyEvent], text: str) -> Finished:
    """Returns the last event of an answer that is complete and has this text."""
    assert text_of(events) == text
    finish = finish_of(events)
    assert finish.stop_reason == StopReason.END_OF_GENERATION
    return finish


@asynccontextmanager
async def remote_engine(server: Server, key: str = "", **more: Any) -> AsyncIterator[RemoteEngine]:
    """Opens an engine that knows this server, whose key is `key`."""

    def find_server(url: str) -> Server:
        assert url == server.url
        return server

    def read_key(asked: Server) -> str:
        assert asked == server
        return key

    engine = RemoteEngine(find_server, read_key, **more)
    try:
        yield engine
    finally:
        await engine.close()


async def load_events(engine: RemoteEngine, address: str) -> list[LoadEvent]:
    """Returns all events of a load."""
    events: list[LoadEvent] = []
    async with asyncio.timeout(HANG_SECONDS):
        async for event in engine.load(LoadRequest(address)):
            events.append(event)
    *first, last = events
    assert isinstance(last, (ModelLoaded, Failed)), last
    assert not any(isinstance(event, (ModelLoaded, Failed)) for event in first)
    check_values(events)
    return events


async def first_failure(url: str, key: str = "") -> Failed:
    """Returns the failure of a server that has never been reached: of the load, or else of the first reply."""
    server = Server("fake", base_url(url))
    async with remote_engine(server, key) as engine:
        last: LoadEvent | ReplyEvent = (await load_events(engine, str(RemoteModel(server.url, MODEL))))[-1]
        if isinstance(last, ModelLoaded):
            last = (await events_of(engine, reply_request()))[-1]
        assert isinstance(last, Failed), last
        return last


@asynccontextmanager
async def chat_with(
    fake: FakeServer, *, key: str = "", dialect: str = "", name: str = MODEL, **more: Any
) -> AsyncIterator[Chat]:
    """Opens a chat with a running fake server."""
    server = Server("fake", base_url(fake.url), dialect=dialect)
    async with remote_engine(server, key, **more) as engine:
        last = (await load_events(engine, str(RemoteModel(server.url, name))))[-1]
        assert isinstance(last, ModelLoaded), last
        yield Chat(engine, fake, last)


@asynccontextmanager
async def chatting(kind: Kind, **more: Any) -> AsyncIterator[Chat]:
    """Opens a chat with a fake server of this kind."""
    async with kind.server() as fake, chat_with(fake, **more) as chat:
        yield chat


def check_ends(events: list[ReplyEvent], begins_with: str = "") -> None:
    """Checks that a reply to nonsense has ended as replies do. `Chat.ask` has checked the order of events."""
    text = text_of(events)
    assert text.startswith(begins_with)
    text.encode()  # no halves of pairs
    if isinstance(events[-1], Failed):
        failure_of(events, events[-1].cause)


@contextmanager
def chat_for_examples(kind: Kind) -> Iterator[tuple[Chat, asyncio.Runner]]:
    """Opens one chat for all examples of a hypothesis test, which are one run of the loop each."""
    with asyncio.Runner() as runner:
        stack = AsyncExitStack()
        try:
            yield runner.run(stack.enter_async_context(chatting(kind))), runner
        finally:
            runner.run(stack.aclose())
