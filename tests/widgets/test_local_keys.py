"""Keys that count in one place: each can be changed, and everything that tells of keys knows it."""

import pytest

from tests.fakes.chat_app import Driver, opened, spoken
from tui_llama import paths
from tui_llama.screens.dialogs.ask_text import AskText
from tui_llama.screens.dialogs.chat_list import ChatList
from tui_llama.screens.dialogs.help import HelpScreen
from tui_llama.screens.keys.footers import footer
from tui_llama.screens.keys.keymap import read_keymap
from tui_llama.screens.keys.names import is_key
from tui_llama.screens.keys.reach import out_of_reach
from tui_llama.widgets.local_keys import LOCAL_KEYS


def keymap_file(content: str) -> None:
    file = paths.keymap_file()
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(content)


def hint(driver: Driver) -> str:
    return str(driver.app.chat_screen.composer.border_subtitle)


@pytest.mark.parametrize("local", LOCAL_KEYS, ids=lambda each: each.name)
def test_each_has_a_name_of_its_own_and_keys_that_there_are(local: object) -> None:
    (same,) = [each for each in LOCAL_KEYS if each.name == getattr(local, "name", "")]
    assert all(is_key(key) for key in same.keys.split(","))
    others = [each.keys.split(",") for each in LOCAL_KEYS if each.place == same.place and each is not same]
    assert not set(same.keys.split(",")) & {key for keys in others for key in keys}


async def test_a_key_of_a_dialog_is_changed_in_its_footer_and_its_help_too() -> None:
    keymap_file('[keys]\nchats_rename = "ctrl+e"\ndialog_close = "f10"\n')
    async with opened(replies=[spoken("Hi.")], size=(100, 40)) as driver:
        await driver.ask("Hello")
        await driver.pilot.press("ctrl+s")
        await driver.until(lambda: isinstance(driver.app.screen, ChatList))
        await driver.until(lambda: "Enter open · Ctrl+E rename · Del delete · F10 close" in driver.screen_text())
        await driver.pilot.press("f1")
        await driver.until(lambda: isinstance(driver.app.screen, HelpScreen) and "Ctrl+E" in driver.screen_text())
        await driver.pilot.press("f10")
        await driver.until(lambda: isinstance(driver.app.screen, ChatList))
        await driver.pilot.press("f2")
        await driver.at_rest()
        assert isinstance(driver.app.screen, ChatList)
        await driver.pilot.press("ctrl+e")
        await driver.until(lambda: isinstance(driver.app.screen, AskText))


async def test_a_key_on_a_message_is_changed_and_one_can_be_taken_away() -> None:
    keymap_file('[keys]\nmessage_edit = "E"\nmessage_delete = ""\n')
    async with opened(replies=[spoken("Hi.")], size=(100, 40)) as driver:
        await driver.ask("Hello")
        await driver.pilot.press("alt+up")
        await driver.until(lambda: "E edit" in hint(driver) and "delete" not in hint(driver))
        await driver.pilot.press("e", "d")
        await driver.at_rest()
        assert driver.written == "" and len(driver.answers) == 1
        await driver.pilot.press("E")
        await driver.until(lambda: driver.written == "Hi.")


def test_a_line_of_keys_leaves_out_what_has_none() -> None:
    template = "Enter open · {chats_rename} rename · {dialog_close} close"
    assert footer(template, {}) == "Enter open · F2 rename · Esc close"
    assert footer(template, {"chats_rename": "no-key-chats_rename"}) == "Enter open · Esc close"


def test_two_of_one_place_that_have_the_same_key_are_told_and_two_of_different_places_not() -> None:
    keymap_file('[keys]\nchats_rename = "delete"\n')
    (problem,) = read_keymap("default", paths.keymap_file())[1]
    assert "Del is the key of chats_rename and of chats_delete" in problem
    keymap_file('[keys]\nchats_rename = "tab"\n')
    assert read_keymap("default", paths.keymap_file())[1] == []


def test_one_that_the_terminal_cannot_send_is_told() -> None:
    keymap_file('[keys]\nchats_rename = "ctrl+shift+e"\n')
    keymap, _ = read_keymap("default", paths.keymap_file())
    told = [each for each in out_of_reach(keymap, has_kitty_protocol=False) if each.key == "Ctrl+Shift+E"]
    assert [each.title for each in told] == ["Rename, in the list of chats"]
