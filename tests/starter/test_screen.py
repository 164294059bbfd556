"""A user chats with the starter: one turn, stopped, answered again, edited, and ended where it falls into a loop."""

import re
from pathlib import Path

import pytest
from msgspec.structs import replace

from tests.starter.real_chat import GREEDY, LIKE_A_NEW_USER_S, LOOPING, QUIET, SEEDED, StarterDriver, chatting
from tui_llama.chat import ChatMessage, Role, StopReason
from tui_llama.engine.requests import CompleteRequest, ReplyRequest

pytestmark = [pytest.mark.starter, pytest.mark.slow]

SIZES = [(100, 30), (60, 20)]
LOOP_NOTE = "ended: it repeats itself · F5 goes on"
SHORT = "Say hello in one short sentence."


def words(text: str) -> set[str]:
    """The words of a text, wherever its lines are broken and whatever Markdown says of them."""
    return set(re.findall(r"[A-Za-z]{3,}", text))


# --- a turn -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", SIZES)
async def test_a_new_user_gets_an_answer(starter_model: Path, size: tuple[int, int]) -> None:
    async with chatting(starter_model, replace(LIKE_A_NEW_USER_S, max_tokens=20), size) as driver:
        await driver.until(lambda: "SmolLM2 135M Instruct" in driver.screen_text().splitlines()[0], "the model's name")
        await driver.until(lambda: "A very small model to try this with" in driver.screen_text())
        await driver.ask(SHORT)
        (turn,) = driver.turns
        (answer,) = driver.answers
        assert words(answer)
        await driver.until(lambda: words(answer) <= words(driver.screen_text()), "the answer on the screen")
        assert turn.cost.reused_tokens == 0
        assert turn.cost.read_tokens > len(SHORT.split())
        assert turn.cost.generated_tokens == len(turn.token_ids)
        assert [message.text for message in await driver.stored_messages()] == [SHORT, answer]
        await driver.until(lambda: driver.engine.ready_tokens > turn.cost.context_used, "reading ahead")
        ready_tokens = driver.engine.ready_tokens
        await driver.ask("Thank you.")
        assert driver.turns[1].cost.reused_tokens >= ready_tokens


async def test_the_next_turn_reads_nothing_twice(starter_model: Path) -> None:
    async with chatting(starter_model, replace(SEEDED, max_tokens=20)) as driver:
        await driver.ask(SHORT)
        first = driver.turns[0].cost
        await driver.until_state(f"0 reused · {first.read_tokens} read · {first.generated_tokens} generated")
        await driver.ask("And now in another way.")
        second = driver.turns[1].cost
        # The last token of an answer is not read any more.
        assert first.context_used == first.read_tokens + first.generated_tokens - 1
        assert second.reused_tokens == first.context_used
        assert second.context_used == len(await driver.stored_ledger()) - 1


# --- sampling ---------------------------------------------------------------------------------------------------


async def test_the_sampling_that_comes_with_it_is_used(starter_model: Path) -> None:
    async with chatting(starter_model, replace(QUIET, max_tokens=2)) as driver:
        await driver.ask(SHORT)
        sampling = driver.turns[0].request.sampling
        assert (sampling.temperature, sampling.top_p) == (0.2, 0.9)


# --- stopped and answered again ---------------------------------------------------------------------------------


async def test_what_there_is_of_a_stopped_answer_is_kept(starter_model: Path) -> None:
    async with chatting(starter_model, replace(GREEDY, loop_guard="off")) as driver:
        await driver.send(LOOPING)
        await driver.until(lambda: driver.answers and len(driver.answers[0].split()) > 5, "some of an answer")
        await driver.pilot.press("escape")
        await driver.until(lambda: driver.notes == ["stopped · F5 goes on"])
        await driver.until_state("ready")
        (part,) = driver.answers
        _, stored = await driver.stored_messages()
        assert (stored.text, stored.stop_reason) == (part, StopReason.STOPPED)
        stopped = driver.turns[0]
        # What came while it was being stopped is neither shown nor kept.
        ledger = await driver.stored_ledger()
        assert ledger[stopped.cost.read_tokens :] == list(stopped.token_ids[: len(ledger) - stopped.cost.read_tokens])
        await driver.send("Name one more.")
        await driver.until(lambda: len(driver.answers) == 2 and driver.answers[1], "the next answer")
        await driver.pilot.press("escape")
        await driver.until_state("ready")
        assert driver.answers[0] == part
        assert driver.turns[1].cost.reused_tokens == min(stopped.cost.context_used, len(ledger))


