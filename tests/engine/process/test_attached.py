"""The screen's side of a server's engine: found, used, lost and left; the server here is a few frames on a socket."""

import asyncio
import ctypes
import errno
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.patience import HANG_SECONDS
from tui_llama import paths
from tui_llama.chat import ChatMessage, Role, StopReason, Usage
from tui_llama.engine.events import (
    Failed,
    Finished,
    IdlePrefillFinished,
    LoadProgress,
    LoadStage,
    ModelLoaded,
    Notice,
    PromptEstimate,
    TextPiece,
    Tokenized,
)
from tui_llama.engine.process.attached import ATTACHED, AttachedEngine, AttachingEngine
from tui_llama.engine.process.framing import decode_request, encode_frame, receive_frame
from tui_llama.engine.process.sockets import address, check_folder, peer_user, socket_path
from tui_llama.engine.protocol import Engine, Event, Request
from tui_llama.engine.requests import (
    CancelRequest,
    EstimateRequest,
    IdlePrefillRequest,
    LoadRequest,
    ReplyRequest,
    TokenizeRequest,
)
from tui_llama.engine.scripted import ScriptedEngine, demo_model
from tui_llama.errors import EngineError, EngineLostError

MESSAGES = (ChatMessage(Role.USER, "hi"),)
LOADED = ModelLoaded(demo_model("model.gguf"))
USED = [Notice(ATTACHED), LOADED]

Answer = Callable[[Request], Awaitable[list[Event]]]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The folder of the sockets, which is the user's alone."""
    return paths.make_private_folder(tmp_path / "run")


@pytest.fixture
async def own() -> AsyncIterator[ScriptedEngine]:
    """The engine that loads what nobody serves."""
    engine = ScriptedEngine(load=[ModelLoaded(demo_model("loaded here"))])
    yield engine
    assert engine.is_closed


@pytest.fixture
async def engine(folder: Path, own: ScriptedEngine) -> AsyncIterator[AttachingEngine]:
    engine = AttachingEngine(lambda: own, folder, HANG_SECONDS)
    yield engine
    await engine.close()


class FakeServer:
    """Answers what a script says; keeps what it was asked, and when screens left."""

    def __init__(self, answer: Answer) -> None:
        self.requests: list[Request] = []
        self.has_come = asyncio.Event()
        self.has_left = asyncio.Event()
        self.answer = answer
        self.writers: list[asyncio.StreamWriter] = []
        self._tasks: set[asyncio.Task[None]] = set()

    def accept(self, requests: asyncio.StreamReader, events: asyncio.StreamWriter) -> None:
        self.writers.append(events)
        self.has_come.set()
        self._tasks.add(asyncio.get_running_loop().create_task(self._serve(requests, events)))

    def die(self) -> None:
        for writer in self.writers:
            writer.transport.abort()

    async def end(self) -> None:
        self.die()
        await asyncio.gather(*self._tasks)

    async def _serve(self, requests: asyncio.StreamReader, events: asyncio.StreamWriter) -> None:
        try:
            while (body := await receive_frame(requests)) is not None:
                self.requests.append(decode_request(body))
                for event in await self.answer(self.requests[-1]):
                    events.write(encode_frame(event))
        except ConnectionError:
            pass
        finally:
            self.has_left.set()
            events.transport.abort()


@asynccontextmanager
async def serving(folder: Path, answer: Answer, model: str = "model.gguf") -> AsyncIterator[FakeServer]:
    server = FakeServer(answer)
    path = socket_path(folder, model)
    path.unlink(missing_ok=True)
    with address(path) as place:
        listener = await asyncio.start_unix_server(server.accept, place)
    try:
        yield server
    finally:
        listener.close()
        await server.end()
        path.unlink(missing_ok=True)


async def willing(request: Request) -> list[Event]:
    """Answers as a server that has loaded the model."""
    match request:
        case LoadRequest():
            return [LOADED]
        case ReplyRequest(turn=turn):
            return [TextPiece(turn, "hello", (7, 8)), Finished(turn, StopReason.END_OF_GENERATION, Usage())]
        case EstimateRequest():
            return [PromptEstimate(3, 4, None)]
        case TokenizeRequest():
            return [Tokenized((1,), "a")]
        case IdlePrefillRequest():
            return [IdlePrefillFinished(5)]
    return []


async def silent(_request: Request) -> list[Event]:
    return []


async def load(engine: Engine, model: str = "model.gguf") -> list[Event]:
    return [event async for event in engine.load(LoadRequest(model))]


