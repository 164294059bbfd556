"""Work that tells events can be stopped wherever it waits, and leaves no task behind."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import aclosing

import pytest

from tui_llama.engine.remote.work import Work

Tell = Callable[[str], Awaitable[None]]


async def waits(tell: Tell) -> str:
    await tell("one")
    await asyncio.Event().wait()
    return "never"


async def counts(tell: Tell) -> str:
    for number in range(1000):
        await tell(str(number))
    return "end"


async def collected(work: Work[str]) -> list[str]:
    return [event async for event in work.events(lambda: "stopped")]


async def test_the_result_is_the_last_event() -> None:
    assert await collected(Work(counts)) == [*map(str, range(1000)), "end"]


async def test_a_stop_ends_the_work_where_it_waits() -> None:
    work = Work(waits)
    events = []
    async for event in work.events(lambda: "stopped"):
        events.append(event)
        work.stop()
    assert events == ["one", "stopped"]


async def test_a_stop_before_the_start_begins_nothing() -> None:
    work = Work(waits)
    work.stop()
    assert await collected(work) == ["stopped"]


async def test_a_stop_after_the_end_changes_nothing() -> None:
    work = Work(counts)
    assert (await collected(work))[-1] == "end"
    work.stop()


async def test_work_does_not_run_far_ahead_of_its_reader() -> None:
    told = 0

    async def counted(tell: Tell) -> str:
        nonlocal told
        for number in range(1000):
            await tell(str(number))
            told = number
        return "end"

    async with aclosing(Work(counted).events(lambda: "stopped")) as events:  # type: ignore[type-var]
        assert await anext(events) == "0"
        for _ in range(100):
            await asyncio.sleep(0)
        assert told < 300
        assert [event async for event in events][-1] == "end"


async def test_a_reader_that_goes_away_ends_the_work() -> None:
    ended = asyncio.Event()

    async def watched(tell: Tell) -> str:
        try:
            return await waits(tell)
        finally:
            ended.set()

    async with aclosing(Work(watched).events(lambda: "stopped")) as events:  # type: ignore[type-var]
        assert await anext(events) == "one"
    assert ended.is_set()


async def test_a_mistake_in_the_work_is_not_hidden() -> None:
    async def fails(_tell: Tell) -> str:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await collected(Work(fails))
