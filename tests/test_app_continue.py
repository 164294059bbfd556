"""Going on with an answer that was cut off, as the user sees it."""

import msgspec
import pytest

from tests.fakes.chat_app import MODEL, USAGE, Driver, opened, spoken
from tui_llama import paths
from tui_llama.chat import StopReason, Usage
from tui_llama.chats.store import MessageState, Store, StoredMessage
from tui_llama.engine.events import Failed, Finished, ModelLoaded, PromptEncoded, PromptProgress, TextPiece
from tui_llama.engine.protocol import ReplyEvent
from tui_llama.engine.requests import CompleteRequest, ReplyRequest
from tui_llama.engine.scripted import Gate, Loss, ScriptedEngine, Step, demo_model
from tui_llama.settings import Settings

LOOP_NOTE = "ended: it repeats itself · F5 goes on"

FULL = Usage(reused_tokens=4000, read_tokens=4000, generated_tokens=191, context_used=8191, context_size=8192)
"""What an answer cost that has filled the context of the demo model."""


def ended(reason: StopReason, *pieces: str) -> list[Step]:
    """A reply that ends for this reason; its prompt is the tokens 1, 2, 3, its own tokens are counted from 10."""
    return [*spoken(*pieces)[:-1], Finished(0, reason, USAGE)]


def more(*pieces: str, first_token: int = 20, reason: StopReason = StopReason.END_OF_GENERATION) -> list[Step]:
    """What an engine says when an answer goes on: the whole ledger is kept."""
    usage = Usage(reused_tokens=4, read_tokens=1, generated_tokens=len(pieces), context_used=5 + len(pieces))
    said: list[ReplyEvent] = [TextPiece(0, piece, (first_token + index,)) for index, piece in enumerate(pieces)]
    return [PromptEncoded(0, 5, ()), PromptProgress(0, 4, 5, 5), *said, Finished(0, reason, usage)]


async def stored_messages(driver: Driver) -> list[StoredMessage]:
    await driver.app.journal.settle()
    return driver.store.messages(driver.store.list_chats()[0].chat_id)


async def open_newest_chat(driver: Driver) -> None:
    await driver.pilot.press("ctrl+pagedown")
    await driver.until(lambda: driver.questions == ["hi"])


def continuation(driver: Driver) -> CompleteRequest:
    request = driver.engine.reply_requests[-1]
    assert isinstance(request, CompleteRequest)
    return request


# --- a loop -----------------------------------------------------------------------------------------------------


async def test_the_note_below_an_answer_in_a_loop_names_the_key_that_goes_on() -> None:
    async with opened(replies=[ended(StopReason.LOOP, "again", " again"), spoken("fine")]) as driver:
        await driver.ask("hi")
        request = driver.engine.reply_requests[0]
        assert isinstance(request, ReplyRequest)
        assert request.loop_guard
        await driver.until(lambda: driver.notes == [LOOP_NOTE])
        assert driver.answers == ["again again"]
        assert LOOP_NOTE in driver.screen_text()
        await driver.ask("and now?")
        assert driver.notes == ["ended: it repeats itself", ""]


async def test_the_key_goes_on_with_the_same_answer_and_without_the_guard() -> None:
    async with opened(
        replies=[ended(StopReason.LOOP, "again", " again"), more(" and", " on")], size=(100, 24)
    ) as driver:
        await driver.ask("hi")
        await driver.pilot.press("f5")
        await driver.until(lambda: driver.answers == ["again again and on"])
        await driver.until(lambda: driver.notes == [""])
        request = continuation(driver)
        assert request.ledger == (1, 2, 3, 10, 11)
        assert (request.text, request.answer, request.loop_guard) == ("", "again again", False)
        assert request.answer_tokens == 2
        assert request.chat_id == driver.store.list_chats()[0].chat_id
        assert "4 reused · 1 read · 2 generated" in driver.status
        assert "context 7 / 8,192" in driver.status
        _, answer = await stored_messages(driver)
        assert (answer.text, answer.stop_reason) == ("again again and on", StopReason.END_OF_GENERATION)
        assert driver.store.versions(answer.message_id) == [answer.message_id]
        assert driver.store.ledger(answer.message_id).newest_ids == [1, 2, 3, 10, 11, 20, 21]


