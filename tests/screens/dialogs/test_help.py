"""The help explains what has the focus, then lists all, with the user's own keys, at any size."""

import pytest
from textual.containers import VerticalScroll

from tests.fakes.chat_app import Driver, opened, spoken
from tui_llama.screens.commands import COMMANDS
from tui_llama.screens.dialogs.help import HelpScreen
from tui_llama.screens.dialogs.messages.chat_tree import ChatTree
from tui_llama.screens.settings.settings_screen import SettingsScreen
from tui_llama.settings import Settings


async def open_help(driver: Driver) -> HelpScreen:
    await driver.pilot.press("f1")
    await driver.until(lambda: isinstance(driver.app.screen, HelpScreen))
    screen = driver.app.screen
    assert isinstance(screen, HelpScreen)
    await driver.pilot.pause()
    return screen


async def test_in_the_chat_it_begins_with_the_composer_and_ends_with_the_same_key() -> None:
    async with opened(size=(100, 40)) as driver:
        await open_help(driver)
        assert "The composer" in driver.screen_text()
        await driver.pilot.press("f1")
        await driver.until(lambda: driver.app.screen is driver.app.chat_screen)


async def test_over_a_dialog_it_explains_the_dialog_and_its_keys() -> None:
    async with opened(size=(100, 40)) as driver:
        await driver.pilot.press("f2")
        await driver.until(lambda: isinstance(driver.app.screen, SettingsScreen))
        await open_help(driver)
        text = driver.screen_text()
        assert "All settings by what they are about" in text
        assert "Del" in text and "Reset" in text
        assert "Cursor left" not in text
        await driver.pilot.press("escape")
        await driver.until(lambda: isinstance(driver.app.screen, SettingsScreen))


async def test_over_the_tree_it_uses_our_words_for_the_keys_of_the_tree() -> None:
    async with opened(size=(100, 40), replies=[spoken("One.")]) as driver:
        await driver.send("Hello")
        await driver.until(lambda: driver.answers == ["One."])
        await driver.pilot.press("alt+t")
        await driver.until(lambda: isinstance(driver.app.screen, ChatTree))
        await open_help(driver)
        text = driver.screen_text()
        assert "Go there" in text and "Fold or unfold" in text
        assert "Cursor Up" not in text


async def test_it_shows_the_keys_of_the_keymap() -> None:
    async with opened(settings=Settings(keymap="leader"), size=(240, 70)) as driver:
        await open_help(driver)
        assert "/rename  Ctrl+X t" in driver.screen_text()


@pytest.mark.parametrize("size", [(60, 20), (100, 30), (240, 70)])
async def test_everything_is_there_at_every_size_and_can_be_scrolled_to(size: tuple[int, int]) -> None:
    async with opened(size=size) as driver:
        screen = await open_help(driver)
        scroll = screen.query_one(VerticalScroll)
        seen = driver.screen_text()
        for _ in range(40):
            if scroll.scroll_offset.y >= scroll.max_scroll_y:
                break
            await driver.pilot.press("pagedown")
            await driver.pilot.pause()
            seen += driver.screen_text()
        assert [command.name for command in COMMANDS if f"/{command.slashes[0]}" not in seen] == []
        assert "Follow the answer again" in seen
        assert scroll.max_scroll_x == 0
