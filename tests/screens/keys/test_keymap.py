"""The keymap: presets, the user's file, the leader key, and what is said of wrong lines."""

from pathlib import Path

import pytest

from tests.fakes.chat_app import opened
from tui_llama import paths
from tui_llama.screens.commands import COMMANDS
from tui_llama.screens.keys.keymap import PRESETS, read_keymap
from tui_llama.screens.keys.leader_menu import LeaderMenu
from tui_llama.screens.keys.names import is_key, spelled
from tui_llama.settings import SETTINGS, Settings


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "keymap.toml"


def keymap_file(content: str) -> None:
    file = paths.keymap_file()
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(content)


@pytest.mark.parametrize(
    ("key", "words"),
    [
        ("ctrl+n", "Ctrl+N"),
        ("ctrl+pagedown", "Ctrl+PgDn"),
        ("alt+up", "Alt+↑"),
        ("question_mark", "?"),
        ("ctrl+slash", "Ctrl+/"),
        ("escape", "Esc"),
        ("f2", "F2"),
        ("n", "n"),
        ("ctrl++", "Ctrl++"),
    ],
)
def test_keys_are_written_as_people_write_them(key: str, words: str) -> None:
    assert is_key(key)
    assert spelled(key) == words


@pytest.mark.parametrize("name", ["ctrl+foo", "crtl+n", "", "ctrl+ctrl+n", "f99"])
def test_what_is_no_key_is_refused(name: str) -> None:
    assert not is_key(name)


def test_the_presets_are_those_of_the_setting_and_name_commands() -> None:
    assert str(SETTINGS["keymap"].range) == f"one of {', '.join(PRESETS)}"
    names = {command.name for command in COMMANDS}
    for keymap in PRESETS.values():
        assert names >= set(keymap.keys)
        assert names >= set(keymap.letters.values())
        assert all(is_key(key) for keys in keymap.keys.values() for key in keys.split(","))


def test_without_a_file_the_keys_are_those_of_the_preset(file: Path) -> None:
    assert read_keymap("leader", file) == (PRESETS["leader"], [])


def test_the_file_replaces_single_keys(file: Path) -> None:
    file.write_text('leader = "ctrl+b"\n[keys]\nnew_chat = "ctrl+alt+t, f19"\n[after_leader]\nn = ""\nx = "quit"\n')
    keymap, problems = read_keymap("leader", file)

    assert problems == []
    assert keymap.keys["new_chat"] == "ctrl+alt+t,f19" and keymap.keys["leader"] == "ctrl+b"
    assert "n" not in keymap.letters and keymap.letters["x"] == "quit"
    assert keymap.shown_name("new_chat") == "Ctrl+Alt+T"
    assert keymap.shown_name("quit") == "Ctrl+Q"
    assert keymap.shown_name("rename_chat") == "Ctrl+B t"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("[keys]\nnew_caht = 'f9'", "Did you mean new_chat?"),
        ("[keys]\nnew_chat = 'crtl+n'", "there is no key 'crtl+n'"),
        ("[keys]\nnew_chat = 3", "must be a text"),
        ("[after_leader]\nxx = 'quit'", "there is no key 'xx'"),
        ("keys = 3", "keys is not known here"),
        ("[keys]\nnew_chat = 'ctrl+s'", "Ctrl+S is the key of new_chat and of list_chats"),
        ("[keys", "is not valid TOML"),
    ],
)
def test_a_wrong_line_is_told_and_the_others_hold(file: Path, content: str, words: str) -> None:
    file.write_text(content)
    keymap, problems = read_keymap("leader", file)

    assert len(problems) == 1 and words in problems[0]
    assert keymap.keys["leader"] == "ctrl+x"


def test_a_file_that_is_no_text_is_told(file: Path) -> None:
    file.write_bytes(b"\xff\xfe")

    assert "not UTF-8" in read_keymap("default", file)[1][0]


async def test_another_key_gives_the_command_and_the_old_one_no_longer() -> None:
    keymap_file('[keys]\nincognito = "ctrl+k"\nnew_chat = ""\n')
    async with opened() as driver:
        await driver.pilot.press("ctrl+n")
        await driver.at_rest()
        assert not driver.app.turn_driver.chat.is_incognito
        await driver.write("text")  # where Ctrl+K is a key of the composer
        await driver.pilot.press("home", "ctrl+k")
        await driver.until(lambda: driver.app.turn_driver.chat.is_incognito)


async def test_the_leader_shows_its_letters_and_one_of_them_gives_the_command() -> None:
    async with opened(settings=Settings(keymap="leader")) as driver:
        await driver.pilot.press("ctrl+x")
        await driver.until(lambda: isinstance(driver.app.screen, LeaderMenu))
        assert "New chat" in driver.screen_text()
        await driver.pilot.press("s")
        await driver.until(lambda: "Everywhere" in driver.screen_text())


async def test_a_letter_that_means_nothing_closes_the_leader() -> None:
    async with opened(settings=Settings(keymap="leader")) as driver:
        await driver.pilot.press("ctrl+x")
        await driver.until(lambda: isinstance(driver.app.screen, LeaderMenu))
        await driver.pilot.press("z")
        await driver.until(lambda: driver.app.screen is driver.app.chat_screen)
        assert driver.written == ""


async def test_wrong_keys_are_told_when_the_program_begins() -> None:
    keymap_file('[keys]\nnew_chat = "crtl+n"\n')
    async with opened() as driver:
        assert any("crtl+n" in remark for remark in driver.remarks)
