"""What binds an answer that is asked for over HTTP, and what is told of a grammar that the engine cannot compile."""

import json
from typing import Any

import msgspec
import pytest

from tests.serve.openai.asking import CHAT, MODEL, TEXT, Asker, said
from tui_llama.chat import StopReason
from tui_llama.engine.descriptions import ModelInfo
from tui_llama.engine.events import Failed, GrammarProgress

SCHEMA = {"type": "object", "properties": {"b": {"type": "string"}, "a": {"const": None}}}
GRAMMAR = 'root ::= "yes"'

BOUND: list[tuple[dict[str, Any], Any, str]] = [
    ({}, None, ""),
    ({"response_format": None, "grammar": "", "json_schema": None}, None, ""),
    ({"response_format": {"type": "text"}}, None, ""),
    ({"response_format": {"type": "json_object"}}, {"type": "object"}, ""),
    ({"response_format": {"type": "json_object", "schema": SCHEMA}}, SCHEMA, ""),
    (
        {"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": SCHEMA, "strict": True}}},
        SCHEMA,
        "",
    ),
    ({"json_schema": SCHEMA}, SCHEMA, ""),
    ({"json_schema": {}}, {}, ""),
    ({"grammar": GRAMMAR}, None, GRAMMAR),
]


@pytest.mark.parametrize("path", [CHAT, TEXT])
@pytest.mark.parametrize(("fields", "schema", "grammar"), BOUND)
async def test_the_engine_is_asked_for_it(path: str, fields: dict[str, Any], schema: Any, grammar: str) -> None:
    asker = Asker([said("yes")])
    prompt: dict[str, Any] = {"prompt": "x"} if path == TEXT else {}
    answer = await asker.ask(path, **prompt, **fields)
    assert answer.status == 200, answer.body
    request = asker.request
    assert request.grammar == grammar
    assert (json.loads(request.json_schema) if request.json_schema else None) == schema
    if schema:
        assert list(json.loads(request.json_schema)) == list(schema)  # the order of properties is that of the answer


async def test_an_answer_that_continues_is_bound_too() -> None:
    asker = Asker([said("1}")])
    messages = [{"role": "user", "content": "?"}, {"role": "assistant", "content": '{"a": '}]
    await asker.ask(messages=messages, json_schema=SCHEMA)
    assert json.loads(asker.request.json_schema) == SCHEMA


async def test_tools_that_may_not_be_called_forbid_no_schema() -> None:
    asker = Asker([said("{}")])
    tools = [{"type": "function", "function": {"name": "f"}}]
    answer = await asker.ask(tools=tools, tool_choice="none", response_format={"type": "json_object"})
    assert answer.status == 200


TOOLS = [{"type": "function", "function": {"name": "f"}}]
MARKS = {"hermes": ("<tool_call>", "<function="), "mistral": ("[TOOL_CALLS]",)}


def model_with(*marks: str) -> ModelInfo:
    return msgspec.structs.replace(MODEL, template_marks=marks)


@pytest.mark.parametrize("fields", [{"response_format": {"type": "json_object"}}, {"json_schema": {"type": "object"}}])
@pytest.mark.parametrize("marks", MARKS.values())
async def test_beside_tools_an_answer_fits_the_schema_or_is_a_call(marks: tuple[str, ...], fields: Any) -> None:
    asker = Asker([said("{}")], model_with(marks[0]))
    answer = await asker.ask(tools=TOOLS, **fields)
    assert answer.status == 200, answer.body
    assert json.loads(asker.request.json_schema) == {"type": "object"}
    assert asker.request.free_marks == marks


@pytest.mark.parametrize("marks", [("<|python_tag|>",), ()])
async def test_beside_tools_a_schema_is_refused_where_no_mark_tells_calls(marks: tuple[str, ...]) -> None:
    asker = Asker([said("{}")], model_with(*marks))
    answer = await asker.ask(tools=TOOLS, response_format={"type": "json_object"})
    assert (answer.status, answer.json["error"]["param"]) == (400, "response_format")
    assert "no mark tells" in answer.json["error"]["message"]


async def test_without_a_schema_nothing_is_said_of_marks() -> None:
    asker = Asker([said("{}")])
    await asker.ask(tools=TOOLS)
    assert asker.request.free_marks == ()


async def test_a_grammar_that_cannot_be_compiled_is_the_requests_fault() -> None:
    progress = GrammarProgress(0, 0, 2)
    failed = Failed(0, "the JSON schema cannot be used, at /items: invalid type: x", "Change that part of the schema.")
    answer = await Asker([[progress, failed]]).ask(json_schema={"items": {"type": "x"}})
    assert answer.status == 400
    assert answer.json["error"]["message"] == (
        "The JSON schema cannot be used, at /items: invalid type: x. Change that part of the schema."
    )


@pytest.mark.parametrize("reason", [StopReason.LENGTH, StopReason.CONTEXT_FULL])
async def test_json_that_was_cut_off_ends_with_the_reason_length(reason: StopReason) -> None:
    answer = await Asker([said('{"a": ', reason=reason)]).ask(response_format={"type": "json_object"})
    assert answer.json["choices"][0]["finish_reason"] == "length"
