"""Thinking and tool calls in answers, streamed and whole."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.serve.openai.asking import QUESTION, USAGE, Asker, Thought, said
from tests.serve.openai.cutting import cut_anywhere
from tests.serve.openai.wire import DONE, ROLE, TIMINGS, delta, streamed
from tui_llama.chat import StopReason
from tui_llama.engine.events import Finished
from tui_llama.engine.requests import CompleteRequest

TOOLS = [{"type": "function", "function": {"name": "weather"}}]
CALL = '<tool_call>{"name": "weather", "arguments": {"city": "Rome"}}</tool_call>'


async def test_thinking_is_streamed_in_a_field_of_its_own() -> None:
    assert await streamed(said(Thought("I"), Thought(" see."), "Hel", "lo")) == "".join(
        [
            ROLE,
            delta('"reasoning_content":"I"'),
            delta('"reasoning_content":" see."'),
            delta('"content":"Hel"'),
            delta('"content":"lo"'),
            delta("", '"stop"', f",{TIMINGS}"),
            DONE,
        ]
    )


async def test_thinking_stands_in_the_text_if_it_is_to() -> None:
    script = said(Thought("a"), Thought(" b"), "c", "d")
    message = (await Asker([script]).ask(reasoning_format="none")).json["choices"][0]["message"]

    assert message == {"role": "assistant", "content": "<think>\na b\n</think>\n\ncd"}


async def test_marks_in_the_text_are_text() -> None:
    message = (await Asker([said("<think>a</think>b")]).ask()).json["choices"][0]["message"]

    assert message == {"role": "assistant", "content": "<think>a</think>b"}


@pytest.mark.parametrize("fields", [{}, {"continue_final_message": "reasoning_content"}])
async def test_a_thought_that_was_cut_off_goes_on(fields: dict[str, Any]) -> None:
    messages = [*QUESTION, {"role": "assistant", "content": "", "reasoning_content": "I s"}]
    asker = Asker([said(Thought("ee."), "Hi")])
    message = (await asker.ask(messages=messages, **fields)).json["choices"][0]["message"]

    assert message == {"role": "assistant", "content": "Hi", "reasoning_content": "ee."}
    assert isinstance(asker.request, CompleteRequest)
    assert (asker.request.answer, asker.request.answer_thought) == ("", "I s")


async def test_a_thought_that_goes_on_in_the_text_is_not_opened_again() -> None:
    messages = [*QUESTION, {"role": "assistant", "content": "", "reasoning_content": "I s"}]
    asked = Asker([said(Thought("ee."), "Hi")]).ask(messages=messages, reasoning_format="none")

    assert (await asked).json["choices"][0]["message"]["content"] == "ee.\n</think>\n\nHi"


async def test_the_tokens_of_a_thought_are_told() -> None:
    usage = msgspec.structs.replace(USAGE, thought_tokens=2)
    script = [*said(Thought("hm"), "Hi")[:-1], Finished(0, StopReason.END_OF_GENERATION, usage)]
    told = (await Asker([script]).ask()).json["usage"]

    assert told["completion_tokens_details"] == {"reasoning_tokens": 2}


async def test_a_tool_call_is_streamed_whole_with_its_index() -> None:
    body = await streamed(said("I look. ", CALL[:20], CALL[20:]), tools=TOOLS)
    function = '{"name":"weather","arguments":"{\\"city\\": \\"Rome\\"}"}'

    assert body == "".join(
        [
            ROLE,
            delta('"content":"I look."'),
            delta(f'"tool_calls":[{{"index":0,"id":"000000001","type":"function","function":{function}}}]'),
            delta("", '"tool_calls"', f",{TIMINGS}"),
            DONE,
        ]
    )


async def test_tool_calls_of_a_whole_answer_stand_in_its_message() -> None:
    choice = (await Asker([said(CALL, CALL)]).ask(tools=TOOLS)).json["choices"][0]
    function = {"name": "weather", "arguments": '{"city": "Rome"}'}

    assert choice["finish_reason"] == "tool_calls"
    assert choice["message"] == {
        "role": "assistant",
        "content": None,
        "tool_calls": [
            {"id": "000000001", "type": "function", "function": function},
            {"id": "000000002", "type": "function", "function": function},
        ],
    }


async def test_only_the_first_call_is_told_if_more_are_not_wanted() -> None:
    asker = Asker([said(CALL, CALL), said(CALL, CALL)])
    whole = await asker.ask(tools=TOOLS, parallel_tool_calls=False)
    stream = await asker.ask(tools=TOOLS, parallel_tool_calls=False, stream=True)

    assert len(whole.json["choices"][0]["message"]["tool_calls"]) == 1
    assert sum(len(each.get("tool_calls", ())) for each in stream.deltas) == 1


@pytest.mark.parametrize("fields", [{}, {"tools": TOOLS, "tool_choice": "none"}])
async def test_calls_stay_text_without_tools(fields: dict[str, Any]) -> None:
    choice = (await Asker([said(CALL)]).ask(**fields)).json["choices"][0]

    assert (choice["message"]["content"], choice["finish_reason"]) == (CALL, "stop")


async def test_an_incomplete_call_is_text() -> None:
    choice = (await Asker([said(CALL[:-5], reason=StopReason.LENGTH)]).ask(tools=TOOLS)).json["choices"][0]

    assert (choice["message"]["content"], choice["finish_reason"]) == (CALL[:-5], "length")


THOUGHT = Thought("I look at\n\n<b>.")
ANSWER = f"Well, \n{CALL}\n{CALL} "


@given(data=st.data())
async def test_a_stream_and_a_whole_answer_are_the_same_however_they_are_cut(data: st.DataObject) -> None:
    asker = Asker([said(THOUGHT, *data.draw(cut_anywhere(ANSWER))), said(THOUGHT, *data.draw(cut_anywhere(ANSWER)))])
    stream, whole = await asker.ask(stream=True, tools=TOOLS), await asker.ask(tools=TOOLS)
    message = whole.json["choices"][0]["message"]

    assert (stream.text, message["content"]) == ("Well,", "Well,")
    assert message["reasoning_content"] == THOUGHT
    assert "".join(each.get("reasoning_content", "") for each in stream.deltas) == message["reasoning_content"]
    streamed_calls = [call for each in stream.deltas for call in each.get("tool_calls", ())]
    assert [call["index"] for call in streamed_calls] == [0, 1]
    assert [call["function"] for call in streamed_calls] == [call["function"] for call in message["tool_calls"]]
