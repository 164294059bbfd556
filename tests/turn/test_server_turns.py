"""A chat that changes between local models and a server: exact tokens as far as there are any, text from there on."""

import pytest
from msgspec.structs import replace

from tests.fakes.fake_model import FakeModel, answering
from tests.fakes.local_chat import QUIET, LocalDriver, chatting_with
from tests.fakes.served_models import ADDRESS, served, server_engine
from tests.turn.test_other_vocabulary import ANSWERED, ASKED, change_to, cut_off, in_bytes, stored, told
from tui_llama.chat import ChatMessage, Role, StopReason
from tui_llama.engine.events import Failed, FailureCause, TextPiece
from tui_llama.engine.requests import CompleteRequest, ReplyRequest
from tui_llama.engine.scripted import ScriptedEngine, Step


def small(says: str = "one") -> FakeModel:
    return FakeModel(answering(says), name="small", vocabulary="bytes")


async def change_to_server(driver: LocalDriver) -> None:
    await driver.send(f"/model {ADDRESS}")
    await driver.until(
        lambda: driver.app.turn_driver.model is not None and driver.app.turn_driver.model.path == ADDRESS, "the server"
    )
    await driver.until_state("ready")


async def go_on(driver: LocalDriver, answer: str) -> None:
    await driver.pilot.press("f5")
    await driver.until(lambda: driver.answers and driver.answers[-1] == answer, f"{answer!r}")
    await driver.until_state("ready")


def asked_of(server: ScriptedEngine) -> ReplyRequest | CompleteRequest:
    return server.reply_requests[-1]


async def test_after_a_turn_of_a_server_the_tokens_of_the_local_turn_before_it_are_used_again() -> None:
    model, server = small(), server_engine([served("from", " afar")])
    async with chatting_with(model, server=server) as driver:
        await driver.ask("first")
        await change_to_server(driver)
        await driver.ask("second")
        request = asked_of(server)
        assert (request.ledger, request.vocabulary) == ((), "")
        assert isinstance(request, ReplyRequest)
        assert request.messages == (
            ChatMessage(Role.USER, "first"),
            ChatMessage(Role.ASSISTANT, "one"),
            ChatMessage(Role.USER, "second"),
        )
        await change_to(driver, model)
        await driver.ask("third")
        assert driver.answers == ["one", "from afar", "one"]
        encoded = driver.engine.encoded[-1]
        assert encoded.kept_tokens == len(in_bytes(ANSWERED))
        assert encoded.token_ids == in_bytes(
            "<s>user:second</s><s>assistant:from afar</s><s>user:third</s><s>assistant:"
        )
        await driver.ask("fourth")
        assert driver.engine.encoded[-1].token_ids == in_bytes("<s>user:fourth</s><s>assistant:")
        assert told(driver) == 0  # nothing that was read has to be tokenised again
        assert not driver.remarks


async def test_a_chat_that_only_a_server_has_held_goes_on_with_a_local_model() -> None:
    model = small()
    async with chatting_with(model, server=server_engine([served("from afar")])) as driver:
        await change_to_server(driver)
        await driver.ask("first")
        assert await stored(driver) == {}
        await change_to(driver, model)
        await driver.ask("second")
        said = "<s>user:first</s><s>assistant:from afar</s><s>user:second</s><s>assistant:one</s>"
        assert await stored(driver) == {"bytes": in_bytes(said)}
        assert not driver.remarks


async def test_a_local_model_continues_what_a_server_has_written() -> None:
    model = small("a long answer")
    server = server_engine([served("a long", reason=StopReason.LENGTH)])
    async with chatting_with(model, server=server) as driver:
        await cut_off(driver, "first", 6)
        await change_to_server(driver)
        await driver.ask("second")
        await change_to(driver, model)
        await go_on(driver, "a long answer")
        request = driver.engine.requests[-1]
        assert isinstance(request, CompleteRequest)
        assert (request.ledger, request.answer_tokens) == (in_bytes(ASKED + "a long"), 0)
        said = "<s>user:first</s><s>assistant:a long</s><s>user:second</s><s>assistant:a long answer</s>"
        assert await stored(driver) == {"bytes": in_bytes(said)}
        assert driver.store.generated_token_count(4) == len("a long answer") + 1
        await driver.ask("third")
        assert driver.engine.encoded[-1].kept_tokens == len(in_bytes(said))
        assert not driver.remarks


