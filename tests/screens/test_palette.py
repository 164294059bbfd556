"""The palette of commands, opened and closed by a hasty hand."""

from textual.command import CommandPalette
from textual.widgets import Input, OptionList

from tests.fakes.chat_app import opened


async def test_the_palette_may_be_opened_again_before_the_last_one_is_closed_for_good() -> None:
    async with opened() as driver:
        app = driver.app
        app.action_command_palette()
        await driver.until(lambda: app.screen.has_class("-ready"))
        closed = app.screen
        closed.dismiss()
        app.action_command_palette()  # nothing is removed before this lets others go on
        await driver.until(lambda: app.screen is not closed and app.screen.has_class("-ready"))
        assert isinstance(app.screen, CommandPalette)
        await driver.pilot.press("escape")
        await driver.until(lambda: app.screen is app.chat_screen)


async def test_there_is_one_palette_at_a_time() -> None:
    async with opened() as driver:
        driver.app.action_command_palette()
        await driver.pilot.pause()
        palette = driver.app.screen
        await driver.pilot.press("ctrl+p")
        assert driver.app.screen is palette


async def test_enter_pressed_twice_runs_a_command_once() -> None:
    async with opened() as driver:
        app = driver.app
        app.action_command_palette()
        await driver.until(lambda: app.screen.has_class("-ready"))
        palette = app.screen
        await driver.pilot.press(*"incognito")
        await driver.until(lambda: palette.query_one(OptionList).option_count == 1)
        entry = palette.query_one(Input)
        for _ in range(4):
            palette.post_message(Input.Submitted(entry, entry.value))
        await driver.until(lambda: app.screen is app.chat_screen)
        await driver.until(lambda: app.turn_driver.chat.is_incognito)
        assert app.return_code in (None, 0)


async def test_a_palette_that_is_closed_twice_is_closed_once() -> None:
    async with opened() as driver:
        app = driver.app
        app.action_command_palette()
        await driver.until(lambda: app.screen.has_class("-ready"))
        palette = app.screen
        palette.dismiss()
        palette.dismiss()
        await driver.until(lambda: not palette.is_attached)
        assert app.screen is app.chat_screen


async def test_the_palette_stands_a_terminal_of_hardly_any_columns() -> None:
    async with opened(size=(4, 30)) as driver:
        await driver.pilot.press("ctrl+p")
        await driver.until(lambda: driver.app.screen.has_class("-ready"))
        await driver.pilot.pause()
        await driver.pilot.press("escape")
        await driver.until(lambda: driver.app.screen is driver.app.chat_screen)


async def test_lists_stand_a_terminal_of_hardly_any_columns() -> None:
    async with opened(size=(6, 10)) as driver:
        for key in ("f2", "ctrl+s", "ctrl+l"):
            await driver.pilot.press(key)
            await driver.until(lambda: driver.app.screen is not driver.app.chat_screen)
            await driver.pilot.pause()
            await driver.pilot.press("escape")
            await driver.until(lambda: driver.app.screen is driver.app.chat_screen)
