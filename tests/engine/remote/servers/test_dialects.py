"""What is sent to each kind of server, and what is made of its answer."""

from collections.abc import Callable

import pytest

from tests.engine.remote.remote_chat import (
    ANSWER,
    KEY,
    QUESTION,
    chat_with,
    chatting,
    ended_well,
    reply_request,
    sampled,
)
from tests.fakes import openai_streams as wire
from tests.fakes.engine_events import finish_of, notices_of, text_of, thought_of, usage_of
from tests.fakes.openai_dialects import (
    CONTEXT_SIZE,
    KINDS,
    LLAMA_SERVER,
    LM_STUDIO,
    MODEL,
    OLLAMA,
    PLAIN,
    SGLANG,
    TRAINED_CONTEXT_SIZE,
    VLLM,
    Kind,
    llama_models,
    llama_props,
    models,
)
from tests.fakes.openai_server import MODELS, FakeServer
from tui_llama.chat import StopReason, Thinking
from tui_llama.engine.events import PromptProgress
from tui_llama.engine.remote.dialects import DIALECTS

every_kind = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)

STREAMS: dict[str, Callable[[], list[bytes]]] = {
    "plain": wire.plain,
    "llama-server": wire.llama_server,
    "vllm": wire.vllm,
    "sglang": wire.sglang,
    "ollama": wire.ollama,
    "lmstudio": wire.plain,
}
THOUGHT = "".join(wire.THOUGHT)

ALWAYS_SENT = {"model", "messages", "stream", "stream_options"}
OFTEN_SENT = {"llama-server": {"return_progress", "cache_prompt", "timings_per_token"}}


# --- an answer ------------------------------------------------------------------------------------------------------


@every_kind
async def test_the_answer_of_every_kind_of_server_arrives(kind: Kind) -> None:
    async with chatting(kind) as chat:
        events = await chat.ask(STREAMS[kind.name]())
        usage = ended_well(events, ANSWER).usage
        assert not notices_of(events)
        assert usage.knows_tokens
        assert usage.generated_tokens == 7
        assert usage.reused_tokens + usage.read_tokens == 30
        assert usage.knows_reused == (kind is LLAMA_SERVER)
        assert usage.reused_tokens == (20 if kind is LLAMA_SERVER else 0)
        assert usage.first_token_seconds is not None


@every_kind
async def test_nothing_is_sent_that_nobody_has_set(kind: Kind) -> None:
    async with chatting(kind) as chat:
        await chat.ask(STREAMS[kind.name]())
        assert ALWAYS_SENT <= set(chat.sent) <= ALWAYS_SENT | OFTEN_SENT.get(kind.name, set())
        assert chat.sent["stream"] is True
        assert chat.sent["stream_options"] == {"include_usage": True}
        assert chat.sent["model"] == MODEL
        assert chat.sent["messages"] == [{"role": "user", "content": QUESTION.text}]
        assert chat.server.last.header("content-type") == "application/json"


@every_kind
async def test_the_key_is_sent_in_one_header_to_one_server_only(kind: Kind) -> None:
    async with chatting(kind, key=KEY) as chat:
        await chat.ask(STREAMS[kind.name]())
        assert chat.server.last.header("authorization") == f"Bearer {KEY}"
        for request in chat.server.requests:
            assert KEY not in request.target
            assert KEY.encode() not in request.body
            assert [name for name, value in request.headers if KEY in value] in ([], ["authorization"])


@every_kind
async def test_without_a_key_there_is_no_header_for_one(kind: Kind) -> None:
    async with chatting(kind) as chat:
        await chat.ask(STREAMS[kind.name]())
        for request in chat.server.requests:
            assert request.header("authorization") is None
            assert request.header("x-api-key") is None
            assert request.header("cookie") is None


async def test_chunks_with_nothing_but_what_is_needed_are_an_answer() -> None:
    async with chatting(PLAIN) as chat:
        usage = ended_well(await chat.ask(wire.bare()), ANSWER).usage
        assert not usage.knows_tokens
        assert not usage.knows_reused
        assert usage.generated_tokens == usage.read_tokens == usage.context_used == 0


async def test_usage_may_stand_in_the_last_chunk_or_in_every_chunk() -> None:
    async with chatting(PLAIN) as chat:
        last = [*wire.texts(wire.ANSWER), wire.chunk({}, "stop", usage=wire.USAGE), wire.DONE]
        assert usage_of(await chat.ask(last)).generated_tokens == 7
        growing = [
            wire.chunk({"content": "a"}, usage={"prompt_tokens": 30, "completion_tokens": 1}),
            wire.chunk({"content": "b"}, "stop", usage={"prompt_tokens": 30, "completion_tokens": 2}),
            wire.chunk({}, usage=None),
        ]
        usage = usage_of(await chat.ask(growing))
        assert (usage.read_tokens, usage.generated_tokens) == (30, 2)