async def test_going_on_that_is_refused_leaves_the_loop_as_it_was() -> None:
    refused: list[Step] = [Failed(0, "The tokens of this answer are another model's.")]
    replies = [ended(StopReason.LOOP, "again", " again"), refused, more(" and on")]
    async with opened(replies=replies, size=(100, 24)) as driver:
        await driver.ask("hi")
        await driver.pilot.press("f5")
        await driver.until_state("failed")
        assert driver.notes == [LOOP_NOTE]
        stored = (await stored_messages(driver))[-1]
        assert (stored.state, stored.stop_reason, stored.usage) == (MessageState.COMPLETE, StopReason.LOOP, USAGE)
        await driver.pilot.press("f5")
        await driver.until(lambda: driver.answers == ["again again and on"])
        assert not continuation(driver).loop_guard


async def test_a_loop_that_was_let_go_on_and_stopped_goes_on_without_the_guard_again() -> None:
    gate = Gate()
    going_on = [*more(" and")[:-1], gate]
    async with opened(replies=[ended(StopReason.LOOP, "a", "a"), going_on, more(" on", first_token=30)]) as driver:
        await driver.ask("hi")
        await driver.pilot.press("f5")
        await driver.until(lambda: driver.answers == ["aa and"])
        await driver.pilot.press("escape")
        await driver.until(lambda: driver.notes == ["stopped · F5 goes on"])
        await driver.pilot.press("f5")
        await driver.until(lambda: driver.answers == ["aa and on"])
        assert not continuation(driver).loop_guard


async def test_going_on_that_is_stopped_before_its_first_token_changes_nothing() -> None:
    gate = Gate()
    replies: list[list[Step]] = [ended(StopReason.LOOP, "a", "a"), [gate, *more(" on")]]
    async with opened(replies=replies) as driver:
        await driver.ask("hi")
        await driver.pilot.press("f5")
        await driver.until_state("reading")
        await driver.pilot.press("escape")
        gate.open()
        await driver.until(lambda: driver.notes == [LOOP_NOTE])
        assert (await stored_messages(driver))[-1].stop_reason is StopReason.LOOP


async def test_the_next_message_follows_the_whole_answer() -> None:
    replies = [ended(StopReason.LOOP, "a", "b"), more("c"), spoken("fine")]
    async with opened(replies=replies) as driver:
        await driver.ask("hi")
        await driver.pilot.press("f5")
        await driver.until(lambda: driver.answers == ["abc"])
        await driver.until_state("ready")
        readings = driver.engine.idle_prefill_requests
        await driver.until(lambda: readings and readings[-1].ledger == (1, 2, 3, 10, 11, 20), "reading ahead")
        await driver.ask("next")
        request = driver.engine.reply_requests[-1]
        assert isinstance(request, ReplyRequest)
        assert [message.text for message in request.messages] == ["hi", "abc", "next"]
        assert request.ledger == (1, 2, 3, 10, 11, 20)


async def test_nothing_is_guarded_when_the_setting_says_so() -> None:
    settings = Settings(loop_guard="off")
    replies = [ended(StopReason.STOPPED, "a"), more("b")]
    async with opened(replies=replies, settings=settings) as driver:
        await driver.ask("hi")
        await driver.pilot.press("f5")
        await driver.until(lambda: driver.answers == ["ab"])
        assert not any(request.loop_guard for request in driver.engine.reply_requests)


# --- other ends -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("slash", ["/continue", "/go"])
async def test_an_answer_at_the_limit_goes_on_by_a_command_as_often_as_one_likes(slash: str) -> None:
    limit = StopReason.LENGTH
    replies = [ended(limit, "a"), more("b", reason=limit), more("c", first_token=30, reason=limit)]
    async with opened(replies=replies) as driver:
        await driver.ask("hi")
        for text in ("ab", "abc"):
            await driver.send(slash)
            await driver.until(lambda text=text: driver.answers == [text])  # type: ignore[misc] # the lambda's default
            await driver.until(lambda: driver.notes == ["ended at the token limit · F5 goes on"])
            await driver.until_state("ready")
        assert continuation(driver).ledger == (1, 2, 3, 10, 20)
        assert continuation(driver).answer_tokens == 2
        assert continuation(driver).loop_guard


