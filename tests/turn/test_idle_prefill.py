"""When the engine is asked to read ahead, what for, and when it is told to stop."""

import asyncio
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fakes.chat_app import MODEL, Driver, opened, spoken
from tests.patience import HANG_SECONDS
from tui_llama.chat import ChatMessage, Role
from tui_llama.engine.events import (
    Failed,
    IdlePrefillFinished,
    IdlePrefillProgress,
    ModelLoaded,
    Notice,
    PromptProgress,
)
from tui_llama.engine.protocol import Engine
from tui_llama.engine.requests import IdlePrefillRequest, ReplyRequest
from tui_llama.engine.scripted import Gate, IdlePrefillScript, Loss, ScriptedEngine, Step, demo_model
from tui_llama.settings import Settings
from tui_llama.turn import idle_prefill
from tui_llama.turn.idle_prefill import IdlePrefillScheduler, finished_part


@pytest.fixture(autouse=True)
def no_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    """A draft has rested as soon as nothing else is to be done."""
    monkeypatch.setattr(idle_prefill, "REST_SECONDS", 0.0)


# --- what is finished -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("draft", "part"),
    [
        ("", ""),
        ("  \n", ""),
        ("word", ""),
        ("one two", "one"),
        ("one two ", "one two"),
        ("one\n\n two", "one"),
        ("one two\n", "one two"),
        ("言語" * 20, "言語" * 16),
        ("so: " + "言語" * 20, "so: " + "言語" * 16),
        ("one " + "x" * 31, "one"),
    ],
)
def test_the_last_word_and_the_space_before_it_are_not_finished(draft: str, part: str) -> None:
    assert finished_part(draft) == part


@given(draft=st.text())
def test_the_finished_part_begins_the_draft_and_ends_in_no_space(draft: str) -> None:
    part = finished_part(draft)
    assert draft.startswith(part)
    assert part == part.rstrip()


# --- when it is asked for -------------------------------------------------------------------------------------


@dataclass
class Reader:
    """A `IdlePrefillScheduler` over a scripted engine."""

    script: IdlePrefillScript
    progress: list[tuple[int, int]] = field(default_factory=list)
    notices: list[str] = field(default_factory=list)
    tasks: list[asyncio.Task[None]] = field(default_factory=list)
    has_something_to_read: bool = True

    def __post_init__(self) -> None:
        self.engine = ScriptedEngine(idle_prefill=self.script)
        note_progress: Callable[[int, int], None] = lambda *figures: self.progress.append(figures)  # noqa: E731
        self.reading = IdlePrefillScheduler(self._request, self._spawn, note_progress, self.notices.append)

    async def _request(self, draft: str) -> tuple[Engine, IdlePrefillRequest] | None:
        return (self.engine, IdlePrefillRequest((), draft)) if self.has_something_to_read else None

    def _spawn(self, make_reading: Callable[[], Coroutine[Any, Any, None]]) -> asyncio.Task[None]:
        async def run() -> None:
            await make_reading()

        self.tasks.append(asyncio.create_task(run()))
        return self.tasks[-1]

    async def settle(self) -> None:
        """Returns once nothing runs."""
        await asyncio.gather(*self.tasks, return_exceptions=True)

    @property
    def drafts(self) -> list[str]:
        return [request.draft for request in self.engine.idle_prefill_requests]


def reads(*figures: int) -> IdlePrefillScript:
    steps: list[Step] = [IdlePrefillProgress(figure, figures[-1]) for figure in figures]
    return lambda _request: [*steps, IdlePrefillFinished(figures[-1])]


async def test_at_rest_the_finished_part_of_the_draft_is_asked_for() -> None:
    reader = Reader(reads(3, 7))
    reader.reading.rest("one two")
    await reader.settle()
    assert reader.drafts == ["one"]
    assert reader.progress == [(3, 7), (7, 7), (7, 7)]


async def test_events_that_end_early_leave_nothing_told_to_be_ready() -> None:
    reader = Reader(lambda _request: [IdlePrefillProgress(3, 7)])
    reader.reading.rest("one two")
    await reader.settle()
    assert reader.progress == [(3, 7), (0, 0)]


