"""Several chats alive: whose turn of the engine it is, what waits, and what is shown of chats that are not seen."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tests.fakes.chat_app import MODEL, spoken
from tests.turn.test_driver import OTHER_MODEL, Driven, driven, texts
from tui_llama import conversation
from tui_llama.chat import StopReason
from tui_llama.chats.open_chat import OpenChat
from tui_llama.conversation import State
from tui_llama.engine.events import Failed, ModelLoaded
from tui_llama.engine.scripted import Gate, Loss, ScriptedEngine, Step, demo_model
from tui_llama.turn.driver import TurnDriver
from tui_llama.turn.live_chats import Mark


@asynccontextmanager
async def one_answers(*more: list[Step]) -> AsyncIterator[tuple[Driven, TurnDriver, Gate]]:
    """A chat whose answer stands at a gate, and another chat on the screen."""
    gate = Gate()
    first: list[Step] = [*spoken("One", " two")[:2], gate, *spoken("One", " two")[2:]]
    async with driven(first, *more) as it:
        first_chat = it.driver
        it.driver.dispatch(conversation.SendMessage("hi"))
        await gate.reached()
        it.open_chat()
        it.view.told.clear()
        yield it, first_chat, gate
        gate.open()


async def stored(it: Driven, driver: TurnDriver) -> list[str]:
    chat_id = driver.chat.chat_id
    assert chat_id is not None
    return texts(await it.journal.read(lambda store: store.messages(chat_id)))


async def test_an_answer_goes_on_while_another_chat_is_on_the_screen() -> None:
    async with one_answers() as (it, first, gate):
        assert (first.state, it.driver.state) == (State.ANSWERING, State.READY)
        assert it.chats.marks() == {first.chat.chat_id: Mark.ANSWERING}
        gate.open()
        await it.rest()
        assert await stored(it, first) == ["hi", "One two"]
        assert it.view.told == []
        assert it.chats.find(first.chat.chat_id) is None
        assert it.chats.marks() == {first.chat.chat_id: Mark.FINISHED}
        it.chats.forget(first.chat.chat_id or "")
        assert it.chats.marks() == {}


async def test_an_answer_that_ends_while_its_chat_is_drawn_is_not_unread() -> None:
    async with one_answers() as (it, first, gate):
        it.chats.bring_to_front(first)
        gate.open()
        await it.rest()
        it.chats.draw_on_screen(answer_was_open=True)
        assert await it.journal.read(lambda store: store.unread_chats()) == []


async def test_a_message_of_another_chat_waits_for_the_answer() -> None:
    async with one_answers(spoken("yes")) as (it, first, gate):
        it.driver.dispatch(conversation.SendMessage("and me?"))
        assert it.driver.state is State.QUEUED
        assert it.view.told == ["user: and me?"]
        assert len(it.engine.reply_requests) == 1
        gate.open()
        await it.rest()
        assert it.view.told[1:] == ["answer begins", "+yes", f"answer ends: {StopReason.END_OF_GENERATION}"]
        assert await stored(it, first) == ["hi", "One two"]
        assert await stored(it, it.driver) == ["and me?", "yes"]
        assert [request.turn for request in it.engine.reply_requests] == [1, 2]


async def test_chats_have_the_engine_in_the_order_in_which_they_asked_for_it() -> None:
    async with one_answers(spoken("to second"), spoken("to third"), spoken("to first")) as (it, first, gate):
        second = it.driver
        second.dispatch(conversation.SendMessage("second"))
        third = it.open_chat()
        third.dispatch(conversation.SendMessage("third"))
        first.dispatch(conversation.SendMessage("first again"))
        assert it.chats.marks() == {first.chat.chat_id: Mark.ANSWERING, second.chat.chat_id: Mark.WAITING}
        gate.open()
        await it.rest()
        assert await stored(it, second) == ["second", "to second"]
        assert await stored(it, third) == ["third", "to third"]
        assert await stored(it, first) == ["hi", "One two", "first again", "to first"]


async def test_a_chat_that_waits_for_another_one_can_be_stopped() -> None:
    async with one_answers(spoken("never")) as (it, _first, gate):
        it.driver.dispatch(conversation.SendMessage("and me?"))
        it.driver.dispatch(conversation.Stop())
        assert it.driver.state is State.READY
        gate.open()
        await it.rest()
        assert await stored(it, it.driver) == ["and me?"]
        assert len(it.engine.reply_requests) == 1


async def test_a_message_that_is_sent_during_an_answer_is_sent_when_that_ends() -> None:
    gate = Gate()
    async with driven([*spoken("One")[:2], gate, *spoken("One")[2:]], spoken("two")) as it:
        it.driver.dispatch(conversation.SendMessage("hi"))
        await gate.reached()
        it.driver.dispatch(conversation.SendMessage("and"))
        it.driver.dispatch(conversation.SendMessage("also"))
        assert it.view.told[-2:] == ["queued: and", "queued: and | also"]
        gate.open()
        await it.rest()
        assert it.view.told[-6:-2] == [
            *(f"answer ends: {StopReason.END_OF_GENERATION}", "user: and\n\nalso", "answer begins", "queued: "),
        ]
        assert texts(await it.stored()) == ["hi", "One", "and\n\nalso", "two"]


async def test_what_is_queued_comes_back_when_it_is_taken_back_or_the_answer_is_stopped() -> None:
    gate = Gate()
    async with driven([*spoken("One")[:2], gate], spoken("two")) as it:
        it.driver.dispatch(conversation.SendMessage("hi"))
        await gate.reached()
        it.driver.dispatch(conversation.SendMessage("and"))
        it.driver.dispatch(conversation.TakeBack())
        assert it.view.told[-2:] == ["returned: and", "queued: "]
        it.driver.dispatch(conversation.SendMessage("rather"))
        it.driver.dispatch(conversation.Stop())
        assert it.view.told[-2:] == ["returned: rather", "queued: "]
        it.driver.dispatch(conversation.SendMessage("after the stop"))
        await it.rest()
        assert texts(await it.stored()) == ["hi", "One", "after the stop", "two"]


async def test_queued_messages_are_moved_removed_and_taken_back_one_by_one() -> None:
    gate = Gate()
    async with driven([*spoken("One")[:2], gate, *spoken("One")[2:]], spoken("two")) as it:
        it.driver.dispatch(conversation.SendMessage("hi"))
        await gate.reached()
        for text in ("a", "b", "a", "c"):
            it.driver.dispatch(conversation.SendMessage(text))
        it.driver.dispatch(conversation.ChangeQueue(3, 0))
        assert it.view.told[-1] == "queued: c | a | b | a"
        it.driver.dispatch(conversation.ChangeQueue(1, None))
        it.driver.dispatch(conversation.ChangeQueue(9, None))
        it.driver.dispatch(conversation.ChangeQueue(0, 9))
        assert it.view.told[-1] == "queued: b | a | c"
        it.driver.dispatch(conversation.TakeBack(1))
        assert it.view.told[-2:] == ["returned: a", "queued: b | c"]
        gate.open()
        await it.rest()
        assert texts(await it.stored()) == ["hi", "One", "b\n\nc", "two"]


async def test_what_is_queued_is_on_the_disk_at_every_moment_until_it_is_sent() -> None:
    gate = Gate()
    async with driven([*spoken("One")[:2], gate, *spoken("One")[2:]], spoken("two")) as it:
        it.driver.dispatch(conversation.SendMessage("hi"))
        await gate.reached()
        kept: list[tuple[bool, int]] = []
        it.chats.keep_queued = lambda chat, message: kept.append((message is not None, len(chat.entries)))
        it.driver.dispatch(conversation.SendMessage("and"))
        gate.open()
        await it.rest()
        assert kept == [(True, 2), (False, 4)], "it is among the messages before it leaves the queue"


async def test_what_is_queued_comes_back_when_the_answer_fails_unseen() -> None:
    gate = Gate()
    broken: list[Step] = [*spoken("One")[:2], gate, Failed(0, "no memory")]
    async with driven(broken) as it:
        first = it.driver
        first.dispatch(conversation.SendMessage("hi"))
        await gate.reached()
        first.dispatch(conversation.SendMessage("and"))
        it.open_chat()
        put_back: list[tuple[OpenChat, str]] = []
        it.chats.put_back = lambda chat, message: put_back.append((chat, message.text))
        gate.open()
        await it.rest()
        assert put_back == [(first.chat, "and")]
        assert it.chats.marks() == {first.chat.chat_id: Mark.FAILED}
        it.view.told.clear()
        it.chats.bring_to_front(first)
        it.chats.draw_on_screen(answer_was_open=False)
        assert it.view.told == ["queued: ", "failure: no memory"]
        assert it.chats.marks() == {}


async def test_a_chat_that_comes_back_to_the_screen_shows_what_was_written_meanwhile() -> None:
    async with one_answers() as (it, first, gate):
        second = it.driver
        it.chats.bring_to_front(first)
        it.chats.draw_on_screen(answer_was_open=True)
        assert it.view.told == ["answer goes on: One", "queued: "]
        await it.chats.let_go_of_idle()
        assert list(it.chats) == [first]
        gate.open()
        await it.rest()
        assert it.view.told[2:] == ["+ two", f"answer ends: {StopReason.END_OF_GENERATION}"]
        assert second.state is State.READY


async def test_an_engine_that_is_lost_in_one_chat_is_started_again_for_those_that_wait() -> None:
    gate = Gate()
    crash: list[Step] = [*spoken("One")[:2], gate, Loss("it crashed")]
    async with driven(crash, spoken("yes")) as it:
        first = it.driver
        first.dispatch(conversation.SendMessage("hi"))
        await gate.reached()
        second = it.open_chat()
        second.dispatch(conversation.SendMessage("and me?"))
        gate.open()
        await it.rest()
        assert await stored(it, second) == ["and me?", "yes"]
        assert [request.model_path for request in it.engine.load_requests] == [MODEL, MODEL]
        assert it.chats.marks() == {first.chat.chat_id: Mark.FINISHED} or it.chats.marks() == {
            first.chat.chat_id: Mark.FAILED
        }


async def test_another_model_stops_the_answers_and_those_that_wait_get_theirs_from_it() -> None:
    async with one_answers(spoken("from the other")) as (it, first, _gate):
        it.driver.dispatch(conversation.SendMessage("and me?"))
        third = it.open_chat()
        async with it.chats.engine_cleared():
            assert third.wish(conversation.LoadModel(OTHER_MODEL))
        await it.rest()
        assert await stored(it, first) == ["hi", "One"]
        assert it.engine.load_requests[-1].model_path == OTHER_MODEL
        assert len(it.engine.reply_requests) == 2
        assert third.state is State.READY


async def test_a_chat_that_is_opened_while_a_model_loads_knows_of_it() -> None:
    gate = Gate()
    engine = ScriptedEngine(load=[gate, ModelLoaded(demo_model(MODEL))], replies=[spoken("a"), spoken("b")])
    async with driven(engine=engine, is_loaded=False) as it:
        first = it.driver
        first.dispatch(conversation.LoadModel(MODEL))
        await gate.reached()
        first.dispatch(conversation.SendMessage("hi"))
        second = it.open_chat()
        assert second.state is State.LOADING
        second.dispatch(conversation.SendMessage("and me?"))
        gate.open()
        await it.rest()
        assert await stored(it, second) == ["and me?", "a"]
        assert await stored(it, first) == ["hi", "b"]


async def test_quitting_keeps_what_there_is_of_every_chat() -> None:
    async with one_answers() as (it, first, _gate):
        second = it.driver
        second.dispatch(conversation.SendMessage("and me?"))
        it.chats.quit()
        assert {first.state, second.state} == {State.CLOSED}
        await it.rest()
        assert await stored(it, first) == ["hi", "One"]
        assert await stored(it, second) == ["and me?"]
        assert len(it.engine.reply_requests) == 1


async def test_a_chat_whose_request_is_made_when_the_program_ends_stays_until_that_is_over() -> None:
    async with driven() as it:
        first = it.driver
        first.dispatch(conversation.SendMessage("hi"))
        assert first.state is State.READING
        it.open_chat()
        it.chats.quit()
        await it.chats.let_go_of_idle()
        await it.rest()
        assert await stored(it, first) == ["hi", ""]
        assert it.engine.reply_requests == []
