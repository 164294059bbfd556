"""A turn as its user sees it: asked, answered, stopped, failed."""

import pytest

from tests.fakes.chat_app import Driver, opened, spoken
from tui_llama import paths
from tui_llama.chat import ChatMessage, Role, StopReason
from tui_llama.chats.store import Store
from tui_llama.engine.events import (
    Failed,
    ModelLoaded,
    Notice,
    PromptEncoded,
    PromptProgress,
    TextPiece,
)
from tui_llama.engine.requests import ReplyRequest
from tui_llama.engine.scripted import AfterCancel, Gate, Loss, ScriptedEngine, Step, demo_model
from tui_llama.errors import StoreError

# --- a turn -------------------------------------------------------------------------------------------------------


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


# --- stopping -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", ["escape", "ctrl+c"])
async def test_stopping_keeps_the_partial_answer(key: str) -> None:
    gate = Gate()
    async with opened(replies=[[*spoken("Half an")[:2], gate]]) as driver:
        await driver.send("hi")
        await driver.until(lambda: driver.answers == ["Half an"])
        await driver.pilot.press(key)
        await driver.until_state("ready")
        await driver.until(lambda: driver.notes == ["stopped · F5 goes on"])
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
        await driver.until(lambda: driver.notes == ["stopped · F5 goes on"])
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


# --- failing ------------------------------------------------------------------------------------------------------


async def test_after_a_lost_engine_the_partial_answer_is_kept_and_the_next_message_works() -> None:
    engine = ScriptedEngine(replies=[[*spoken("Half")[:2], Loss("The engine ended.")], spoken("back")])
    async with opened(engine=engine) as driver:
        await driver.send("hi")
        await driver.until_state("engine lost")
        await driver.until(lambda: driver.notes == ["failed · F5 goes on"])
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
