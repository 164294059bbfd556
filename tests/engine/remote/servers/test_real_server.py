"""The remote engine with a real llama-server and a real model: the starter, in a process of its own."""

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest

from tests.engine.remote import llama_server_child
from tests.engine.remote.remote_chat import (
    KEY,
    TURN,
    events_of,
    failure_of,
    load_events,
    remote_engine,
    reply_request,
)
from tests.fakes.engine_events import finish_of, notices_of, text_of, usage_of
from tui_llama.chat import ChatMessage, Role, StopReason
from tui_llama.engine.events import Failed, FailureCause, ModelLoaded, PromptProgress, TextPiece
from tui_llama.engine.remote.engine import RemoteEngine
from tui_llama.engine.requests import CompleteRequest, ReplyRequest
from tui_llama.sampling.settings import SamplingSettings
from tui_llama.servers.address import Server, base_url

pytestmark = [
    pytest.mark.starter,
    pytest.mark.slow,
    pytest.mark.skipif(find_spec("xllamacpp") is None, reason="needs the package xllamacpp, a real llama-server"),
]

CONTEXT_SIZE = 1024
GREEDY: dict[str, Any] = {"sampling": SamplingSettings(temperature=0.0), "given_sampling": ("temperature",)}
QUESTION = ChatMessage(Role.USER, "Tell me in a few sentences how a llama lives. " * 12)


class RealServer:
    """A llama-server in a child process."""

    def __init__(self, process: "subprocess.Popen[str]", url: str) -> None:
        self._process = process
        self.url = url

    def kill(self) -> None:
        """Ends the process at once."""
        self._process.kill()
        self._process.wait()

    def is_busy(self) -> bool:
        """Tells whether it is working on an answer."""
        with urlopen(f"{self.url.removesuffix('/v1')}/slots") as response:
            return any(slot["is_processing"] for slot in json.load(response))


@contextmanager
def real_server(model: Path, key: str = "") -> Iterator[RealServer]:
    """Starts a llama-server, and ends it."""
    command = [sys.executable, "-m", llama_server_child.__name__, str(model), str(CONTEXT_SIZE), key]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        assert process.stdout is not None
        try:
            lines = (line.split() for line in process.stdout)
            address = next((words[1] for words in lines if words[:1] == ["listening"]), None)
            assert address is not None, f"llama-server ended with status {process.wait()}"
            yield RealServer(process, base_url(address))
        finally:
            process.kill()


@pytest.fixture(scope="module")
def llama_server(starter_model: Path) -> Iterator[RealServer]:
    with real_server(starter_model) as server:
        yield server


@asynccontextmanager
async def loaded_engine(real: RealServer, key: str = "") -> AsyncIterator[tuple[RemoteEngine, ModelLoaded]]:
    """Opens an engine that has loaded the only model of a server."""
    server = Server("real", real.url)
    async with remote_engine(server, key) as engine:
        last = (await load_events(engine, real.url))[-1]
        assert isinstance(last, ModelLoaded), last
        yield engine, last


def request(**fields: Any) -> ReplyRequest:
    return reply_request(QUESTION, **{**GREEDY, "max_tokens": 8, **fields})


async def test_it_says_who_it_is(llama_server: RealServer, starter_model: Path) -> None:
    async with loaded_engine(llama_server) as (_, loaded):
        model = loaded.model
        assert model.name == starter_model.name  # the last part of its name, which is a path
        assert model.path == f"{llama_server.url}#{starter_model}"
        assert (model.context_size, model.trained_context_size) == (CONTEXT_SIZE, 8192)
        assert model.parameter_count == 134_515_008
        can = model.capabilities
        assert (can.can_continue, can.has_probabilities, can.has_grammars, can.sees_images) == (True, True, True, False)


async def test_an_answer_streams_and_the_second_time_its_prompt_is_cached(llama_server: RealServer) -> None:
    async with loaded_engine(llama_server) as (engine, _):
        first = await events_of(engine, request())
        assert len([event for event in first if isinstance(event, TextPiece)]) > 1
        assert finish_of(first).stop_reason == StopReason.LENGTH
        assert any(isinstance(event, PromptProgress) for event in first)
        usage = usage_of(first)
        assert usage.generated_tokens == 8
        assert usage.context_used == usage.reused_tokens + usage.read_tokens + 8
        assert usage.first_token_seconds is not None
        second = await events_of(engine, request())
        again = usage_of(second)
        assert again.knows_reused
        assert again.reused_tokens + again.read_tokens == usage.reused_tokens + usage.read_tokens
        assert again.reused_tokens > again.read_tokens


async def test_a_stop_frees_the_server(llama_server: RealServer) -> None:
    async with loaded_engine(llama_server) as (engine, _):
        text = ""
        async for event in engine.reply(request(max_tokens=None, ignore_eos=True)):
            if isinstance(event, TextPiece):
                text += event.text
                engine.cancel()
        assert text
        while await asyncio.to_thread(llama_server.is_busy):
            pass  # it stops at its next token, or the test hangs
        finish_of(await events_of(engine, request()))


