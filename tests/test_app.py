"""The chat as its user sees it, driven headless."""

import asyncio
import threading
from functools import partial
from pathlib import Path
from unittest.mock import patch

import pytest
from textual import events

from tests.fakes import stored_prompts
from tests.fakes.chat_app import MODEL, Driver, opened, spoken
from tests.patience import HANG_SECONDS
from tui_llama import paths
from tui_llama.chat import ChatMessage, Role, StopReason
from tui_llama.chats.store import MessageState, Store
from tui_llama.conversation import State
from tui_llama.engine.events import (
    Failed,
    LoadProgress,
    LoadStage,
    ModelLoaded,
    Notice,
    PromptEncoded,
    PromptProgress,
    TextPiece,
)
from tui_llama.engine.requests import ReplyRequest
from tui_llama.engine.scripted import AfterCancel, Gate, Loss, ScriptedEngine, Step, demo_model
from tui_llama.errors import StoreError


def machine_state(driver: Driver) -> State:
    return driver.app.turn_driver.state


# --- a turn -----------------------------------------------------------------------------------------------------


async def test_an_answer_appears_below_the_message() -> None:
    async with opened(replies=[spoken("Hello", " you")]) as driver:
        await driver.ask("hi")
        assert driver.questions == ["hi"]
        assert driver.answers == ["Hello you"]
        assert driver.written == ""


async def test_the_status_line_says_what_the_answer_cost() -> None:
    async with opened(replies=[spoken("a", "b")], size=(100, 24)) as driver:
        await driver.ask("hi")
        assert "3 reused · 5 read · 2 generated · 20.0 tok/s" in driver.status
        assert "context 10 / 8,192" in driver.status


async def test_the_engine_is_asked_with_the_conversation_and_the_ledger() -> None:
    async with opened(replies=[spoken("one"), spoken("two")]) as driver:
        await driver.ask("first")
        await driver.ask("second")
        request = driver.engine.reply_requests[1]
        assert isinstance(request, ReplyRequest)
        assert request.messages == (
            ChatMessage(Role.USER, "first"),
            ChatMessage(Role.ASSISTANT, "one"),
            ChatMessage(Role.USER, "second"),
        )
        assert request.ledger == (1, 2, 3, 10)
        assert request.chat_id == driver.store.list_chats()[0].chat_id
        assert driver.engine.load_requests[0].prompt_cache_folder == str(paths.prompt_cache_folder())


async def test_the_message_is_in_the_store_before_the_engine_is_asked() -> None:
    stored: list[int] = []
    driver: Driver

    def replies(_request: object) -> list[object]:
        stored.append(driver.store.list_chats()[0].message_count)
        return list(spoken("a"))

    async with opened(engine=ScriptedEngine(replies=replies)) as driver:  # type: ignore[arg-type]
        await driver.ask("hi")
    assert stored == [2]


async def test_text_appears_while_the_answer_grows() -> None:
    gate = Gate()
    steps = spoken("The beginning", " and the end")
    async with opened(replies=[[*steps[:2], gate, *steps[2:]]]) as driver:
        await driver.send("hi")
        await driver.until(lambda: driver.answers == ["The beginning"])
        assert "answering" in driver.status
        gate.open()
        await driver.until(lambda: driver.answers == ["The beginning and the end"])


async def test_reading_the_prompt_is_shown_in_words() -> None:
    gate = Gate()
    steps = [PromptEncoded(0, 0, (1,)), PromptProgress(0, 200, 1234, 5000), gate, *spoken("a")[1:]]
    async with opened(replies=[steps]) as driver:
        await driver.send("hi")
        await driver.until_state("reading 1,234 / 5,000")
        assert "200 reused" in driver.status
        gate.open()
        await driver.until_state("ready")


async def test_a_notice_is_one_line_of_the_conversation() -> None:
    async with opened(replies=[[Notice("The saved state was not used (damaged)."), *spoken("a")]]) as driver:
        await driver.ask("hi")
        assert driver.remarks == ["The saved state was not used (damaged)."]


async def test_messages_that_are_left_out_are_told_of_when_their_number_changes() -> None:
    replies = [[PromptEncoded(0, 0, (1,), left_out), *spoken("a")[1:]] for left_out in (0, 4, 4, 6, 0)]
    async with opened(replies=replies) as driver:
        for count in (0, 1, 1, 2, 2):
            await driver.ask("hi")
            assert len(driver.remarks) == count
        assert driver.remarks == [f"{number} older messages no longer fit and are left out." for number in (4, 6)]


# --- before the model is there ----------------------------------------------------------------------------------


