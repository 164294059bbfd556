"""Whatever an engine raises, wherever: the turn ends with a message, and the next message is answered."""

import pytest

from tests.fakes.chat_app import MODEL, opened
from tests.fakes.faulty_engine import FaultyEngine
from tui_llama import paths

FAULTS = [
    ValueError("a value"),
    OverflowError("int too big to convert"),
    KeyError("a key"),
    MemoryError(),
    UnicodeEncodeError("utf-8", "\udcff", 0, 1, "surrogates not allowed"),
]
each_fault = pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: type(fault).__name__)


def in_log(fault: BaseException) -> bool:
    """Whether the log says where it came from."""
    log = paths.log_file().read_text()
    return "Traceback" in log and type(fault).__name__ in log


@each_fault
@pytest.mark.parametrize("place", ["reply called", "reply began", "reply under way"])
async def test_a_reply_that_raises_ends_the_turn_and_the_next_message_is_answered(
    place: str, fault: BaseException
) -> None:
    async with opened(engine=FaultyEngine(place, fault)) as driver:
        assert isinstance(driver.engine, FaultyEngine)
        await driver.send("hello")
        await driver.until_state("failed")
        assert f"the engine failed: {type(fault).__name__}" in driver.remarks[-1]
        assert in_log(fault)
        driver.engine.fault = None
        await driver.ask("again")
        assert driver.answers[-1].startswith("Of course.")


@each_fault
@pytest.mark.parametrize("place", ["load called", "load began", "load under way"])
async def test_a_load_that_raises_is_told_and_the_next_one_is_as_good_as_ever(place: str, fault: BaseException) -> None:
    async with opened(engine=FaultyEngine(place, fault), until_ready=False) as driver:
        assert isinstance(driver.engine, FaultyEngine)
        await driver.until_state("no model")
        await driver.until(lambda: driver.remarks)
        assert f"the engine failed: {type(fault).__name__}" in driver.remarks[-1]
        driver.engine.fault = None
        driver.app.models.load(MODEL)
        await driver.until_state("ready")
        await driver.ask("hello")
        assert driver.answers[-1].startswith("Of course.")


@pytest.mark.parametrize("place", ["load ended", "reply ended"])
async def test_what_is_raised_after_the_end_changes_nothing_any_more(place: str) -> None:
    async with opened(engine=FaultyEngine(place, ValueError("late"))) as driver:
        await driver.ask("hello")
        await driver.ask("again")
        assert len(driver.answers) == 2


@each_fault
@pytest.mark.parametrize("place", ["read ahead called", "read ahead began", "read ahead ended"])
async def test_reading_ahead_that_raises_is_told_once_and_messages_are_answered(
    place: str, fault: BaseException
) -> None:
    async with opened(engine=FaultyEngine(place, fault)) as driver:
        await driver.ask("hello")
        await driver.until(lambda: driver.remarks, "a notice")
        assert f"Nothing could be read ahead: the engine failed: {type(fault).__name__}" in driver.remarks[-1]
        await driver.ask("again")
        assert len(driver.answers) == 2


@each_fault
async def test_a_price_that_cannot_be_had_is_told_and_the_message_can_be_sent(fault: BaseException) -> None:
    async with opened(engine=FaultyEngine("estimate", fault), size=(160, 24)) as driver:
        await driver.ask("hello")
        driver.app.action_edit_message()
        await driver.until(lambda: f"the engine failed: {type(fault).__name__}" in driver.status, "why there is none")
        await driver.write(" there")
        await driver.pilot.press("enter")
        await driver.until_state("ready")
        assert driver.questions[0].startswith("hello there")


@each_fault
async def test_an_engine_that_cannot_be_stopped_is_told_and_answers_to_its_end(fault: BaseException) -> None:
    async with opened(engine=FaultyEngine("cancel", fault)) as driver:
        assert isinstance(driver.engine, FaultyEngine)
        await driver.ask("hello")
        driver.app.live_chats.host.cancel()
        await driver.until(lambda: driver.remarks, "a failure")
        assert f"the engine failed: {type(fault).__name__}" in driver.remarks[-1]
        await driver.ask("again")


@each_fault
async def test_an_engine_that_cannot_be_ended_does_not_keep_the_program(fault: BaseException) -> None:
    async with opened(engine=FaultyEngine("close", fault)) as driver:
        await driver.ask("hello")
    assert in_log(fault)
