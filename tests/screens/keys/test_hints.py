"""The hints name keys that are useful now, with the user's own keys, and fit."""

from tests.fakes.chat_app import opened
from tui_llama.engine.scripted import Gate, ScriptedEngine
from tui_llama.screens.keys.hints import EDITING, IDLE, Hint, written
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
