"""Replies that begin as the user says, on the screen and in the store."""

import msgspec

from tests.fakes.chat_app import MODEL, USAGE, Driver, opened, spoken
from tui_llama.chat import StopReason
from tui_llama.engine.descriptions import Capabilities
from tui_llama.engine.events import Finished, ModelLoaded, PromptEncoded, TextPiece
from tui_llama.engine.requests import ReplyRequest
from tui_llama.engine.scripted import Gate, ScriptedEngine, Step, demo_model
from tui_llama.screens.dialogs.choosing.write_text import WriteText


def started(*pieces: str, reason: StopReason = StopReason.END_OF_GENERATION) -> list[Step]:
    """A reply whose given start has two tokens, 8 and 9."""
    said = [TextPiece(0, piece, (20 + index,)) for index, piece in enumerate(pieces)]
    return [PromptEncoded(0, 0, (1, 2, 8, 9), answer_tokens=2), *said, Finished(0, reason, USAGE)]


def starts(driver: Driver) -> list[str]:
    return [request.reply_start for request in driver.engine.reply_requests if isinstance(request, ReplyRequest)]


def figures(driver: Driver) -> str:
    return driver.app.chat_screen.status._status.figures


async def test_the_next_reply_begins_with_it_and_no_other_one() -> None:
    async with opened(replies=[started(", two."), spoken("three")], size=(140, 24)) as driver:
        await driver.send("/start Sure")
        assert "begins “Sure”" in figures(driver)
        await driver.ask("one?")
        assert driver.answers == ["Sure, two."]
        await driver.ask("and?")
        assert starts(driver) == ["Sure", ""]
        assert driver.answers == ["Sure, two.", "three"]
        assert "begins" not in figures(driver)


async def test_it_is_shown_before_anything_is_generated() -> None:
    gate = Gate()
    script = [PromptEncoded(0, 0, (1, 8, 9), answer_tokens=2), gate, *started(" thing")[1:]]
    async with opened(replies=[script], size=(100, 24)) as driver:
        await driver.send("/start Sure")
        await driver.send("hi")
        await gate.reached()
        await driver.until(lambda: driver.answers == ["Sure"])
        gate.open()
        await driver.until(lambda: driver.answers == ["Sure thing"])


async def test_the_store_has_it_as_a_part_of_the_answer_with_its_tokens() -> None:
    async with opened(replies=[started(" thing", reason=StopReason.LENGTH), spoken(" more")]) as driver:
        await driver.send("/start Sure")
        await driver.ask("hi")
        await driver.at_rest()
        answer = driver.store.messages(driver.store.list_chats()[0].chat_id)[-1]
        assert answer.text == "Sure thing"
        assert driver.store.generated_token_count(answer.message_id) == 3
        assert tuple(driver.store.ledger(answer.message_id).newest_ids) == (1, 2, 8, 9, 20)


async def test_a_key_asks_for_it_while_a_message_is_written() -> None:
    async with opened(replies=[started(" 1"), started(" 2")], size=(100, 30)) as driver:
        await driver.write("my question")
        await driver.pilot.press("f8")
        await driver.until(lambda: isinstance(driver.app.screen, WriteText))
        await driver.pilot.press(*"Well")
        await driver.pilot.press("tab", "tab", "enter")
        await driver.until(lambda: not isinstance(driver.app.screen, WriteText))
        assert driver.written == "my question"
        await driver.pilot.press("enter")
        await driver.until(lambda: driver.answers == ["Well 1"])
        await driver.until_state("ready")
        await driver.ask("again")
        assert starts(driver) == ["Well", "Well"]


async def test_an_empty_text_takes_it_back() -> None:
    async with opened(replies=[spoken("ok")], size=(100, 30)) as driver:
        await driver.send("/start Sure")
        await driver.pilot.press("f8")
        await driver.until(lambda: isinstance(driver.app.screen, WriteText))
        await driver.pilot.press(*["backspace"] * 4, "ctrl+s")
        await driver.until(lambda: not isinstance(driver.app.screen, WriteText))
        await driver.ask("hi")
        assert starts(driver) == [""]


async def test_esc_leaves_everything_as_it_was() -> None:
    async with opened(size=(100, 30)) as driver:
        await driver.send("/start Sure")
        await driver.pilot.press("f8", "x", "escape")
        await driver.until(lambda: not isinstance(driver.app.screen, WriteText))
        assert driver.app.turn_driver.chat.reply_start == "Sure"


async def test_regenerate_begins_with_it_too() -> None:
    async with opened(replies=[spoken("no"), started("!")], size=(100, 24)) as driver:
        await driver.ask("hi")
        await driver.send("/start Yes")
        await driver.pilot.press("ctrl+r")
        await driver.until(lambda: driver.answers == ["Yes!"])


async def test_a_server_that_cannot_says_why() -> None:
    model = demo_model(MODEL)
    cannot = Capabilities(can_continue=False, why_not_continue="It has no way to.")
    load = [ModelLoaded(msgspec.structs.replace(model, capabilities=cannot))]
    async with opened(engine=ScriptedEngine(load=load), size=(140, 24)) as driver:
        await driver.send("/start Sure")
        assert "It has no way to." in driver.status
        assert driver.app.turn_driver.chat.reply_start == ""
