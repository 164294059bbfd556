"""The server's model: one load at a time, which belongs to nobody who waits for it."""

import asyncio

import pytest

from tests.patience import HANG_SECONDS
from tui_llama.engine.events import IdlePrefillFinished, ModelLoaded
from tui_llama.engine.requests import IdlePrefillRequest, LoadRequest
from tui_llama.engine.scripted import Gate, Loss, ScriptedEngine, Step, demo_model
from tui_llama.errors import EngineError
from tui_llama.serve.queue import EngineQueue
from tui_llama.serve.served_model import ServedModel


def loading() -> tuple[ScriptedEngine, ServedModel, EngineQueue, Gate]:
    """An engine whose load waits at a gate, the model, and the queue before it."""
    gate = Gate()
    engine = ScriptedEngine(load=lambda request: (gate, ModelLoaded(demo_model(request.model_path))))
    model = ServedModel(engine, LoadRequest("m"), lambda _: None, lambda _: None)
    return engine, model, EngineQueue(engine, make_ready=model.make_ready, is_ready=lambda: model.is_ready), gate


async def visit(queue: EngineQueue) -> str:
    async with queue.turn("a"):
        return "served"


async def test_clients_that_leave_do_not_end_the_load_that_the_next_one_waits_for() -> None:
    engine, model, queue, gate = loading()
    for _ in range(3):
        impatient = asyncio.create_task(visit(queue))
        await gate.reached()
        impatient.cancel()
        await asyncio.wait({impatient})
        assert not queue.is_taken
    patient = asyncio.create_task(visit(queue))
    gate.open()

    async with asyncio.timeout(HANG_SECONDS):
        assert await patient == "served"
    assert len(engine.load_requests) == 1
    assert model.is_ready


async def test_there_is_no_idle_prefill_while_a_load_goes_on_for_nobody() -> None:
    _, model, queue, gate = loading()
    impatient = asyncio.create_task(visit(queue))
    await gate.reached()
    impatient.cancel()
    await asyncio.wait({impatient})

    assert [event async for event in queue.idle_prefill(IdlePrefillRequest(()))] == []

    gate.open()
    await model.make_ready()
    assert [event async for event in queue.idle_prefill(IdlePrefillRequest(()))] == [IdlePrefillFinished(0)]


async def test_closing_ends_the_load() -> None:
    _, model, _, gate = loading()
    waiting = asyncio.create_task(model.make_ready())
    await gate.reached()

    await model.close()

    with pytest.raises(EngineError, match="was stopped"):
        await waiting
    assert not model.is_ready


async def test_a_failed_load_is_tried_again() -> None:
    scripts: list[list[Step]] = [[Loss("killed")], [ModelLoaded(demo_model("m"))]]
    engine = ScriptedEngine(load=lambda _: scripts.pop(0))
    model = ServedModel(engine, LoadRequest("m"), lambda _: None, lambda _: None)
    with pytest.raises(EngineError, match="killed"):
        await model.make_ready()

    await model.make_ready()

    assert model.is_ready
