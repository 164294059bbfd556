"""The tokens of what is being written, in the border of the composer."""

import pytest

from tests.fakes.chat_app import Driver, opened, spoken
from tui_llama.engine.descriptions import Capabilities
from tui_llama.engine.events import IdlePrefillFinished, IdlePrefillProgress, PromptEstimate
from tui_llama.engine.requests import EstimateRequest
from tui_llama.engine.scripted import ScriptedEngine
from tui_llama.errors import EngineError
from tui_llama.turn.draft_count import count_of
from tui_llama.turn.driver import TurnDriver


def counts(driver: Driver) -> str:
    return str(driver.app.chat_screen.composer.border_title or "")


def test_draft_chat_and_room_add_up_to_the_context() -> None:
    estimate = PromptEstimate(5000, 524, None, message_tokens=214)
    assert count_of(estimate, 8192).words == "draft 214 · chat 5,310 · room 2,668"


def test_what_would_be_left_out_is_said_before_it_is() -> None:
    for left_out, words in ((1, "the oldest message would"), (4, "4 oldest messages would")):
        count = count_of(PromptEstimate(0, 4000, None, message_tokens=99, left_out_messages=left_out), 8192)
        assert count.is_warning and f"draft 99 · context full: {words} be left out" == count.words


def test_the_last_message_that_would_be_left_out_is_named() -> None:
    estimate = PromptEstimate(0, 4000, None, message_tokens=9, left_out_messages=2)
    texts = ("first", "The second\nmessage, which is a long one", "third")
    assert "would be left out, up to “The second message, whic…”" in count_of(estimate, 8192, texts).words


async def test_the_draft_is_counted_with_the_chat_and_the_count_goes_with_it() -> None:
    async with opened(replies=[spoken("one")]) as driver:
        assert counts(driver) == ""
        await driver.write("x" * 400)
        await driver.until(lambda: counts(driver) == "draft 100 · chat 5 · room 8,087")
        await driver.pilot.press("enter")
        await driver.until(lambda: driver.answers == ["one"] and counts(driver) == "")
        await driver.write("/help")
        await driver.at_rest()
        assert counts(driver) == ""


async def test_a_warning_says_what_would_be_left_out_or_why_it_cannot_be_sent() -> None:
    estimates = [PromptEstimate(0, 4000, None, message_tokens=9, left_out_messages=3)]

    def estimate(_request: EstimateRequest) -> PromptEstimate:
        if not estimates:
            raise EngineError("the prompt has 9000 tokens, but the context has room for 8191")
        return estimates.pop()

    async with opened(engine=ScriptedEngine(estimate=estimate)) as driver:
        await driver.write("a")
        await driver.until(lambda: "3 oldest messages would be left out" in counts(driver))
        assert driver.app.chat_screen.composer.has_class("-overflowing")
        await driver.write("b")
        await driver.until(lambda: "the prompt has 9000 tokens" in counts(driver))
        driver.app.chat_screen.composer.clear()
        await driver.until(lambda: counts(driver) == "")
        assert not driver.app.chat_screen.composer.has_class("-overflowing")


async def test_nothing_is_asked_or_said_where_the_engine_cannot_tell(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(TurnDriver, "capabilities", Capabilities(has_exact_tokens=False))
    async with opened() as driver:
        await driver.write("a")
        await driver.at_rest()
        assert counts(driver) == "" and not driver.engine.estimate_requests
        assert driver.app._counts._counted == ()


async def test_reading_ahead_goes_on_after_the_count() -> None:
    def reading(_request: object) -> "list[IdlePrefillProgress | IdlePrefillFinished]":
        return [IdlePrefillProgress(1, 10), IdlePrefillFinished(10)]

    async with opened(engine=ScriptedEngine(idle_prefill=reading)) as driver:
        await driver.write("one two three")
        await driver.until(lambda: counts(driver))
        await driver.until(lambda: driver.engine.idle_prefill_requests, "reading ahead")
        assert driver.engine.idle_prefill_requests[-1].draft == "one two"
