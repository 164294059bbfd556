"""The messages that wait for the end of an answer: shown, edited, removed and moved by keys and the mouse."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tests.fakes.chat_app import Driver, opened, spoken
from tests.test_app_live_chats import begin, gated
from tui_llama.chat import Attachment
from tui_llama.conversation import SendMessage
from tui_llama.engine.scripted import Gate


@asynccontextmanager
async def queued(*texts: str) -> AsyncIterator[tuple[Driver, Gate]]:
    gate = Gate()
    async with opened(replies=[gated(gate, "One"), spoken("two")], size=(100, 30)) as driver:
        await begin(driver, gate)
        for text in texts:
            await driver.send(text)
        await driver.until(lambda: shown(driver) == texts, "the queue")
        yield driver, gate


def shown(driver: Driver) -> tuple[str, ...]:
    return driver.app.turn_driver.queued.shown


async def test_keys_move_and_remove_what_is_queued() -> None:
    async with queued("first", "second", "third") as (driver, gate):
        assert "3 queued · ↑ edits the last" in driver.screen_text()
        await driver.pilot.press("shift+tab", "shift+up", "shift+up")
        await driver.until(lambda: shown(driver) == ("third", "first", "second"), "the order")
        await driver.until(lambda: "Enter edit · x remove" in driver.screen_text(), "the keys")
        await driver.pilot.press("down", "x")
        await driver.until(lambda: shown(driver) == ("third", "second"), "what stays")
        gate.open()
        await driver.until(lambda: driver.questions == ["hi", "third\n\nsecond"], "the message")
        await driver.until(lambda: driver.app.chat_screen.composer.has_focus, "the composer")
        await driver.pilot.press("up")
        await driver.until(lambda: driver.written == "first", "what was removed")


async def test_what_comes_back_of_a_message_that_is_removed_is_told() -> None:
    note = Attachment("note.txt", "alpha")
    async with queued("first") as (driver, _gate):
        for message in (SendMessage("", (note,)), SendMessage("second", (note,))):
            driver.app.turn_driver.dispatch(message)
        driver.app._turn.change_queue(2, None)
        await driver.until(lambda: "Removed; ↑ brings its text back, without what was attached." in driver.status)
        driver.app._turn.change_queue(1, None)
        await driver.until(lambda: "Removed." in driver.status)
        driver.app._turn.change_queue(0, None)
        await driver.until(lambda: "Removed; ↑ brings its text back." in driver.status)


async def test_one_of_several_is_edited_and_the_others_stay() -> None:
    async with queued("first", "second", "third") as (driver, _gate):
        await driver.pilot.press("shift+tab", "up", "up", "enter")
        await driver.until(lambda: driver.written == "first", "the text")
        assert shown(driver) == ("second", "third")
        assert driver.app.chat_screen.composer.has_focus
        await driver.pilot.press("!", "enter")
        await driver.until(lambda: shown(driver) == ("second", "third", "first!"), "the end of the queue")
        await driver.pilot.press("up")
        await driver.until(lambda: driver.written == "first!", "the last one")


async def test_a_click_takes_the_message_of_its_line_back() -> None:
    async with queued("first", "second") as (driver, _gate):
        await driver.pilot.click("#queued", offset=(4, 1))
        await driver.until(lambda: driver.written == "first", "the text")
        assert shown(driver) == ("second",)


async def test_tab_goes_round_all_parts_of_the_screen() -> None:
    async with queued("first") as (driver, _gate):
        screen = driver.app.chat_screen
        await driver.pilot.press("shift+tab")
        assert screen.queued.has_focus
        await driver.pilot.press("shift+tab")
        assert screen.transcript.has_focus
        await driver.pilot.press("tab", "tab")
        assert screen.composer.has_focus
        await driver.pilot.press("tab")
        assert screen.transcript.has_focus
