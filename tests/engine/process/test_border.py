"""The border to the engine's process: whatever is asked and whatever comes, only an `EngineError` comes out."""

import asyncio
from collections.abc import AsyncIterator, Callable
from copy import copy
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from tests.engine.process.test_framing import EVENTS
from tests.fakes.faulty_engine import FaultyEngine
from tui_llama.chat import ChatMessage, Role, StopReason, Usage
from tui_llama.engine.events import Failed, Finished, Notice, PromptEncoded, PromptEstimate, TextPiece
from tui_llama.engine.process import worker as worker_module
from tui_llama.engine.process.border import GuardedEngine, failure_words
from tui_llama.engine.process.framing import FrameError, decode_event, encode_frame
from tui_llama.engine.process.worker import EngineWorker
from tui_llama.engine.protocol import Engine, Event
from tui_llama.engine.requests import (
    CompleteRequest,
    EstimateRequest,
    IdlePrefillRequest,
    LoadRequest,
    ReplyRequest,
)
from tui_llama.errors import EngineError, EngineLostError, SettingsError
from tui_llama.sampling.settings import SamplingSettings

FUZZ = hypothesis_settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)


class DeafStream:
    """Where requests go; fails in the way that it is told to."""

    def __init__(self, fault: Exception | None = None) -> None:
        self._fault = fault

    def write(self, data: bytes) -> None:
        if isinstance(self._fault, RuntimeError):
            raise copy(self._fault)

    async def drain(self) -> None:
        if self._fault is not None:
            raise copy(self._fault)

    def is_closing(self) -> bool:
        return False

    def close(self) -> None:
        pass


class TroubledReader(asyncio.StreamReader):
    """Where events come from; fails in the way that it is told to."""

    fault: Exception | None = None

    async def readexactly(self, n: int) -> bytes:
        if self.fault is not None:
            raise copy(self.fault)
        return await super().readexactly(n)


class DeadProcess:
    """An engine's process that has said something and ended."""

    pid = 1

    def __init__(self, said: bytes, reading: Exception | None = None, writing: Exception | None = None) -> None:
        self.stdin = DeafStream(writing)
        self.stdout = TroubledReader()
        self.stdout.fault = reading
        self.stdout.feed_data(said)
        self.stdout.feed_eof()
        self.returncode: int | None = None

    def kill(self) -> None:
        self.returncode = -9

    async def wait(self) -> int:
        self.returncode = self.returncode or 0
        return self.returncode


Ask = Callable[[Engine], Any]


async def outcome(engine: Engine, ask: Ask) -> list[Event]:
    """What comes of a request; raises what the engine does."""
    asked = ask(engine)
    if not hasattr(asked, "__aiter__"):
        return [await asked]
    return [event async for event in cast(AsyncIterator[Event], asked)]


async def exchange(process: DeadProcess, log_file: Path, ask: Ask, patch: pytest.MonkeyPatch) -> list[Event]:
    """The same with a worker whose process is this one; a model was asked for before."""

    async def start(engine: str, log: Path) -> worker_module._Child:
        return worker_module._Child(cast(Any, process), log)

    patch.setattr(worker_module, "_start_child", start)
    worker = EngineWorker(log_file=log_file)
    worker._child = await start("", log_file)
    try:
        return await outcome(worker, ask)
    finally:
        await worker.close()


MESSAGES = (ChatMessage(Role.USER, "hi"),)
ASKED: dict[str, Ask] = {
    "load": lambda engine: engine.load(LoadRequest("m.gguf")),
    "reply": lambda engine: engine.reply(ReplyRequest(1, MESSAGES)),
    "complete": lambda engine: engine.reply(CompleteRequest(1, "hi")),
    "read ahead": lambda engine: engine.idle_prefill(IdlePrefillRequest(MESSAGES, "dra")),
    "estimate": lambda engine: engine.estimate(EstimateRequest(MESSAGES)),
}
every_request = pytest.mark.parametrize("ask", ASKED.values(), ids=ASKED.keys())


def framed(body: bytes) -> bytes:
    return len(body).to_bytes(4, "little") + body


NUMBERS = st.integers(-(2**63), 2**64 - 1) | st.floats()
PLAIN = st.none() | st.booleans() | NUMBERS | st.text(st.characters(exclude_categories=["Cs"])) | st.binary()
VALUES = st.recursive(
    PLAIN, lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner)
)
KINDS = [type(event).__name__ for event in EVENTS]
FIELDS = sorted({name for event in EVENTS for name in event.__struct_fields__})


