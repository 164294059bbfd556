"""Answers that go on and answers whose start is given, for each kind of server."""

from typing import Any

import pytest

from tests.engine.remote.remote_chat import QUESTION, TURN, chatting, ended_well, failure_of, reply_request
from tests.fakes import openai_streams as wire
from tests.fakes.engine_events import thought_of
from tests.fakes.openai_dialects import LLAMA_SERVER, LM_STUDIO, OLLAMA, PLAIN, SGLANG, VLLM, Kind
from tui_llama.chat import ChatMessage, Role
from tui_llama.engine.events import FailureCause
from tui_llama.engine.requests import CompleteRequest

BEGUN = "Llamas hum"
FLAGS = {
    "llama-server": {"add_generation_prompt": False, "continue_final_message": True},
    "vllm": {"add_generation_prompt": False, "continue_final_message": True},
    "sglang": {"continue_final_message": True},
}


def continuation(answer: str = BEGUN, **fields: Any) -> CompleteRequest:
    """Returns a request to go on with an answer."""
    messages = (QUESTION, ChatMessage(Role.ASSISTANT, answer))
    return CompleteRequest(TURN, "", answer=answer, messages=messages, **fields)


@pytest.mark.parametrize("kind", [LLAMA_SERVER, VLLM, SGLANG], ids=lambda kind: kind.name)
async def test_an_answer_goes_on_with_the_flags_of_the_server(kind: Kind) -> None:
    async with chatting(kind) as chat:
        assert chat.loaded.model.capabilities.can_continue
        events = await chat.ask(wire.plain((" softly.",)), request=continuation())
        ended_well(events, " softly.")
        assert {name: chat.sent[name] for name in FLAGS[kind.name]} == FLAGS[kind.name]
        assert "echo" not in chat.sent
        assert chat.sent["messages"] == [
            {"role": "user", "content": QUESTION.text},
            {"role": "assistant", "content": BEGUN},
        ]


@pytest.mark.parametrize(
    ("kind", "closing"),
    [(LLAMA_SERVER, "\n</think>\n\n"), (VLLM, ""), (SGLANG, "")],
    ids=["llama-server", "vllm", "sglang"],
)
async def test_an_answer_that_was_cut_behind_its_last_thought_goes_on_with_its_text(kind: Kind, closing: str) -> None:
    """llama-server then sends text at once. The others send the mark themselves, as a part of the text."""
    async with chatting(kind) as chat:
        events = await chat.ask(wire.plain(("Softly.",)), request=continuation("<think>\nThey hum."))
        ended_well(events, f"{closing}Softly.")


CUT_THOUGHTS = {
    "llama-server": {"content": "", "reasoning_content": "They hum."},
    "vllm": {"content": "<think>\nThey hum."},
    "sglang": {"content": "<think>\nThey hum."},
}


@pytest.mark.parametrize("kind", [LLAMA_SERVER, VLLM, SGLANG], ids=lambda kind: kind.name)
async def test_an_answer_that_was_cut_in_its_thought_goes_on_there(kind: Kind) -> None:
    messages = (QUESTION, ChatMessage(Role.ASSISTANT, "", thought="They hum."))
    request = CompleteRequest(TURN, "", answer="", answer_thought="They hum.", messages=messages)
    beside = [wire.chunk({"reasoning_content": " Do they?\n"}), *wire.plain(("\nSoftly.",))]
    async with chatting(kind) as chat:
        events = await chat.ask(beside, request=request)
        ended_well(events, "Softly.")
        assert thought_of(events) == " Do they?"
        assert chat.sent["messages"][-1] == {"role": "assistant", **CUT_THOUGHTS[kind.name]}
        if kind is LLAMA_SERVER:
            assert chat.sent["continue_final_message"] == "reasoning_content"
            return
        events = await chat.ask(wire.plain((" Do they?\n</th", "ink>\n\n", "Softly.")), request=request)
        ended_well(events, "Softly.")
        assert thought_of(events) == " Do they?"


@pytest.mark.parametrize("kind", [LLAMA_SERVER, VLLM, SGLANG], ids=lambda kind: kind.name)
async def test_an_answer_that_was_cut_in_its_text_is_sent_with_its_thought_beside_it(kind: Kind) -> None:
    messages = (QUESTION, ChatMessage(Role.ASSISTANT, BEGUN, thought="They hum."))
    request = CompleteRequest(TURN, "", answer=BEGUN, answer_thought="They hum.", messages=messages)
    async with chatting(kind) as chat:
        events = await chat.ask(wire.plain((" <think>", "softly.")), request=request)
        ended_well(events, " <think>softly.")
        assert thought_of(events) == ""
        assert chat.sent["messages"][-1]["content"] == BEGUN
        assert chat.sent["messages"][-1]["reasoning_content"] == "They hum."


@pytest.mark.parametrize("kind", [PLAIN, OLLAMA, LM_STUDIO], ids=lambda kind: kind.name)
async def test_a_server_that_cannot_continue_is_not_asked_to(kind: Kind) -> None:
    async with chatting(kind) as chat:
        can = chat.loaded.model.capabilities
        assert not can.can_continue
        events = await chat.ask(request=continuation())
        assert can.why_not_continue.rstrip(".") in failure_of(events, FailureCause.ENGINE).message
        assert not chat.server.asked()


@pytest.mark.parametrize("kind", [LLAMA_SERVER, VLLM, SGLANG], ids=lambda kind: kind.name)
async def test_the_start_of_an_answer_is_sent_with_the_flags_of_one_that_goes_on(kind: Kind) -> None:
    request = reply_request(reply_start=BEGUN, template_values='{"enable_thinking": false}')
    async with chatting(kind) as chat:
        events = await chat.ask(wire.plain((" softly.",)), request=request)
        ended_well(events, " softly.")
        assert {name: chat.sent[name] for name in FLAGS[kind.name]} == FLAGS[kind.name]
        assert chat.sent["messages"] == [
            {"role": "user", "content": QUESTION.text},
            {"role": "assistant", "content": BEGUN},
        ]
        assert chat.sent["chat_template_kwargs"] == {"enable_thinking": False}


@pytest.mark.parametrize("kind", [PLAIN, OLLAMA, LM_STUDIO], ids=lambda kind: kind.name)
async def test_the_start_of_an_answer_is_refused_with_the_reason_where_a_server_cannot_go_on(kind: Kind) -> None:
    async with chatting(kind) as chat:
        failure = failure_of(await chat.ask(request=reply_request(reply_start=BEGUN)), FailureCause.ENGINE)
        assert chat.loaded.model.capabilities.why_not_continue.rstrip(".") in failure.message
        assert "start of the reply" in failure.hint
        assert not chat.server.asked()


@pytest.mark.parametrize("kind", [LLAMA_SERVER, VLLM, SGLANG], ids=lambda kind: kind.name)
async def test_a_new_answer_has_no_flags_of_one_that_goes_on(kind: Kind) -> None:
    async with chatting(kind) as chat:
        await chat.ask(wire.plain())
        assert not set(FLAGS[kind.name]) & set(chat.sent)


async def test_text_without_a_conversation_is_refused() -> None:
    async with chatting(LLAMA_SERVER) as chat:
        failure_of(await chat.ask(request=CompleteRequest(TURN, "Once upon a time")), FailureCause.ENGINE)
        assert not chat.server.asked()
