"""Thinking and tool calls in answers, streamed and whole."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.serve.openai.asking import MODEL, QUESTION, Asker, said
from tests.serve.openai.cutting import cut_anywhere
from tests.serve.openai.wire import DONE, ROLE, TIMINGS, delta, streamed
from tui_llama.chat import StopReason
from tui_llama.engine.events import PromptEncoded

TOOLS = [{"type": "function", "function": {"name": "weather"}}]
CALL = '<tool_call>{"name": "weather", "arguments": {"city": "Rome"}}</tool_call>'


async def test_thinking_is_streamed_in_a_field_of_its_own() -> None:
    assert await streamed(said("<th", "ink>\nI", " see.\n</think>\n\nHel", "lo")) == "".join(
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


@pytest.mark.parametrize("prompt", ["Hello<think>", "Hello<think>\n"])
async def test_thinking_that_the_template_opens_is_recognised(prompt: str) -> None:
    message = (await Asker([said("I see.</think>Hello", prompt=prompt)]).ask()).json["choices"][0]["message"]

    assert message == {"role": "assistant", "content": "Hello", "reasoning_content": "I see."}


async def test_thinking_that_the_template_has_closed_is_none() -> None:
    message = (await Asker([said("Hello", prompt="<think>\n\n</think>\n\n")]).ask()).json["choices"][0]["message"]

    assert message == {"role": "assistant", "content": "Hello"}


async def test_thinking_stays_in_the_text_if_it_is_to() -> None:
    message = (await Asker([said("<think>a</think>b")]).ask(reasoning_format="none")).json["choices"][0]["message"]

    assert message == {"role": "assistant", "content": "<think>a</think>b"}


async def test_thinking_of_an_unknown_family_stays_in_the_text() -> None:
    asker = Asker([said("<think>a</think>b")], model=msgspec.structs.replace(MODEL, template_marks=()))

    assert (await asker.ask()).json["choices"][0]["message"]["content"] == "<think>a</think>b"


async def test_a_thought_that_was_cut_off_goes_on() -> None:
    script = [PromptEncoded(0, 0, tuple(map(ord, "Hi<think>I s")), answer_tokens=10), *said("ee.</think>", "Hi")[1:]]
    messages = [*QUESTION, {"role": "assistant", "content": "<think>I s"}]
    message = (await Asker([script]).ask(messages=messages)).json["choices"][0]["message"]

    assert message == {"role": "assistant", "content": "Hi", "reasoning_content": "ee."}


async def test_a_thought_that_the_template_opened_goes_on() -> None:
    script = [PromptEncoded(0, 0, tuple(map(ord, "Hi<think>\nI s")), answer_tokens=3), *said("ee.</think>", "Hi")[1:]]
    messages = [*QUESTION, {"role": "assistant", "content": "I s"}]
    message = (await Asker([script]).ask(messages=messages)).json["choices"][0]["message"]

    assert message == {"role": "assistant", "content": "Hi", "reasoning_content": "ee."}


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


ANSWER = f"<think>\nI look at\n\n<b>.\n</think>\n\nWell, \n{CALL}\n{CALL} "


@given(data=st.data())
async def test_a_stream_and_a_whole_answer_are_the_same_however_they_are_cut(data: st.DataObject) -> None:
    asker = Asker([said(*data.draw(cut_anywhere(ANSWER))), said(*data.draw(cut_anywhere(ANSWER)))])
    stream, whole = await asker.ask(stream=True, tools=TOOLS), await asker.ask(tools=TOOLS)
    message = whole.json["choices"][0]["message"]

    assert (stream.text, message["content"]) == ("Well,", "Well,")
    assert message["reasoning_content"] == "I look at\n\n<b>."
    assert "".join(each.get("reasoning_content", "") for each in stream.deltas) == message["reasoning_content"]
    streamed_calls = [call for each in stream.deltas for call in each.get("tool_calls", ())]
    assert [call["index"] for call in streamed_calls] == [0, 1]
    assert [call["function"] for call in streamed_calls] == [call["function"] for call in message["tool_calls"]]
