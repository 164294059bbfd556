"""What is sent to each kind of server: values by its names, messages in its form, and nothing that it would miss."""

import json
from typing import Any

import pytest

from tests.engine.remote.remote_chat import ANSWER, QUESTION, chatting, ended_well, failure_of, reply_request, sampled
from tests.fakes import openai_streams as wire
from tests.fakes.engine_events import finish_of, notices_of
from tests.fakes.openai_dialects import KINDS, LLAMA_SERVER, LM_STUDIO, OLLAMA, PLAIN, SGLANG, VLLM, Kind
from tui_llama.chat import ChatMessage, Role
from tui_llama.engine.events import FailureCause, Notice, TextPiece, TokenProbability

every_kind = pytest.mark.parametrize("kind", KINDS, ids=repr)

ALWAYS_SENT = {"model", "messages", "stream", "stream_options"}
OFTEN_SENT = {"llama-server": {"return_progress", "cache_prompt", "timings_per_token"}}


# --- sampling -------------------------------------------------------------------------------------------------------


ALL_VALUES: dict[str, Any] = {
    "seed": 5,
    "temperature": 0.5,
    "top_k": 30,
    "top_p": 0.9,
    "min_p": 0.1,
    "repeat_penalty": 1.1,
    "frequency_penalty": 0.2,
    "presence_penalty": 0.3,
    "penalty_last_n": 32,
}
OF_OPENAI = {"seed", "temperature", "top_p", "frequency_penalty", "presence_penalty"}
NAMES: dict[str, dict[str, str]] = {
    "plain": {},
    "llama-server": {
        "top_k": "top_k",
        "min_p": "min_p",
        "repeat_penalty": "repeat_penalty",
        "penalty_last_n": "repeat_last_n",
    },
    "vllm": {"top_k": "top_k", "min_p": "min_p", "repeat_penalty": "repetition_penalty"},
    "sglang": {"top_k": "top_k", "min_p": "min_p", "repeat_penalty": "repetition_penalty"},
    "ollama": {},
    "lmstudio": {"top_k": "top_k", "repeat_penalty": "repeat_penalty"},
}


@every_kind
@pytest.mark.parametrize("name", ALL_VALUES)
async def test_a_sampling_value_is_sent_by_the_servers_name_or_said_to_be_unknown(kind: Kind, name: str) -> None:
    async with chatting(kind) as chat:
        events = await chat.ask(wire.plain(), request=sampled(**{name: ALL_VALUES[name]}))
        ended_well(events, ANSWER)
        sent = {key: chat.sent[key] for key in set(chat.sent) - ALWAYS_SENT - OFTEN_SENT.get(kind.name, set())}
        server_name = name if name in OF_OPENAI else NAMES[kind.name].get(name)
        if kind is LM_STUDIO and name == "min_p" and sent:
            server_name = "min_p"  # its documentation does not tell
        assert sent == ({} if server_name is None else {server_name: ALL_VALUES[name]})
        assert len(notices_of(events)) == (server_name is None)
        assert all(event.is_lasting for event in events if isinstance(event, Notice))


@every_kind
async def test_limits_and_stop_texts_are_sent(kind: Kind) -> None:
    async with chatting(kind) as chat:
        await chat.ask(wire.plain(), request=reply_request(max_tokens=12, stop_texts=("\n\n", "User:")))
        names = {"max_tokens", "max_completion_tokens"} & set(chat.sent)
        assert [chat.sent[name] for name in names] == [12]
        assert names == {"max_tokens"} or kind not in (OLLAMA, LM_STUDIO)
        assert chat.sent["stop"] == ["\n\n", "User:"]


# --- messages -------------------------------------------------------------------------------------------------------


async def test_a_conversation_is_sent_as_it_is() -> None:
    messages = (
        ChatMessage(Role.SYSTEM, "Be brief."),
        ChatMessage(Role.USER, "Hello"),
        ChatMessage(Role.ASSISTANT, "Hi — 🦙"),
        QUESTION,
    )
    async with chatting(PLAIN) as chat:
        await chat.ask(wire.plain(), request=reply_request(*messages))
        assert chat.sent["messages"] == [{"role": str(one.role), "content": one.text} for one in messages]


async def test_images_are_sent_before_the_text_as_data_urls() -> None:
    picture = "data:image/png;base64,iVBORw0KGgo="
    async with chatting(LM_STUDIO) as chat:
        assert chat.loaded.model.capabilities.sees_images
        await chat.ask(wire.plain(), request=reply_request(ChatMessage(Role.USER, "What is it?", (picture,))))
        (message,) = chat.sent["messages"]
        assert message["content"] == [
            {"type": "image_url", "image_url": {"url": picture}},
            {"type": "text", "text": "What is it?"},
        ]


