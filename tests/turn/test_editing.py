"""Editing an earlier message, what it costs, and going from one branch of a chat to another."""

import pytest

from tests.fakes.chat_app import MODEL, Driver, opened, spoken
from tui_llama.chat import ChatMessage, Role, StopReason
from tui_llama.chats.store import Store
from tui_llama.engine.events import ModelLoaded, PromptEstimate
from tui_llama.engine.requests import EstimateRequest, ReplyRequest
from tui_llama.engine.scripted import Gate, Loss, ScriptedEngine, Step, demo_model
from tui_llama.errors import EngineError
from tui_llama.screens.dialogs.messages.chat_tree import ChatTree
from tui_llama.turn import editing, idle_prefill
from tui_llama.widgets.message_view import UserMessage
from tui_llama.widgets.messages.window import MOUNTED_AT_FIRST


@pytest.fixture(autouse=True)
def no_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    """A text has rested as soon as nothing else is to be done."""
    monkeypatch.setattr(idle_prefill, "REST_SECONDS", 0.0)
    monkeypatch.setattr(editing, "REST_SECONDS", 0.0)


def edited(driver: Driver) -> list[str]:
    """The messages that are marked."""
    return [view.shown.text for view in driver.app.chat_screen.query(UserMessage) if view.has_class("-edited")]


async def say(driver: Driver, *texts: str) -> None:
    for text in texts:
        await driver.ask(text)


async def replace_written(driver: Driver, text: str) -> None:
    driver.app.chat_screen.composer.replace_text(text)
    await driver.pilot.pause()


async def test_the_arrows_put_no_message_sent_before_in_the_place_of_an_edited_one() -> None:
    async with opened(replies=[spoken("a"), spoken("b")]) as driver:
        await say(driver, "one", "two")
        for keys, text in (["alt+up"], "b"), (["alt+up", "up"], "two"):
            await driver.pilot.press(*keys, "e")
            assert driver.written == text
            await driver.pilot.press("ctrl+home", "up", "up", "down")
            assert driver.written == text
            await driver.pilot.press("ctrl+a", "ctrl+k", "up")
            assert driver.written == ""
            await driver.pilot.press("escape")
        await driver.pilot.press("up", "up")
        assert driver.written == "one"


# --- an edited message ------------------------------------------------------------------------------------------


async def test_an_edited_message_is_answered_in_place_of_the_old_one_which_is_kept() -> None:
    async with opened(replies=[spoken("a"), spoken("b"), spoken("c")]) as driver:
        await say(driver, "one", "two")
        await driver.pilot.press("up")
        assert driver.written == "two"
        await driver.until(lambda: edited(driver) == ["two"])
        await replace_written(driver, "second")
        await driver.pilot.press("enter")
        await driver.until(lambda: driver.answers == ["a", "c"])
        await driver.until_state("ready")
        assert driver.questions == ["one", "second\nversion 2 of 2"]
        assert (driver.written, edited(driver)) == ("", [])
        request = driver.engine.reply_requests[-1]
        assert isinstance(request, ReplyRequest)
        assert request.messages == (
            ChatMessage(Role.USER, "one"),
            ChatMessage(Role.ASSISTANT, "a"),
            ChatMessage(Role.USER, "second"),
        )
        assert request.ledger == (1, 2, 3, 10)
        (chat,) = driver.store.list_chats()
        assert chat.message_count == 6
        branches = driver.store.branches(chat.chat_id)
        assert [(branch.question, branch.answer) for branch in branches] == [("second", "c"), ("two", "b")]


async def test_the_very_first_message_can_be_edited() -> None:
    async with opened(replies=[spoken("a"), spoken("b"), spoken("c")]) as driver:
        await say(driver, "one", "two")
        await driver.pilot.press("alt+up", "home", "e")
        assert driver.written == "one"
        await replace_written(driver, "first")
        await driver.pilot.press("enter")
        await driver.until(lambda: driver.answers == ["c"])
        assert driver.questions == ["first\nversion 2 of 2"]


async def test_what_an_edit_costs_is_told_before_it_is_sent() -> None:
    def price(request: EstimateRequest) -> PromptEstimate:
        return PromptEstimate(4100, 317 + len(request.messages[-1].text), 3.2)

    engine = ScriptedEngine(replies=[spoken("a"), spoken("b")], estimate=price)
    async with opened(engine=engine, size=(100, 24)) as driver:
        await say(driver, "one", "two")
        await driver.pilot.press("up")
        await driver.until_state("editing  keeps 4,100 · reads 320 · about 3 s")
        await driver.write("!")
        await driver.until_state("reads 321")
        assert driver.engine.estimate_requests[-1] == EstimateRequest(
            messages=(
                ChatMessage(Role.USER, "one"),
                ChatMessage(Role.ASSISTANT, "a"),
                ChatMessage(Role.USER, "two!"),
            ),
            ledger=(1, 2, 3, 10),
            chat_id=driver.store.list_chats()[0].chat_id,
            begun_at=driver.engine.reply_requests[0].begun_at,
        )