async def test_a_stopped_answer_goes_on_and_can_be_stopped_again() -> None:
    first, second = Gate(), Gate()
    replies = [[*spoken("Half")[:2], first], [*more(" and half")[:-1], second], more(" whole", first_token=30)]
    async with opened(replies=replies) as driver:
        await driver.send("hi")
        await driver.until(lambda: driver.answers == ["Half"])
        await driver.pilot.press("escape")
        await driver.until(lambda: driver.notes == ["stopped · F5 goes on"])
        await driver.pilot.press("f5")
        await driver.until(lambda: driver.answers == ["Half and half"])
        assert driver.notes == [""]
        assert "answering" in driver.status
        await driver.pilot.press("escape")
        await driver.until(lambda: driver.notes == ["stopped · F5 goes on"])
        await driver.pilot.press("f5")
        await driver.until(lambda: driver.answers == ["Half and half whole"])
        assert continuation(driver).ledger == (1, 2, 3, 10, 20)


async def test_a_failed_answer_goes_on_and_what_was_said_of_the_failure_goes_away() -> None:
    failing: list[Step] = [*spoken("Half")[:2], Failed(0, "No memory.", "Close something.")]
    async with opened(replies=[failing, more(" whole")]) as driver:
        await driver.send("hi")
        await driver.until_state("failed")
        await driver.pilot.press("f5")
        await driver.until(lambda: driver.answers == ["Half whole"])
        await driver.until(lambda: driver.notes == [""])
        assert driver.remarks == []


async def test_an_answer_goes_on_with_an_engine_that_is_started_again() -> None:
    engine = ScriptedEngine(replies=[[*spoken("Half")[:2], Loss("The engine ended.")], more(" whole")])
    async with opened(engine=engine) as driver:
        await driver.send("hi")
        await driver.until_state("engine lost")
        await driver.pilot.press("f5")
        await driver.until(lambda: driver.answers == ["Half whole"])
        assert len(engine.load_requests) == 2


async def test_going_on_that_fails_keeps_the_answer_and_can_be_tried_again() -> None:
    replies: list[list[Step]] = [
        ended(StopReason.LENGTH, "a"),
        [Failed(0, "No memory.", "Close something.")],
        more("b"),
    ]
    async with opened(replies=replies) as driver:
        await driver.ask("hi")
        await driver.pilot.press("f5")
        await driver.until_state("failed")
        await driver.until(lambda: driver.notes == ["ended at the token limit · F5 goes on"])
        assert driver.answers == ["a"]
        await driver.pilot.press("f5")
        await driver.until(lambda: driver.answers == ["ab"])


async def test_an_answer_that_another_program_writes_does_not_go_on_here_before_that_has_ended(store: Store) -> None:
    replies = [ended(StopReason.LOOP, "a"), more("b"), spoken("fine")]
    async with opened(store=store, replies=replies) as driver:
        await driver.ask("hi")
        answer = (await stored_messages(driver))[-1]
        store.reopen_answer(answer.message_id)
        await driver.pilot.press("f5")
        await driver.until(lambda: driver.remarks)
        await driver.until_state("failed")
        assert "This answer is already being written." in driver.remarks[0]
        assert "not being saved" not in driver.screen_text()
        assert len(driver.engine.reply_requests) == 1
        assert (await stored_messages(driver))[-1].state is MessageState.PARTIAL
        store.finish_answer(answer.message_id, StopReason.LOOP, None)
        await driver.pilot.press("f5")
        await driver.until(lambda: driver.answers == ["ab"])
        assert continuation(driver).ledger == (1, 2, 3, 10)
        await driver.until_state("ready")
        assert (await stored_messages(driver))[-1].text == "ab"