async def test_where_there_is_nothing_to_read_nothing_is_asked() -> None:
    reader = Reader(reads(3), has_something_to_read=False)
    reader.reading.rest("")
    await reader.settle()
    assert reader.drafts == []


async def test_while_there_is_other_work_an_edit_asks_nothing() -> None:
    reader = Reader(reads(3))
    reader.reading.rest("one ")
    reader.reading.stop()
    reader.reading.edit("one two three")
    await reader.settle()
    assert reader.drafts == []


async def test_edits_within_a_word_ask_nothing_more() -> None:
    reader = Reader(reads(3))
    reader.reading.rest("one t")
    await reader.settle()
    for draft in ("one tw", "one two"):
        reader.reading.edit(draft)
    await reader.settle()
    assert len(reader.tasks) == 1
    reader.reading.edit("one two ")
    await reader.settle()
    assert reader.drafts == ["one", "one two"]


async def test_only_the_draft_that_rested_is_asked_for() -> None:
    reader = Reader(reads(3))
    reader.reading.rest("")
    for draft in ("one ", "one two ", "one two three "):
        reader.reading.edit(draft)
    await reader.settle()
    assert reader.drafts == ["one two three"]


async def test_a_reading_goes_on_while_the_draft_grows_and_the_rest_follows() -> None:
    gate = Gate()
    reader = Reader(lambda _request: [gate, IdlePrefillFinished(1)])
    reader.reading.rest("one ")
    await gate.reached()
    reader.reading.edit("one two ")
    reader.reading.edit("one two three ")
    assert len(reader.tasks) == 1
    gate.open()
    await reader.settle()
    assert reader.drafts == ["one", "one two three"]


async def test_a_reading_is_dropped_when_what_it_reads_is_edited() -> None:
    gates = [Gate(), Gate()]
    remaining = iter(gates)
    reader = Reader(lambda _request: [next(remaining), IdlePrefillFinished(1)])
    reader.reading.rest("one two ")
    await gates[0].reached()
    reader.reading.edit("one too ")
    await gates[1].reached()
    assert reader.tasks[0].cancelled()
    gates[1].open()
    await reader.settle()
    assert reader.drafts == ["one two", "one too"]


async def test_a_reading_is_dropped_when_there_is_other_work() -> None:
    gate = Gate()
    reader = Reader(lambda _request: [IdlePrefillProgress(1, 9), gate, IdlePrefillFinished(9)])
    reader.reading.rest("one ")
    await gate.reached()
    reader.reading.stop()
    await reader.settle()
    assert reader.progress == [(1, 9)]


async def test_what_the_user_stopped_is_not_read_until_the_draft_is_another_one() -> None:
    gate = Gate()
    reader = Reader(lambda request: [IdlePrefillProgress(1, 9), *([gate] if request.draft == "one" else [])])
    reader.reading.rest("one ")
    await gate.reached()
    reader.reading.hold()
    reader.reading.rest("one ")
    reader.reading.edit("one t")
    await reader.settle()
    assert (reader.drafts, reader.progress) == (["one"], [(1, 9), (0, 0)])
    reader.reading.edit("one two ")
    await reader.settle()
    assert reader.drafts == ["one", "one two"]


async def test_other_work_ends_that_nothing_is_to_be_read() -> None:
    reader = Reader(lambda _request: [IdlePrefillFinished(9)])
    reader.reading.hold()
    reader.reading.stop()
    reader.reading.rest("one ")
    await reader.settle()
    assert reader.drafts == ["one"]


async def test_a_failure_is_told_once() -> None:
    reader = Reader(lambda _request: [Failed(None, "a mistake")])
    for draft in ("one ", "two "):
        reader.reading.rest(draft)
        await reader.settle()
    assert reader.notices == ["Nothing could be read ahead: a mistake"]


async def test_a_notice_is_told_and_a_lost_engine_is_not() -> None:
    reader = Reader(lambda _request: [Notice("damaged"), Loss()])
    reader.reading.rest("one ")
    await reader.settle()
    assert reader.notices == ["damaged"]
    assert reader.tasks[0].exception() is None


