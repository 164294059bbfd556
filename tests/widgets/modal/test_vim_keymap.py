"""The composer with the keymap vim: modes, what the screen says of them, and what the other keys do meanwhile."""

from tests.fakes.chat_app import Driver, opened, spoken
from tui_llama.engine.scripted import Gate, ScriptedEngine
from tui_llama.settings import Settings

VIM = Settings(theme="llama-dusk", keymap="vim")


def title(driver: Driver) -> str:
    return str(driver.app.chat_screen.composer.border_title)


def hint(driver: Driver) -> str:
    return str(driver.app.chat_screen.composer.border_subtitle)


async def until_in_focus(driver: Driver, position: int) -> None:
    await driver.until(lambda: driver.app.chat_screen.transcript.in_focus == position, f"message {position} in focus")


async def test_letters_are_written_until_escape_and_then_move_and_change() -> None:
    async with opened(settings=VIM) as driver:
        await driver.pilot.press(*"one two", "escape")
        await driver.until(lambda: title(driver).startswith("normal mode") and hint(driver).startswith("i write"))
        await driver.pilot.press("0", "d", "w", "z")
        assert driver.written == "two"
        await driver.pilot.press("u", "A", "!")
        assert driver.written == "one two!"
        await driver.until(lambda: "normal" not in title(driver) and hint(driver).startswith("Enter send"))


async def test_clusters_and_lines_are_taken_whole() -> None:
    async with opened(settings=VIM) as driver:
        await driver.write("a👩‍👩‍👧b\nsecond\nthird")
        await driver.pilot.press("escape", "g", "g", "l", "x")
        assert driver.written == "ab\nsecond\nthird"
        await driver.pilot.press("j", "d", "d")
        assert driver.written == "ab\nthird"


async def test_enter_sends_and_the_next_message_is_written() -> None:
    async with opened(settings=VIM, replies=[spoken("Hi.")]) as driver:
        await driver.pilot.press(*"hello", "escape", "enter")
        await driver.until(lambda: driver.answers == ["Hi."])
        await driver.pilot.press("i")
        assert driver.written == "i"


async def test_escape_leaves_writing_first_and_stops_then() -> None:
    gate = Gate()
    async with opened(settings=VIM, engine=ScriptedEngine(replies=[[gate]])) as driver:
        await driver.send("Hello")
        await driver.until(lambda: hint(driver).startswith("Enter queue"))
        await driver.pilot.press("escape")
        await driver.until(lambda: "i write" in hint(driver))
        assert "Enter queue" in hint(driver)
        await driver.pilot.press("escape")
        await driver.until(lambda: "Enter send" in hint(driver))


async def test_with_other_keymaps_there_are_no_modes_and_a_change_counts_at_once() -> None:
    async with opened() as driver:
        composer = driver.app.chat_screen.composer
        await driver.pilot.press("a", "escape", "x")
        assert driver.written == "ax"
        driver.app._appearance.use(VIM)
        await driver.pilot.press("escape", "x")
        assert driver.written == "a" and composer.mode is not None
        driver.app._appearance.use(Settings())
        assert composer.mode is None


async def test_among_the_messages_letters_and_braces_move() -> None:
    async with opened(settings=VIM, replies=[spoken("One."), spoken("Two.")]) as driver:
        await driver.ask("First")
        await driver.ask("Second")
        await driver.pilot.press("alt+up")
        for key, place in (("{", 2), ("{", 0), ("{", 0), ("}", 2), ("j", 3), ("g", 0), ("g", 0), ("G", 3), ("k", 2)):
            await driver.pilot.press({"{": "left_curly_bracket", "}": "right_curly_bracket"}.get(key, key))
            await until_in_focus(driver, place)