async def test_one_can_write_and_send_while_the_model_loads() -> None:
    gate = Gate()
    load: list[Step] = [LoadProgress(LoadStage.REPACK, 45, 100), gate, ModelLoaded(demo_model(MODEL))]
    engine = ScriptedEngine(load=load, replies=[spoken("at last")])
    async with opened(engine=engine, until_ready=False) as driver:
        await driver.until_state("loading · repack 45 %")
        await driver.send("early")
        await driver.until_state("your message waits")
        assert driver.questions == ["early"]
        assert not engine.reply_requests
        gate.open()
        await driver.until(lambda: driver.answers == ["at last"])


async def test_a_message_that_waits_can_be_taken_back() -> None:
    gate = Gate()
    engine = ScriptedEngine(load=[gate, ModelLoaded(demo_model(MODEL))], replies=[spoken("now")])
    async with opened(engine=engine, until_ready=False) as driver:
        await driver.until_state("loading")
        await driver.send("early")
        await driver.pilot.press("escape")
        gate.open()
        await driver.until_state("ready")
        assert not engine.reply_requests
        await driver.pilot.press("ctrl+r")
        await driver.until(lambda: driver.answers == ["now"])


async def test_a_model_that_cannot_be_loaded_says_why_and_keeps_what_was_written() -> None:
    engine = ScriptedEngine(load=[Failed(None, "small.gguf is damaged.", "Download it again.")])
    async with opened(engine=engine, until_ready=False) as driver:
        await driver.until_state("no model")
        await driver.until(lambda: driver.remarks == ["small.gguf is damaged.\nDownload it again."])
        await driver.send("hello?")
        assert driver.written == "hello?"


async def test_the_last_model_is_remembered(store: Store, tmp_path: Path) -> None:
    model = tmp_path / "model.gguf"
    model.touch()
    async with opened(store=store, model_path=str(model)):
        pass
    engine = ScriptedEngine()
    async with opened(store=store, model_path=None, engine=engine):
        assert engine.load_requests[0].model_path == str(model)
    store.close()


async def test_the_last_model_may_be_one_of_a_server(store: Store) -> None:
    address = "http://127.0.0.1:8080/v1#qwen3"
    async with opened(store=store, model_path=address):
        pass
    engine = ScriptedEngine()
    async with opened(store=store, model_path=None, engine=engine):
        assert engine.load_requests[0].model_path == address
    store.close()


async def test_a_message_that_is_sent_before_the_store_has_answered_waits_for_the_model() -> None:
    held = threading.Event()
    store = Store(paths.database_file())
    with patch.object(store, "recover", lambda: held.wait(HANG_SECONDS)):
        async with opened(store=store, replies=[spoken("early")], until_ready=False) as driver:
            try:
                await driver.until(lambda: not driver.app.models.is_missing)
                await driver.send("hi")
                assert driver.app.models.picker is None and not driver.written
            finally:
                held.set()
            await driver.until(lambda: driver.answers == ["early"])
    store.close()


async def test_nobody_says_that_there_is_no_model_before_the_store_was_asked_for_the_last_one(tmp_path: Path) -> None:
    held = threading.Event()
    store = Store(paths.database_file())
    model = tmp_path / "model.gguf"
    model.touch()
    store.set_preference("last_model", str(model))
    with patch.object(store, "recover", lambda: held.wait(HANG_SECONDS)):
        async with opened(store=store, model_path=None, until_ready=False) as driver:
            try:
                await driver.until(lambda: "looking for models" in driver.status)
                await driver.send("hi")
                assert driver.app.models.picker is None and driver.written == "hi"
            finally:
                held.set()
            await driver.until(lambda: [request.model_path for request in driver.engine.load_requests] == [str(model)])
    store.close()


# --- stopping ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", ["escape", "ctrl+c"])
async def test_stopping_keeps_the_partial_answer(key: str) -> None:
    gate = Gate()
    async with opened(replies=[[*spoken("Half an")[:2], gate]]) as driver:
        await driver.send("hi")
        await driver.until(lambda: driver.answers == ["Half an"])
        await driver.pilot.press(key)
        await driver.until_state("ready")
        await driver.until(lambda: driver.notes == ["stopped"])
        assert driver.answers == ["Half an"]
        chat_id = driver.store.list_chats()[0].chat_id
        await driver.app.journal.settle()
        answer = driver.store.messages(chat_id)[-1]
        assert (answer.text, answer.stop_reason) == ("Half an", StopReason.STOPPED)


async def test_what_comes_after_a_stop_is_ignored() -> None:
    gate = Gate()
    late = AfterCancel(TextPiece(0, " LATE", (99,)))
    async with opened(replies=[[*spoken("kept")[:2], gate, late]]) as driver:
        await driver.send("hi")
        await driver.until(lambda: driver.answers == ["kept"])
        await driver.pilot.press("escape")
        await driver.until(lambda: driver.notes == ["stopped"])
        assert driver.answers == ["kept"]