async def test_a_server_continues_what_a_local_model_has_written_and_the_tokens_stay_as_far_as_they_reach() -> None:
    model, server = small("a long answer"), server_engine([served(" way", reason=StopReason.LENGTH)])
    async with chatting_with(model, server=server) as driver:
        await cut_off(driver, "first", 6)
        await change_to_server(driver)
        await go_on(driver, "a long way")
        request = asked_of(server)
        assert isinstance(request, CompleteRequest)
        assert (request.ledger, request.vocabulary, request.answer, request.answer_tokens) == ((), "", "a long", 0)
        assert request.messages[-1] == ChatMessage(Role.ASSISTANT, "a long")
        assert await stored(driver) == {"bytes": in_bytes(ASKED + "a long")}
        assert driver.store.generated_token_count(2) == 0
        await change_to(driver, model)
        await driver.ask("second")
        encoded = driver.engine.encoded[-1]
        assert encoded.kept_tokens == len(in_bytes(ASKED + "a long"))
        assert encoded.token_ids == in_bytes(" way</s><s>user:second</s><s>assistant:")


@pytest.mark.parametrize("is_opened_again", [False, True])
async def test_an_answer_that_both_have_written_goes_on_from_all_of_its_text(is_opened_again: bool) -> None:
    model = small("abcdefghij")
    server = server_engine([served("DEF", reason=StopReason.LENGTH)])
    async with chatting_with(model, server=server) as driver:
        await cut_off(driver, "first", 3)
        await change_to_server(driver)
        await go_on(driver, "abcDEF")
        if not is_opened_again:
            await change_to(driver, model)
            await go_on(driver, "abcDEFghij")
            assert await stored(driver) == {"bytes": in_bytes(ASKED + "abcDEFghij</s>")}
    if is_opened_again:
        async with chatting_with(model) as driver:
            await driver.pilot.press("ctrl+pagedown")
            await driver.until(lambda: driver.answers == ["abcDEF"], "the chat of before")
            await go_on(driver, "abcDEFghij")
            assert await stored(driver) == {"bytes": in_bytes(ASKED + "abcDEFghij</s>")}


async def test_a_server_that_fails_before_it_has_written_anything_leaves_the_tokens_as_they_were() -> None:
    model = small("a long answer")
    refused: list[Step] = [Failed(0, "home refused the connection", "Start it.", FailureCause.REFUSED)]
    async with chatting_with(model, server=server_engine([refused])) as driver:
        await cut_off(driver, "first", 6)
        await change_to_server(driver)
        await driver.pilot.press("f5")
        await driver.until_state("failed")
        assert driver.remarks == ["home refused the connection\nStart it."]
        assert driver.store.generated_token_count(2) == 6
        await change_to(driver, model)
        await go_on(driver, "a long answer")
        assert await stored(driver) == {"bytes": in_bytes(ASKED + "a long answer</s>")}
        assert driver.engine.encoded[-1].token_ids == ()


async def test_a_stream_that_is_cut_off_keeps_its_text_and_goes_on_with_the_server_or_without() -> None:
    model = small("a long answer")
    cut: list[Step] = [TextPiece(0, "a long", ()), Failed(0, "home ended the answer", "", FailureCause.CUT_OFF)]
    server = server_engine([cut, served(" an", reason=StopReason.LENGTH)])
    async with chatting_with(model, server=server) as driver:
        await change_to_server(driver)
        await driver.send("first")
        await driver.until_state("failed")
        assert (driver.answers, driver.notes) == (["a long"], ["failed · F5 goes on"])
        await go_on(driver, "a long an")
        await change_to(driver, model)
        await go_on(driver, "a long answer")


async def test_ids_of_a_vocabulary_that_nobody_wrote_down_are_not_sent_to_a_server() -> None:
    model, server = FakeModel(answering("one"), name="small"), server_engine([served("two")])
    async with chatting_with(model, server=server) as driver:
        await driver.ask("first")
        await change_to_server(driver)
        await driver.ask("second")
        assert asked_of(server).ledger == ()
        assert told(driver) == 0


async def test_a_server_is_not_asked_to_read_ahead_and_a_local_model_is_again() -> None:
    model, server = small(), server_engine([served("two")])
    async with chatting_with(model, server=server, settings=replace(QUIET, read_ahead="on")) as driver:
        await driver.ask("first")
        await driver.until(lambda: driver.engine.ahead_requests, "reading ahead")
        await change_to_server(driver)
        await driver.ask("second")
        assert await driver.app.turn_driver.questions.idle_prefill_request("and") is None
        assert server.idle_prefill_requests == []
        await change_to(driver, model)
        before = len(driver.engine.ahead_requests)
        await driver.until(lambda: len(driver.engine.ahead_requests) > before, "reading ahead again")
