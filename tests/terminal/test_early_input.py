"""What is typed before there is a screen is there afterwards, with its line ends."""

from textual import events

from tests.fakes.chat_app import opened
from tui_llama.terminal.driver import TerminalInput


async def test_lines_that_were_typed_before_the_screen_was_there_are_one_text() -> None:
    async with opened() as driver:
        driver.app.hold_input()
        for event in TerminalInput().feed("one\nzwei 漢\n\nthree".encode()):
            driver.app.post_message(event)
        await driver.pilot.pause()
        assert driver.written == ""
        await driver.app.release_input()
        await driver.pilot.pause()
        assert driver.written == "one\nzwei 漢\n\nthree" and driver.questions == []


async def test_pastes_and_keys_keep_their_order() -> None:
    async with opened() as driver:
        driver.app.hold_input()
        for event in (events.Key("a", "a"), events.Paste("b\nc"), events.Key("d", "d")):
            driver.app.post_message(event)
        await driver.pilot.pause()
        await driver.app.release_input()
        await driver.pilot.pause()
        assert driver.written == "ab\ncd"
        await driver.pilot.press("e")
        assert driver.written == "ab\ncde"