async def test_reading_the_prompt_can_be_stopped() -> None:
    gate = Gate()
    async with opened(replies=[[PromptProgress(0, 0, 100, 9000), gate], spoken("next")]) as driver:
        await driver.send("hi")
        await driver.until_state("reading 100 / 9,000")
        await driver.pilot.press("escape")
        await driver.until_state("ready")
        await driver.ask("again")
        assert driver.answers == ["", "next"]


async def test_a_message_that_is_sent_while_an_answer_comes_is_queued() -> None:
    gate = Gate()
    async with opened(replies=[[*spoken("a")[:2], gate]]) as driver:
        await driver.send("hi")
        await driver.until_state("answering")
        await driver.send("impatient")
        assert driver.written == ""
        assert driver.questions == ["hi"]
        assert "impatient" in driver.screen_text()


# --- failing ----------------------------------------------------------------------------------------------------


async def test_after_a_lost_engine_the_partial_answer_is_kept_and_the_next_message_works() -> None:
    engine = ScriptedEngine(replies=[[*spoken("Half")[:2], Loss("The engine ended.")], spoken("back")])
    async with opened(engine=engine) as driver:
        await driver.send("hi")
        await driver.until_state("engine lost")
        await driver.until(lambda: driver.notes == ["failed"])
        assert driver.answers == ["Half"]
        await driver.until(lambda: driver.remarks[0].startswith("The engine ended."))
        await driver.ask("still there?")
        assert driver.answers == ["Half", "back"]
        assert len(engine.load_requests) == 2


async def test_an_engine_that_ended_while_nothing_was_asked_is_started_by_the_next_message() -> None:
    engine = ScriptedEngine(replies=[spoken("first"), spoken("second")])
    async with opened(engine=engine) as driver:
        await driver.ask("hi")
        engine.is_alive = False
        await driver.ask("still there?")
        assert driver.answers == ["first", "second"]
        assert driver.notes == ["", ""]
        assert len(engine.load_requests) == 2
        assert "The engine had ended; it is started again." in driver.remarks


async def test_what_a_model_has_to_tell_is_told_once() -> None:
    loaded = ModelLoaded(demo_model("m.gguf"), ("A plain template is used.",))
    engine = ScriptedEngine(load=lambda request: [loaded], replies=[[Loss("The engine ended.")], spoken("back")])
    async with opened(engine=engine) as driver:
        await driver.send("hi")
        await driver.until_state("engine lost")
        await driver.ask("still there?")
        assert len(engine.load_requests) == 2
        assert driver.remarks.count("A plain template is used.") == 1


async def test_a_failed_answer_can_be_tried_again() -> None:
    async with opened(replies=[[Failed(0, "No memory.", "Close something.")], spoken("fine")]) as driver:
        await driver.send("hi")
        await driver.until_state("failed")
        await driver.pilot.press("ctrl+r")
        await driver.until(lambda: driver.answers == ["fine"])
        assert driver.questions == ["hi"]


@pytest.mark.parametrize(
    ("steps", "told"),
    [
        ([PromptEncoded(0, 0, (1,)), TextPiece(0, "Half", (2,))], "ended without saying why"),
        ([TextPiece(0, "Half", (2,)), PromptProgress(0, 0, 1, 2)], "out of step"),
    ],
    ids=["no end", "out of order"],
)
async def test_an_engine_that_breaks_its_word_is_a_failed_answer(steps: list[Step], told: str) -> None:
    async with opened(replies=[steps, spoken("fine")]) as driver:
        await driver.send("hi")
        await driver.until_state("failed")
        await driver.until(lambda: driver.remarks and told in driver.remarks[0])
        assert driver.answers == ["Half"]
        await driver.ask("again")
        assert driver.answers == ["Half", "fine"]


async def test_another_model_can_be_loaded_by_its_path() -> None:
    async with opened(replies=[spoken("one")]) as driver:
        await driver.ask("hi")
        await driver.send("/model /models/other.gguf")
        await driver.until(lambda: len(driver.engine.load_requests) == 2)
        await driver.until_state("ready")
        assert driver.engine.load_requests[1].model_path == "/models/other.gguf"
        assert driver.answers == ["one"]


