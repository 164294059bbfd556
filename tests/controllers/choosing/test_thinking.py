"""Thinking on the screen: shown while it comes, then folded; on, off, limited; and ended by "answer now"."""

from collections.abc import Sequence

import msgspec

from tests.fakes.chat_app import Driver, opened, spoken
from tui_llama.chat import StopReason, Thinking, Usage
from tui_llama.engine.descriptions import Capabilities
from tui_llama.engine.events import Finished, ModelLoaded, TextPiece
from tui_llama.engine.scripted import Gate, ScriptedEngine, Step, ThoughtGate, demo_model
from tui_llama.settings import Settings
from tui_llama.widgets.thought_view import ThoughtView

USAGE = Usage(generated_tokens=345, generate_seconds=20.0, thought_tokens=340, thought_seconds=12.2)


def thinking(*between: Step) -> Sequence[Step]:
    """An answer with a thought, and steps between the two."""
    return (
        TextPiece(0, "", (1,), thought="Let me "),
        TextPiece(0, "", (2,), thought="see."),
        *between,
        TextPiece(0, "Because.", (3,)),
        Finished(0, StopReason.END_OF_GENERATION, USAGE),
    )


def thought_view(driver: Driver) -> ThoughtView:
    return driver.app.chat_screen.query(ThoughtView).last()


def drawn(driver: Driver) -> str:
    return str(thought_view(driver).render())


async def test_a_thought_is_shown_while_it_comes_and_then_folds() -> None:
    gate = Gate()
    async with opened(replies=[thinking(gate)]) as driver:
        await driver.send("Why?")
        await driver.until(lambda: "Let me see." in drawn(driver))
        assert "thinking" in driver.status
        gate.open()
        await driver.until_state("ready")
        await driver.until(lambda: drawn(driver) == "▸ thought for 12 s · 340 tokens")
        assert driver.app.turn_driver.chat.entries[-1].thought == "Let me see."
        assert driver.app.turn_driver.chat.entries[-1].text == "Because."


async def test_the_time_of_a_thought_is_told_where_its_tokens_are_not() -> None:
    usage = msgspec.structs.replace(USAGE, thought_tokens=0)
    async with opened(replies=[(*thinking()[:-1], Finished(0, StopReason.END_OF_GENERATION, usage))]) as driver:
        await driver.ask("Why?")
        await driver.until(lambda: drawn(driver) == "▸ thought for 12 s")


async def test_ctrl_t_unfolds_all_and_enter_the_one_in_focus() -> None:
    async with opened(replies=[thinking()]) as driver:
        await driver.ask("Why?")
        await driver.until(lambda: "340" in drawn(driver))
        await driver.pilot.press("ctrl+t")
        await driver.until(lambda: drawn(driver).endswith("Let me see."))
        await driver.pilot.press("ctrl+t")
        await driver.until(lambda: "Let me" not in drawn(driver))
        thought_view(driver).focus()
        await driver.pilot.press("enter")
        await driver.until(lambda: "Let me" in drawn(driver))


async def test_space_unfolds_the_thought_of_the_message_in_focus() -> None:
    async with opened(replies=[thinking()]) as driver:
        await driver.ask("Why?")
        await driver.until(lambda: "340" in drawn(driver))
        await driver.pilot.press("alt+up", "space")
        await driver.until(lambda: drawn(driver).endswith("Let me see."))
        await driver.pilot.press("space")
        await driver.until(lambda: "Let me" not in drawn(driver))


async def test_answer_now_closes_the_thought() -> None:
    gate = ThoughtGate()
    async with opened(replies=[thinking(gate)]) as driver:
        await driver.send("Why?")
        await driver.until(gate.reached.is_set)
        await driver.until(lambda: driver.app.turn_driver.chat.entries[-1].thought)
        await driver.pilot.press("alt+a")
        await driver.until_state("ready")
        assert driver.engine.answer_now_count == 1
        assert driver.app.turn_driver.chat.entries[-1].text == "Because."


async def test_answer_now_says_so_where_the_model_does_not_think() -> None:
    async with opened(replies=[spoken("yes")]) as driver:
        await driver.ask("hi")
        await driver.send("/answer")
        assert "not thinking now" in driver.status
        assert driver.engine.answer_now_count == 0


async def test_before_the_thought_begins_the_key_says_why_there_is_none_to_end() -> None:
    gate = Gate()
    async with opened(replies=[[gate, *thinking()]]) as driver:
        await driver.send("Why?")
        await driver.until_state("reading")
        await driver.pilot.press("alt+a")
        await driver.until(lambda: "still reads" in driver.status)
        assert driver.engine.answer_now_count == 0
        gate.open()
        await driver.until_state("ready")


async def test_a_server_that_cannot_end_a_thought_says_so() -> None:
    model = msgspec.structs.replace(demo_model("demo.gguf"), capabilities=Capabilities(can_answer_now=False))
    async with opened(engine=ScriptedEngine(load=[ModelLoaded(model)])) as driver:
        await driver.send("/answer")
        assert "cannot end a thought" in driver.status


async def test_a_choice_counts_for_this_chat_and_is_shown() -> None:
    settings = Settings(thinking="high", thinking_tokens=1000)
    async with opened(replies=[spoken("yes"), spoken("yes")], settings=settings, size=(140, 24)) as driver:
        await driver.ask("hi")
        request = driver.engine.reply_requests[-1]
        assert (request.thinking, request.thinking_tokens) == (Thinking.HIGH, 1000)
        await driver.send("/think off")
        await driver.send("/think 50 tokens")
        assert "think off · think ≤ 50" in driver.app.chat_screen.status._status.figures
        await driver.ask("again")
        request = driver.engine.reply_requests[-1]
        assert (request.thinking, request.thinking_tokens) == (Thinking.OFF, 50)
        await driver.send("/think default")
        assert driver.app.turn_driver.chat.choices.thinking is None


async def test_words_that_are_no_choice_are_refused() -> None:
    async with opened() as driver:
        await driver.send("/think harder")
        assert "/think takes" in driver.status
        assert driver.app.turn_driver.chat.choices.thinking is None


async def test_ctrl_enter_is_for_the_thought_also_where_one_writes() -> None:
    async with opened() as driver:
        await driver.pilot.press("a", "ctrl+enter")
        await driver.until(lambda: "The model is not thinking now." in driver.status)
        assert driver.written == "a"
