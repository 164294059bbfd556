"""A message that is too long is shown in part, with a way to see and copy all of it."""

from textual.selection import Selection

from tests.fakes.chat_app import Driver, opened, spoken
from tui_llama.screens.dialogs.whole_text import TextRows, WholeText
from tui_llama.widgets.message_view import UserMessage

LONG = "".join(f"line {number}\n" for number in range(5_000)) + "the very end"


async def send_long(driver: Driver) -> None:
    driver.app.chat_screen.composer.write(LONG)
    await driver.pilot.pause()
    await driver.pilot.press("enter")
    await driver.until(lambda: driver.questions, "the message")


async def test_a_long_message_is_shown_in_part_and_stored_whole() -> None:
    async with opened(replies=[spoken("ok")]) as driver:
        await send_long(driver)
        assert "line 39\n… " in driver.questions[0]
        assert "line 41" not in driver.questions[0]
        assert f"{len(LONG):,} characters in 5,001 lines" in driver.questions[0]
        assert driver.app.turn_driver.chat.user_texts == [LONG]


async def test_a_click_shows_all_of_it_and_a_key_copies_it() -> None:
    async with opened(replies=[spoken("ok")]) as driver:
        await send_long(driver)
        await driver.until_state("ready")
        await driver.pilot.click(offset=(10, 10))
        await driver.until(lambda: isinstance(driver.app.screen, WholeText), "the dialog")
        await driver.pilot.press("end")
        await driver.until(lambda: "the very end" in driver.screen_text(), "the end")
        await driver.pilot.press("c")
        assert driver.app.clipboard == LONG


async def test_a_command_shows_the_last_long_message() -> None:
    async with opened(replies=[spoken("ok"), spoken("ok")]) as driver:
        await driver.send("/whole")
        assert "All messages are already shown in full." in driver.status
        await send_long(driver)
        await driver.until_state("ready")
        await driver.send("/whole")
        await driver.until(lambda: "line 3 " in driver.screen_text(), "the beginning")


async def test_its_rows_do_what_the_text_may_not() -> None:
    async with opened() as driver:
        await driver.app.push_screen(WholeText("a\x1b[2Jb\n" + "語" * 500))
        await driver.until(lambda: "a␛[2Jb" in driver.screen_text(), "the first row")
        rows = driver.app.screen.query_one(TextRows)
        assert sum(row.count("語") for row in rows._rows) == 500


async def test_what_is_selected_of_a_message_is_copied_as_it_was_written() -> None:
    async with opened(replies=[spoken("ok")]) as driver:
        text = "a\u202eb \u2066c\u2069 \x1b[31m"
        await driver.ask(text)
        message = driver.app.chat_screen.query_one(UserMessage)
        assert driver.questions == ["a⇄b ⇄c⇄ ␛[31m"]
        assert message.get_selection(Selection(None, None)) == (text, "\n\n")
        assert driver.app.turn_driver.chat.user_texts == [text]
