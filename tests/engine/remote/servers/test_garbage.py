"""Nonsense from servers, as hypothesis thinks of it, ends what was asked for, and never in a crash or a hang."""

import asyncio
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.engine.remote.remote_chat import (
    ANSWER,
    BEGUN,
    chat_for_examples,
    check_ends,
    load_events,
    remote_engine,
    reply_request,
)
from tests.fakes import openai_streams as wire
from tests.fakes.openai_dialects import LLAMA_SERVER, MODEL
from tests.fakes.openai_server import EVENT_STREAM, MODELS, Cut, FakeServer, Step, response, stream
from tests.scale import scaled
from tui_llama.servers.address import Server, base_url

ODD_BYTES = st.one_of(
    st.binary(max_size=200),
    st.lists(
        st.sampled_from(
            [
                b"data: ",
                b"\n",
                b"\r",
                b"\n\n",
                b"{",
                b"}",
                b"[",
                b'"',
                b"null",
                b"\xff",
                b"\xf0\x9f",
                b":",
                b"\x00",
                b"[DONE]",
                *wire.plain(),
            ]
        ),
        max_size=30,
    ).map(b"".join),
)

ODD_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.just("\ud800"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)

NAMES_IN_CHUNKS = (
    "choices", "delta", "content", "reasoning", "reasoning_content", "tool_calls", "finish_reason", "usage", "timings",
    "logprobs", "prompt_progress", "error", "message", "index", "function", "name", "arguments", "role", "id", "model",
    "prompt_tokens", "completion_tokens", "prompt_tokens_details", "cached_tokens", "total", "cache", "processed",
    "prompt_n", "prompt_ms", "predicted_n", "predicted_ms", "cache_n", "token", "bytes", "logprob", "top_logprobs",
)  # fmt: skip

ODD_CHUNKS = st.recursive(
    ODD_JSON | st.integers(-(2**70), 2**70),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES_IN_CHUNKS), inner, max_size=5),
    max_leaves=20,
)


def test_any_bytes_after_a_good_start_end_the_answer_or_fail_it() -> None:
    with chat_for_examples(LLAMA_SERVER) as (chat, runner):

        @settings(max_examples=scaled(60, 500))
        @given(ODD_BYTES, st.sampled_from([None, Cut.CLOSE, Cut.RESET]))
        def ends(garbage: bytes, cut: Cut | None) -> None:
            steps: list[Step] = [*BEGUN, *([garbage] if garbage else []), *([cut] if cut else [])]
            check_ends(runner.run(chat.ask(stream(*steps))), ANSWER)

        ends()


@pytest.mark.parametrize("top_probabilities", [None, 2])
def test_any_json_in_a_stream_ends_the_answer_or_fails_it(top_probabilities: int | None) -> None:
    request = reply_request(top_probabilities=top_probabilities)
    with chat_for_examples(LLAMA_SERVER) as (chat, runner):

        @settings(max_examples=scaled(60, 500))
        @given(st.lists(ODD_CHUNKS.map(_event) | st.builds(_odd_choice, ODD_CHUNKS), max_size=4), st.booleans())
        def ends(odd: list[bytes], stops: bool) -> None:
            sent = [*BEGUN, *odd, *([wire.STOP, wire.DONE] if stops else [])]
            check_ends(runner.run(chat.ask(stream(*sent), request=request)), ANSWER)

        ends()


NAMES_OF_FACTS = (
    "data", "id", "owned_by", "meta", "n_ctx", "n_ctx_train", "n_params", "size", "n_vocab", "max_model_len", "status",
    "value", "architecture", "input_modalities", "default_generation_settings", "modalities", "vision", "models", "key",
    "name", "context_length", "loaded_instances", "config", "max_context_length", "capabilities", "model_info", "error",
    "message", "version", "chat_template",
)  # fmt: skip

ODD_FACTS = st.recursive(
    ODD_JSON | st.integers(-(2**70), 2**70) | st.sampled_from([MODEL, "llamacpp", "library", "vllm", "image"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES_OF_FACTS), inner, max_size=5),
    max_leaves=20,
)


QUESTIONS = (
    ("GET", "/props"),
    ("GET", "/api/v1/models"),
    ("GET", "/api/version"),
    ("GET", "/api/ps"),
    ("POST", "/api/show"),
)


def test_any_facts_of_a_server_load_its_model_or_fail_to() -> None:
    with asyncio.Runner() as runner:
        fake = runner.run(FakeServer().__aenter__())
        server = Server("fake", base_url(fake.url))

        async def load(name: str) -> None:
            async with remote_engine(server) as engine:
                await load_events(engine, f"{server.url}#{name}")

        @settings(max_examples=scaled(50, 500))
        @given(ODD_FACTS, ODD_FACTS, st.sampled_from(["", MODEL]))
        def ends(entry: object, more: object, name: str) -> None:
            listing = {"data": [{"id": MODEL, "owned_by": "llamacpp", **entry}]} if isinstance(entry, dict) else entry
            fake.serve("GET", MODELS, response(listing))
            for method, path in QUESTIONS:
                fake.serve(method, path, response(more))
            runner.run(load(name))

        try:
            ends()
        finally:
            runner.run(fake.close())


def test_any_response_ends_the_answer_or_fails_it() -> None:
    bodies = ODD_BYTES | ODD_CHUNKS.map(lambda value: json.dumps(value).encode())
    kinds = st.sampled_from(
        ["application/json", EVENT_STREAM, "text/html", "text/plain", "", "\xff", "application/json;x"]
    )
    with chat_for_examples(LLAMA_SERVER) as (chat, runner):

        @settings(max_examples=scaled(50, 500))
        @given(st.integers(200, 599), bodies, kinds)
        def ends(status: int, body: bytes, kind: str) -> None:
            check_ends(runner.run(chat.ask(response(body, status, content_type=kind))))

        ends()


def _event(value: object) -> bytes:
    return b"data: " + json.dumps(value).encode() + b"\n\n"


def _odd_choice(value: object) -> bytes:
    """Returns a chunk whose odd parts are where one is looked for."""
    return _event({"choices": [value if isinstance(value, dict) else {"delta": value}], "usage": value})