async def reply(engine: Engine, turn: int = 1) -> list[Event]:
    return [event async for event in engine.reply(ReplyRequest(turn, MESSAGES))]


async def soon(event: asyncio.Event) -> None:
    async with asyncio.timeout(HANG_SECONDS):
        await event.wait()


def loads_here(events: list[Event]) -> bool:
    return isinstance(events[-1], ModelLoaded) and events[-1].model.path == "loaded here"


async def test_without_a_server_the_model_is_loaded_here_without_a_word(engine: AttachingEngine) -> None:
    events = await load(engine)

    assert loads_here(events)
    assert len(events) == 1
    assert not engine.is_attached


async def test_a_running_server_is_used_and_said(engine: AttachingEngine, own: ScriptedEngine, folder: Path) -> None:
    async with serving(folder, willing):
        assert await load(engine) == USED
        assert engine.is_attached
        assert engine.is_alive
        assert not own.load_requests


async def test_every_kind_of_request_goes_to_the_server(engine: AttachingEngine, folder: Path) -> None:
    async with serving(folder, willing) as server:
        await load(engine)

        assert (await reply(engine, 4))[0] == TextPiece(4, "hello", (7, 8))
        assert await engine.estimate(EstimateRequest(MESSAGES)) == PromptEstimate(3, 4, None)
        assert await engine.tokenize(TokenizeRequest("a")) == Tokenized((1,), "a")
        assert [event async for event in engine.idle_prefill(IdlePrefillRequest(MESSAGES))] == [IdlePrefillFinished(5)]
        kinds = [LoadRequest, ReplyRequest, EstimateRequest, TokenizeRequest, IdlePrefillRequest]
        assert [type(request) for request in server.requests] == kinds


async def test_a_model_that_nobody_serves_is_loaded_here(engine: AttachingEngine, folder: Path) -> None:
    async with serving(folder, willing) as server:
        assert loads_here(await load(engine, "other.gguf"))
        assert not server.has_come.is_set()


async def test_a_link_to_the_served_file_is_the_same_model(
    engine: AttachingEngine, folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "real.gguf").touch()
    (tmp_path / "link.gguf").symlink_to("real.gguf")

    async with serving(folder, willing, str(tmp_path / "real.gguf")):
        assert await load(engine, str(tmp_path / "link.gguf")) == USED


@pytest.mark.parametrize("path", ["zero\0byte", "stray \udcff byte", "surrogate \ud800", ""], ids=ascii)
async def test_a_path_that_cannot_be_one_is_left_to_the_engine(engine: AttachingEngine, path: str) -> None:
    assert loads_here(await load(engine, path))


async def test_a_server_that_refuses_is_explained_and_the_model_loaded_here(
    engine: AttachingEngine, folder: Path
) -> None:
    async def refusing(_request: Request) -> list[Event]:
        return [Failed(None, "its context has 4096 tokens, not 8192")]

    async with serving(folder, refusing) as server:
        events = await load(engine)

        assert isinstance(events[0], Notice)
        assert "4096 tokens" in events[0].text
        assert loads_here(events)
        await soon(server.has_left)


async def test_a_server_that_still_loads_is_waited_for_and_its_progress_shown(
    engine: AttachingEngine, own: ScriptedEngine, folder: Path
) -> None:
    progress: list[Event] = [LoadProgress(LoadStage.READ, 1, 3), LoadProgress(LoadStage.COMPILE, 2, 3)]

    async def loading(_request: Request) -> list[Event]:
        return [*progress, LOADED]

    async with serving(folder, loading):
        assert await load(engine) == [*progress, *USED]
        assert not own.load_requests


async def test_a_load_of_a_server_is_stopped(engine: AttachingEngine, folder: Path) -> None:
    progress = LoadProgress(LoadStage.READ, 1, 3)

    async def loading(_request: Request) -> list[Event]:
        return [progress]

    async with serving(folder, loading) as server:
        events: list[Event] = []
        async for event in engine.load(LoadRequest("model.gguf")):
            events.append(event)
            engine.cancel()

        assert events == [progress, Failed(None, "loading was stopped")]
        await soon(server.has_left)


async def test_the_socket_of_a_dead_server_is_no_news(engine: AttachingEngine, folder: Path) -> None:
    with socket.socket(socket.AF_UNIX) as left_over, address(socket_path(folder, "model.gguf")) as place:
        left_over.bind(place)

    events = await load(engine)

    assert (len(events), loads_here(events)) == (1, True)


