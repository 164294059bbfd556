"""Chats and versions of answers, as their user goes through them."""

from functools import partial

import pytest
from textual.widget import Widget

from tests.fakes import stored_prompts
from tests.fakes.chat_app import opened, spoken
from tui_llama import paths
from tui_llama.chats.store import MessageState, Store
from tui_llama.engine.requests import ReplyRequest
from tui_llama.engine.scripted import Gate
from tui_llama.screens.commands import COMMANDS
from tui_llama.widgets.attached.chip import Chip
from tui_llama.widgets.composing.queued_messages import QueuedMessages
from tui_llama.widgets.thought_view import ThoughtView
from tui_llama.widgets.transcript import Transcript


async def test_regenerating_gives_another_version_and_keeps_the_old_one() -> None:
    async with opened(replies=[spoken("first"), spoken("second")]) as driver:
        await driver.ask("hi")
        await driver.pilot.press("ctrl+r")
        await driver.until(lambda: driver.notes == ["version 2 of 2"])
        assert driver.answers == ["second"]
        await driver.app.journal.settle()
        chat_id = driver.store.list_chats()[0].chat_id
        tip = driver.store.messages(chat_id)[-1]
        assert tip.text == "second"
        assert len(driver.store.versions(tip.message_id)) == 2


async def test_left_and_right_page_through_versions_and_the_chat_goes_on_from_the_one_shown() -> None:
    async with opened(replies=[spoken("first"), spoken("second"), spoken("third")]) as driver:
        await driver.ask("hi")
        await driver.pilot.press("ctrl+r")
        await driver.until(lambda: driver.notes == ["version 2 of 2"])
        await driver.pilot.press("left")
        await driver.until(lambda: driver.notes == ["version 1 of 2"])
        assert driver.answers == ["first"]
        await driver.pilot.press("left")
        await driver.pilot.press("right")
        await driver.until(lambda: driver.answers == ["second"])
        await driver.pilot.press("left")
        await driver.until(lambda: driver.answers == ["first"])
        await driver.ask("and on")
        request = driver.engine.reply_requests[-1]
        assert isinstance(request, ReplyRequest)
        assert [message.text for message in request.messages] == ["hi", "first", "and on"]


async def test_page_keys_with_ctrl_go_to_another_chat_from_a_message_in_focus_too(store: Store) -> None:
    for title in ("older", "newer"):
        store.add_user_message(store.create_chat(title=title), f"in {title}")
    async with opened(store=store) as driver:
        await driver.pilot.press("ctrl+pagedown")
        await driver.until(lambda: driver.questions == ["in newer"])
        await driver.pilot.press("alt+up", "ctrl+pagedown")
        await driver.until(lambda: driver.questions == ["in older"])


@pytest.mark.parametrize("part", [Transcript, QueuedMessages, Chip, ThoughtView])
def test_what_has_the_focus_takes_no_key_of_a_command_but_those_that_move_and_leave(part: type[Widget]) -> None:
    of_commands = {key for command in COMMANDS for key in command.keys.split(",")}
    assert set(part._merge_bindings().key_to_bindings) & of_commands <= {"escape", "alt+up"}


async def test_left_and_right_move_the_cursor_while_something_is_written() -> None:
    async with opened(replies=[spoken("first"), spoken("second")]) as driver:
        await driver.ask("hi")
        await driver.pilot.press("ctrl+r")
        await driver.until(lambda: driver.notes == ["version 2 of 2"])
        await driver.write("ac")
        await driver.pilot.press("left", "b")
        assert driver.written == "abc"
        assert driver.answers == ["second"]


