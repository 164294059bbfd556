"""An answer says how it ended, and has tool calls in the form of local models."""

from typing import Any

import pytest

from tests.fakes.engine_events import text_of, thought_of
from tui_llama.chat import StopReason
from tui_llama.engine.events import Finished, Notice, PromptProgress
from tui_llama.engine.protocol import ReplyEvent
from tui_llama.engine.remote.failures import RemoteEngineError
from tui_llama.engine.remote.stream.answer import Answer
from tui_llama.engine.remote.stream.chunk import CallPiece, Chunk
from tui_llama.engine.remote.stream.usage_meter import UsageMeter
from tui_llama.engine.requests import ReplyRequest


def answered(*chunks: Chunk, context_size: int = 100, **fields: Any) -> list[ReplyEvent]:
    answer = Answer(ReplyRequest(1, (), **fields), "box", UsageMeter(context_size))
    events = [event for chunk in chunks for event in answer.take(chunk)]
    return [*events, *answer.end(context_size)]


def reason_of(events: list[ReplyEvent]) -> StopReason:
    assert isinstance(events[-1], Finished)
    return events[-1].stop_reason


def usage(prompt: int, generated: int) -> Any:
    return {"prompt_tokens": prompt, "completion_tokens": generated}


@pytest.mark.parametrize(
    ("chunk", "fields", "reason"),
    [
        (Chunk(finish_reason="stop"), {}, StopReason.END_OF_GENERATION),
        (Chunk(finish_reason="tool_calls"), {}, StopReason.END_OF_GENERATION),
        (Chunk(finish_reason="stop", stop_text="END"), {"stop_texts": ("END",)}, StopReason.STOP_TEXT),
        (Chunk(finish_reason="stop", stop_text="<|eot|>"), {"stop_texts": ("END",)}, StopReason.END_OF_GENERATION),
        (Chunk(finish_reason="length"), {}, StopReason.LENGTH),
        (Chunk(finish_reason="length"), {"max_tokens": 5}, StopReason.LENGTH),
        (Chunk(finish_reason="length", usage=usage(50, 20)), {}, StopReason.LENGTH),
        (Chunk(finish_reason="length", usage=usage(50, 50)), {}, StopReason.CONTEXT_FULL),
        (Chunk(finish_reason="length", usage=usage(50, 49)), {"max_tokens": 60}, StopReason.CONTEXT_FULL),
        (Chunk(finish_reason="length", usage=usage(50, 50)), {"max_tokens": 50}, StopReason.LENGTH),
    ],
)
def test_the_reason_of_the_end(chunk: Chunk, fields: dict[str, Any], reason: StopReason) -> None:
    events = answered(Chunk(text="Hello"), chunk, **fields)
    assert reason_of(events) is reason
    assert not any(isinstance(event, Notice) for event in events)


def test_the_key_is_taken_out_of_an_error_in_the_answer_and_of_the_reason_of_its_end() -> None:
    answer = Answer(ReplyRequest(1, ()), "box", UsageMeter(100), "sk-secret")
    with pytest.raises(RemoteEngineError) as caught:
        list(answer.take(Chunk(error={"message": f"{'x' * 194} sk-secret is no key"})))
    assert "sk-" not in str(caught.value)
    list(answer.take(Chunk(finish_reason="sk-secret")))
    assert "sk-secret" not in str(list(answer.end(100)))


def test_without_a_known_context_nothing_is_full() -> None:
    chunk = Chunk(text="x", finish_reason="length", usage=usage(50, 50))
    assert reason_of(answered(chunk, context_size=0)) is StopReason.LENGTH


@pytest.mark.parametrize("reason", ["content_filter", "abort", "\x1b[31mother"])
def test_an_end_by_the_server_is_told(reason: str) -> None:
    events = answered(Chunk(text="Hel"), Chunk(finish_reason=reason))
    (notice,) = (event for event in events if isinstance(event, Notice))
    assert notice.text.startswith("box ")
    assert "\x1b" not in notice.text


def test_an_answer_that_the_server_broke_off_can_go_on() -> None:
    assert reason_of(answered(Chunk(text="Hel"), Chunk(finish_reason="abort"))) is StopReason.LENGTH


def test_a_thought_has_a_place_of_its_own_whatever_ends_the_answer() -> None:
    for reason in ("length", "abort", "stop"):
        events = answered(Chunk(thinking="Hm"), Chunk(finish_reason=reason))
        assert (thought_of(events), text_of(events)) == ("Hm", "")


def test_calls_stand_in_the_text_behind_a_thought() -> None:
    call = Chunk(calls=(CallPiece(0, "look", "{}"),))
    events = answered(Chunk(text="<think>Hm</thi"), Chunk(text="nk>"), call, Chunk(finish_reason="tool_calls"))
    assert thought_of(events) == "Hm"
    assert text_of(events).startswith("<tool_call>")


def test_pieces_of_calls_are_joined() -> None:
    chunks = [
        Chunk(text="Let me look."),
        Chunk(calls=(CallPiece(0, "look", ""),)),
        Chunk(calls=(CallPiece(0, "", '{"a": '), CallPiece(1, "again", ""))),
        Chunk(calls=(CallPiece(0, "", "1}"),)),
        Chunk(finish_reason="tool_calls"),
    ]
    call = '<tool_call>\n{"name": "look", "arguments": {"a": 1}}\n</tool_call>'
    other = '<tool_call>\n{"name": "again", "arguments": {}}\n</tool_call>'
    assert text_of(answered(*chunks)) == f"Let me look.\n{call}\n{other}"
    assert text_of(answered(*chunks[1:])) == f"{call}\n{other}"


@pytest.mark.parametrize(
    ("progress", "numbers"),
    [
        ({"total": 50, "cache": 10, "processed": 30}, (10, 30, 50)),
        ({"total": 50, "cache": 70, "processed": 90}, (50, 50, 50)),
        ({"total": "x", "cache": -1}, (0, 0, 0)),
        ({"total": 50, "cache": 10, "processed": 3}, (10, 10, 50)),
    ],
)
def test_progress_stays_within_its_bounds(progress: Any, numbers: tuple[int, int, int]) -> None:
    assert answered(Chunk(progress=progress), Chunk(finish_reason="stop"))[0] == PromptProgress(1, *numbers)
