"""The engine that replays a script."""

import asyncio

import pytest

from tui_llama.chat import ChatMessage, Role, StopReason, Usage
from tui_llama.engine.events import (
    Failed,
    Finished,
    LoadProgress,
    LoadStage,
    ModelLoaded,
    PromptEncoded,
    TextPiece,
)
from tui_llama.engine.protocol import ReplyEvent
from tui_llama.engine.requests import LoadRequest, ReplyRequest
from tui_llama.engine.scripted import DEMO_ANSWER, AfterCancel, Gate, Loss, ScriptedEngine, demo_model
from tui_llama.errors import EngineLostError

REQUEST = ReplyRequest(turn=7, messages=(ChatMessage(Role.USER, "hi"),))


async def replied(engine: ScriptedEngine) -> list[ReplyEvent]:
    return [event async for event in engine.reply(REQUEST)]


async def test_events_carry_the_turn_that_was_asked_for() -> None:
    engine = ScriptedEngine(replies=[[TextPiece(0, "hi", ()), Finished(0, StopReason.LENGTH, Usage())]])
    assert await replied(engine) == [TextPiece(7, "hi", ()), Finished(7, StopReason.LENGTH, Usage())]
    assert engine.reply_requests == [REQUEST]


async def test_the_demonstration_says_its_answer_word_by_word() -> None:
    events = await replied(ScriptedEngine())
    assert "".join(event.text for event in events if isinstance(event, TextPiece)) == DEMO_ANSWER
    assert isinstance(events[0], PromptEncoded)
    assert isinstance(events[-1], Finished)


async def test_the_demonstration_goes_on_when_the_list_is_used_up() -> None:
    engine = ScriptedEngine(replies=[[Finished(0, StopReason.LENGTH, Usage())]])
    assert len(await replied(engine)) == 1
    assert len(await replied(engine)) > 10


async def test_a_gate_holds_the_script_until_it_is_opened() -> None:
    gate = Gate()
    engine = ScriptedEngine(replies=[[gate, TextPiece(0, "after", ())]])
    reply = asyncio.ensure_future(replied(engine))
    await gate.reached()
    assert not reply.done()
    gate.open()
    assert await reply == [TextPiece(7, "after", ())]


async def test_cancelling_skips_to_the_end_and_lets_late_events_through() -> None:
    gate = Gate()
    late = AfterCancel(TextPiece(0, "late", ()))
    engine = ScriptedEngine(replies=[[gate, TextPiece(0, "never", ()), late]])
    reply = asyncio.ensure_future(replied(engine))
    await gate.reached()
    engine.cancel()
    first, last = await reply
    assert first == TextPiece(7, "late", ())
    assert isinstance(last, Finished)
    assert last.stop_reason is StopReason.STOPPED


async def test_what_comes_after_a_cancel_does_not_come_without_one() -> None:
    engine = ScriptedEngine(replies=[[AfterCancel(TextPiece(0, "late", ())), TextPiece(0, "a", ())]])
    assert await replied(engine) == [TextPiece(7, "a", ())]


async def test_a_loss_ends_the_engine() -> None:
    with pytest.raises(EngineLostError, match="gone"):
        await replied(ScriptedEngine(replies=[[Loss("gone")]]))


async def test_loading_goes_through_every_stage_in_order() -> None:
    events = [event async for event in ScriptedEngine().load(LoadRequest("/models/small.gguf"))]
    stages = [event.stage for event in events if isinstance(event, LoadProgress)]
    assert list(dict.fromkeys(stages)) == list(LoadStage)
    assert events[-1] == ModelLoaded(demo_model("/models/small.gguf"))


async def test_a_cancelled_load_fails() -> None:
    gate = Gate()
    engine = ScriptedEngine(load=[gate, ModelLoaded(demo_model("m"))])

    async def loaded() -> list[object]:
        return [event async for event in engine.load(LoadRequest("m"))]

    load = asyncio.ensure_future(loaded())
    await gate.reached()
    engine.cancel()
    assert await load == [Failed(None, "Loading was stopped.")]


async def test_closing_lets_a_waiting_script_end() -> None:
    gate = Gate()
    engine = ScriptedEngine(replies=[[gate]])
    reply = asyncio.ensure_future(replied(engine))
    await gate.reached()
    await engine.close()
    assert isinstance((await reply)[-1], Finished)
    assert engine.is_closed