async def test_a_store_that_fails_is_told_once_and_the_chat_goes_on(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> int:
        raise StoreError("The disk is full.", "Make room.")

    monkeypatch.setattr(store, "add_user_message", full)
    async with opened(store=store, replies=[spoken("one"), spoken("two")]) as driver:
        await driver.ask("first")
        await driver.ask("second")
        assert driver.answers == ["one", "two"]
        assert driver.remarks == [
            "Not saved for now: The disk is full.\nChanges stay in memory until they can be saved. Make room."
        ]
        assert "not saved" in driver.status
    store.close()


# --- versions and chats -----------------------------------------------------------------------------------------


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
        await driver.until(lambda: driver.notes == ["interrupted"])
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


# --- keys -------------------------------------------------------------------------------------------------------


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


# --- what is not trusted ----------------------------------------------------------------------------------------


async def test_escape_sequences_never_reach_the_screen() -> None:
    pieces = ("red \x1b", "[31mtext\x1b]0;owned", "\x07 \u202eevil \x9b2J end")
    async with opened(replies=[spoken(*pieces)]) as driver:
        await driver.ask("\x1b[2Jhi\x07")
        text = driver.screen_text()
        assert "red text" in text
        assert "end" in text
        assert not any(ord(character) < 32 or 127 <= ord(character) < 160 for character in text if character != "\n")
        assert "\u202e" not in text
        assert "owned" not in text


async def test_markup_stays_text_everywhere() -> None:
    markup = "[b]x[/b] [@click=app.quit]y[/] [/nope] [red"
    replies = [spoken(f"{markup}\n\n| {markup} |\n|---|\n| {markup} |\n")]
    async with opened(replies=replies, size=(120, 40)) as driver:
        await driver.ask(markup)
        await driver.until(lambda: driver.screen_text().count("[@click=app.quit]y[/]") == 5)
        await driver.pilot.press("ctrl+s")
        await driver.until(lambda: "messages" in driver.screen_text())
        assert "[/nope]" in driver.screen_text()


async def test_html_and_single_line_breaks_of_an_answer_are_shown() -> None:
    async with opened(replies=[spoken("use <div> here\nsecond line")]) as driver:
        await driver.ask("hi")
        await driver.until(lambda: "use <div> here" in driver.screen_text())
        lines = [line.strip() for line in driver.screen_text().splitlines()]
        assert "second line" in lines


# --- following the answer ---------------------------------------------------------------------------------------


async def test_scrolling_up_stops_following_until_end_is_pressed() -> None:
    gate, last = Gate(), Gate()
    pieces = [f"paragraph {number}\n\n" for number in range(60)]
    steps = spoken(*pieces)
    async with opened(replies=[[*steps[:50], gate, *steps[50:-1], last, steps[-1]]]) as driver:
        transcript = driver.app.chat_screen.transcript
        await driver.send("hi")
        await driver.until(lambda: "paragraph 48" in driver.screen_text())
        await driver.pilot.press("pageup")
        await driver.until(lambda: not transcript.is_following)
        here = transcript.scroll_y
        gate.open()
        await driver.until(lambda: "↓ new text" in driver.screen_text())
        await driver.until(lambda: "paragraph 59" in driver.answers[0])
        assert transcript.scroll_y == here
        await driver.pilot.press("end")
        await driver.until(lambda: "paragraph 59" in driver.screen_text())
        assert "↓ new text" not in driver.screen_text()
        last.open()
        await driver.until_state("ready")


@pytest.mark.slow
async def test_a_long_chat_mounts_its_end_and_fills_in_on_the_way_up(store: Store) -> None:
    chat_id = store.create_chat(title="long")
    for number in range(60):
        question = store.add_user_message(chat_id, f"question {number}")
        answer = store.begin_answer(chat_id, question)
        store.append_to_answer(answer, f"answer {number}", ())
        store.finish_answer(answer, StopReason.END_OF_GENERATION, None)
    async with opened(store=store) as driver:
        await driver.pilot.press("ctrl+s")
        await driver.until(lambda: "long" in driver.screen_text())
        await driver.pilot.press("enter")
        await driver.until(lambda: "answer 59" in driver.screen_text())
        assert len(driver.questions) == 8
        transcript = driver.app.chat_screen.transcript
        for _ in range(30):
            await driver.pilot.press("ctrl+home")
            await driver.pilot.pause()
            if len(driver.questions) == 60:
                break
        assert driver.questions[0] == "question 0"
        transcript.follow()
        await driver.until(lambda: len(driver.questions) == 8)
    store.close()


async def test_waiting_events_do_not_block_quitting() -> None:
    never = Gate()
    async with asyncio.timeout(HANG_SECONDS):
        async with opened(engine=ScriptedEngine(load=[never]), until_ready=False) as driver:
            await driver.until_state("loading")
            await driver.pilot.press("ctrl+q")
        assert driver.engine.is_closed