async def test_half_a_character_at_the_end_is_shown_once_it_is_whole() -> None:
    async with opened(replies=[ended(StopReason.LENGTH, "caf", "\ufffd"), more("é")]) as driver:
        await driver.ask("hi")
        await driver.pilot.press("f5")
        await driver.until(lambda: driver.answers == ["café"])
        assert continuation(driver).answer == "caf"
        assert [message.text for message in await stored_messages(driver)] == ["hi", "café"]


async def test_another_version_of_an_answer_goes_on_as_that_version() -> None:
    cut = StopReason.LENGTH
    async with opened(replies=[spoken("first"), ended(cut, "second"), more(" half")]) as driver:
        await driver.ask("hi")
        await driver.pilot.press("ctrl+r")
        await driver.until(lambda: driver.notes == ["ended at the token limit · F5 goes on · version 2 of 2"])
        await driver.pilot.press("f5")
        await driver.until(lambda: driver.answers == ["second half"])
        await driver.until(lambda: driver.notes == ["version 2 of 2"])
        assert continuation(driver).answer == "second"
        await driver.until_state("ready")
        stored = (await stored_messages(driver))[-1]
        versions = driver.store.versions(stored.message_id)
        assert (stored.text, versions.index(stored.message_id), len(versions)) == ("second half", 1, 2)
        await driver.pilot.press("left")
        await driver.until(lambda: driver.notes == ["version 1 of 2"])
        assert driver.answers == ["first"]
        await driver.pilot.press("right")
        await driver.until(lambda: driver.notes == ["version 2 of 2"])
        assert driver.answers == ["second half"]


# --- after a restart --------------------------------------------------------------------------------------------


async def test_an_answer_in_a_loop_goes_on_after_a_restart(store: Store) -> None:
    async with opened(store=store, replies=[ended(StopReason.LOOP, "again", " again")]) as driver:
        await driver.ask("hi")
    async with opened(store=store, replies=[more(" and on")]) as driver:
        await open_newest_chat(driver)
        assert driver.notes == [LOOP_NOTE]
        await driver.pilot.press("f5")
        await driver.until(lambda: driver.answers == ["again again and on"])
        assert continuation(driver).ledger == (1, 2, 3, 10, 11)
        assert not continuation(driver).loop_guard


async def test_an_answer_that_a_crash_cut_off_goes_on_and_may_be_cut_off_again(store: Store) -> None:
    chat_id = store.create_chat()
    answer_id = store.begin_answer(chat_id, store.add_user_message(chat_id, "hi"))
    store.set_answer_prompt(answer_id, 0, [1, 2])
    store.append_to_answer(answer_id, "I was saying", [3])
    store.close()
    gate = Gate()
    with Store(paths.database_file()) as reopened:
        async with opened(store=reopened, replies=[[*more(" that", first_token=4)[:-1], gate]]) as driver:
            await open_newest_chat(driver)
            await driver.until(lambda: driver.notes == ["interrupted · F5 goes on"])
            await driver.pilot.press("f5")
            await driver.until(lambda: driver.answers == ["I was saying that"])
            assert continuation(driver).ledger == (1, 2, 3)
            driver.app.turn_driver.chat.flush()
            half = (await stored_messages(driver))[-1]
            assert (half.text, half.state) == ("I was saying that", MessageState.PARTIAL)
            assert reopened.ledger(answer_id).newest_ids == [1, 2, 3, 4]


async def test_an_answer_waits_for_the_model_to_go_on(store: Store) -> None:
    async with opened(store=store, replies=[ended(StopReason.LENGTH, "a")]) as driver:
        await driver.ask("hi")
    gate = Gate()
    engine = ScriptedEngine(load=[gate, ModelLoaded(demo_model(MODEL))], replies=[more("b")])
    async with opened(store=store, engine=engine, until_ready=False) as driver:
        await driver.until_state("loading")
        await open_newest_chat(driver)
        await driver.pilot.press("f5")
        await driver.until_state("waits")
        assert driver.notes == ["ended at the token limit · F5 goes on"]
        gate.open()
        await driver.until(lambda: driver.answers == ["ab"])


# --- why not ----------------------------------------------------------------------------------------------------