async def test_a_server_that_hangs_up_is_no_news(engine: AttachingEngine, folder: Path) -> None:
    async with serving(folder, silent) as server:
        loading = asyncio.create_task(load(engine))
        await soon(server.has_come)
        server.die()

        assert loads_here(await loading)


async def test_a_server_that_says_nothing_is_not_waited_for(own: ScriptedEngine, folder: Path) -> None:
    engine = AttachingEngine(lambda: own, folder, patience_seconds=0)
    async with serving(folder, silent):
        events = await load(engine)

        assert isinstance(events[0], Notice)
        assert "does not answer" in events[0].text
        assert loads_here(events)
    await engine.close()


async def test_a_load_is_stopped_while_the_server_is_asked(engine: AttachingEngine, folder: Path) -> None:
    async with serving(folder, silent) as server:
        loading = asyncio.create_task(load(engine))
        await soon(server.has_come)
        engine.cancel()

        assert await loading == [Failed(None, "loading was stopped")]
        await soon(server.has_left)


async def test_closing_while_the_server_is_asked_leaves_no_connection(engine: AttachingEngine, folder: Path) -> None:
    async with serving(folder, silent) as server:
        loading = asyncio.create_task(load(engine))
        await soon(server.has_come)
        await engine.close()

        assert await loading == [Failed(None, "loading was stopped")]
        await soon(server.has_left)


async def test_a_load_that_is_given_up_leaves_no_connection(engine: AttachingEngine, folder: Path) -> None:
    async with serving(folder, silent) as server:
        loading = asyncio.create_task(load(engine))
        await soon(server.has_come)
        loading.cancel()
        await soon(server.has_left)

    assert not engine.is_attached


async def test_a_server_of_another_user_is_told_nothing(own: ScriptedEngine, folder: Path) -> None:
    engine = AttachingEngine(lambda: own, folder, HANG_SECONDS, lambda _connection: os.geteuid() + 1)
    async with serving(folder, willing) as server:
        events = await load(engine)

        assert isinstance(events[0], Notice)
        assert "another user" in events[0].text
        assert loads_here(events)
        await soon(server.has_left)
        assert not server.requests
    await engine.close()


async def test_where_the_system_does_not_tell_the_user_the_modes_of_files_count(
    own: ScriptedEngine, folder: Path
) -> None:
    engine = AttachingEngine(lambda: own, folder, HANG_SECONDS, lambda _connection: None)
    async with serving(folder, willing):
        assert await load(engine) == USED
        await engine.close()


async def test_a_folder_that_others_may_enter_is_not_trusted(engine: AttachingEngine, folder: Path) -> None:
    async with serving(folder, willing) as server:
        folder.chmod(0o755)
        events = await load(engine)

        assert isinstance(events[0], Notice)
        assert "other users may enter" in events[0].text
        assert loads_here(events)
        assert not server.has_come.is_set()


async def test_a_server_that_ends_in_mid_answer_is_a_lost_engine(engine: AttachingEngine, folder: Path) -> None:
    async with serving(folder, willing) as server:
        await load(engine)
        server.answer = silent
        answering = asyncio.create_task(reply(engine))
        while len(server.requests) < 2:
            await asyncio.sleep(0)
        server.die()

        with pytest.raises(EngineLostError, match="has ended"):
            await answering
        assert not engine.is_alive
        with pytest.raises(EngineLostError, match="has ended"):
            await reply(engine)


async def test_after_the_end_of_the_server_the_model_is_loaded_here(engine: AttachingEngine, folder: Path) -> None:
    async with serving(folder, willing):
        await load(engine)

    assert loads_here(await load(engine))
    assert not engine.is_attached
    assert engine.is_alive


async def test_a_server_that_runs_again_is_used_again(engine: AttachingEngine, folder: Path) -> None:
    for _ in range(2):
        async with serving(folder, willing):
            assert await load(engine) == USED


async def test_bytes_that_are_no_message_are_a_lost_engine(engine: AttachingEngine, folder: Path) -> None:
    async with serving(folder, willing) as server:
        await load(engine)
        for writer in server.writers:
            writer.write(b"\xff" * 8)

        with pytest.raises(EngineLostError, match="invalid message"):
            await reply(engine)


async def test_closing_only_leaves(engine: AttachingEngine, folder: Path) -> None:
    async with serving(folder, willing) as server:
        await load(engine)
        await engine.close()
        await engine.close()
        await soon(server.has_left)

        assert [type(request) for request in server.requests] == [LoadRequest]
        assert not engine.is_alive


