"""What the user changes of the path, carried out by the driver: the store, the view and the next request agree."""

from tests.fakes.chat_app import spoken
from tests.turn.test_driver import driven, texts
from tui_llama import conversation
from tui_llama.chat import Role, StopReason
from tui_llama.conversation import State
from tui_llama.engine.requests import CompleteRequest, ReplyRequest


async def test_an_edited_answer_is_shown_stored_and_what_the_next_request_says() -> None:
    async with driven(spoken("two"), spoken("four")) as it:
        await it.ask("one")
        told = await it.told_of(lambda: it.driver.wish(conversation.EditAnswer(1, "too")))
        assert told == ["path: one, too"]
        assert texts(await it.stored()) == ["one", "too"]
        await it.ask("three")
        request = it.engine.reply_requests[-1]
        assert isinstance(request, ReplyRequest)
        assert [message.text for message in request.messages if message.role is not Role.SYSTEM] == [
            "one",
            "too",
            "three",
        ]
        assert request.ledger == (1, 2, 3, 10)  # those of the old answer: the engine keeps what still agrees


async def test_an_edited_answer_goes_on_from_its_text() -> None:
    async with driven(spoken("two"), spoken(" and more")) as it:
        await it.ask("one")
        it.driver.dispatch(conversation.EditAnswer(1, "too"))
        it.driver.dispatch(conversation.Continue())
        await it.rest()
        request = it.engine.reply_requests[-1]
        assert isinstance(request, CompleteRequest)
        assert (request.answer, request.answer_tokens, request.ledger) == ("too", 0, (1, 2, 3, 10))
        assert request.messages[-1].text == "too"
        last = (await it.stored())[-1]
        assert (last.text, last.stop_reason) == ("too and more", StopReason.END_OF_GENERATION)


async def test_deleting_branching_and_undoing_are_shown() -> None:
    async with driven(spoken("two"), spoken("four")) as it:
        await it.ask("one")
        await it.ask("three")
        told = await it.told_of(lambda: it.driver.wish(conversation.DeleteMessage(2)))
        assert told == ["path: one, two"]
        told = await it.told_of(lambda: it.driver.wish(conversation.Undo()))
        assert told == ["path: one, two, three, four"]
        told = await it.told_of(lambda: it.driver.wish(conversation.Branch(1)))
        assert told == ["path: one, two"]
        last = it.driver.chat.tree()[-1].message_id
        told = await it.told_of(lambda: it.driver.wish(conversation.ShowMessage(last)))
        assert told == ["path: one, two, three, four"]
        assert it.state() is State.READY


async def test_nothing_of_it_is_possible_while_an_answer_comes() -> None:
    async with driven(spoken("two")) as it:
        it.driver.dispatch(conversation.SendMessage("one"))
        assert not it.driver.wish(conversation.DeleteMessage(0))
        assert not it.driver.wish(conversation.Undo())
        await it.rest()
        assert texts(await it.stored()) == ["one", "two"]