async def assert_f5_only_hints(driver: Driver, words: str) -> None:
    """The key says these words, asks the engine for nothing, and leaves what is shown as it was."""
    asked, answers, notes = len(driver.engine.reply_requests), driver.answers, driver.notes
    await driver.pilot.press("f5")
    await driver.until(lambda: words in driver.screen_text(), words)
    assert len(driver.engine.reply_requests) == asked
    assert (driver.answers, driver.notes) == (answers, notes)


async def test_there_is_nothing_to_go_on_with() -> None:
    full = [*spoken("full")[:-1], Finished(0, StopReason.CONTEXT_FULL, FULL)]
    async with opened(replies=[spoken("whole"), full]) as driver:
        await assert_f5_only_hints(driver, "There is no answer to continue.")
        await driver.ask("hi")
        await assert_f5_only_hints(driver, "This answer is complete")
        await driver.ask("more")
        await assert_f5_only_hints(driver, "The context is full")
        assert driver.answers == ["whole", "full"]


async def test_an_answer_that_has_outgrown_a_shifted_context_stays_as_it_is(store: Store) -> None:
    long = Usage(reused_tokens=3000, read_tokens=200, generated_tokens=4992, context_used=4100)
    cut = [*spoken("long")[:-1], Finished(0, StopReason.STOPPED, long)]
    async with opened(store=store, replies=[cut], size=(100, 24)) as driver:
        await driver.ask("hi")
        await assert_f5_only_hints(
            driver, "This answer is longer than the context of 8,192 tokens; it cannot be continued."
        )
        assert driver.notes == ["stopped"]
    larger = ScriptedEngine(
        load=[ModelLoaded(msgspec.structs.replace(demo_model(MODEL), context_size=16_384))], replies=[more("er")]
    )
    async with opened(store=store, engine=larger) as driver:
        await open_newest_chat(driver)
        await driver.pilot.press("f5")
        await driver.until(lambda: driver.answers == ["longer"])


@pytest.mark.parametrize("context_size", [0, 16_384])
async def test_an_answer_that_filled_its_context_goes_on_with_a_model_that_may_have_a_larger_one(
    store: Store, context_size: int
) -> None:
    async with opened(store=store, replies=[[*spoken("long")[:-1], Finished(0, StopReason.CONTEXT_FULL, FULL)]]) as it:
        await it.ask("hi")
        await assert_f5_only_hints(it, "The context is full; this answer cannot be continued.")
    model = msgspec.structs.replace(demo_model(MODEL), context_size=context_size)
    async with opened(store=store, engine=ScriptedEngine(load=[ModelLoaded(model)], replies=[more("er")])) as driver:
        await open_newest_chat(driver)
        await driver.pilot.press("f5")
        await driver.until(lambda: driver.answers == ["longer"])


async def test_an_answer_under_way_goes_on_anyway() -> None:
    gate = Gate()
    begun, rest = spoken("Half", " whole")[:2], spoken("Half", " whole")[2:]
    async with opened(replies=[[*begun, gate, *rest]]) as driver:
        await driver.send("hi")
        await driver.until(lambda: driver.answers == ["Half"])
        await assert_f5_only_hints(driver, "The engine is busy. Esc stops it.")
        gate.open()
        await driver.until(lambda: not driver.views[-1].is_live, "the end of the answer")
        assert driver.answers == ["Half whole"]


async def test_an_answer_without_known_tokens_goes_on_from_its_text(store: Store) -> None:
    chat_id = store.create_chat()
    answer_id = store.begin_answer(chat_id, store.add_user_message(chat_id, "hi"))
    store.append_to_answer(answer_id, "I was saying", ())
    store.finish_answer(answer_id, StopReason.STOPPED, None)
    steps = [PromptEncoded(0, 0, (1, 2, 3, 4), vocabulary="v", answer_tokens=2), *more(" something")[2:]]
    async with opened(store=store, replies=[steps]) as driver:
        await open_newest_chat(driver)
        await driver.pilot.press("f5")
        await driver.until(lambda: driver.answers == ["I was saying something"], "the rest")
        await driver.until_state("ready")
        assert (continuation(driver).ledger, continuation(driver).answer_tokens) == ((), 0)
        assert [message.text for message in continuation(driver).messages] == ["hi", "I was saying"]
        assert store.ledger(answer_id).by_vocabulary == {"v": (1, 2, 3, 4, 20)}
        assert store.generated_token_count(answer_id) == 3


