"""One engine for files and one for servers, behind the protocol of a single one."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import pytest

from tests.fakes.openai_dialects import LLAMA_SERVER, MODEL
from tests.fakes.openai_server import stream
from tests.fakes.openai_streams import llama_server
from tui_llama.chat import ChatMessage, Role, StopReason, Usage
from tui_llama.engine.events import (
    Failed,
    Finished,
    IdlePrefillFinished,
    IdlePrefillProgress,
    ModelLoaded,
    Notice,
    PromptEstimate,
    TextPiece,
)
from tui_llama.engine.process.worker import EngineWorker
from tui_llama.engine.remote.engine import RemoteEngine
from tui_llama.engine.requests import (
    EstimateRequest,
    IdlePrefillRequest,
    LoadRequest,
    ReplyRequest,
    TokenizeRequest,
)
from tui_llama.engine.routed import RoutedEngine
from tui_llama.engine.scripted import Gate, Loss, ScriptedEngine, demo_load, demo_model
from tui_llama.errors import CallerError, EngineError, EngineLostError
from tui_llama.servers.address import Server

FILE = "/models/small.gguf"
SERVER = "http://127.0.0.1:8080/v1#qwen3"
MESSAGES = (ChatMessage(Role.USER, "Hello"),)
REPLY = ReplyRequest(1, MESSAGES)


class Engines:
    """A routed engine, and all that it has opened."""

    def __init__(self, *, local: dict[str, Any] | None = None, remote: dict[str, Any] | None = None) -> None:
        self.local: list[ScriptedEngine] = []
        self.remote: list[ScriptedEngine] = []
        self.routed = RoutedEngine(
            lambda: self._opened(self.local, local or {}), lambda: self._opened(self.remote, remote or {})
        )

    @staticmethod
    def _opened(engines: list[ScriptedEngine], scripts: dict[str, Any]) -> ScriptedEngine:
        engines.append(ScriptedEngine(**scripts))
        return engines[-1]

    async def load(self, path: str) -> list[Any]:
        return await taken(self.routed.load(LoadRequest(path)))


async def taken(events: AsyncIterator[Any]) -> list[Any]:
    return [event async for event in events]


def saying(*texts: str) -> dict[str, Any]:
    """The scripts of an engine that answers everything with these pieces."""
    answer = [*(TextPiece(0, text, ()) for text in texts), Finished(0, StopReason.END_OF_GENERATION, Usage())]
    return {"replies": lambda _request: answer}


async def test_each_load_goes_to_the_engine_of_its_kind_and_opens_no_other() -> None:
    engines = Engines()

    events = await engines.load(SERVER)

    assert events[-1] == ModelLoaded(demo_model(SERVER))
    assert [request.model_path for request in engines.remote[0].load_requests] == [SERVER]
    assert engines.local == []

    await engines.load(FILE)
    assert [request.model_path for request in engines.local[0].load_requests] == [FILE]
    assert len(engines.remote) == 1


async def test_everything_else_goes_to_the_engine_of_the_last_load() -> None:
    estimates = (PromptEstimate(1, 2, None), PromptEstimate(3, 4, None))
    engines = Engines(
        local={**saying("local"), "estimate": lambda _request: estimates[0]},
        remote={**saying("remote"), "estimate": lambda _request: estimates[1]},
    )
    for path, name, estimate in ((FILE, "local", estimates[0]), (SERVER, "remote", estimates[1])):
        await engines.load(path)
        assert [each.text for each in await taken(engines.routed.reply(REPLY)) if isinstance(each, TextPiece)] == [name]
        assert await engines.routed.estimate(EstimateRequest(MESSAGES)) == estimate
        assert await taken(engines.routed.idle_prefill(IdlePrefillRequest(MESSAGES))) == [IdlePrefillFinished(0)]
        assert (await engines.routed.tokenize(TokenizeRequest("a"))).token_ids == (97,)
    assert len(engines.local[0].reply_requests) == len(engines.remote[0].reply_requests) == 1
    assert len(engines.local[0].idle_prefill_requests) == len(engines.remote[0].idle_prefill_requests) == 1


async def test_another_model_of_the_same_kind_keeps_the_engine() -> None:
    engines = Engines()
    await engines.load(FILE)
    await engines.load("/models/other.gguf")
    assert len(engines.local) == 1 and not engines.local[0].is_closed


@pytest.mark.parametrize(("first", "second"), [(FILE, SERVER), (SERVER, FILE)])
async def test_the_engine_left_behind_is_closed_before_the_new_model_is_told(first: str, second: str) -> None:
    engines = Engines()
    await engines.load(first)
    left = (engines.local or engines.remote)[0]

    async with aclosing(engines.routed.load(LoadRequest(second))) as events:
        async for event in events:
            assert left.is_closed == isinstance(event, ModelLoaded)

    assert engines.routed.is_alive
    await engines.load(first)
    made = engines.local if first == FILE else engines.remote
    assert len(made) == 2 and made[1].is_alive and not made[1].is_closed


async def test_a_load_that_fails_leaves_the_other_engine_as_it_is() -> None:
    engines = Engines(remote={"load": [Failed(None, "The server refuses.")]})
    await engines.load(FILE)

    assert await engines.load(SERVER) == [Failed(None, "The server refuses.")]

    assert not engines.local[0].is_closed
    await engines.load(FILE)
    assert len(engines.local) == 1
    assert engines.remote[0].is_closed


async def test_a_load_that_is_cancelled_is_cancelled_in_its_own_engine() -> None:
    gate = Gate()
    engines = Engines(remote={"load": [gate, ModelLoaded(demo_model(SERVER))]})
    await engines.load(FILE)
    loading = asyncio.create_task(engines.load(SERVER))
    await gate.reached()

    engines.routed.cancel()

    assert await loading == [Failed(None, "Loading was stopped.")]
    assert not engines.local[0].is_closed


async def test_a_reply_is_cancelled_in_the_engine_that_gives_it() -> None:
    gate = Gate()
    engines = Engines(remote={"replies": [[TextPiece(0, "a", ()), gate]]})
    await engines.load(SERVER)
    answering = asyncio.create_task(taken(engines.routed.reply(REPLY)))
    await gate.reached()

    engines.routed.cancel()

    *_, last = await answering
    assert isinstance(last, Finished) and last.stop_reason is StopReason.STOPPED


async def test_before_the_first_load_there_is_nothing_to_ask() -> None:
    engines = Engines()
    routed = engines.routed

    assert not routed.is_alive
    routed.cancel()
    await routed.close()
    for request in (
        taken(routed.reply(REPLY)),
        taken(routed.idle_prefill(IdlePrefillRequest(MESSAGES))),
        routed.estimate(EstimateRequest(MESSAGES)),
        routed.tokenize(TokenizeRequest("a")),
    ):
        with pytest.raises(EngineLostError):
            await request
    assert engines.local == engines.remote == []


async def test_a_lost_engine_is_lost_and_the_next_load_asks_it_again() -> None:
    engines = Engines(local={"replies": [[Loss()]]})
    await engines.load(FILE)

    with pytest.raises(EngineLostError):
        await taken(engines.routed.reply(REPLY))
    assert not engines.routed.is_alive

    await engines.load(FILE)
    assert engines.routed.is_alive and len(engines.local) == 1


async def test_a_loss_during_a_load_leaves_the_other_engine_as_it_is() -> None:
    engines = Engines(local={"load": [Loss()]})
    await engines.load(SERVER)

    with pytest.raises(EngineLostError):
        await engines.load(FILE)

    assert not engines.routed.is_alive and not engines.remote[0].is_closed
    await engines.load(SERVER)
    assert engines.routed.is_alive and len(engines.remote) == 1


async def test_an_engine_that_cannot_be_opened_leaves_everything_as_it_is() -> None:
    def none() -> ScriptedEngine:
        raise EngineError("a package is missing")

    local = ScriptedEngine(**saying("local"))
    routed = RoutedEngine(lambda: local, none)
    await taken(routed.load(LoadRequest(FILE)))

    with pytest.raises(EngineError, match="a package is missing"):
        await taken(routed.load(LoadRequest(SERVER)))

    assert routed.is_alive and not local.is_closed


class Watched(ScriptedEngine):
    """An engine that notes whether its generators were closed, and whose end may fail."""

    fault: Exception | None = None
    closed_generators = 0
    ends = 0

    async def reply(self, request: Any) -> Any:
        try:
            async for event in super().reply(request):
                yield event
        finally:
            self.closed_generators += 1

    async def close(self) -> None:
        self.ends += 1
        if self.fault is not None:
            raise self.fault
        await super().close()


async def test_a_caller_that_stops_early_stops_the_engine_at_once() -> None:
    engine = Watched(**saying("a", "b"))
    routed = RoutedEngine(lambda: engine, ScriptedEngine)
    await taken(routed.load(LoadRequest(FILE)))

    async with aclosing(routed.reply(REPLY)) as events:
        async for _event in events:
            break

    assert engine.closed_generators == 1
    await taken(routed.load(LoadRequest(SERVER)))  # nothing is under way any more
    assert engine.is_closed


async def test_idle_prefill_gives_way_to_a_load_of_the_other_engine_without_a_last_event() -> None:
    gate = Gate()
    steps = [IdlePrefillProgress(1, 2), gate, IdlePrefillFinished(2)]
    engines = Engines(local={"idle_prefill": lambda _request: steps})
    await engines.load(FILE)
    prefilling = asyncio.create_task(taken(engines.routed.idle_prefill(IdlePrefillRequest(MESSAGES))))
    await gate.reached()

    await engines.load(SERVER)

    assert await prefilling == [IdlePrefillProgress(1, 2)]
    assert engines.local[0].is_closed
    assert await taken(engines.routed.idle_prefill(IdlePrefillRequest(MESSAGES))) == [IdlePrefillFinished(0)]


async def test_a_load_during_a_reply_of_the_other_engine_is_a_mistake_of_the_caller() -> None:
    gate = Gate()
    engines = Engines(local={"replies": [[gate, Finished(0, StopReason.END_OF_GENERATION, Usage())]]})
    await engines.load(FILE)
    answering = asyncio.create_task(taken(engines.routed.reply(REPLY)))
    await gate.reached()

    with pytest.raises(CallerError):
        await engines.load(SERVER)

    gate.open()
    *_, last = await answering
    assert isinstance(last, Finished) and last.stop_reason is StopReason.END_OF_GENERATION


async def test_closing_ends_every_engine_even_where_one_fails_and_may_be_done_twice() -> None:
    local, remote = Watched(), Watched(load=[Failed(None, "no")])
    routed = RoutedEngine(lambda: local, lambda: remote)
    await taken(routed.load(LoadRequest(FILE)))
    await taken(routed.load(LoadRequest(SERVER)))
    local.fault = EngineError("stuck")

    with pytest.raises(EngineError, match="stuck"):
        await routed.close()
    assert remote.is_closed and not local.is_closed

    local.fault = None
    await routed.close()
    await routed.close()
    assert local.is_closed and not routed.is_alive


async def test_an_engine_left_behind_that_cannot_be_ended_is_told_and_ended_at_the_end() -> None:
    local = Watched()
    routed = RoutedEngine(lambda: local, lambda: ScriptedEngine(load=demo_load))
    await taken(routed.load(LoadRequest(FILE)))
    local.fault = EngineError("stuck")

    *_, notice, loaded = await taken(routed.load(LoadRequest(SERVER)))

    assert notice == Notice("The engine of the last model could not be ended: stuck.")
    assert isinstance(loaded, ModelLoaded)
    local.fault = None
    await routed.close()
    assert local.is_closed


async def test_the_process_of_a_model_in_a_file_ends_when_a_model_of_a_server_is_loaded() -> None:
    workers: list[EngineWorker] = []

    def make_local() -> EngineWorker:
        workers.append(EngineWorker("tests.fakes.child_engines:ObedientEngine"))
        return workers[-1]

    async with LLAMA_SERVER.server() as server:
        routed = RoutedEngine(make_local, lambda: RemoteEngine(lambda url: Server("home", url), lambda _server: ""))
        await taken(routed.load(LoadRequest(FILE)))
        process = workers[0].process_id
        assert process is not None

        *_, loaded = await taken(routed.load(LoadRequest(f"{server.url}#{MODEL}")))

        assert isinstance(loaded, ModelLoaded) and loaded.model.server == "home"
        assert workers[0].process_id is None
        with pytest.raises(ProcessLookupError):
            os.kill(process, 0)
        server.answer(stream(*llama_server(["Llamas"])))
        events = await taken(routed.reply(REPLY))
        assert "".join(event.text for event in events if isinstance(event, TextPiece)) == "Llamas"
        *_, loaded = await taken(routed.load(LoadRequest(FILE)))
        assert isinstance(loaded, ModelLoaded) and len(workers) == 2 and workers[1].is_alive
        await routed.close()