# --- in the app -----------------------------------------------------------------------------------------------


def engine_that_reads(steps: Iterable[Step] = (IdlePrefillFinished(1747),), **more: Any) -> ScriptedEngine:
    return ScriptedEngine(idle_prefill=lambda _request: list(steps), **more)


def last_asked(driver: Driver) -> IdlePrefillRequest:
    return driver.engine.idle_prefill_requests[-1]


async def test_an_empty_chat_asks_for_nothing() -> None:
    async with opened(engine=engine_that_reads()) as driver:
        await driver.write("word")
        await driver.at_rest()
        assert driver.engine.idle_prefill_requests == []


async def test_a_system_prompt_is_read_as_soon_as_the_model_is_ready() -> None:
    settings = Settings(theme="llama-dusk", system_prompt="Be brief.")
    async with opened(engine=engine_that_reads(replies=[spoken("one")]), settings=settings) as driver:
        await driver.until(lambda: driver.engine.idle_prefill_requests)
        asked = last_asked(driver)
        assert asked.messages == (ChatMessage(Role.SYSTEM, "Be brief."),)
        await driver.until(lambda: "1,747 ready" in driver.status)
        await driver.ask("first")
        # Whatever is stored for the same system prompt could be found before the chat was in the store.
        assert asked.chat_id == driver.store.list_chats()[0].chat_id


async def test_after_a_turn_the_conversation_is_read_and_then_the_draft() -> None:
    async with opened(engine=engine_that_reads(replies=[spoken("one")]), size=(120, 24)) as driver:
        await driver.ask("first")
        await driver.until(lambda: driver.engine.idle_prefill_requests)
        said = (ChatMessage(Role.USER, "first"), ChatMessage(Role.ASSISTANT, "one"))
        chat_id = driver.store.list_chats()[0].chat_id
        begun_at = driver.engine.reply_requests[0].begun_at
        assert last_asked(driver) == IdlePrefillRequest(said, "", (1, 2, 3, 10), chat_id=chat_id, begun_at=begun_at)
        await driver.until(lambda: driver.status.count("1,747 ready") == 1)
        await driver.write("and then")
        await driver.until(lambda: last_asked(driver).draft == "and")
        assert last_asked(driver).messages == said


async def test_what_is_asked_ahead_is_what_is_sent() -> None:
    settings = Settings(theme="llama-dusk", max_tokens=9, context_overflow="stop")
    engine = engine_that_reads(replies=[spoken("one"), spoken("two")])
    async with opened(engine=engine, settings=settings) as driver:
        await driver.ask("first")
        await driver.write("\n\nand then ")
        await driver.until(lambda: driver.engine.idle_prefill_requests and last_asked(driver).draft == "and then")
        ahead = last_asked(driver)
        await driver.pilot.press("enter")
        await driver.until(lambda: len(engine.reply_requests) == 2)
        request = engine.reply_requests[1]
        assert isinstance(request, ReplyRequest)
        assert request.messages[:-1] == ahead.messages
        assert request.messages[-1].text.startswith(ahead.draft)
        assert (request.ledger, request.max_tokens, request.overflow, request.chat_id) == (
            ahead.ledger, ahead.max_tokens, ahead.overflow, ahead.chat_id,
        )  # fmt: skip


async def test_a_turn_ends_what_is_read_ahead_and_shows_as_ever() -> None:
    gate = Gate()
    engine = engine_that_reads([IdlePrefillProgress(100, 9000), gate], replies=[spoken("answer")])
    async with opened(engine=engine, size=(120, 24)) as driver:
        await driver.write("one two")
        await driver.until(lambda: "reading ahead 100 / 9,000" in driver.status)
        await driver.pilot.press("enter")
        await driver.until(lambda: driver.answers == ["answer"])
        await driver.until_state("ready")
        assert driver.remarks == []


