"""The hints name keys that are useful now, with the user's own keys, and fit."""

import pytest

from tests.fakes.chat_app import opened, spoken
from tui_llama.engine.scripted import Gate, ScriptedEngine
from tui_llama.screens.keys.hints import EDITING, EDITING_ANSWER, IDLE, Hint, written
from tui_llama.screens.keys.keymap import Keymap

DEFAULT = Keymap()


def test_hints_are_written_with_the_keys_of_the_keymap() -> None:
    assert written(IDLE, DEFAULT, 80) == "Enter send · Ctrl+J new line · F1 help"
    assert written(IDLE, Keymap({"help": "ctrl+k"}), 80) == "Enter send · Ctrl+J new line · Ctrl+K help"
    assert written(IDLE, Keymap({"help": ""}), 80) == "Enter send · Ctrl+J new line"
    assert written(EDITING, DEFAULT, 80) == "Enter send · Esc leave"


def test_where_there_is_no_room_the_last_one_stays() -> None:
    assert written(IDLE, DEFAULT, 30) == "Enter send · F1 help"
    assert written(IDLE, DEFAULT, 3) == "F1 help"
    assert written([Hint("nothing known", "x")], DEFAULT, 30) == ""


async def test_the_edge_of_the_composer_says_how_to_stop_while_something_goes_on() -> None:
    gate = Gate()
    engine = ScriptedEngine(replies=[[gate]])
    async with opened(engine=engine) as driver:
        composer = driver.app.chat_screen.composer
        assert str(composer.border_subtitle).startswith("Enter send")
        await driver.send("Hello")
        await driver.until(lambda: str(composer.border_subtitle).startswith("Enter queue · Esc stop"))
        gate.open()


@pytest.mark.parametrize("size", [(60, 20), (100, 30)])
async def test_hints_are_left_out_and_never_cut(size: tuple[int, int]) -> None:
    async with opened(engine=ScriptedEngine(replies=[spoken("One.")]), size=size) as driver:
        await driver.send("Hello")
        await driver.until_state("ready")
        composer = driver.app.chat_screen.composer
        await driver.pilot.press("alt+up")
        await driver.until(lambda: "e edit" in str(composer.border_subtitle))
        message_keys = str(composer.border_subtitle)
        await driver.pilot.press("e")
        await driver.until(lambda: "Esc leave" in str(composer.border_subtitle))
        room = composer.size.width - 2  # the line leaves a column beside each corner
        for shown in (message_keys, str(composer.border_subtitle)):
            assert len(shown) <= room
        assert message_keys.endswith("Esc back")
        assert str(composer.border_subtitle) == written(EDITING_ANSWER, DEFAULT, 80)