async def test_further_fields_of_messages_are_sent() -> None:
    calls = [{"id": "call_0", "type": "function", "function": {"name": "look", "arguments": "{}"}}]
    messages = (
        QUESTION,
        ChatMessage(Role.ASSISTANT, "", fields=json.dumps({"tool_calls": calls})),
        ChatMessage(Role.TOOL, "It hums.", fields=json.dumps({"tool_call_id": "call_0"})),
    )
    async with chatting(PLAIN) as chat:
        await chat.ask(wire.plain(), request=reply_request(*messages))
        assert chat.sent["messages"][1]["tool_calls"] == calls
        assert chat.sent["messages"][2]["tool_call_id"] == "call_0"
        assert chat.sent["messages"][2]["content"] == "It hums."


# --- thoughts of earlier answers ------------------------------------------------------------------------------------

THOUGHTFUL = (
    QUESTION,
    ChatMessage(Role.ASSISTANT, "<think>\nLet me think.\n</think>\n\nThey hum."),
    ChatMessage(Role.USER, "Why?"),
)
NAMES_OF_THOUGHTS = {
    "llama-server": {"reasoning_content"},
    "vllm": {"reasoning", "reasoning_content"},
    "sglang": {"reasoning_content"},
    "ollama": {"reasoning"},
}


@every_kind
async def test_thoughts_are_sent_back_beside_the_answer_by_the_names_that_the_server_takes(kind: Kind) -> None:
    async with chatting(kind) as chat:
        await chat.ask(wire.plain(), request=reply_request(*THOUGHTFUL))
        names = NAMES_OF_THOUGHTS.get(kind.name, set())
        assert chat.sent["messages"][1] == {
            "role": "assistant",
            "content": "They hum.",
            **dict.fromkeys(names, "Let me think."),
        }


async def test_an_answer_that_only_tells_of_the_marks_is_sent_as_it_is() -> None:
    text = "The mark is <think> and its end </think>."
    async with chatting(PLAIN) as chat:
        await chat.ask(wire.plain(), request=reply_request(QUESTION, ChatMessage(Role.ASSISTANT, text), QUESTION))
        assert chat.sent["messages"][1]["content"] == text


# --- schemas, grammars, templates -----------------------------------------------------------------------------------

SCHEMA = {"type": "object", "properties": {"sound": {"type": "string"}}, "required": ["sound"]}
GRAMMAR = 'root ::= "hum"'
GRAMMAR_FIELDS: dict[str, dict[str, Any]] = {
    "llama-server": {"grammar": GRAMMAR},
    "vllm": {"structured_outputs": {"grammar": GRAMMAR}},
    "sglang": {"ebnf": GRAMMAR},
}


@every_kind
async def test_a_schema_is_sent_as_openai_has_it(kind: Kind) -> None:
    async with chatting(kind) as chat:
        await chat.ask(wire.plain(), request=reply_request(json_schema=json.dumps(SCHEMA)))
        sent = chat.sent["response_format"]
        assert sent["type"] == "json_schema"
        assert sent["json_schema"]["schema"] == SCHEMA
        assert not any(name.startswith("guided_") for name in chat.sent)


@every_kind
async def test_json_without_a_schema_is_asked_for_as_plainly_as_the_server_allows(kind: Kind) -> None:
    async with chatting(kind) as chat:
        await chat.ask(wire.plain(), request=reply_request(json_schema='{"type": "object"}'))
        is_plain = kind.name != "lmstudio"
        assert chat.sent["response_format"]["type"] == ("json_object" if is_plain else "json_schema")


async def test_a_bound_answer_that_was_cut_off_is_incomplete() -> None:
    async with chatting(PLAIN) as chat:
        for request, is_incomplete in ((reply_request(json_schema="{}"), True), (reply_request(), False)):
            events = await chat.ask(wire.plain(("{",), "length"), request=request)
            assert finish_of(events).usage.is_incomplete == is_incomplete


@every_kind
async def test_a_grammar_is_sent_or_refused_and_never_dropped(kind: Kind) -> None:
    async with chatting(kind) as chat:
        fields = GRAMMAR_FIELDS.get(kind.name)
        events = await chat.ask(*[wire.plain()] * (fields is not None), request=reply_request(grammar=GRAMMAR))
        if fields is None:
            assert failure_of(events, FailureCause.ENGINE).hint
            assert not chat.server.asked()
        else:
            ended_well(events, ANSWER)
            assert chat.loaded.model.capabilities.has_grammars
            assert {name: chat.sent[name] for name in fields} == fields


@pytest.mark.parametrize("schema", ["no JSON", "5", "[" * 100_000])
async def test_a_schema_that_is_none_is_refused(schema: str) -> None:
    async with chatting(PLAIN) as chat:
        failure_of(await chat.ask(request=reply_request(json_schema=schema)), FailureCause.ENGINE)
        assert not chat.server.asked()