async def test_stopping_a_turn_asks_ahead_again() -> None:
    gate = Gate()
    engine = engine_that_reads(replies=[[*spoken("Half")[:2], gate]])
    async with opened(engine=engine) as driver:
        await driver.send("hi")
        await driver.until(lambda: driver.answers == ["Half"])
        assert engine.idle_prefill_requests == []
        await driver.pilot.press("escape")
        await driver.until(lambda: engine.idle_prefill_requests)
        assert last_asked(driver).messages[-1] == ChatMessage(Role.ASSISTANT, "Half")


@pytest.mark.parametrize("key", ["escape", "ctrl+c"])
async def test_a_prompt_whose_reading_was_stopped_is_not_read_ahead_either(key: str) -> None:
    gate = Gate()
    engine = engine_that_reads(replies=[[PromptProgress(0, 100, 9000, 9000), gate], spoken("one")])
    async with opened(engine=engine) as driver:
        await driver.send("something long")
        await gate.reached()
        drafts = len(engine.idle_prefill_requests)
        await driver.pilot.press(key)
        await driver.until_state("ready")
        await driver.at_rest()
        assert len(engine.idle_prefill_requests) == drafts
        await driver.ask("something short")
        await driver.until(lambda: last_asked(driver).messages[-1:] == (ChatMessage(Role.ASSISTANT, "one"),))


async def test_escape_at_rest_stops_what_is_read_ahead() -> None:
    gate = Gate()
    engine = engine_that_reads([IdlePrefillProgress(100, 9000), gate])
    async with opened(engine=engine, size=(120, 24)) as driver:
        await driver.write("one two")
        await driver.until(lambda: "reading ahead 100 / 9,000" in driver.status)
        await driver.pilot.press("escape")
        await driver.until(lambda: "reading ahead" not in driver.status)
        asked = len(engine.idle_prefill_requests)
        await driver.write(" three")
        await driver.until(lambda: len(engine.idle_prefill_requests) > asked)
        assert last_asked(driver).draft == "one two"


async def test_an_opened_chat_is_read_ahead() -> None:
    async with opened(engine=engine_that_reads(replies=[spoken("one")])) as driver:
        await driver.ask("first")
        await driver.until(lambda: len(driver.engine.idle_prefill_requests) == 1)
        await driver.pilot.press("ctrl+n")
        await driver.until(lambda: driver.questions == [])
        await driver.pilot.press("ctrl+pagedown")
        await driver.until(lambda: driver.questions == ["first"])
        await driver.until(lambda: len(driver.engine.idle_prefill_requests) == 2)
        first, second = driver.engine.idle_prefill_requests
        assert second == first


async def test_a_command_is_no_draft() -> None:
    async with opened(engine=engine_that_reads(replies=[spoken("one")])) as driver:
        await driver.ask("first")
        await driver.until(lambda: driver.engine.idle_prefill_requests)
        await driver.write("/rename something better")
        await driver.at_rest()
        assert [request.draft for request in driver.engine.idle_prefill_requests] == [""]


async def test_nothing_is_read_ahead_when_it_is_turned_off() -> None:
    settings = Settings(theme="llama-dusk", system_prompt="Be brief.", read_ahead="off")
    async with opened(engine=engine_that_reads(replies=[spoken("one")]), settings=settings) as driver:
        await driver.ask("first")
        await driver.write("and then ")
        await driver.at_rest()
        assert driver.engine.idle_prefill_requests == []


async def test_nothing_is_read_ahead_while_a_model_loads() -> None:
    gate = Gate()
    engine = engine_that_reads(load=[gate, ModelLoaded(demo_model(MODEL))])
    async with opened(engine=engine, until_ready=False) as driver:
        await driver.until_state("loading")
        await driver.write("one two ")
        await driver.at_rest()
        assert engine.idle_prefill_requests == []
        gate.open()
        await driver.until(lambda: engine.idle_prefill_requests)
        assert last_asked(driver).draft == "one two"


async def test_quitting_does_not_wait_for_what_is_read_ahead() -> None:
    gate = Gate()
    async with asyncio.timeout(HANG_SECONDS):
        async with opened(engine=engine_that_reads([gate])) as driver:
            await driver.write("one two")
            await gate.reached()
            await driver.pilot.press("ctrl+q")
        assert driver.engine.is_closed