async def test_an_answer_that_was_cut_goes_on_where_it_ended(llama_server: RealServer) -> None:
    # Not compared with an answer in one piece: llama.cpp's numbers differ with what is read in one batch.
    async with loaded_engine(llama_server) as (engine, _):
        first = await events_of(engine, request())
        start = text_of(first)
        messages = (QUESTION, ChatMessage(Role.ASSISTANT, start))
        events = await events_of(
            engine, CompleteRequest(TURN, "", messages=messages, answer=start, max_tokens=8, **GREEDY)
        )
        assert text_of(events)
        assert not text_of(events).startswith(start)
        before, after = usage_of(first), usage_of(events)
        assert after.reused_tokens + after.read_tokens > before.reused_tokens + before.read_tokens
        assert after.reused_tokens > after.read_tokens


async def test_the_start_of_an_answer_can_be_given(llama_server: RealServer) -> None:
    async with loaded_engine(llama_server) as (engine, _):
        messages = (
            ChatMessage(Role.USER, "What is the capital of France?"),
            ChatMessage(Role.ASSISTANT, "It is called"),
        )
        events = await events_of(engine, CompleteRequest(TURN, "", messages=messages, max_tokens=4, **GREEDY))
        assert "Paris" in text_of(events)
        assert "called" not in text_of(events)


async def test_a_model_that_it_does_not_have_is_none(llama_server: RealServer, starter_model: Path) -> None:
    server = Server("real", llama_server.url)
    async with remote_engine(server) as engine:
        failure = (await load_events(engine, f"{llama_server.url}#wrong"))[-1]
        assert isinstance(failure, Failed)
        assert failure.cause == FailureCause.NO_SUCH_MODEL
        assert starter_model.name in failure.hint


async def test_stop_texts_schemas_and_probabilities_work(llama_server: RealServer) -> None:
    async with loaded_engine(llama_server) as (engine, _):
        cut = await events_of(engine, request(max_tokens=64, stop_texts=(" ",)))
        assert finish_of(cut).stop_reason in {StopReason.END_OF_GENERATION, StopReason.STOP_TEXT}
        assert " " not in text_of(cut)
        schema = json.dumps({"type": "object", "properties": {"legs": {"enum": [2, 4]}}, "required": ["legs"]})
        assert json.loads(text_of(await events_of(engine, request(max_tokens=64, json_schema=schema)))).keys() == {
            "legs"
        }
        assert text_of(await events_of(engine, request(grammar='root ::= "hum"'))) == "hum"
        told = [
            each
            for event in await events_of(engine, request(top_probabilities=3))
            if isinstance(event, TextPiece)
            for each in event.probabilities
        ]
        assert len(told) == 8
        for each in told:
            assert each.token_id is not None
            assert len(each.alternatives) == 3
            assert each.log_probability == pytest.approx(each.alternatives[0].log_probability)


async def test_a_chat_that_is_too_long_goes_on_without_its_beginning(llama_server: RealServer) -> None:
    long = [
        ChatMessage(role, f"{role} {number}: " + "The llama hums on the hill. " * 20)
        for number in range(6)
        for role in (Role.USER, Role.ASSISTANT)
    ]
    async with loaded_engine(llama_server) as (engine, _):
        events = await events_of(engine, reply_request(*long, QUESTION, **{**GREEDY, "max_tokens": 8}))
        assert finish_of(events).stop_reason == StopReason.LENGTH
        assert any("left out" in notice for notice in notices_of(events))


async def test_what_it_does_not_accept_is_told_in_its_words(llama_server: RealServer) -> None:
    async with loaded_engine(llama_server) as (engine, _):
        failure = failure_of(await events_of(engine, request(grammar="no grammar")), FailureCause.ENGINE)
        assert failure.hint
        finish_of(await events_of(engine, request()))


async def test_a_server_with_a_key_wants_it(starter_model: Path) -> None:
    with real_server(starter_model, KEY) as real:
        async with loaded_engine(real, KEY) as (engine, _):
            finish_of(await events_of(engine, request()))
        for wrong in ("", "sk-wrong"):
            async with remote_engine(Server("real", real.url), wrong) as engine:
                failure = (await load_events(engine, real.url))[-1]
                assert isinstance(failure, Failed)
                assert failure.cause == FailureCause.KEY_REFUSED


async def test_a_server_that_is_killed_in_the_answer_leaves_what_it_said(starter_model: Path) -> None:
    with real_server(starter_model) as real:
        async with loaded_engine(real) as (engine, _):
            events = []
            async for event in engine.reply(request(max_tokens=None, ignore_eos=True)):
                events.append(event)
                if isinstance(event, TextPiece):
                    real.kill()
            last = events[-1]
            assert isinstance(last, Failed)
            assert last.cause in {FailureCause.CUT_OFF, FailureCause.NO_END}
            assert last.hint
            assert text_of(events)
            failure_of(await events_of(engine, request()), FailureCause.REFUSED)