@every_kind
async def test_the_switch_of_thinking_is_sent_or_said_to_be_unknown(kind: Kind) -> None:
    async with chatting(kind) as chat:
        events = await chat.ask(wire.plain(), request=reply_request(template_values='{"enable_thinking": false}'))
        ended_well(events, ANSWER)
        if kind in (LLAMA_SERVER, VLLM, SGLANG):
            assert chat.sent["chat_template_kwargs"] == {"enable_thinking": False}
        elif kind is OLLAMA:
            assert chat.sent["reasoning_effort"] == "none"
        else:
            assert set(chat.sent) == ALWAYS_SENT
            assert "enable_thinking" in notices_of(events)[0]


async def test_tools_are_sent_beside_the_messages() -> None:
    tools = [{"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}]
    async with chatting(PLAIN) as chat:
        await chat.ask(wire.plain(), request=reply_request(template_values=json.dumps({"tools": tools})))
        assert chat.sent["tools"] == tools


@every_kind
async def test_an_answer_that_is_never_to_end_is_refused_by_servers_that_end_it(kind: Kind) -> None:
    async with chatting(kind) as chat:
        can = kind in (LLAMA_SERVER, VLLM, SGLANG)
        events = await chat.ask(*[wire.plain()] * can, request=reply_request(ignore_eos=True))
        if can:
            assert chat.sent["ignore_eos"] is True
        else:
            failure_of(events, FailureCause.ENGINE)
            assert not chat.server.asked()


# --- probabilities --------------------------------------------------------------------------------------------------


def entry(token: str, logprob: Any, *, token_id: int | None = None, **more: object) -> dict[str, object]:
    """Returns a token with its probability as servers send it; llama-server adds the id."""
    identified = {} if token_id is None else {"id": token_id}
    return {**identified, "token": token, "bytes": list(token.encode()), "logprob": logprob, **more}


def with_probabilities(*entries: object, content: str = "a") -> bytes:
    return wire.frame(
        [{"index": 0, "delta": {"content": content}, "finish_reason": None, "logprobs": {"content": entries}}]
    )


async def test_probabilities_are_asked_for_and_told() -> None:
    sent = with_probabilities(
        entry("a", -0.5, token_id=5, top_logprobs=[entry("a", -0.5, token_id=5), entry("b", -1.5, token_id=6)])
    )
    async with chatting(LLAMA_SERVER) as chat:
        events = await chat.ask([sent, wire.STOP], request=reply_request(top_probabilities=2))
        assert (chat.sent["logprobs"], chat.sent["top_logprobs"]) == (True, 2)
        others = (TokenProbability(b"a", -0.5, 5), TokenProbability(b"b", -1.5, 6))
        assert events[0] == TextPiece(7, "a", (), (TokenProbability(b"a", -0.5, 5, others),))


async def test_probabilities_may_have_no_ids_and_no_bytes_and_be_of_half_characters() -> None:
    half = {"token": "\ufffd", "bytes": [0xF0, 0x9F], "logprob": -1, "top_logprobs": []}
    bare = {"token": "é", "bytes": None, "logprob": -9999.0}
    async with chatting(VLLM) as chat:
        events = await chat.ask([with_probabilities(half, bare), wire.STOP], request=reply_request(top_probabilities=0))
        assert chat.sent["top_logprobs"] == 0
        assert events[0] == TextPiece(
            7, "a", (), (TokenProbability(b"\xf0\x9f", -1.0), TokenProbability("é".encode(), -9999.0))
        )


async def test_nobody_gets_probabilities_that_nobody_asked_for() -> None:
    async with chatting(LLAMA_SERVER) as chat:
        events = await chat.ask([with_probabilities(entry("a", -0.5)), wire.STOP])
        assert not {"logprobs", "top_logprobs"} & set(chat.sent)
        assert events[0] == TextPiece(7, "a", ())


@pytest.mark.parametrize(
    "logprobs",
    [
        None, 5, [], {"content": None}, {"content": [None, 5, "x"]},
        {"content": [{"token": 5, "logprob": "x"}, {"token": "a", "logprob": 3.5}]},
        {"content": [{"token": "a", "bytes": [300, -1, "x"], "logprob": 1e999, "id": -4}]},
        {"content": [{"token": "a", "logprob": float("nan"), "top_logprobs": 7, "id": 2**70}]},
    ],
)  # fmt: skip
async def test_odd_probabilities_do_not_spoil_an_answer(logprobs: object) -> None:
    async with chatting(LLAMA_SERVER) as chat:
        odd = wire.frame([{"delta": {"content": "a"}, "logprobs": logprobs, "finish_reason": "stop"}])
        events = await chat.ask([odd], request=reply_request(top_probabilities=2))
        ended_well(events, "a")
        told = [each for event in events if isinstance(event, TextPiece) for each in event.probabilities]
        assert all(-1e9 < each.log_probability <= 0 for each in told)


async def test_a_server_that_tells_no_probabilities_is_not_asked_for_them() -> None:
    async with chatting(LM_STUDIO) as chat:
        assert not chat.loaded.model.capabilities.has_probabilities
        failure_of(await chat.ask(request=reply_request(top_probabilities=1)), FailureCause.ENGINE)
        assert not chat.server.asked()