async def test_a_message_that_could_not_be_sent_says_so_in_place_of_the_price() -> None:
    def refuse(request: EstimateRequest) -> PromptEstimate:
        raise EngineError("the prompt has 9,000 tokens")

    async with opened(engine=ScriptedEngine(replies=[spoken("a")], estimate=refuse), size=(100, 24)) as driver:
        await say(driver, "one")
        await driver.pilot.press("up")
        await driver.until_state("editing  the prompt has 9,000 tokens")
        assert driver.written == "one"


async def test_nothing_is_read_ahead_while_a_message_is_edited() -> None:
    async with opened(replies=[spoken("a")]) as driver:
        await say(driver, "one")
        await driver.until(lambda: driver.engine.idle_prefill_requests)
        await driver.pilot.press("up")
        await driver.write(" and more of it")
        await driver.until(lambda: driver.engine.estimate_requests)
        count = len(driver.engine.idle_prefill_requests)
        await driver.at_rest()
        assert len(driver.engine.idle_prefill_requests) == count
        await driver.pilot.press("escape")
        await driver.until(lambda: len(driver.engine.idle_prefill_requests) > count)


@pytest.mark.parametrize("key", ["escape", "alt+down", "ctrl+c"])
async def test_leaving_an_edit_brings_back_what_was_being_written(key: str) -> None:
    async with opened(replies=[spoken("a")]) as driver:
        await say(driver, "one")
        await driver.write("half a question")
        await driver.pilot.press("alt+up", "alt+up", "e")
        await replace_written(driver, "one, changed")
        await driver.pilot.press(key)
        await driver.until(lambda: edited(driver) == [])
        assert driver.written == "half a question"
        assert driver.questions == ["one"]
        assert "ready" in driver.status
        await driver.pilot.press("up")
        assert driver.written == "one, changed"


async def test_a_message_that_was_not_changed_is_not_sent() -> None:
    async with opened(replies=[spoken("a")]) as driver:
        await say(driver, "one")
        await driver.pilot.press("up", "enter")
        assert "Nothing was changed" in driver.status
        assert len(driver.engine.reply_requests) == 1


async def test_without_messages_there_is_nothing_to_edit() -> None:
    async with opened() as driver:
        await driver.send("/edit")
        await driver.until_state("There is no message to edit yet.")
        await driver.pilot.press("alt+down")
        assert driver.written == ""


async def test_nothing_is_edited_while_the_engine_is_busy() -> None:
    gate = Gate()
    async with opened(replies=[[*spoken("a")[:2], gate, *spoken("a")[2:]]]) as driver:
        await driver.send("one")
        await driver.until_state("answering")
        await driver.pilot.press("alt+up", "home", "e")
        await driver.until_state("Wait until the model is ready")
        assert driver.written == ""
        gate.open()


async def test_an_edit_while_a_model_loads_waits_for_it(store: Store) -> None:
    async with opened(replies=[spoken("a")], store=store) as driver:
        await say(driver, "one")
    gate = Gate()
    engine = ScriptedEngine(load=[gate, ModelLoaded(demo_model(MODEL))], replies=[spoken("b")])
    async with opened(engine=engine, store=store, until_ready=False) as driver:
        await driver.pilot.press("ctrl+pagedown")
        await driver.until(lambda: driver.questions == ["one"])
        await driver.pilot.press("up")
        await driver.write("!")
        await driver.pilot.press("enter")
        await driver.until_state("your message waits")
        gate.open()
        await driver.until(lambda: driver.answers == ["b"])
        assert driver.questions == ["one!\nversion 2 of 2"]


async def test_an_edit_starts_an_engine_that_was_lost() -> None:
    replies: list[list[Step]] = [spoken("a"), [Loss("gone")], spoken("c")]
    async with opened(replies=replies) as driver:
        await say(driver, "one")
        await driver.send("two")
        await driver.until_state("engine lost")
        await driver.pilot.press("up")
        await driver.write("!")
        await driver.pilot.press("enter")
        await driver.until(lambda: driver.answers == ["a", "c"])
        assert driver.questions == ["one", "two!\nversion 2 of 2"]


async def test_an_incognito_chat_can_be_edited_and_has_branches() -> None:
    async with opened(replies=[spoken("a"), spoken("b"), spoken("c")], is_incognito=True) as driver:
        await say(driver, "one", "two")
        await driver.pilot.press("up")
        await driver.write("!")
        await driver.pilot.press("enter")
        await driver.until(lambda: driver.answers == ["a", "c"])
        assert driver.questions == ["one", "two!\nversion 2 of 2"]
        request = driver.engine.reply_requests[-1]
        assert isinstance(request, ReplyRequest)
        assert request.ledger == (1, 2, 3, 10)
        assert driver.store.list_chats() == []
        await driver.until_state("ready")
        await driver.send("/branches")
        await driver.until(lambda: "2/2 You: two!" in driver.screen_text())
        await driver.pilot.press("k", "k", "enter")
        await driver.until(lambda: driver.answers == ["a", "b"])
        assert driver.store.list_chats() == []


