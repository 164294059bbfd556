from itertools import count
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.serve.openai.cutting import cut_anywhere
from tui_llama.serve.openai.answer_text.tool_calls import AnswerPart, NumberedCall, ToolCallParser
from tui_llama.serve.openai.answer_text.tool_formats import tool_format

HERMES, MISTRAL, LLAMA = "<tool_call>", "[TOOL_CALLS]", "<|python_tag|>"
TOOLS: dict[str, dict[str, Any]] = {
    "weather": {
        "properties": {
            "city": {"type": "string"},
            "days": {"type": "integer"},
            "exact": {"type": "boolean"},
            "places": {"anyOf": [{"type": "array"}, {"type": "null"}]},
        }
    },
    "time": {},
}


def call(name: str, arguments: str = "{}", index: int = 0, call_id: str = "") -> NumberedCall:
    return NumberedCall(index, call_id or f"id{index}", name, arguments)


ANSWERS: dict[str, tuple[str, str, list[AnswerPart]]] = {
    "text": (HERMES, "Hello <there> ", ["Hello <there> "]),
    "a call": (
        HERMES,
        '<tool_call>\n{"name": "weather", "arguments": {"city": "Łódź", "days": 2}}\n</tool_call>',
        [call("weather", '{"city": "Łódź", "days": 2}')],
    ),
    "text before a call": (
        HERMES,
        'I look.\n\n<tool_call>{"name": "time"}</tool_call>\n',
        ["I look.", call("time")],
    ),
    "two calls": (
        HERMES,
        '<tool_call>{"name":"time"}</tool_call>\n<tool_call>{"name":"weather","arguments":{"days":1}}</tool_call>',
        [call("time"), call("weather", '{"days": 1}', 1)],
    ),
    "text behind a call": (
        HERMES,
        '<tool_call>{"name":"time"}</tool_call>\n\nDone. ',
        [call("time"), "Done. "],
    ),
    "the closing mark in a text": (
        HERMES,
        '<tool_call>{"name":"time","arguments":{"a":"</tool_call>"}}</tool_call>',
        [call("time", '{"a": "</tool_call>"}')],
    ),
    "a line end in a text": (
        HERMES,
        '<tool_call>{"name":"time","arguments":{"a":"x\ny"}}</tool_call>',
        [call("time", '{"a": "x\\ny"}')],
    ),
    "arguments as text": (
        HERMES,
        '<tool_call>{"name":"time","arguments":"{\\"a\\": 1}"}</tool_call>',
        [call("time", '{"a": 1}')],
    ),
    "a call that only lacks its closing mark": (HERMES, 'a <tool_call>{"name": "time"}\n', ["a", call("time")]),
    "calls without marks": (
        HERMES,
        '{"name": "time", "arguments": {}}\n{"name": "weather", "arguments": {"days": 1}}\n</tool_call>',
        [call("time"), call("weather", '{"days": 1}', 1)],
    ),
    "JSON that calls no tool of the request": (HERMES, '{"name": "Ada"} ', ['{"name": "Ada"} ']),
    "an incomplete call": (
        HERMES,
        'I look. <tool_call>\n{"name": "weather", "argum',
        ['I look. <tool_call>\n{"name": "weather", "argum'],
    ),
    "a call behind a damaged one": (
        HERMES,
        '<tool_call>{"name": </tool_call> <tool_call>{"name":"time"}</tool_call>',
        ['<tool_call>{"name": </tool_call>', call("time")],
    ),
    "no number": (
        HERMES,
        '<tool_call>{"name":"time","arguments":{"a":NaN}}</tool_call>',
        ['<tool_call>{"name":"time","arguments":{"a":NaN}}</tool_call>'],
    ),
    "half a character": (
        HERMES,
        '<tool_call>{"name":"time","arguments":{"a":"\\ud800"}}</tool_call>',
        [call("time", '{"a": "\\ud800"}')],
    ),
    "a part of a mark": (HERMES, "a <tool", ["a <tool"]),
    "Qwen3-Coder": (
        HERMES,
        "<tool_call>\n<function=weather>\n<parameter=city>\nNew\nYork\n</parameter>\n<parameter=days>\n2\n</parameter>\n"
        "<parameter=exact>\nTrue\n</parameter>\n<parameter=places>\n[1]\n</parameter>\n<parameter=other>\n3\n"
        "</parameter>\n</function>\n</tool_call>",
        [call("weather", '{"city": "New\\nYork", "days": 2, "exact": true, "places": [1], "other": "3"}')],
    ),
    "Qwen3-Coder, with a value of another type": (
        HERMES,
        "<tool_call><function=weather><parameter=days>two</parameter></function></tool_call>",
        [call("weather", '{"days": "two"}')],
    ),
    "Qwen3-Coder, without the first mark": (
        HERMES,
        "I look.\n<function=weather>\n<parameter=days>\n2\n</parameter>\n</function>\n</tool_call>\nDone.",
        ["I look.", call("weather", '{"days": 2}'), "Done."],
    ),
    "Qwen3-Coder, two": (
        HERMES,
        "<tool_call><function=time></function></tool_call>\n<tool_call><function=time></function></tool_call>\n",
        [call("time"), call("time", index=1)],
    ),
    "Qwen3-Coder, no tool of the request": (
        HERMES,
        "Write <function=other> and <tool_call><function=other></function></tool_call>.",
        ["Write <function=other> and <tool_call><function=other></function></tool_call>."],
    ),
    "Qwen3-Coder, incomplete": (
        HERMES,
        "<tool_call><function=weather><parameter=days>two",
        ["<tool_call><function=weather><parameter=days>two"],
    ),
    "Mistral": (
        MISTRAL,
        '[TOOL_CALLS] [{"name": "time", "arguments": {}, "id": "abcdefghi"}, {"name": "other"}]',
        [call("time", call_id="abcdefghi"), call("other", index=1, call_id="id0")],
    ),
    "Mistral, mark not in the text": (
        MISTRAL,
        ' [{"name": "time", "arguments": {"a": [1]}}]',
        [call("time", '{"a": [1]}')],
    ),
    "Mistral, by name": (
        MISTRAL,
        'I look.[TOOL_CALLS]other[ARGS]{"a": 1}[TOOL_CALLS]time[CALL_ID]abc123def[ARGS]{}',
        ["I look.", call("other", '{"a": 1}'), call("time", "{}", 1, "abc123def")],
    ),
    "Mistral, by name, marks not in the text": (
        MISTRAL,
        'weather{"days": 1}time{}',
        [call("weather", '{"days": 1}'), call("time", index=1)],
    ),
    "Mistral, a list that is no call": (MISTRAL, '[{"name": "Ada"}]', ['[{"name": "Ada"}]']),
    "Mistral, a list of numbers": (MISTRAL, "[1, 2, 3]", ["[1, 2, 3]"]),
    "Mistral, a word that is a tool's name": (MISTRAL, "time is short {", ["time is short {"]),
    "Mistral, incomplete": (MISTRAL, '[TOOL_CALLS]time[ARGS]{"a"', ['[TOOL_CALLS]time[ARGS]{"a"']),
    "Mistral, text behind the mark": (MISTRAL, "[TOOL_CALLS]a b", ["[TOOL_CALLS]a b"]),
    "Llama": (LLAMA, '{"name": "weather", "parameters": {"days": 1}}', [call("weather", '{"days": 1}')]),
    "Llama, with its type": (
        LLAMA,
        '{"type": "function", "name": "time", "parameters": {}}',
        [call("time")],
    ),
    "Llama, two": (
        LLAMA,
        '{"name": "time", "parameters": {}}; {"name": "weather", "parameters": {}}',
        [call("time"), call("weather", index=1)],
    ),
    "Llama, with its mark": (LLAMA, '<|python_tag|>{"name": "time", "parameters": {}}', [call("time")]),
    "Llama, code": (LLAMA, "<|python_tag|>print(1)", ["<|python_tag|>print(1)"]),
    "Llama, JSON of another kind": (LLAMA, ' {"answer": 1}', [' {"answer": 1}']),
    "Llama, JSON with a name": (LLAMA, '{"name": "Ada"}', ['{"name": "Ada"}']),
    "Llama, incomplete": (LLAMA, '{"name": "time", "para', ['{"name": "time", "para']),
    "Llama, JSON behind text": (LLAMA, 'So: {"name": "time"}', ['So: {"name": "time"}']),
}


