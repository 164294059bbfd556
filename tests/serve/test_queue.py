"""The queue before the engine: one at a time, fairly, and nobody is lost."""

import asyncio

import pytest

from tests.patience import HANG_SECONDS
from tui_llama.engine.events import IdlePrefillFinished, IdlePrefillProgress
from tui_llama.engine.requests import IdlePrefillRequest
from tui_llama.engine.scripted import Gate, ScriptedEngine
from tui_llama.errors import EngineError
from tui_llama.serve.queue import EngineQueue, QueueClosed, QueueFull

IDLE = IdlePrefillRequest(())


class Visits:
    """Clients that take turns of a queue; each keeps the engine until it is told to leave."""

    def __init__(self, queue: EngineQueue) -> None:
        self.queue = queue
        self.order: list[str] = []
        self.entered = asyncio.Semaphore(0)
        self.leaving = asyncio.Semaphore(0)

    async def visit(self, name: str) -> None:
        async with self.queue.turn(name[0]):
            self.order.append(name)
            self.entered.release()
            await self.leaving.acquire()

    async def begin(self, *names: str) -> list["asyncio.Task[None]"]:
        """Lets visitors come one after the other; names that begin alike are of one client."""
        tasks = []
        for name in names:
            tasks.append(asyncio.create_task(self.visit(name)))
            await asyncio.sleep(0)
        return tasks

    async def serve_all(self, tasks: list["asyncio.Task[None]"]) -> list[str]:
        for _ in tasks:
            self.leaving.release()
        async with asyncio.timeout(HANG_SECONDS):
            await asyncio.gather(*tasks)
        return self.order


async def test_requests_of_one_client_are_served_in_the_order_in_which_they_came() -> None:
    visits = Visits(EngineQueue(ScriptedEngine()))

    assert await visits.serve_all(await visits.begin("a1", "a2", "a3")) == ["a1", "a2", "a3"]


async def test_clients_take_turns_however_much_one_of_them_asks() -> None:
    visits = Visits(EngineQueue(ScriptedEngine()))
    tasks = await visits.begin("a1", "a2", "a3", "a4", "b1", "c1", "b2")

    assert await visits.serve_all(tasks) == ["a1", "b1", "c1", "a2", "b2", "a3", "a4"]


async def test_only_one_has_the_engine_and_the_others_are_counted() -> None:
    visits = Visits(EngineQueue(ScriptedEngine()))
    tasks = await visits.begin("a1", "b1", "b2")
    await visits.entered.acquire()

    assert (visits.order, visits.queue.length, visits.queue.is_taken) == (["a1"], 2, True)

    await visits.serve_all(tasks)

    assert (visits.queue.length, visits.queue.is_taken) == (0, False)


async def test_whoever_comes_when_too_many_wait_is_told_when_to_come_again() -> None:
    visits = Visits(EngineQueue(ScriptedEngine(), most_waiting=2))
    tasks = await visits.begin("a1", "b1", "c1")

    with pytest.raises(QueueFull) as full:
        visits.queue.turn("d")

    assert full.value.retry_after_seconds >= 1
    assert await visits.serve_all(tasks) == ["a1", "b1", "c1"]


async def test_in_a_full_queue_the_newest_request_of_whoever_has_most_gives_way() -> None:
    visits = Visits(EngineQueue(ScriptedEngine(), most_waiting=4))
    tasks = await visits.begin("a1", "a2", "a3", "a4", "a5", "b1")

    with pytest.raises(QueueFull):
        await tasks[4]
    with pytest.raises(QueueFull):
        visits.queue.turn("a")
    assert visits.queue.length == 4
    assert await visits.serve_all([*tasks[:4], tasks[5]]) == ["a1", "b1", "a2", "a3", "a4"]


async def test_in_a_full_queue_nobody_gives_way_to_whoever_has_as_many() -> None:
    visits = Visits(EngineQueue(ScriptedEngine(), most_waiting=3))
    tasks = await visits.begin("a1", "a2", "a3", "b1")

    with pytest.raises(QueueFull):
        visits.queue.turn("b")
    assert await visits.serve_all(tasks) == ["a1", "b1", "a2", "a3"]


async def test_whoever_is_cancelled_while_waiting_leaves_its_place() -> None:
    visits = Visits(EngineQueue(ScriptedEngine()))
    first, second, third = await visits.begin("a1", "b1", "c1")

    second.cancel()
    await asyncio.wait({second})

    assert visits.queue.length == 1
    assert await visits.serve_all([first, third]) == ["a1", "c1"]


async def test_whoever_is_cancelled_just_when_its_turn_comes_gives_it_on() -> None:
    visits = Visits(EngineQueue(ScriptedEngine()))
    async with visits.queue.turn("first"):
        second, third = await visits.begin("b1", "c1")
    second.cancel()  # it was given the engine and has not run since

    assert await visits.serve_all([third]) == ["c1"]
    assert second.cancelled()
    assert not visits.queue.is_taken


async def test_an_engine_that_cannot_be_made_ready_is_free_for_the_next() -> None:
    failures = [EngineError("the file is gone")]

    async def make_ready() -> None:
        if failures:
            raise failures.pop()

    queue = EngineQueue(ScriptedEngine(), make_ready=make_ready)
    with pytest.raises(EngineError):
        async with queue.turn("a"):
            pass

    async with queue.turn("b"):
        assert queue.is_taken
    assert not queue.is_taken


async def test_closing_refuses_all_and_cancels_the_one_who_has_the_engine() -> None:
    engine = ScriptedEngine()
    visits = Visits(EngineQueue(engine))
    first, second = await visits.begin("a1", "b1")

    visits.queue.close()

    with pytest.raises(QueueClosed):
        await second
    with pytest.raises(QueueClosed):
        visits.queue.turn("c")
    assert engine._cancelled.is_set()
    await visits.serve_all([first])


async def test_idle_prefill_gives_way_to_a_turn() -> None:
    gate = Gate()
    engine = ScriptedEngine(idle_prefill=lambda _: (IdlePrefillProgress(1, 2), gate, IdlePrefillFinished(2)))
    engine.is_alive = True
    queue = EngineQueue(engine)
    idle = asyncio.create_task(_events(queue))
    await gate.reached()

    async with queue.turn("a"):
        assert await idle == [IdlePrefillProgress(1, 2)]


async def test_idle_prefill_does_not_begin_while_somebody_has_the_engine_or_none_is_loaded() -> None:
    engine = ScriptedEngine()
    queue = EngineQueue(engine)

    assert await _events(queue) == []

    engine.is_alive = True
    async with queue.turn("a"):
        assert await _events(queue) == []
    assert await _events(queue) == [IdlePrefillFinished(0)]


async def _events(queue: EngineQueue) -> list[object]:
    return [event async for event in queue.idle_prefill(IDLE)]