async def test_the_progress_and_the_timings_of_llama_server_are_told() -> None:
    async with chatting(LLAMA_SERVER) as chat:
        events = await chat.ask(wire.llama_server())
        assert chat.sent["return_progress"] is True
        assert [event for event in events if isinstance(event, PromptProgress)] == [
            PromptProgress(7, 20, 20, 30),
            PromptProgress(7, 20, 30, 30),
        ]
        usage = usage_of(events)
        assert (usage.reused_tokens, usage.read_tokens, usage.generated_tokens) == (20, 10, 7)
        assert (usage.read_seconds, usage.generate_seconds) == (0.25, 0.5)
        assert (usage.context_used, usage.context_size) == (37, CONTEXT_SIZE)


async def test_drafted_tokens_are_told() -> None:
    async with chatting(LLAMA_SERVER) as chat:
        timings = {**wire.TIMINGS, "draft_n": 6, "draft_n_accepted": 4}
        events = await chat.ask([*wire.texts("a"), wire.STOP, wire.usage(wire.CACHED_USAGE, timings=timings)])
        assert (usage_of(events).drafted_tokens, usage_of(events).accepted_tokens) == (6, 4)


@pytest.mark.parametrize(
    ("finish_reason", "stop_reason"),
    [
        ("stop", StopReason.END_OF_GENERATION),
        ("length", StopReason.LENGTH),
        ("tool_calls", StopReason.END_OF_GENERATION),
    ],
)
async def test_the_reason_of_the_end_is_told(finish_reason: str, stop_reason: StopReason) -> None:
    async with chatting(PLAIN) as chat:
        finish = finish_of(await chat.ask(wire.plain(finish_reason=finish_reason)))
        assert finish.stop_reason == stop_reason


@pytest.mark.parametrize("finish_reason", ["content_filter", "abort", "quota\x1b[2J"])
async def test_an_end_that_is_not_the_answers_own_is_told(finish_reason: str) -> None:
    async with chatting(PLAIN) as chat:
        events = await chat.ask(wire.plain(finish_reason=finish_reason))
        finish_of(events)
        assert text_of(events) == ANSWER
        (notice,) = notices_of(events)
        assert "\x1b" not in notice


# --- thinking -------------------------------------------------------------------------------------------------------


THINKING = {
    "vllm": wire.vllm(thoughts=wire.THOUGHT),
    "sglang": wire.sglang(thoughts=wire.THOUGHT),
    "ollama": wire.ollama(thoughts=wire.THOUGHT),
    "llama-server": [
        wire.ROLE,
        *(wire.chunk({"reasoning_content": thought}) for thought in wire.THOUGHT),
        *wire.texts(wire.ANSWER),
        wire.STOP,
    ],
    "both names": [
        *(wire.chunk({"reasoning_content": thought, "reasoning": thought}) for thought in wire.THOUGHT),
        *wire.texts(wire.ANSWER),
        wire.STOP,
    ],
    "in the text": [*wire.texts(("<thi", "nk>", *wire.THOUGHT, "</thi", "nk>", *wire.ANSWER)), wire.STOP],
}


@pytest.mark.parametrize("events_sent", THINKING.values(), ids=THINKING.keys())
async def test_thoughts_are_told_beside_the_answer(events_sent: list[bytes]) -> None:
    async with chatting(PLAIN) as chat:
        events = await chat.ask(events_sent)
        ended_well(events, ANSWER)
        assert thought_of(events) == THOUGHT


async def test_a_thought_in_the_text_that_never_ends_is_a_thought() -> None:
    async with chatting(PLAIN) as chat:
        events = await chat.ask([*wire.texts(("<thi", "nk>", *wire.THOUGHT)), wire.STOP])
        ended_well(events, "")
        assert thought_of(events) == THOUGHT


async def test_thoughts_without_an_answer_are_told_apart_from_one() -> None:
    async with chatting(PLAIN) as chat:
        events = await chat.ask([wire.chunk({"reasoning": "Hm"}), wire.chunk({}, "length")])
        assert (thought_of(events), text_of(events)) == ("Hm", "")


async def test_the_tokens_of_a_thought_are_those_that_the_server_tells() -> None:
    async with chatting(SGLANG) as chat:
        usage = finish_of(await chat.ask(wire.sglang(thoughts=wire.THOUGHT))).usage
        assert usage.thought_tokens == 3
        assert 0 <= usage.thought_seconds <= usage.generate_seconds
        assert finish_of(await chat.ask(wire.plain())).usage.thought_tokens == 0