def parts_of(pieces: list[str], mark: str) -> list[AnswerPart]:
    numbers = count()
    written_by = tool_format([mark], TOOLS)
    assert written_by is not None
    parser = ToolCallParser(written_by, lambda: f"id{next(numbers)}")
    parts: list[AnswerPart] = []
    for each in [*(part for piece in pieces for part in parser.push(piece)), *parser.finish()]:
        if isinstance(each, str) and parts and isinstance(parts[-1], str):
            parts[-1] += each
        else:
            parts.append(each)
    return parts


@pytest.mark.parametrize("name", ANSWERS)
def test_calls_are_parted_from_the_text(name: str) -> None:
    mark, text, parts = ANSWERS[name]

    assert parts_of([text], mark) == parts


@pytest.mark.parametrize("name", ANSWERS)
@given(data=st.data())
def test_it_does_not_matter_how_the_stream_is_cut(name: str, data: st.DataObject) -> None:
    mark, text, parts = ANSWERS[name]

    assert parts_of(data.draw(cut_anywhere(text)), mark) == parts
    assert parts_of([*text], mark) == parts


PIECES = (
    *("<tool_call>", "</tool_call>", "<function=time>", "</function>", "<parameter=a>", "</parameter>", "[TOOL_CALLS]"),
    *(
        '{"name": "time"',
        ', "arguments": {}',
        "}",
        "[",
        "]",
        ";",
        "time",
        "[ARGS]",
        "{",
        '"',
        "<|python_tag|>",
        " ",
        "a",
    ),
)


@given(
    text=st.lists(st.sampled_from(PIECES), max_size=12).map("".join),
    mark=st.sampled_from([HERMES, MISTRAL, LLAMA]),
    data=st.data(),
)
def test_any_text_gives_the_same_parts_however_it_is_cut(text: str, mark: str, data: st.DataObject) -> None:
    assert parts_of(data.draw(cut_anywhere(text)), mark) == parts_of([text], mark)


def test_text_before_a_call_is_not_held_back() -> None:
    written_by = tool_format([HERMES], TOOLS)
    assert written_by is not None
    parser = ToolCallParser(written_by, lambda: "id")

    assert parser.push("I look") == ["I look"]
    assert parser.push(". <") == ["."]
    assert parser.push("b> <tool_call>") == [" <b>"]


def test_deep_arguments_are_no_call() -> None:
    text = '{"name": "time", "parameters": ' + '{"a":' * 100_000

    assert parts_of([text], LLAMA) == [text]


def test_a_family_that_nobody_knows_has_no_format() -> None:
    assert tool_format(["<think>"], TOOLS) is None