@st.composite
def frames(draw: st.DrawFn) -> bytes:
    """Something that an engine's process may have said: events, half events, events of odd values, and noise."""
    kind = draw(st.sampled_from(["event", "cut", "odd", "message", "noise"]))
    if kind == "noise":
        return draw(st.binary(max_size=64))
    if kind == "message":
        return framed(msgspec.msgpack.encode(draw(VALUES)))
    if kind == "odd":
        fields = draw(st.dictionaries(st.sampled_from(FIELDS), VALUES, max_size=6))
        return framed(msgspec.msgpack.encode({"type": draw(st.sampled_from(KINDS)), **fields}))
    frame = encode_frame(draw(st.sampled_from(EVENTS)))
    return frame if kind == "event" else frame[: draw(st.integers(0, len(frame)))]


@every_request
@FUZZ
@given(said=st.lists(frames(), max_size=4))
async def test_whatever_the_process_says_only_events_and_engine_errors_come_out(
    ask: Ask, said: list[bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    try:
        events = await exchange(DeadProcess(b"".join(said)), tmp_path / "log", ask, monkeypatch)
    except EngineError as error:
        assert str(error)
    else:
        assert all(isinstance(event, Event) for event in events)


HOSTILE = [
    2**63,
    2**64,
    -(10**30),
    "\udcff",
    "a" * 5 + "\ud800",
    object(),
    {object()},
    b"\xff",
    float("nan"),
    None,
    (1, "\udfff"),
    (10**40,),
    SamplingSettings(top_k=2**70),
    *[ChatMessage(Role.USER, "\udc00")],
]


def nested(depth: int) -> object:
    value: object = ()
    for _ in range(depth):
        value = [value]
    return value


@FUZZ
@given(data=st.data())
@pytest.mark.parametrize("kind", [LoadRequest, ReplyRequest, CompleteRequest, IdlePrefillRequest, EstimateRequest])
async def test_whatever_is_asked_only_engine_errors_come_out(
    kind: type[msgspec.Struct], data: st.DataObject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fields = msgspec.structs.fields(kind)
    values = {each.name: data.draw(st.sampled_from(HOSTILE)) for each in fields}
    request: Any = kind(**values)
    asks: dict[type[msgspec.Struct], Ask] = {
        LoadRequest: lambda engine: engine.load(request),
        IdlePrefillRequest: lambda engine: engine.idle_prefill(request),
        EstimateRequest: lambda engine: engine.estimate(request),
    }
    with pytest.raises(EngineError):
        await exchange(
            DeadProcess(b""), tmp_path / "log", asks.get(kind, lambda engine: engine.reply(request)), monkeypatch
        )


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        (LoadRequest("m.gguf", context_size=10**20), "a number for the engine is too large"),
        (ReplyRequest(1, MESSAGES, max_tokens=10**20), "a number for the engine is too large"),
        (ReplyRequest(1, MESSAGES, sampling=SamplingSettings(seed=10**20)), "a number for the engine is too large"),
        (LoadRequest("m\udcff.gguf"), "not valid Unicode"),
        (CompleteRequest(1, "\ud800"), "not valid Unicode"),
        (ReplyRequest(1, cast(Any, nested(100_000))), "RecursionError"),
        (ReplyRequest(1, cast(Any, object())), "TypeError: Encoding objects of type object is unsupported"),
    ],
    ids=["context", "answer", "seed", "path", "text", "depth", "object"],
)
def test_a_request_that_cannot_be_written_is_an_engine_error_in_words(
    request_: LoadRequest | ReplyRequest | CompleteRequest, words: str
) -> None:
    with pytest.raises(EngineError, match=words) as caught:
        encode_frame(request_)
    assert not isinstance(caught.value, FrameError)


@pytest.mark.parametrize(
    "event",
    [
        PromptEncoded(1, -1, ()),
        PromptEncoded(1, 0, (2**31,)),
        TextPiece(1, "a", (-1,)),
        PromptEstimate(0, 1, float("inf")),
        PromptEstimate(0, 1, float("nan")),
        Finished(1, StopReason.LENGTH, Usage(reused_tokens=2**63)),
    ],
    ids=str,
)
def test_numbers_that_nobody_could_store_or_show_are_no_event(event: Event) -> None:
    with pytest.raises(FrameError):
        decode_event(encode_frame(event)[4:])


FAULTS = [
    ValueError("a value"),
    OverflowError("a number"),
    KeyError("a key"),
    MemoryError(),
    UnicodeEncodeError("utf-8", "\udcff", 0, 1, "a surrogate"),
    RecursionError("too deep"),
    RuntimeError("out of order"),
    BrokenPipeError(32, "Broken pipe"),
    ConnectionResetError(104, "Connection reset by peer"),
    OSError(5, "Input/output error"),
    AssertionError(),
]


@every_request
@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: type(fault).__name__)
async def test_a_pipe_that_fails_is_an_engine_error(
    ask: Ask, fault: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for process in (DeadProcess(b"", reading=fault), DeadProcess(b"", writing=fault)):
        with pytest.raises(EngineError):
            await exchange(process, tmp_path / "log", ask, monkeypatch)


async def test_what_ends_the_listening_is_told_and_kept_with_its_traceback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = tmp_path / "log"
    with pytest.raises(EngineLostError, match="cannot be read from: MemoryError"):
        await exchange(DeadProcess(b"", reading=MemoryError()), log, ASKED["reply"], monkeypatch)
    assert "Traceback" in log.read_text() and "MemoryError" in log.read_text()


# --- any engine


PLACES = {
    "load": ["load called", "load began", "load under way", "load ended"],
    "reply": ["reply called", "reply began", "reply under way", "reply ended"],
    "read ahead": ["read ahead called", "read ahead began", "read ahead ended"],
    "estimate": ["estimate"],
}


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: type(fault).__name__)
@pytest.mark.parametrize(("kind", "place"), [(kind, place) for kind, places in PLACES.items() for place in places])
async def test_what_any_engine_raises_is_an_engine_error_that_names_it(
    kind: str, place: str, fault: Exception, tmp_path: Path
) -> None:
    engine = FaultyEngine(place, fault)
    log = tmp_path / "log"
    guarded = GuardedEngine(lambda: engine, log)
    with pytest.raises(EngineError) as caught:
        await outcome(guarded, ASKED[kind])
    assert str(caught.value).startswith(f"the engine failed: {type(fault).__name__}")
    assert caught.value.hint == "The engine's log has details."
    assert type(caught.value.__cause__) is type(fault)
    assert type(fault).__name__ in log.read_text() and "_fail_at" in log.read_text()