async def test_an_answer_is_given_again_without_reading_the_question_again(starter_model: Path) -> None:
    async with chatting(starter_model, replace(GREEDY, max_tokens=20)) as driver:
        await driver.ask(SHORT)
        (first,) = driver.answers
        await driver.pilot.press("ctrl+r")
        await driver.until(lambda: len(driver.turns) == 2 and driver.turns[1].usage, "another answer")
        await driver.until_state("ready")
        await driver.until(lambda: driver.answers == [first], "the same answer")
        await driver.until(lambda: driver.notes and "version 2 of 2" in driver.notes[0], "the note below it")
        again = driver.turns[1].cost
        assert (again.reused_tokens, again.read_tokens) == (driver.turns[0].cost.read_tokens - 1, 1)


# --- an earlier message is edited -------------------------------------------------------------------------------


async def test_an_edited_message_costs_what_was_said_before(starter_model: Path) -> None:
    edited = "Name a river in Italy."
    async with chatting(starter_model, replace(GREEDY, max_tokens=12)) as driver:
        for text in (SHORT, "Name a river in Spain.", "Name one more."):
            await driver.ask(text)
        await driver.pilot.press("alt+up", "k", "k", "k", "e")
        driver.app.chat_screen.composer.replace_text(edited)
        await driver.until(lambda: _priced(driver) == edited, "the price")
        price = driver.engine.estimates[-1][1]
        await driver.until(lambda: f"keeps {price.kept_tokens} · reads {price.read_tokens}" in driver.status, "price")
        await driver.pilot.press("enter")
        await driver.until(lambda: len(driver.turns) == 4 and driver.turns[3].usage, "another answer")
        await driver.until_state("ready")
        cost = driver.turns[3].cost
        assert (cost.reused_tokens, cost.read_tokens) == (price.kept_tokens, price.read_tokens)
        # All of the first turn, and of the second what begins its message: "Name a river in".
        assert cost.reused_tokens > driver.turns[0].cost.context_used
        await driver.until(lambda: driver.questions == [SHORT, f"{edited}\nversion 2 of 2"], "the edited message")
        assert driver.answers[0] == (await driver.stored_messages())[1].text
        request = driver.turns[3].request
        assert isinstance(request, ReplyRequest)
        assert request.messages[-1] == ChatMessage(Role.USER, edited)


def _priced(driver: StarterDriver) -> str:
    """The message whose price was told last."""
    return driver.engine.estimates[-1][0].messages[-1].text if driver.engine.estimates else ""


# --- a loop -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", SIZES)
async def test_an_answer_that_repeats_itself_is_ended_and_goes_on_when_told_to(
    starter_model: Path, size: tuple[int, int]
) -> None:
    async with chatting(starter_model, replace(GREEDY, max_tokens=400), size) as driver:
        await driver.ask(LOOPING)
        assert driver.turns[0].request.sampling.temperature == 0.0  # the user's comes before the model's
        await driver.until(lambda: driver.notes == [LOOP_NOTE])
        await driver.until(lambda: LOOP_NOTE in driver.screen_text())
        (looping,) = driver.answers
        assert 0 < driver.turns[0].cost.generated_tokens < 400
        assert (await driver.stored_messages())[-1].stop_reason is StopReason.LOOP
        await driver.pilot.press("f5")
        await driver.until(lambda: len(driver.answers[0]) > len(looping), "more of the answer")
        await driver.pilot.press("escape")
        await driver.until_state("ready")
        request = driver.turns[1].request
        assert isinstance(request, CompleteRequest)
        assert not request.loop_guard
        assert driver.answers[0].startswith(looping)
        assert driver.turns[1].cost.reused_tokens == driver.turns[0].cost.context_used
        assert len(driver.answers) == 1
