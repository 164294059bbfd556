"""A chunk is read as far as it can be, and never raises for what it lacks."""

import json
from typing import Any

import pytest

from tui_llama.engine.events import TokenProbability
from tui_llama.engine.remote.stream.chunk import CallPiece, Chunk, read_chunk
from tui_llama.engine.remote.stream.json_values import NotJsonError


def read(value: Any) -> Chunk:
    return read_chunk(json.dumps(value).encode())


def delta(**fields: Any) -> Any:
    return {"choices": [{"delta": fields}]}


@pytest.mark.parametrize(
    "value",
    [
        {},
        [],
        None,
        7,
        "text",
        {"choices": None},
        {"choices": []},
        {"choices": [None]},
        {"choices": [[]]},
        {"choices": [{"delta": "text"}]},
        delta(),
        delta(role="assistant", content=None, reasoning_content=None),
        delta(content=7, reasoning=[], tool_calls="x"),
        {"choices": [{"delta": {}, "finish_reason": 3, "logprobs": [], "stop_reason": 128009}]},
        {"usage": "x", "timings": [], "prompt_progress": 1, "error": None},
    ],
)
def test_what_is_missing_or_odd_is_empty(value: Any) -> None:
    assert read(value) == Chunk()


@pytest.mark.parametrize(
    ("fields", "thinking"),
    [
        ({"reasoning_content": "a"}, "a"),
        ({"reasoning": "a"}, "a"),
        ({"reasoning_content": None, "reasoning": "a"}, "a"),
        ({"reasoning_content": "a", "reasoning": "a"}, "a"),
    ],
)
def test_thinking_has_two_names(fields: Any, thinking: str) -> None:
    assert read(delta(**fields)).thinking == thinking


def test_text_may_come_in_parts_and_in_a_whole_message() -> None:
    assert read(delta(content=[{"type": "text", "text": "a"}, {"text": "b"}, 3])).text == "ab"
    assert read({"choices": [{"message": {"content": "a"}, "finish_reason": "stop"}]}) == Chunk(
        text="a", finish_reason="stop"
    )


def test_the_stop_text_has_two_names() -> None:
    assert read({"choices": [{"finish_reason": "stop", "stop_reason": "END"}]}).stop_text == "END"
    assert read({"choices": [{"finish_reason": "stop", "matched_stop": "END"}]}).stop_text == "END"


@pytest.mark.parametrize("value", [{"error": {"message": "x"}}, {"error": "x"}, {"object": "error", "message": "x"}])
def test_an_error_is_found_in_any_shape(value: Any) -> None:
    assert read(value).error == value


def test_pieces_of_calls_are_read() -> None:
    calls = [{"index": 1, "id": "c", "function": {"name": "look", "arguments": '{"a'}}, {}, "x"]
    assert read(delta(tool_calls=calls)).calls == (
        CallPiece(1, "look", '{"a'),
        CallPiece(0, "", ""),
        CallPiece(0, "", ""),
    )


def test_probabilities_are_read_with_and_without_ids_and_bytes() -> None:
    entry = {"token": "\ufffd", "bytes": [240, 159], "logprob": -0.5, "id": 7}
    other = {"token": "é", "logprob": -1}
    value = {"choices": [{"logprobs": {"content": [{**entry, "top_logprobs": [other, entry]}]}}]}
    assert read(value).probabilities == (
        TokenProbability(
            b"\xf0\x9f",
            -0.5,
            7,
            (TokenProbability("é".encode(), -1.0), TokenProbability(b"\xf0\x9f", -0.5, 7)),
        ),
    )


@pytest.mark.parametrize(
    "entry", [{}, {"token": 3, "logprob": "x", "bytes": [1, "a"], "id": -1}, {"bytes": [999]}, {"logprob": 1e999}, None]
)
def test_odd_probabilities_have_safe_values(entry: Any) -> None:
    (found,) = read({"choices": [{"logprobs": {"content": [entry]}}]}).probabilities
    assert found == TokenProbability(b"", -9999.0)


@pytest.mark.parametrize("data", [b"", b"x", b"{", b"[" * 100_000, b'{"a": 1} x', b"\x00"])
def test_what_is_no_json_is_refused(data: bytes) -> None:
    with pytest.raises(NotJsonError):
        read_chunk(data)


def test_what_python_writes_as_json_is_read() -> None:
    data = b'{"usage": {"prompt_tokens": NaN}, "choices": [{"delta": {"content": "\\ud83d\\ude00 \\ud83d"}}]}'
    assert read_chunk(data).text == "\U0001f600 \ufffd"