async def test_a_message_far_up_is_shown_when_it_is_edited(store: Store) -> None:
    turns = MOUNTED_AT_FIRST  # twice as many messages
    chat_id = store.create_chat(title="long")
    for number in range(turns):
        answer_id = store.begin_answer(chat_id, store.add_user_message(chat_id, f"question {number}"))
        store.append_to_answer(answer_id, f"answer {number}", [])
        store.finish_answer(answer_id, StopReason.END_OF_GENERATION, None)
    async with opened(replies=[spoken("new")], store=store, size=(80, 16)) as driver:
        await driver.pilot.press("ctrl+pagedown")
        await driver.until(lambda: driver.questions[-1:] == [f"question {turns - 1}"])
        assert "question 1" not in driver.questions
        await driver.pilot.press("alt+up", "home", "down", "j", "e")
        await driver.until(lambda: edited(driver) == ["question 1"])
        await driver.until(lambda: "▌ question 1 " in driver.screen_text())
        await driver.write("!")
        await driver.pilot.press("enter")
        await driver.until(lambda: driver.answers == ["answer 0", "new"])
        assert driver.questions == ["question 0", "question 1!\nversion 2 of 2"]


async def test_going_up_fast_marks_the_last_one_and_leaves_older_messages_to_be_shown(store: Store) -> None:
    turns = MOUNTED_AT_FIRST
    chat_id = store.create_chat(title="long")
    for number in range(turns):
        answer_id = store.begin_answer(chat_id, store.add_user_message(chat_id, f"question {number}"))
        store.finish_answer(answer_id, StopReason.END_OF_GENERATION, None)
    async with opened(store=store, size=(80, 16)) as driver:
        await driver.pilot.press("ctrl+pagedown")
        await driver.until(lambda: driver.questions[-1:] == [f"question {turns - 1}"])
        driver.app.action_focus_messages()
        for _ in range(2 * turns - 7):
            driver.app.chat_screen.transcript.action_move_focus(-1)
        driver.app.chat_screen.transcript.action_act("EDIT")
        await driver.until(lambda: edited(driver) == ["question 3"])
        await driver.until(lambda: "▌ question 3 " in driver.screen_text())
        for _ in range(8):
            await driver.pilot.press("ctrl+home")
            await driver.at_rest()
        await driver.until(lambda: "question 0" in driver.questions)
        # The newest may be unmounted by now, but none of those between is missing.
        assert driver.questions == [f"question {number}" for number in range(len(driver.questions))]


async def test_opening_another_chat_leaves_the_edit() -> None:
    async with opened(replies=[spoken("a")]) as driver:
        await say(driver, "one")
        await driver.write("half")
        await driver.pilot.press("alt+up", "k", "e", "ctrl+n")
        await driver.until(lambda: driver.questions == [])
        assert driver.written == ""
        await driver.pilot.press("ctrl+pagedown")
        await driver.until(lambda: driver.questions == ["one"] and driver.written == "half")


# --- branches ---------------------------------------------------------------------------------------------------


async def test_another_branch_is_opened_and_goes_on_where_it_was() -> None:
    async with opened(replies=[spoken("a"), spoken("b"), spoken("c"), spoken("d")]) as driver:
        await say(driver, "one", "two")
        await driver.pilot.press("up")
        await replace_written(driver, "second")
        await driver.pilot.press("enter")
        await driver.until(lambda: driver.answers == ["a", "c"])
        await driver.until_state("ready")
        await driver.send("/branches")
        await driver.until(lambda: isinstance(driver.app.screen, ChatTree))
        await driver.until(lambda: "● ▾ 2/2 You: second" in driver.screen_text())
        assert "○ ▾ 1/2 You: two" in driver.screen_text()
        await driver.pilot.press("up", "up", "enter")
        await driver.until(lambda: driver.answers == ["a", "b"])
        assert driver.questions == ["one", "two\nversion 1 of 2"]
        await driver.pilot.press("escape")
        await driver.ask("three")
        request = driver.engine.reply_requests[-1]
        assert isinstance(request, ReplyRequest)
        assert [message.text for message in request.messages] == ["one", "a", "two", "b", "three"]


async def test_the_branch_that_is_shown_is_not_opened_again() -> None:
    async with opened(replies=[spoken("a")]) as driver:
        await say(driver, "one")
        await driver.send("/branches")
        await driver.until(lambda: isinstance(driver.app.screen, ChatTree))
        await driver.pilot.press("enter")
        await driver.until(lambda: not isinstance(driver.app.screen, ChatTree))
        assert driver.answers == ["a"]


async def test_an_empty_chat_has_no_branches() -> None:
    async with opened() as driver:
        await driver.send("/branches")
        await driver.until(lambda: "This chat has no messages yet." in driver.screen_text())
        await driver.pilot.press("escape")
        await driver.until(lambda: not isinstance(driver.app.screen, ChatTree))
        assert driver.questions == []