async def test_the_model_that_was_loaded_here_before_is_given_up_for_that_of_a_server(
    engine: AttachingEngine, own: ScriptedEngine, folder: Path
) -> None:
    await load(engine)
    assert own.is_alive

    async with serving(folder, willing):
        assert await load(engine) == USED
        assert not own.is_alive


async def test_another_model_leaves_the_server(engine: AttachingEngine, folder: Path) -> None:
    async with serving(folder, willing) as server:
        await load(engine)

        assert loads_here(await load(engine, "other.gguf"))
        await soon(server.has_left)


async def test_a_reply_is_cancelled_at_the_server(engine: AttachingEngine, folder: Path) -> None:
    async def until_cancelled(request: Request) -> list[Event]:
        match request:
            case ReplyRequest(turn=turn):
                return [TextPiece(turn, "a", (1,))]
            case CancelRequest(turn=int(turn)):
                return [Finished(turn, StopReason.STOPPED, Usage())]
        return await willing(request)

    async with serving(folder, until_cancelled):
        await load(engine)
        async with aclosing(engine.reply(ReplyRequest(3, MESSAGES))) as events:  # type: ignore[type-var]
            assert await anext(events) == TextPiece(3, "a", (1,))
            engine.cancel()
            assert await anext(events) == Finished(3, StopReason.STOPPED, Usage())


async def test_an_attached_engine_without_a_load_is_not_connected(folder: Path) -> None:
    engine = AttachedEngine(folder / "nothing.sock")

    with pytest.raises(EngineLostError, match="no server is connected"):
        await reply(engine)
    with pytest.raises(EngineLostError, match="no server answers"):
        await load(engine)
    await engine.close()


async def test_a_path_that_is_too_long_for_a_socket_is_reached_all_the_same(
    own: ScriptedEngine, tmp_path: Path
) -> None:
    if not Path("/proc/self/fd").is_dir():
        pytest.skip("this system has no other name for an open folder")
    folder = paths.make_private_folder(tmp_path / ("long" * 30))
    engine = AttachingEngine(lambda: own, folder, HANG_SECONDS)
    async with serving(folder, willing):
        assert await load(engine) == USED
        await engine.close()


def test_a_path_that_is_too_long_is_an_error_where_it_has_no_other_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tui_llama.engine.process.sockets._OPEN_FILES", tmp_path / "nothing")

    with pytest.raises(EngineError, match="too long"), address(tmp_path / ("x" * 120)):
        pass


@pytest.mark.parametrize("kind", ["link", "file"])
def test_what_is_no_folder_of_our_own_is_refused(tmp_path: Path, kind: str) -> None:
    place = tmp_path / "place"
    place.symlink_to(tmp_path) if kind == "link" else place.touch()

    with pytest.raises(EngineError, match="no folder"):
        check_folder(place)


def test_a_folder_of_another_user_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: folder.stat().st_uid + 1)

    with pytest.raises(EngineError, match="belongs to another user"):
        check_folder(folder)


def test_the_system_tells_whose_process_is_at_the_other_end() -> None:
    one, other = socket.socketpair(socket.AF_UNIX)
    with one, other:
        assert peer_user(one) == os.geteuid()


def test_a_socket_that_is_not_connected_has_nobody_at_the_other_end() -> None:
    with socket.socket(socket.AF_UNIX) as alone, pytest.raises(OSError, match=os.strerror(errno.ENOTCONN)):
        peer_user(alone)


class Library:
    """A C library that has `getpeereid`."""

    def __init__(self, status: int) -> None:
        self.status = status

    def getpeereid(self, _descriptor: int, user: Any, _group: Any) -> int:
        user._obj.value = 4_000_000_000
        return self.status


def test_other_systems_tell_it_by_their_c_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(socket, "SO_PEERCRED", raising=False)
    with socket.socket(socket.AF_UNIX) as connection:
        monkeypatch.setattr(ctypes, "CDLL", lambda *_, **__: Library(0))
        assert peer_user(connection) == 4_000_000_000

        monkeypatch.setattr(ctypes, "CDLL", lambda *_, **__: Library(-1))
        with pytest.raises(OSError):
            peer_user(connection)

        monkeypatch.setattr(ctypes, "CDLL", lambda *_, **__: object())
        assert peer_user(connection) is None


async def test_nothing_is_left_of_servers_and_connections(own: ScriptedEngine, folder: Path) -> None:
    tasks = asyncio.all_tasks()
    engine = AttachingEngine(lambda: own, folder, HANG_SECONDS)
    async with serving(folder, willing):
        for _ in range(3):
            await load(engine)
            await reply(engine)
        await engine.close()

    assert asyncio.all_tasks() == tasks