async def test_page_keys_with_ctrl_go_through_the_chats_in_the_list_s_order(store: Store) -> None:
    for title in ("oldest", "middle", "newest"):
        store.add_user_message(store.create_chat(title=title), f"in {title}")
    async with opened(store=store) as driver:
        for key, question in [
            ("ctrl+pagedown", "in newest"),
            ("ctrl+pagedown", "in middle"),
            ("ctrl+pagedown", "in oldest"),
            ("ctrl+pageup", "in middle"),
        ]:
            await driver.pilot.press(key)
            await driver.until(partial(lambda expected: driver.questions == [expected], question))
        await driver.pilot.press("ctrl+pagedown")
        await driver.until(lambda: driver.questions == ["in oldest"])
        await driver.pilot.press("ctrl+pagedown")
        await driver.until(lambda: "There is no older chat." in driver.screen_text())
        assert driver.questions == ["in oldest"]
    store.close()


async def test_a_chat_comes_back_as_it_was(store: Store) -> None:
    async with opened(store=store, replies=[spoken("**bold**")]) as driver:
        await driver.ask("question")
    async with opened(store=store) as driver:
        await driver.pilot.press("ctrl+s")
        await driver.until(lambda: "question" in driver.screen_text())
        await driver.pilot.press("enter")
        await driver.until(lambda: driver.questions == ["question"])
        assert driver.answers == ["**bold**"]
        await driver.ask("and on")
        request = driver.engine.reply_requests[0]
        assert isinstance(request, ReplyRequest)
        assert len(request.messages) == 3
    store.close()


async def test_an_answer_that_a_crash_cut_off_is_marked(store: Store) -> None:
    chat_id = store.create_chat()
    question = store.add_user_message(chat_id, "before the crash")
    answer = store.begin_answer(chat_id, question)
    store.append_to_answer(answer, "I was saying", ())
    store.close()
    reopened = Store(paths.database_file())
    async with opened(store=reopened) as driver:
        await driver.pilot.press("ctrl+s")
        await driver.until(lambda: "before the crash" in driver.screen_text())
        await driver.pilot.press("enter")
        await driver.until(lambda: driver.notes == ["interrupted · F5 goes on"])
        assert driver.answers == ["I was saying"]
        assert reopened.messages(chat_id)[-1].state is MessageState.INTERRUPTED
    reopened.close()


async def test_an_answer_that_goes_on_behind_a_new_chat_is_kept_as_it_comes(store: Store) -> None:
    gate = Gate()
    async with opened(store=store, replies=[[*spoken("Half")[:2], gate]]) as driver:
        await driver.send("hi")
        await driver.until(lambda: driver.answers == ["Half"])
        await driver.pilot.press("ctrl+n")
        await driver.until(lambda: driver.questions == [])
        await driver.until(lambda: store.messages(store.list_chats()[0].chat_id)[-1].text == "Half")
    store.close()


async def test_an_empty_chat_leaves_nothing_behind(store: Store) -> None:
    async with opened(store=store) as driver:
        await driver.pilot.press("ctrl+n", "ctrl+n")
    assert store.list_chats() == []
    store.close()


async def test_a_chat_can_be_renamed_by_a_command(store: Store) -> None:
    async with opened(store=store, replies=[spoken("a")]) as driver:
        await driver.ask("hi")
        await driver.send("/rename Something better")
        await driver.until(lambda: "Something better" in driver.screen_text())
    assert store.list_chats()[0].title == "Something better"
    store.close()


async def test_a_chat_can_be_renamed_in_the_list(store: Store) -> None:
    async with opened(store=store, replies=[spoken("a")]) as driver:
        await driver.ask("hi")
        await driver.pilot.press("ctrl+s")
        await driver.until(lambda: "1 message" in driver.screen_text() or "2 messages" in driver.screen_text())
        await driver.pilot.press("f2")
        await driver.pilot.pause()
        await driver.pilot.press(*"Llamas", "enter")
        await driver.until(lambda: "Llamas" in driver.screen_text())
        await driver.app.journal.settle()
        assert store.list_chats()[0].title == "Llamas"
    store.close()


