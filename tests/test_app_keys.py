"""Keys and commands of the whole program."""

import pytest
from textual import events

from tests.fakes.chat_app import Driver, opened, spoken
from tui_llama.chat import StopReason
from tui_llama.chats.store import Store
from tui_llama.conversation import State
from tui_llama.engine.scripted import Gate


def machine_state(driver: Driver) -> State:
    return driver.app.turn_driver.state


async def test_ctrl_c_clears_what_is_written_and_up_brings_it_back() -> None:
    async with opened() as driver:
        await driver.write("half a thought")
        await driver.pilot.press("ctrl+c")
        assert driver.written == ""
        await driver.pilot.press("up")
        assert driver.written == "half a thought"


async def test_a_second_ctrl_c_quits_and_any_other_key_disarms_it() -> None:
    async with opened() as driver:
        await driver.pilot.press("ctrl+c")
        assert "again to quit" in driver.status
        await driver.pilot.press("x", "backspace", "ctrl+c")
        assert machine_state(driver) is State.READY
        await driver.pilot.press("ctrl+c")
        assert machine_state(driver) is State.CLOSED


async def test_ctrl_c_copies_what_is_selected() -> None:
    async with opened() as driver:
        await driver.write("copy me")
        driver.app.chat_screen.composer.select_all()
        await driver.pilot.press("ctrl+c")
        assert driver.app.clipboard == "copy me"
        assert driver.written == "copy me"


async def test_esc_never_quits() -> None:
    async with opened() as driver:
        await driver.pilot.press("escape", "escape", "escape")
        assert machine_state(driver) is State.READY


@pytest.mark.parametrize("key", ["ctrl+q", "ctrl+d"])
async def test_a_key_quits(key: str) -> None:
    async with opened() as driver:
        await driver.pilot.press(key)
        assert machine_state(driver) is State.CLOSED


async def test_ctrl_d_deletes_as_long_as_something_is_written() -> None:
    async with opened() as driver:
        await driver.write("ab")
        await driver.pilot.press("left", "ctrl+d")
        assert driver.written == "a"
        assert machine_state(driver) is State.READY


async def test_quitting_during_an_answer_keeps_it_and_closes_the_engine(store: Store) -> None:
    gate = Gate()
    async with opened(store=store, replies=[[*spoken("Half")[:2], gate]]) as driver:
        await driver.send("hi")
        await driver.until(lambda: driver.answers == ["Half"])
        await driver.pilot.press("ctrl+q")
    assert driver.engine.is_closed
    answer = store.messages(store.list_chats()[0].chat_id)[-1]
    assert (answer.text, answer.stop_reason) == ("Half", StopReason.STOPPED)
    store.close()


async def test_a_long_paste_is_attached_whole_and_sent_whole() -> None:
    pasted = "\r\n".join(f"line {number}" for number in range(200))
    async with opened(replies=[spoken("read")]) as driver:
        driver.app.post_message(events.Paste(pasted))
        await driver.until(lambda: "200 lines" in driver.screen_text(), "the attachment")
        await driver.pilot.press("enter")
        await driver.until_state("ready")
        attached = driver.app.turn_driver.chat.entries[0].attachments
        assert [each.text for each in attached] == [pasted.replace("\r\n", "\n")]


async def test_an_unknown_command_is_explained_and_stays() -> None:
    async with opened() as driver:
        await driver.send("/frobnicate now")
        assert "There is no command /frobnicate" in driver.status
        assert driver.written == "/frobnicate now"


async def test_a_command_never_swallows_what_stands_behind_it() -> None:
    async with opened() as driver:
        await driver.send("/quit smoking, how?")
        assert "/quit takes no argument" in driver.status
        assert driver.written == "/quit smoking, how?"


async def test_what_has_several_lines_is_sent_whatever_it_begins_with() -> None:
    async with opened(replies=[spoken("a log")]) as driver:
        driver.app.post_message(events.Paste("/stop was called\nin line 3"))
        await driver.until(lambda: bool(driver.written))
        await driver.pilot.press("enter")
        await driver.until_state("ready")
        assert driver.questions == ["/stop was called\nin line 3"]


async def test_a_path_is_no_command() -> None:
    async with opened(replies=[spoken("a file")]) as driver:
        await driver.ask("/etc/hosts is what?")
        assert driver.questions == ["/etc/hosts is what?"]


async def test_copy_puts_the_last_answer_on_the_clipboard() -> None:
    async with opened(replies=[spoken("**exactly** this")]) as driver:
        await driver.ask("hi")
        await driver.send("/copy")
        assert driver.app.clipboard == "**exactly** this"
        await driver.until(lambda: "was copied" in driver.status, "the way that was taken")


async def test_copy_takes_a_code_block_by_its_number() -> None:
    async with opened(replies=[spoken("```\none\n```\n\n```sh\ntwo\n```\n\nend")]) as driver:
        await driver.ask("hi")
        await driver.send("/copy code")
        assert driver.app.clipboard == "two"
        await driver.send("/copy code 1")
        assert driver.app.clipboard == "one"
        await driver.send("/copy code 3")
        await driver.until(lambda: "has 2 code blocks" in driver.status)
        await driver.send("/copy something")
        await driver.until(lambda: "/copy code 2" in driver.status)
        assert driver.app.clipboard == "one"


async def test_a_key_shows_the_answer_as_it_was_written() -> None:
    async with opened(replies=[spoken("**strong** $x^2$")]) as driver:
        await driver.ask("hi")
        assert "strong x²" in driver.screen_text()
        await driver.pilot.press("alt+m")
        await driver.until(lambda: "**strong** $x^2$" in driver.screen_text())


async def test_bytes_that_are_not_utf_8_are_explained() -> None:
    async with opened(size=(120, 30)) as driver:
        driver.app.chat_screen.composer.post_message(events.Key("unknown", "\ufffd"))
        await driver.until(lambda: "not UTF-8" in driver.status, "a hint")
        await driver.pilot.press("a")
        await driver.until(lambda: "UTF-8" not in driver.status, "no hint")
        driver.app.post_message(events.Paste("caf\ufffd"))
        await driver.until(lambda: "not UTF-8" in driver.status, "a hint")


async def test_the_composer_has_as_many_rows_as_its_text_also_when_that_becomes_less() -> None:
    async with opened() as driver:
        composer = driver.app.chat_screen.composer
        await driver.write("a\n\nb\nc")
        await driver.until(lambda: composer.size.height == 4)
        await driver.pilot.press("backspace", "backspace", "backspace")
        await driver.until(lambda: composer.size.height == 3)
        await driver.pilot.press("ctrl+c")
        await driver.until(lambda: composer.size.height == 1)
