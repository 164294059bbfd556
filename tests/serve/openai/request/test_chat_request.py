"""What a request for an answer in a conversation asks of the engine."""

import json
from typing import Any

import msgspec
import pytest

from tests.serve.openai.asking import CHAT, MODEL, QUESTION, Asker
from tui_llama.chat import ChatMessage, Role
from tui_llama.engine.prompt_cache.owner import is_served_owner
from tui_llama.engine.requests import CompleteRequest, OverflowMode, ReplyRequest
from tui_llama.sampling.settings import SamplingSettings
from tui_llama.serve.openai.request.bodies import THOUGHT_LIMITS
from tui_llama.settings import Settings

WEATHER = {
    "type": "function",
    "function": {"name": "weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}},
}


async def reply_to(settings: Settings | None = None, **fields: Any) -> ReplyRequest:
    asker = Asker(settings=settings)
    answer = await asker.ask(**fields)
    assert answer.status == 200, answer.body
    assert isinstance(asker.request, ReplyRequest)
    return asker.request


async def continued(**fields: Any) -> CompleteRequest:
    asker = Asker()
    answer = await asker.ask(**fields)
    assert answer.status == 200, answer.body
    assert isinstance(asker.request, CompleteRequest)
    return asker.request


async def test_a_plain_question_has_the_users_settings() -> None:
    request = await reply_to(Settings(max_tokens=9, draft_max=3, sampling=SamplingSettings(top_k=5)))

    assert request.messages == (ChatMessage(Role.USER, "Who are you?"),)
    assert (request.max_tokens, request.draft_max, request.sampling.top_k) == (9, 3, 5)
    assert (request.overflow.mode, request.loop_guard, request.begun_at) == (OverflowMode.STOP, False, "")
    assert (request.template_values, request.top_probabilities, request.stop_texts) == ("", None, ())
    assert request.keeps_template


@pytest.mark.parametrize("field", THOUGHT_LIMITS)
async def test_a_thought_is_limited_by_the_names_of_other_servers(field: str) -> None:
    settings = Settings(thinking_tokens=300)
    assert (await reply_to(settings)).thinking_tokens == 300
    assert (await reply_to(settings, **{field: 20})).thinking_tokens == 20
    assert (await reply_to(settings, **{field: 0})).thinking_tokens == 0
    assert (await reply_to(settings, **{field: -1})).thinking_tokens is None


async def test_a_continued_thought_is_limited_too() -> None:
    begun = [*QUESTION, {"role": "assistant", "content": "", "reasoning_content": "Let me"}]
    request = await continued(messages=begun, continue_final_message="reasoning_content", thinking_token_budget=20)
    assert request.thinking_tokens == 20


async def test_what_the_model_recommends_counts_where_nobody_says_anything_else() -> None:
    asker = Asker(model=msgspec.structs.replace(MODEL, sampling={"temperature": 0.6, "top_k": 20}))
    await asker.ask(top_k=7)

    assert asker.request.sampling.temperature == 0.6
    assert asker.request.sampling.top_k == 7
    assert asker.request.given_sampling == ("top_k",)


@pytest.mark.parametrize(
    ("field", "value", "name", "sampled"),
    [
        ("temperature", 0, "temperature", 0.0),
        ("temperature", 1.5, "temperature", 1.5),
        ("top_p", 0.5, "top_p", 0.5),
        ("top_k", 3, "top_k", 3),
        ("top_k", -1, "top_k", 0),
        ("min_p", 0.1, "min_p", 0.1),
        ("seed", 42, "seed", 42),
        ("seed", -1, "seed", None),
        ("seed", 2**32 + 5, "seed", 5),
        ("presence_penalty", 0.25, "presence_penalty", 0.25),
        ("frequency_penalty", -0.25, "frequency_penalty", -0.25),
        ("repeat_penalty", 1.1, "repeat_penalty", 1.1),
        ("repetition_penalty", 1.2, "repeat_penalty", 1.2),
        ("repeat_last_n", 8, "penalty_last_n", 8),
        ("repeat_last_n", -1, "penalty_last_n", 8192),
    ],
)
async def test_sampling_reaches_the_engine(field: str, value: float, name: str, sampled: float | None) -> None:
    fields: dict[str, Any] = {field: value}
    request = await reply_to(**fields)

    assert getattr(request.sampling, name) == sampled
    assert request.given_sampling == (name,)


@pytest.mark.parametrize(
    ("fields", "most"),
    [
        ({"max_tokens": 5}, 5),
        ({"max_completion_tokens": 6}, 6),
        ({"n_predict": 7}, 7),
        ({"max_tokens": 5, "max_completion_tokens": 6}, 6),
        ({"max_tokens": 0}, 0),
        ({"max_tokens": -1}, None),
        ({"max_tokens": None}, 9),
    ],
)
async def test_the_answers_length_is_limited(fields: dict[str, Any], most: int | None) -> None:
    assert (await reply_to(Settings(max_tokens=9), **fields)).max_tokens == most


@pytest.mark.parametrize(("stop", "texts"), [("a", ("a",)), (["a", "", "b"], ("a", "b")), ([], ()), (None, ())])
async def test_stop_texts_reach_the_engine(stop: Any, texts: tuple[str, ...]) -> None:
    assert (await reply_to(stop=stop)).stop_texts == texts


@pytest.mark.parametrize(
    ("fields", "count"),
    [
        ({"logprobs": True}, 0),
        ({"logprobs": True, "top_logprobs": 20}, 20),
        ({"logprobs": 4}, 4),
        ({"logprobs": False}, None),
        ({"logprobs": None, "top_logprobs": 0}, None),
    ],
)
async def test_probabilities_are_asked_for(fields: dict[str, Any], count: int | None) -> None:
    assert (await reply_to(**fields)).top_probabilities == count


async def test_a_whole_conversation_reaches_the_engine() -> None:
    call = {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Rome"}'}}
    request = await reply_to(
        messages=[
            {"role": "developer", "content": "Be short."},
            {"role": "user", "name": "Ada", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
            {"role": "assistant", "content": None, "tool_calls": [call], "reasoning_content": "hm"},
            {"role": "tool", "tool_call_id": "call_1", "content": "sunny"},
        ]
    )

    assert [(each.role, each.text) for each in request.messages] == [
        (Role.SYSTEM, "Be short."),
        (Role.USER, "a\nb"),
        (Role.ASSISTANT, ""),
        (Role.TOOL, "sunny"),
    ]
    fields = [json.loads(each.fields) if each.fields else {} for each in request.messages]
    assert fields == [
        {},
        {"name": "Ada"},
        {"tool_calls": [call]},
        {"tool_call_id": "call_1"},
    ]
    assert [each.thought for each in request.messages] == ["", "", "hm", ""]


async def test_arguments_that_are_an_object_become_text() -> None:
    call = {"function": {"name": "weather", "arguments": {"city": "Rome"}}}
    request = await reply_to(messages=[*QUESTION, {"role": "assistant", "tool_calls": [call]}])

    assert json.loads(request.messages[-1].fields) == {
        "tool_calls": [{"type": "function", "function": {"name": "weather", "arguments": '{"city":"Rome"}'}}]
    }


@pytest.mark.parametrize(
    ("fields", "values"),
    [
        ({"tools": [WEATHER]}, {"tools": [WEATHER]}),
        ({"tools": [WEATHER], "tool_choice": "none"}, {"tools": [WEATHER]}),
        ({"tools": []}, {}),
        ({"chat_template_kwargs": {"enable_thinking": False, "x": [1]}}, {"enable_thinking": False, "x": [1]}),
        ({"reasoning_effort": "low"}, {"reasoning_effort": "low"}),
        ({"reasoning_effort": "none"}, {"enable_thinking": False}),
    ],
)
async def test_the_template_gets_values(fields: dict[str, Any], values: dict[str, Any]) -> None:
    written = (await reply_to(**fields)).template_values

    assert (json.loads(written) if written else {}) == values


async def test_the_last_answer_is_continued() -> None:
    messages = [*QUESTION, {"role": "assistant", "content": "I am"}]
    request = await continued(messages=messages, temperature=0, max_tokens=3)
    told = await continued(messages=messages, reasoning_effort="low")

    assert json.loads(told.template_values) == {"reasoning_effort": "low"}
    assert (request.text, request.answer, request.answer_has_ended) == ("", "I am", False)
    assert request.messages[-1] == ChatMessage(Role.ASSISTANT, "I am")
    assert (request.sampling.temperature, request.max_tokens) == (0.0, 3)
    assert request == await continued(
        messages=messages, temperature=0, max_tokens=3, add_generation_prompt=False, continue_final_message=True
    )


@pytest.mark.parametrize("fields", [{"add_generation_prompt": True}, {"continue_final_message": False}])
async def test_the_last_answer_is_not_continued_if_a_new_one_is_asked_for(fields: dict[str, Any]) -> None:
    request = await reply_to(messages=[*QUESTION, {"role": "assistant", "content": "I am"}], **fields)

    assert request.messages[-1].text == "I am"


async def test_the_prompt_can_end_without_the_beginning_of_an_answer() -> None:
    request = await continued(add_generation_prompt=False)

    assert (request.answer, request.answer_has_ended, request.messages[-1].text) == ("", True, "Who are you?")


async def test_a_conversation_keeps_its_stored_prompt() -> None:
    asked = [{"role": "system", "content": "Be short."}, *QUESTION]
    answered = [*asked, {"role": "assistant", "content": "A llama."}, {"role": "user", "content": "Really?"}]
    first, second = await reply_to(messages=asked), await reply_to(messages=answered, temperature=0)

    assert first.chat_id is not None
    assert first.chat_id == second.chat_id
    assert is_served_owner(first.chat_id)


@pytest.mark.parametrize(
    "fields",
    [
        {"messages": [{"role": "system", "content": "Be long."}, *QUESTION]},
        {"messages": [{"role": "user", "content": "Why?"}]},
        {"tools": [WEATHER]},
    ],
)
async def test_other_conversations_have_another_stored_prompt(fields: dict[str, Any]) -> None:
    assert (await reply_to(**fields)).chat_id != (await reply_to()).chat_id


async def test_every_request_is_another_turn() -> None:
    asker = Asker()
    await asker.ask()
    await asker.ask()

    assert [request.turn for request in asker.engine.reply_requests] == [1, 2]


async def test_unknown_fields_and_null_change_nothing() -> None:
    plain = await reply_to()
    nulls = dict.fromkeys(("model", "temperature", "n", "stop", "tools", "stream", "stream_options"))

    assert plain == await reply_to(**nulls)
    assert plain == await reply_to(user="me", metadata={"a": 1}, store=True, parallel_tool_calls=True, anything=[[]])


@pytest.mark.parametrize("name", ["llama", "llama.gguf", "", None])
async def test_the_model_may_be_named_or_not(name: str | None) -> None:
    assert (await Asker().ask(CHAT, model=name)).status == 200


async def test_any_name_of_a_model_can_be_allowed() -> None:
    assert (await Asker(any_model=True).ask(model="gpt-4o")).status == 200
