"""Messages through a pipe: what goes in comes out, and nothing else is believed."""

import asyncio
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tui_llama.chat import ChatMessage, Role, StopReason, Usage
from tui_llama.engine.events import (
    Failed,
    Finished,
    IdlePrefillFinished,
    IdlePrefillProgress,
    LoadProgress,
    LoadStage,
    Notice,
    PromptEncoded,
    PromptEstimate,
    PromptProgress,
    RereadCause,
    TextPiece,
)
from tui_llama.engine.process.framing import (
    MOST_MESSAGE_BYTES,
    FrameError,
    decode_event,
    decode_request,
    encode_frame,
    read_frame,
    receive_frame,
)
from tui_llama.engine.protocol import Event, Request
from tui_llama.engine.requests import (
    CancelRequest,
    CompleteRequest,
    EstimateRequest,
    IdlePrefillRequest,
    LoadRequest,
    Overflow,
    OverflowMode,
    ReplyRequest,
    ShutdownRequest,
    StopIdlePrefill,
)
from tui_llama.sampling.settings import SamplingSettings

REQUESTS: list[Request] = [
    LoadRequest("model.gguf", 4096, 2, 64),
    ReplyRequest(3, (ChatMessage(Role.USER, "héllo"),), (1, 2, 3), SamplingSettings(seed=7), 5, ("stop",), "state"),
    CompleteRequest(4, "Once upon a time"),
    CompleteRequest(5, "", ledger=(1, 2), chat_id="c" * 32, loop_guard=True, answer="déjà", answer_tokens=1),
    CompleteRequest(
        5,
        "",
        messages=(ChatMessage(Role.ASSISTANT, "a"),),
        answer_has_ended=True,
        vocabulary="f" * 32,
        begun_at="2026-11-27T23:58:03+01:00",
    ),
    CompleteRequest(5, "Once", overflow=Overflow(OverflowMode.EXTEND, -1, 8, 64), ignore_eos=True),
    IdlePrefillRequest((ChatMessage(Role.USER, "a"),), "and", (1, 2), 5, "chat"),
    EstimateRequest((ChatMessage(Role.USER, "a"),), (1, 2), None, "chat"),
    StopIdlePrefill(),
    CancelRequest(None),
    CancelRequest(4),
    ShutdownRequest(),
]
EVENTS: list[Event] = [
    LoadProgress(LoadStage.WARM_UP, 3, 4),
    PromptEncoded(1, 2, (3, 4)),
    PromptEncoded(1, 2, (3, 4), left_out_messages=6),
    PromptEncoded(1, 2, (3, 4), vocabulary="f" * 32, answer_tokens=0),
    PromptProgress(1, 2, 3, 4),
    PromptProgress(1, 2, 3, 4, RereadCause.NOT_STORED),
    IdlePrefillProgress(3, 4),
    IdlePrefillFinished(4),
    PromptEstimate(4, 5, None),
    PromptEstimate(4, 5, 0.5),
    TextPiece(1, "ü", (5,)),
    Notice("a line"),
    Finished(1, StopReason.CONTEXT_FULL, Usage(1, 2, 3, 0.5, 0.25, 6, 7)),
    Failed(None, "what", "try this"),
]


@pytest.mark.parametrize("request_", REQUESTS, ids=lambda request: type(request).__name__)
def test_a_request_comes_out_as_it_went_in(request_: Request) -> None:
    body = read_frame(io.BytesIO(encode_frame(request_)))
    assert body is not None
    assert decode_request(body) == request_


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: type(event).__name__)
def test_an_event_comes_out_as_it_went_in(event: Event) -> None:
    body = read_frame(io.BytesIO(encode_frame(event)))
    assert body is not None
    assert decode_event(body) == event


def test_the_end_of_a_stream_between_messages_is_no_error() -> None:
    assert read_frame(io.BytesIO(b"")) is None


@pytest.mark.parametrize("kept", range(1, len(encode_frame(CancelRequest(1)))))
def test_a_stream_that_ends_inside_a_message_is_refused(kept: int) -> None:
    with pytest.raises(FrameError, match="ends"):
        read_frame(io.BytesIO(encode_frame(CancelRequest(1))[:kept]))


@pytest.mark.parametrize("length", [0, MOST_MESSAGE_BYTES + 1, 2**32 - 1])
def test_a_length_that_makes_no_sense_is_refused_before_anything_is_read(length: int) -> None:
    with pytest.raises(FrameError, match=f"{length} bytes"):
        read_frame(io.BytesIO(length.to_bytes(4, "little") + b"x"))


@given(st.binary(min_size=1))
def test_bytes_that_are_no_event_are_refused(body: bytes) -> None:
    with pytest.raises(FrameError):
        decode_event(body)


def test_a_request_is_no_event() -> None:
    with pytest.raises(FrameError):
        decode_event(encode_frame(ShutdownRequest())[4:])


async def receive(data: bytes) -> bytes | None:
    stream = asyncio.StreamReader()
    stream.feed_data(data)
    stream.feed_eof()
    return await receive_frame(stream)


async def test_an_asyncio_stream_is_read_in_the_same_way() -> None:
    frame = encode_frame(CancelRequest(1))
    assert await receive(frame) == frame[4:]
    assert await receive(b"") is None


@pytest.mark.parametrize("data", [b"\x01", encode_frame(CancelRequest(1))[:-1], bytes(4)])
async def test_an_asyncio_stream_is_believed_as_little(data: bytes) -> None:
    with pytest.raises(FrameError):
        await receive(data)