async def test_an_answer_of_which_there_is_nothing_cannot_go_on(store: Store) -> None:
    chat_id = store.create_chat()
    answer_id = store.begin_answer(chat_id, store.add_user_message(chat_id, "hi"))
    store.finish_answer(answer_id, StopReason.FAILED, None)
    async with opened(store=store) as driver:
        await open_newest_chat(driver)
        await assert_f5_only_hints(driver, "There is nothing of this answer yet; Ctrl+R answers again.")
        assert (driver.answers, driver.notes) == ([""], ["failed · Ctrl+R answers again"])


async def test_an_answer_that_was_replied_to_on_another_branch_stays_as_it_is_and_a_copy_goes_on() -> None:
    replies = [ended(StopReason.LENGTH, "first"), spoken("reply"), spoken("firstly")]
    async with opened(replies=replies) as driver:
        await driver.ask("hi")
        await driver.ask("and then")
        _, first, _, _ = await stored_messages(driver)
        driver.store.set_tip(driver.store.list_chats()[0].chat_id, first.message_id)
        await driver.pilot.press("ctrl+n")
        await driver.until(lambda: driver.questions == [])
        await open_newest_chat(driver)
        assert driver.answers == ["first"]
        await driver.pilot.press("f5")
        await driver.until(lambda: driver.answers == ["firstfirstly"])
        await driver.until_state("ready")
        await driver.pilot.press("left")
        await driver.until(lambda: driver.answers == ["first", "reply"])


async def test_a_message_without_an_answer_is_no_answer(store: Store) -> None:
    store.add_user_message(store.create_chat(), "hi")
    async with opened(store=store) as driver:
        await open_newest_chat(driver)
        await assert_f5_only_hints(driver, "There is no answer yet; Ctrl+R asks for one.")
        assert (driver.questions, driver.answers) == (["hi"], [])


async def test_without_a_model_nothing_goes_on(store: Store) -> None:
    async with opened(store=store, replies=[ended(StopReason.LENGTH, "a")]) as driver:
        await driver.ask("hi")
    engine = ScriptedEngine(load=[Failed(None, "damaged")])
    async with opened(store=store, engine=engine, until_ready=False) as driver:
        await driver.until_state("no model")
        await open_newest_chat(driver)
        await assert_f5_only_hints(driver, "The model is not loaded. Ctrl+R tries it again")
        assert (driver.answers, driver.notes) == (["a"], ["ended at the token limit · F5 goes on"])


@pytest.mark.parametrize("way", ["/edit", "/prompt"])
async def test_nobody_without_a_model_is_told_to_wait_for_it(store: Store, way: str) -> None:
    async with opened(store=store, replies=[ended(StopReason.LENGTH, "a")]) as driver:
        await driver.ask("hi")
    engine = ScriptedEngine(load=[Failed(None, "damaged")])
    async with opened(store=store, engine=engine, until_ready=False) as driver:
        await driver.until_state("no model")
        await open_newest_chat(driver)
        await driver.send(way)
        await driver.until(lambda: "Ctrl+R tries it again; Ctrl+L shows others." in driver.screen_text())
        assert driver.questions == ["hi"]
        await driver.pilot.press("ctrl+r")
        await driver.until(lambda: driver.remarks == ["damaged"], "the failure of the other try")
        assert (len(driver.engine.load_requests), driver.answers) == (2, ["a"])


# --- no answer --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("thought", ["Let me see.", ""])
async def test_the_note_below_an_answer_without_text_names_the_key_that_answers_again(thought: str) -> None:
    reply: list[Step] = [
        PromptEncoded(0, 0, (1,)),
        TextPiece(0, "", (2,), thought=thought),
        Finished(0, StopReason.END_OF_GENERATION, USAGE),
    ]
    async with opened(replies=[reply]) as driver:
        await driver.ask("hi")
        await driver.until(lambda: driver.notes == ["ended without an answer · Ctrl+R answers again"])
