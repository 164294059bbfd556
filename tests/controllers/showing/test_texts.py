"""Copies any message and its code, and shows any as it was written: by the focus, a number, a key, a command."""

import pytest

from tests.fakes.chat_app import Driver, opened, spoken
from tui_llama.screens.dialogs.whole_text import WholeText

FIRST = "```\none\n```\n\n```sh\ntwo\n```\n\n**end**"
SECOND = "*second* answer"


async def in_focus(driver: Driver, *keys: str) -> None:
    """Asks twice and gives the focus to the message that the keys lead to, from the last one on."""
    await driver.ask("*first* question")
    await driver.ask("second question")
    await driver.pilot.press("alt+up", *keys)


@pytest.mark.parametrize("key", ["m", "alt+m"])
@pytest.mark.parametrize(
    ("steps", "written"), [(0, SECOND), (1, "second question"), (2, "**end**"), (3, "*first* question")]
)
async def test_a_key_shows_the_message_in_focus_as_it_was_written(key: str, steps: int, written: str) -> None:
    async with opened(replies=[spoken(FIRST), spoken(SECOND)]) as driver:
        await in_focus(driver, *["up"] * steps)
        await driver.pilot.press(key)
        await driver.until(lambda: isinstance(driver.app.screen, WholeText))
        assert written in driver.screen_text()


@pytest.mark.parametrize(
    ("number", "written"), [("", SECOND), (" 1", SECOND), (" 3", "**end**"), (" 4", "*first* question")]
)
async def test_a_command_shows_any_message_as_it_was_written(number: str, written: str) -> None:
    async with opened(replies=[spoken(FIRST), spoken(SECOND)]) as driver:
        await driver.ask("*first* question")
        await driver.ask("second question")
        await driver.send(f"/raw{number}")
        await driver.until(lambda: isinstance(driver.app.screen, WholeText))
        assert written in driver.screen_text()


async def test_a_message_that_is_not_there_is_told() -> None:
    async with opened(replies=[spoken(SECOND)]) as driver:
        await driver.send("/raw 1")
        await driver.until(lambda: "no messages" in driver.status)
        await driver.ask("question")
        await driver.send("/raw 3")
        await driver.until(lambda: "1 is the last, 2 the first" in driver.status)


async def test_the_messages_are_suggested_with_their_first_words() -> None:
    async with opened(replies=[spoken(SECOND)]) as driver:
        await driver.ask("question")
        await driver.write("/raw ")
        await driver.until(lambda: "answer: *second* answer" in driver.screen_text())
        assert "you: question" in driver.screen_text()


async def test_digits_copy_the_code_blocks_of_the_message_in_focus() -> None:
    async with opened(replies=[spoken(FIRST), spoken(SECOND)]) as driver:
        await in_focus(driver, "up", "up")
        await driver.pilot.press("1")
        await driver.until(lambda: driver.app.clipboard == "one")
        await driver.pilot.press("2")
        await driver.until(lambda: driver.app.clipboard == "two")
        await driver.pilot.press("3")
        await driver.until(lambda: "has 2 code blocks" in driver.status)


async def test_the_palette_copies_the_message_in_focus() -> None:
    async with opened(replies=[spoken(FIRST), spoken(SECOND)]) as driver:
        await in_focus(driver, "up")
        await driver.pilot.press("ctrl+p")
        await driver.app.run_action("copy_answer")
        await driver.until(lambda: driver.app.clipboard == "second question")


async def test_a_text_that_a_dialog_copies_goes_the_way_of_all_copies_and_tells_it() -> None:
    async with opened(replies=[spoken(SECOND)]) as driver:
        await driver.ask("question")
        await driver.pilot.press("alt+m")
        await driver.until(lambda: isinstance(driver.app.screen, WholeText))
        await driver.pilot.press("c")
        await driver.until(lambda: driver.app.clipboard == SECOND)
        await driver.pilot.press("escape")
        await driver.until(lambda: "The text was copied" in driver.status)
