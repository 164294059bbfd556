"""Several chats alive, and messages that are queued, as the user sees them."""

import asyncio
from collections.abc import Callable, Sequence
from unittest.mock import patch

import pytest

from tests.fakes.chat_app import Driver, opened, spoken
from tui_llama.chats.store import Store
from tui_llama.conversation import State
from tui_llama.engine.events import Failed
from tui_llama.engine.scripted import Gate, Step
from tui_llama.screens.dialogs.ask_whether import AskWhether
from tui_llama.screens.dialogs.chat_list import ChatList
from tui_llama.widgets.message_view import ShownMessage


def gated(gate: Gate, *pieces: str) -> list[Step]:
    """A reply that stands at the gate after its first piece."""
    steps = spoken(*pieces)
    return [*steps[:2], gate, *steps[2:]]


async def begin(driver: Driver, gate: Gate, text: str = "hi") -> None:
    """Sends a message, and waits until its answer stands at the gate."""
    await driver.send(text)
    await gate.reached()
    await driver.until_state("answering")


async def test_an_answer_goes_on_while_another_chat_is_read_and_is_marked() -> None:
    gate = Gate()
    async with opened(replies=[gated(gate, "One", " two"), spoken("yes")]) as driver:
        await begin(driver, gate)
        await driver.pilot.press("ctrl+n")
        await driver.until(lambda: driver.questions == [])
        await driver.until(lambda: "◐ 1 answering" in driver.screen_text())
        await driver.send("and me?")
        await driver.until_state("waiting for another chat's answer")
        gate.open()
        await driver.until(lambda: driver.answers == ["yes"])
        await driver.until(lambda: "✓ 1 finished" in driver.screen_text())
        await driver.until_state("ready")
        await driver.pilot.press("ctrl+s")
        await driver.until(lambda: isinstance(driver.app.screen, ChatList))
        await driver.until(lambda: "✓ hi" in driver.screen_text())
        await driver.pilot.press("escape", "ctrl+pagedown")
        await driver.until(lambda: driver.answers == ["One two"])
        await driver.until(lambda: "finished" not in driver.screen_text())


async def test_that_an_answer_was_not_read_is_marked_at_the_next_start_until_it_is(store: Store) -> None:
    gate = Gate()
    async with opened(replies=[gated(gate, "One", " two")], store=store) as driver:
        await begin(driver, gate)
        await driver.pilot.press("ctrl+n")
        await driver.until(lambda: driver.questions == [])
        gate.open()
        await driver.until(lambda: "✓ 1 finished" in driver.screen_text())
        await driver.at_rest()
    for _ in range(2):  # also at the start after the next
        async with opened(store=store) as driver:
            await driver.until(lambda: "✓ 1 finished" in driver.screen_text())
    async with opened(store=store) as driver:
        await driver.pilot.press("ctrl+s")
        await driver.until(lambda: "✓ hi" in driver.screen_text())
        await driver.pilot.press("enter")
        await driver.until(lambda: driver.answers == ["One two"])
        await driver.until(lambda: "finished" not in driver.screen_text())
        await driver.at_rest()
    assert store.unread_chats() == []
    async with opened(store=store) as driver:
        await driver.at_rest()
        assert "finished" not in driver.screen_text()


async def test_an_answer_that_was_seen_is_not_marked_at_the_next_start(store: Store) -> None:
    async with opened(replies=[spoken("One")], store=store) as driver:
        await driver.ask("hi")
    assert store.unread_chats() == []


async def test_the_list_shows_at_once_that_an_answer_has_ended() -> None:
    gate = Gate()
    async with opened(replies=[gated(gate, "One", " two")]) as driver:
        await begin(driver, gate)
        await driver.pilot.press("ctrl+n")
        await driver.until(lambda: driver.questions == [])
        await driver.pilot.press("ctrl+s")
        await driver.until(lambda: "◐ hi" in driver.screen_text())
        gate.open()
        await driver.until(lambda: "✓ hi" in driver.screen_text())


async def test_whoever_comes_back_sees_the_answer_grow() -> None:
    gate = Gate()
    async with opened(replies=[gated(gate, "One", " two")]) as driver:
        await begin(driver, gate)
        await driver.pilot.press("ctrl+n")
        await driver.until(lambda: driver.questions == [])
        await driver.pilot.press("ctrl+pagedown")
        await driver.until(lambda: driver.answers == ["One"] and driver.views[-1].is_live)
        await driver.until_state("answering")
        gate.open()
        await driver.until(lambda: driver.answers == ["One two"] and not driver.views[-1].is_live)
        await driver.until_state("ready")


