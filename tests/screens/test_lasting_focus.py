"""The keyboard belongs to somebody, and a dialog that is closed takes no more keys."""

from textual import events
from textual.widgets import Input

from tests.fakes.chat_app import opened
from tui_llama.screens.dialogs.chat_list import ChatList
from tui_llama.screens.dialogs.pick import PickDialog


def _mouse_beyond_the_screen() -> events.MouseDown:
    return events.MouseDown(None, 300, 200, 0, 0, 0, False, False, False)


async def test_the_mouse_beyond_the_screen_takes_the_keyboard_from_nobody() -> None:
    async with opened() as driver:
        driver.app.post_message(_mouse_beyond_the_screen())
        await driver.pilot.pause()
        await driver.pilot.press("h", "i")
        assert driver.app.chat_screen.composer.text == "hi"


async def test_the_focus_goes_with_the_terminals_and_comes_back_with_a_key() -> None:
    async with opened() as driver:
        driver.app.post_message(events.AppBlur())
        await driver.until(lambda: driver.app.screen.focused is None)
        driver.app.post_message(_mouse_beyond_the_screen())
        await driver.pilot.press("h")
        assert driver.app.chat_screen.composer.text == "h"


async def test_what_comes_to_a_list_after_it_was_closed_changes_nothing() -> None:
    async with opened() as driver:
        await driver.pilot.press("ctrl+s")
        await driver.until(lambda: isinstance(driver.app.screen, ChatList))
        closed = driver.app.screen
        assert isinstance(closed, PickDialog)
        entry = closed.query_one(Input)
        closed.dismiss(None)
        closed.post_message(Input.Changed(entry, "late"))
        closed.post_message(Input.Submitted(entry, "late"))
        await driver.until(lambda: not closed.is_attached)
        closed.refill()
        closed.replace_items([])
        closed.say("late")
        await driver.pilot.press("h")
        assert driver.app.chat_screen.composer.text == "h"