@pytest.mark.parametrize("place", ["cancel", "close"])
async def test_an_engine_that_cannot_be_stopped_or_ended_is_an_engine_error(place: str, tmp_path: Path) -> None:
    engine = FaultyEngine(place, KeyError("a key"))
    guarded = GuardedEngine(lambda: engine, tmp_path / "log")
    await outcome(guarded, ASKED["load"])
    with pytest.raises(EngineError, match="KeyError"):
        if place == "cancel":
            guarded.cancel()
        else:
            await guarded.close()


async def test_an_engine_that_cannot_be_made_is_an_engine_error(tmp_path: Path) -> None:
    def make() -> Engine:
        raise ImportError("no such engine")

    guarded = GuardedEngine(make, tmp_path / "log")
    for ask in ASKED.values():
        with pytest.raises(EngineError, match="ImportError: no such engine"):
            await outcome(guarded, ask)
    guarded.cancel()
    await guarded.close()
    assert not guarded.is_alive


@pytest.mark.parametrize(
    "error", [EngineLostError("gone", "Try again."), EngineError("no"), SettingsError("nonsense", "Mend it.")]
)
async def test_an_error_in_words_stays_what_it_says(error: EngineError, tmp_path: Path) -> None:
    engine = FaultyEngine("reply called", error)
    with pytest.raises(EngineError) as caught:
        await outcome(GuardedEngine(lambda: engine, tmp_path / "log"), ASKED["reply"])
    assert (str(caught.value), caught.value.hint) == (str(error), error.hint)
    assert isinstance(caught.value, EngineLostError) == isinstance(error, EngineLostError)
    assert not (tmp_path / "log").exists()


async def test_a_task_that_is_cancelled_is_no_failure_of_the_engine(tmp_path: Path) -> None:
    engine = FaultyEngine("reply under way", asyncio.CancelledError())
    with pytest.raises(asyncio.CancelledError):
        await outcome(GuardedEngine(lambda: engine, tmp_path / "log"), ASKED["reply"])


class UnspeakableError(Exception):
    def __str__(self) -> str:
        raise ValueError("not even that")


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (ValueError("two\nlines"), "the engine failed: ValueError: two lines"),
        (MemoryError(), "the engine failed: MemoryError"),
        (
            OSError(2, "No such file", "a\udcff"),
            r"the engine failed: FileNotFoundError: [Errno 2] No such file: 'a\udcff'",
        ),
        (ValueError("\ud800"), r"the engine failed: ValueError: \ud800"),
        (UnspeakableError(), "the engine failed: UnspeakableError"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_failure_is_one_line_that_goes_through_a_pipe(error: Exception, words: str) -> None:
    assert failure_words(error) == words
    assert encode_frame(Notice(words))
    assert len(failure_words(ValueError("x" * 10_000))) < 400


async def test_a_log_that_cannot_be_written_is_done_without(tmp_path: Path) -> None:
    engine = FaultyEngine("reply called", ValueError("a value"))
    (tmp_path / "file").write_text("")
    guarded = GuardedEngine(lambda: engine, tmp_path / "file" / "log")
    with pytest.raises(EngineError, match="ValueError"):
        await outcome(guarded, ASKED["reply"])


def test_failed_is_an_event_like_any_other() -> None:
    assert decode_event(encode_frame(Failed(1, failure_words(KeyError("k")), "hint"))[4:])