@pytest.mark.parametrize(
    ("kind", "known"),
    [
        (LLAMA_SERVER, "off on low medium high"),
        (VLLM, "off on low medium high"),
        (SGLANG, "off on low medium high"),
        (OLLAMA, "off low medium high"),
        (LM_STUDIO, "low medium high"),
        (PLAIN, "low medium high"),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
async def test_the_choices_of_thinking_are_those_that_are_sent(kind: Kind, known: str) -> None:
    async with chatting(kind) as chat:
        assert " ".join(chat.loaded.model.thinking) == known
        for choice in Thinking:
            events = await chat.ask(wire.plain(), request=reply_request(thinking=choice))
            is_known = choice in chat.loaded.model.thinking
            assert ("reasoning_effort" in chat.sent or "chat_template_kwargs" in chat.sent) == is_known
            assert bool(notices_of(events)) == (not is_known and choice is not Thinking.DEFAULT)


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        (LLAMA_SERVER, "reasoning_budget_tokens"),
        (VLLM, "thinking_token_budget"),
        (SGLANG, ""),
        (OLLAMA, ""),
        (LM_STUDIO, ""),
        (PLAIN, ""),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
async def test_the_limit_of_a_thought_is_sent_or_said_to_be_unknown(kind: Kind, name: str) -> None:
    async with chatting(kind) as chat:
        events = await chat.ask(wire.plain(), request=reply_request(thinking_tokens=500))
        if name:
            assert chat.sent[name] == 500
            assert not notices_of(events)
        else:
            assert 500 not in chat.sent.values()
            assert notices_of(events) == [f"{DIALECTS[kind.name].title} does not know thinking_tokens; it is not sent."]


async def test_a_choice_of_thinking_and_values_for_the_template_are_sent_together() -> None:
    request = reply_request(thinking=Thinking.OFF, template_values='{"tone": "dry"}')
    async with chatting(LLAMA_SERVER) as chat:
        await chat.ask(wire.plain(), request=request)
        assert chat.sent["chat_template_kwargs"] == {"enable_thinking": False, "tone": "dry"}


# --- what the server can do -----------------------------------------------------------------------------------------


@every_kind
async def test_a_server_tells_what_it_is_and_can_do(kind: Kind) -> None:
    async with chatting(kind) as chat:
        model = chat.loaded.model
        assert model.name == MODEL
        assert model.path == f"{chat.server.url}#{MODEL}"
        assert model.server == "fake"
        assert model.context_size == (0 if kind is PLAIN else CONTEXT_SIZE)
        can = model.capabilities
        assert not (can.has_exact_tokens or can.can_estimate or can.can_prefill_idle)
        assert can.sees_images == (kind is not LLAMA_SERVER)  # where the server does not tell, one may try
        assert can.can_continue == (not can.why_not_continue)
        assert can.can_continue == (kind in (LLAMA_SERVER, VLLM, SGLANG))
        assert can.has_probabilities == (kind is not LM_STUDIO)


@pytest.mark.parametrize("vision", [False, True])
async def test_llama_server_tells_whether_the_model_sees(vision: bool) -> None:
    routes = {
        **LLAMA_SERVER.routes,
        ("GET", MODELS): llama_models(vision=vision),
        ("GET", "/props"): llama_props(vision=vision),
    }
    async with FakeServer(routes, LLAMA_SERVER.not_found) as server, chat_with(server) as chat:
        assert chat.loaded.model.capabilities.sees_images == vision
        assert chat.loaded.model.trained_context_size == TRAINED_CONTEXT_SIZE


async def test_llama_server_is_found_out_behind_another_owner_of_the_model() -> None:
    routes = {**LLAMA_SERVER.routes, ("GET", MODELS): models("somebody")}
    async with FakeServer(routes, LLAMA_SERVER.not_found) as server, chat_with(server) as chat:
        assert chat.loaded.model.context_size == CONTEXT_SIZE
        await chat.ask(wire.llama_server())
        assert chat.sent["return_progress"] is True


async def test_a_kind_that_the_user_has_set_is_not_asked_for() -> None:
    async with chatting(PLAIN, dialect="vllm") as chat:
        await chat.ask(wire.vllm(), request=sampled(repeat_penalty=1.1))
        assert chat.sent["repetition_penalty"] == 1.1


async def test_a_server_without_a_list_of_models_answers_all_the_same() -> None:
    async with FakeServer() as server, chat_with(server) as chat:
        ended_well(await chat.ask(wire.plain()), ANSWER)
        assert chat.sent["model"] == MODEL


@pytest.mark.parametrize("kind", [VLLM, SGLANG, LLAMA_SERVER], ids=lambda kind: kind.name)
async def test_nothing_is_asked_of_a_server_but_what_it_is(kind: Kind) -> None:
    async with chatting(kind) as chat:
        for request in chat.server.requests:
            assert request.method == "GET" or request.target == "/api/show"
            assert not request.body or request.json == {"model": MODEL}