async def test_an_answer_that_failed_unseen_is_told_when_its_chat_is_opened() -> None:
    gate = Gate()
    async with opened(replies=[[*spoken("One")[:2], gate, Failed(0, "no memory")]]) as driver:
        await begin(driver, gate)
        await driver.pilot.press("ctrl+n")
        await driver.until(lambda: driver.questions == [])
        gate.open()
        await driver.until(lambda: "! 1 failed" in driver.screen_text())
        assert driver.remarks == []
        await driver.pilot.press("ctrl+pagedown")
        await driver.until(lambda: driver.remarks == ["no memory"])
        await driver.until_state("failed")


async def test_what_is_sent_during_an_answer_is_shown_and_sent_when_that_ends() -> None:
    gate = Gate()
    async with opened(replies=[gated(gate, "One"), spoken("two")]) as driver:
        await begin(driver, gate)
        await driver.send("and then?")
        await driver.until(lambda: "queued" in driver.screen_text())
        assert driver.questions == ["hi"]
        gate.open()
        await driver.until(lambda: driver.answers == ["One", "two"])
        assert driver.questions == ["hi", "and then?"]
        assert "queued" not in driver.screen_text()


async def test_up_takes_what_is_queued_back_and_esc_keeps_it() -> None:
    gate = Gate()
    async with opened(replies=[gated(gate, "One")]) as driver:
        await begin(driver, gate)
        await driver.send("and then?")
        await driver.pilot.press("up")
        await driver.until(lambda: driver.written == "and then?")
        assert "queued" not in driver.screen_text()
        await driver.pilot.press("enter")
        await driver.until(lambda: driver.written == "")
        await driver.write("more")
        await driver.pilot.press("escape")
        await driver.until_state("ready")
        assert driver.written == "and then?\n\nmore"
        assert driver.questions == ["hi"]


async def test_an_incognito_chat_ends_when_another_one_is_opened() -> None:
    gate = Gate()
    async with opened(replies=[gated(gate, "secret")], is_incognito=True) as driver:
        await begin(driver, gate)
        await driver.pilot.press("ctrl+n")
        await driver.until(lambda: driver.questions == [])
        await driver.until_state("ready")
        await driver.until(lambda: not driver.app.turn_driver.engine_is_taken)
        assert len(list(driver.app.live_chats)) == 1
        assert "answering" not in driver.screen_text()


async def test_a_chat_that_is_answered_can_be_deleted() -> None:
    gate = Gate()
    async with opened(replies=[gated(gate, "One"), spoken("yes")]) as driver:
        await begin(driver, gate)
        await driver.pilot.press("ctrl+n")
        await driver.until(lambda: driver.questions == [])
        await driver.pilot.press("ctrl+s")
        await driver.until(lambda: "◐ hi" in driver.screen_text())
        await driver.pilot.press("delete")
        await driver.until(lambda: "Delete this chat" in driver.screen_text())
        await driver.pilot.press("y")
        await driver.until(lambda: driver.app.live_chats.marks() == {}, "the end of the answer")
        await driver.at_rest()
        assert driver.store.list_chats() == []


async def test_what_is_queued_is_the_draft_after_a_crash() -> None:
    gate = Gate()
    async with opened(replies=[gated(gate, "One"), spoken("two")]) as driver:
        await begin(driver, gate)
        await driver.send("and then?")
        await driver.write("more")
        chat_id = driver.app.turn_driver.chat.chat_id
        assert chat_id is not None
        await driver.until(lambda: driver.store.draft(chat_id).text == "and then?\n\nmore", "both on the disk")
        gate.open()
        await driver.until(lambda: driver.answers == ["One", "two"])
        await driver.until(lambda: driver.store.draft(chat_id).text == "more", "only what is not sent")


async def test_what_is_queued_in_a_chat_that_is_not_seen_comes_back_to_its_draft() -> None:
    gate = Gate()
    async with opened(replies=[[*spoken("One")[:2], gate, Failed(0, "no memory")]]) as driver:
        await begin(driver, gate)
        await driver.send("and then?")
        await driver.write("more")
        await driver.pilot.press("ctrl+n")
        await driver.until(lambda: driver.questions == [] and driver.written == "")
        gate.open()
        await driver.until(lambda: "! 1 failed" in driver.screen_text())
        assert driver.written == ""
        await driver.pilot.press("ctrl+pagedown")
        await driver.until(lambda: driver.remarks == ["no memory"])
        assert driver.written == "and then?\n\nmore"