async def test_deleting_a_chat_asks_first_and_takes_what_is_stored_of_it_along(store: Store) -> None:
    async with opened(store=store, replies=[spoken("a")]) as driver:
        await driver.ask("hi")
        owner = bytes.fromhex(store.list_chats()[0].chat_id)
        stored_prompts.store(stored_prompts.cache_on(paths.prompt_cache_folder()), range(100), owner)
        await driver.send("/delete")
        await driver.until(lambda: "Delete this chat for good?" in driver.screen_text())
        await driver.pilot.press("n")
        await driver.app.journal.settle()
        assert len(store.list_chats()) == 1
        await driver.send("/delete")
        await driver.pilot.press("y")
        await driver.until(lambda: driver.questions == [])
        await driver.app.journal.settle()
        assert store.list_chats() == []
        assert not list(paths.prompt_cache_folder().rglob("*.tlk"))
    store.close()


async def test_an_incognito_chat_is_nowhere_but_on_the_screen(store: Store) -> None:
    async with opened(store=store, replies=[spoken("one"), spoken("two"), spoken("three")]) as driver:
        await driver.send("/incognito")
        await driver.until(lambda: "Nothing of this chat is saved." in driver.screen_text())
        await driver.ask("a secret")
        assert "Incognito: a secret" in driver.screen_text()
        await driver.ask("again")
        requests = [request for request in driver.engine.reply_requests if isinstance(request, ReplyRequest)]
        assert [request.chat_id for request in requests] == [None, None]
        assert {request.chat_id for request in driver.engine.idle_prefill_requests} <= {None}
        assert requests[1].ledger == (1, 2, 3, 10)
        await driver.send("/rename Still a secret")
        await driver.pilot.press("ctrl+r")
        await driver.until(lambda: driver.answers == ["one", "three"])
        await driver.until_state("ready")
        await driver.until(lambda: driver.notes[-1] == "version 2 of 2")
        await driver.pilot.press("left")
        await driver.until(lambda: driver.answers == ["one", "two"])
        await driver.app.journal.settle()
        assert store.list_chats() == []
        await driver.pilot.press("ctrl+n")
        await driver.until(lambda: "New chat" in driver.screen_text())
        assert driver.questions == []
    written = b"".join(path.read_bytes() for path in paths.data_folder().rglob("*") if path.is_file())
    assert b"CREATE TABLE" in written and b"secret" not in written
    store.close()


async def test_incognito_chats_may_be_left_at_any_time(store: Store) -> None:
    async with opened(store=store, replies=[spoken("one")] * 8) as driver:
        for number in range(8):
            driver.app.action_incognito()
            await driver.write("more ")
            await driver.ask(f"secret {number}")
            await driver.write("a draft that is read ahead")
            await driver.pilot.press("alt+up", "k", "e")
            driver.app.action_incognito()
            driver.app.action_new_chat()
        await driver.until(lambda: "New chat" in driver.screen_text())
        assert driver.questions == []
        await driver.app.journal.settle()
    assert store.list_chats() == []
    store.close()


async def test_an_incognito_chat_can_be_deleted_at_once(store: Store) -> None:
    async with opened(store=store, replies=[spoken("one")], is_incognito=True) as driver:
        await driver.ask("a secret")
        await driver.send("/delete")
        await driver.pilot.press("y")
        await driver.until(lambda: driver.questions == [])
        await driver.app.journal.settle()
        assert "New chat" in driver.screen_text()
        assert driver.remarks == []
    store.close()


async def test_the_chat_after_an_incognito_one_is_kept(store: Store) -> None:
    async with opened(store=store, replies=[spoken("one"), spoken("two")], is_incognito=True) as driver:
        assert "Incognito chat" in driver.screen_text()
        await driver.ask("a secret")
        await driver.send("/new")
        await driver.until(lambda: "New chat" in driver.screen_text())
        await driver.ask("no secret")
    assert [chat.title for chat in store.list_chats()] == ["no secret"]
    store.close()