@pytest.mark.parametrize("has_ended", [False, True])
async def test_an_answer_that_goes_on_while_its_chat_is_drawn_is_shown(has_ended: bool) -> None:
    first_gate, gate = Gate(), Gate()
    more = spoken(" more", " text")
    replies = [[*spoken("One")[:2], Failed(0, "no")], gated(first_gate, "yes"), [*more[:2], gate, *more[2:]]]
    async with opened(replies=replies) as driver:
        await driver.send("hi")
        await driver.until_state("failed")
        first = driver.app.turn_driver
        await driver.pilot.press("ctrl+n")
        await driver.until(lambda: driver.questions == [])
        await begin(driver, first_gate, "hello")
        await driver.pilot.press("ctrl+pagedown")
        await driver.until(lambda: driver.answers == ["One"])
        driver.app.action_continue_answer()
        await driver.until_state("waiting for another chat's answer")
        await driver.pilot.press("ctrl+pageup")
        await driver.until(lambda: driver.answers == ["yes"])
        show_chat = driver.app.chat_screen.show_chat

        async def show_slowly(messages: Sequence[ShownMessage], history: Sequence[str]) -> None:
            await show_chat(messages, history)
            first_gate.open()
            await gate.reached()
            if has_ended:
                gate.open()
                while first.is_busy:
                    await driver.app.journal.settle()

        with patch.object(driver.app.chat_screen, "show_chat", show_slowly):
            await driver.pilot.press("ctrl+pagedown")
            await driver.until(lambda: driver.answers == (["One more text"] if has_ended else ["One more"]))
        gate.open()
        await driver.until_state("ready")
        assert driver.answers == ["One more text"]
        assert not driver.views[-1].is_live


async def test_a_chat_that_is_drawn_while_a_key_asks_for_one_that_is_not_there_is_drawn_to_its_end() -> None:
    begun = asyncio.Event()
    async with opened(replies=[spoken("One"), spoken("yes")]) as driver:
        await driver.send("hi")
        await driver.until_state("ready")
        await driver.pilot.press("ctrl+n")
        await driver.until(lambda: driver.questions == [])
        show_chat = driver.app.chat_screen.show_chat

        async def show_never(_messages: Sequence[ShownMessage], _history: Sequence[str]) -> None:
            begun.set()
            await asyncio.Event().wait()

        with patch.object(driver.app.chat_screen, "show_chat", show_never):
            await driver.pilot.press("ctrl+pagedown")
            await begun.wait()
        assert driver.app.chat_screen.show_chat == show_chat
        await driver.pilot.press("ctrl+pagedown")
        await driver.until(lambda: driver.answers == ["One"])
        await driver.send("and you?")
        await driver.until(lambda: driver.answers == ["One", "yes"])


async def test_the_chat_that_was_asked_about_is_deleted_although_another_one_is_shown_by_then() -> None:
    async with opened(replies=[spoken("One"), spoken("two")]) as driver:
        await driver.ask("hi")
        driver.app.action_delete_chat()
        await driver.until(lambda: isinstance(driver.app.screen, AskWhether))
        driver.app.action_new_chat()
        await driver.until(lambda: driver.questions == [])
        driver.app._turn.send("other")
        await driver.until(lambda: driver.answers == ["two"])
        driver.app.screen.dismiss(True)
        await driver.until(lambda: not isinstance(driver.app.screen, AskWhether))
        await driver.at_rest()
        assert [chat.title for chat in driver.store.list_chats()] == ["other"]


async def test_a_model_that_is_chosen_for_an_answer_answers_in_no_other_chat() -> None:
    async with opened(replies=[spoken("One"), spoken("two")]) as driver:
        await driver.ask("hi")
        loaded: list[Callable[[], object]] = []
        with patch.object(driver.app.models, "open_picker", loaded.append):
            driver.app.action_regenerate("model")
        await driver.pilot.press("ctrl+n")
        await driver.until(lambda: driver.questions == [])
        await driver.ask("other")
        loaded[0]()
        await driver.at_rest()
        assert len(driver.engine.reply_requests) == 2


async def test_an_incognito_chat_ends_although_nobody_waited_for_the_chat_after_it() -> None:
    gate = Gate()
    async with opened(replies=[gated(gate, "One", " two")], is_incognito=True) as driver:
        await begin(driver, gate)
        incognito = driver.app.turn_driver
        driver.app.action_new_chat()
        await driver.until(lambda: driver.app.turn_driver is not incognito)
        driver.app.action_new_chat()
        await driver.until(lambda: list(driver.app.live_chats) == [driver.app.turn_driver])
        assert incognito.state is State.READY
