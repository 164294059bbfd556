"""What the endpoints refuse, and with which words."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.serve.openai.asking import CHAT, MODEL, QUESTION, TEXT, Asker, said
from tui_llama.engine.descriptions import Capabilities
from tui_llama.engine.events import Failed, PromptEncoded, TextPiece
from tui_llama.engine.process.border import LOG_HINT
from tui_llama.engine.scripted import Loss, Step
from tui_llama.serve.openai.request.unfollowed import OFF_VALUES, UnfollowedFields

CALL = {"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": "{}"}}]}
TOOLS = [{"type": "function", "function": {"name": "f"}}]
ANSWER = [*QUESTION, {"role": "assistant", "content": "I am"}]
BOTH: list[tuple[dict[str, Any], str]] = [
    ({"temperature": "hot"}, "temperature"),
    ({"temperature": -1}, "temperature"),
    ({"top_p": 1.5}, "top_p"),
    ({"top_k": 2**40}, "top_k"),
    ({"min_p": -0.1}, "min_p"),
    ({"repeat_penalty": 0}, "repeat_penalty"),
    ({"repeat_last_n": -2}, "repeat_last_n"),
    ({"seed": 1.5}, "seed"),
    ({"max_tokens": -2}, "max_tokens"),
    ({"max_tokens": 10**30}, "max_tokens"),
    ({"stop": 3}, "stop"),
    ({"stop": ["a"] * 17}, "stop"),
    ({"stop": "a" * 1025}, "stop"),
    ({"stop": ["a", 1]}, "stop[1]"),
    ({"logprobs": 21}, "logprobs"),
    ({"logprobs": -1}, "logprobs"),
    ({"stream": "yes"}, "stream"),
    ({"stream_options": {"include_usage": 1}}, "stream_options.include_usage"),
    ({"n": 2}, "n"),
    ({"n": 0}, "n"),
    ({"best_of": 2}, "best_of"),
    ({"logit_bias": {"1": "five"}}, "logit_bias[...]"),
    ({"logit_bias": {"1": True}}, "logit_bias"),
    ({"logit_bias": {"9" * 5000: 1}}, "logit_bias"),
    ({"logit_bias": [[-1, 1.0]]}, "logit_bias"),
    ({"samplers": ["top_q"]}, "samplers"),
    ({"samplers": "infill"}, "samplers"),
    ({"typical_p": 1.5}, "typical_p"),
    ({"mirostat": 3}, "mirostat"),
    ({"dry_sequence_breakers": [1]}, "dry_sequence_breakers[0]"),
    ({"dry_sequence_breakers": ["a"] * 33}, "dry_sequence_breakers"),
    ({"adaptive_decay": 1}, "adaptive_decay"),
    ({"response_format": {"type": "json"}}, "response_format.type"),
    ({"response_format": {"type": "json_schema", "json_schema": {}}}, "response_format.json_schema"),
    ({"response_format": {"type": "json_schema"}}, "response_format.json_schema"),
    (
        {"response_format": {"type": "json_schema", "json_schema": {"schema": [1]}}},
        "response_format.json_schema.schema",
    ),
    ({"response_format": {"type": "json_object", "schema": 5}}, "response_format.schema"),
    ({"response_format": {"type": "json_object"}, "grammar": "root ::= [a]"}, "grammar"),
    ({"grammar": ["root ::= [a]"]}, "grammar"),
    ({"json_schema": "{}"}, "json_schema"),
    ({"json_schema": {"type": "object"}, "grammar": "root ::= [a]"}, "grammar"),
    ({"structured_outputs": {"regex": "a"}}, "structured_outputs"),
    ({"guided_json": {"type": "object"}}, "guided_json"),
    ({"guided_choice": ["a"]}, "guided_choice"),
    ({"regex": "a"}, "regex"),
    *(
        ({name: value}, name)
        for name, value in {
            "top_a": 0.5,
            "tfs_z": 0.5,
            "min_tokens": 5,
            "stop_token_ids": [1],
            "bad_words": ["no"],
            "use_beam_search": True,
            "lora": [{"id": 0, "scale": 1}],
            "reasoning_budget_message": "Enough.",
            "reasoning_budget": -2,
            "enable_thinking": False,
            "cache_prompt": False,
            "n_probs": 5,
            "post_sampling_probs": True,
            "prompt_logprobs": 0.5,
            "return_tokens": True,
            "return_token_ids": True,
            "include_stop_str_in_output": True,
        }.items()
    ),
]
IN_CHATS: list[tuple[dict[str, Any], str]] = [
    ({"messages": None}, "messages"),
    ({"messages": []}, "messages"),
    ({"messages": "Hello"}, "messages"),
    ({"messages": [{"content": "Hello"}]}, "messages[0]"),
    ({"messages": [{"role": "function", "content": ""}]}, "messages[0].role"),
    ({"messages": [{"role": "user"}]}, "messages[0].content"),
    ({"messages": [{"role": "user", "content": 3}]}, "messages[0].content"),
    ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "messages[0].content[0]"),
    ({"messages": [{"role": "user", "content": [{"type": "input_audio"}]}]}, "messages[0].content[0]"),
    ({"messages": [{"role": "user", "content": [{"type": [1]}]}]}, "messages[0].content[0]"),
    ({"messages": [{"role": "user", "content": [{"type": "text"}]}]}, "messages[0].content[0].text"),
    ({"messages": [{"role": "assistant", "function_call": {}}]}, "messages[0].function_call"),
    ({"messages": [{"role": "assistant", "tool_calls": [{"function": 1}]}]}, "messages[0].tool_calls[0]"),
    (
        {"messages": [{"role": "assistant", "tool_calls": [{"function": {}}]}]},
        "messages[0].tool_calls[0].function.name",
    ),
    ({"max_completion_tokens": -2}, "max_completion_tokens"),
    ({"top_logprobs": 3}, "top_logprobs"),
    ({"logprobs": True, "top_logprobs": 21}, "top_logprobs"),
    ({"functions": [{"name": "f"}]}, "functions"),
    ({"function_call": {"name": "f"}}, "function_call"),
    ({"audio": {"voice": "alloy"}}, "audio"),
    ({"modalities": ["text", "audio"]}, "modalities"),
    ({"web_search_options": {}}, "web_search_options"),
    ({"tools": [{"type": "custom"}]}, "tools[0]"),
    ({"tools": [{"type": "function", "function": {}}]}, "tools[0].function.name"),
    ({"tools": [{"type": "function", "function": {"name": "f", "parameters": 1}}]}, "tools[0].function.parameters"),
    ({"tool_choice": "required"}, "tool_choice"),
    ({"tools": TOOLS, "grammar": "root ::= [a]"}, "grammar"),
    ({"tool_choice": {"type": "function", "function": {"name": "f"}}}, "tool_choice"),
    ({"chat_template_kwargs": {"enable_thinking": "false"}}, "chat_template_kwargs.enable_thinking"),
    ({"chat_template_kwargs": {"messages": []}}, "chat_template_kwargs.messages"),
    ({"reasoning_format": "odd"}, "reasoning_format"),
    ({"continue_final_message": True}, "continue_final_message"),
    ({"messages": ANSWER, "continue_final_message": "reasoning_content"}, "continue_final_message"),
    ({"messages": ANSWER, "continue_final_message": True, "add_generation_prompt": True}, "continue_final_message"),
    ({"messages": [*QUESTION, CALL], "continue_final_message": True}, "messages"),
]
IN_TEXTS: list[tuple[dict[str, Any], str]] = [
    ({"prompt": None}, "prompt"),
    ({"prompt": ""}, "prompt"),
    ({"prompt": []}, "prompt"),
    ({"prompt": [[]]}, "prompt"),
    ({"prompt": ["a", "b"]}, "prompt"),
    ({"prompt": ["a", 1]}, "prompt"),
    ({"prompt": [[1], [2]]}, "prompt"),
    ({"prompt": [128_256]}, "prompt"),
    ({"prompt": [-1]}, "prompt"),
    ({"suffix": "}"}, "suffix"),
    ({"echo": True, "logprobs": 1}, "logprobs"),
]


@pytest.mark.parametrize(
    ("path", "fields", "param"),
    [
        *((CHAT, *each) for each in (*BOTH, *IN_CHATS)),
        *((TEXT, {"prompt": "Hello", **fields}, param) for fields, param in (*BOTH, *IN_TEXTS)),
    ],
)
async def test_a_wrong_field_is_named(path: str, fields: dict[str, Any], param: str) -> None:
    asker = Asker()
    answer = await asker.ask(path, **fields)

    assert answer.status == 400
    assert answer.headers["content-type"] == "application/json"
    assert (answer.error["type"], answer.error["param"]) == ("invalid_request_error", param)
    assert answer.error["message"]
    assert not asker.engine.reply_requests


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b"\xff", b'{"messages": [{"role":"user","content":"\\ud800"}]}', b"1"]
)
@pytest.mark.parametrize("path", [CHAT, TEXT])
async def test_what_is_no_request_is_refused(path: str, body: bytes) -> None:
    assert (await Asker().ask(path, body)).status == 400


async def test_fields_that_are_off_are_taken() -> None:
    off: dict[str, Any] = {
        "dry_multiplier": 0.0,
        "xtc_probability": 0,
        "mirostat": 0,
        "samplers": [],
        "typical_p": 1.0,
        "top_n_sigma": -1,
        "min_tokens": 0,
        "stop_token_ids": [],
        "reasoning_budget": -1,
        "enable_thinking": True,
        "cache_prompt": True,
        "n_probs": 0,
        "return_tokens": False,
        "prompt_logprobs": None,
        "dry_base": 1.75,
        "mirostat_tau": 5.0,
    }
    assert (await Asker([said("Yes.")]).ask(**off)).status == 200
    assert OFF_VALUES.keys() == set(UnfollowedFields.__struct_fields__)


@pytest.mark.parametrize("levels", [65, 500, 980, 993])
async def test_tools_that_are_nested_too_deeply_are_refused(levels: int) -> None:
    deep = b'{"a":' * levels + b"1" + b"}" * levels
    tool = b'{"type": "function", "function": {"name": "f", "parameters": ' + deep + b"}}"
    question = b'{"messages": [{"role": "user", "content": "Hello"}], "tools": [' + tool + b"]}"
    asker = Asker()
    answer = await asker.ask(CHAT, question)

    assert answer.status == 400
    assert "nested too deeply" in answer.error["message"] or levels > 900
    assert not asker.engine.reply_requests


async def test_deep_json_is_refused() -> None:
    deep = b'{"chat_template_kwargs": ' + b'{"a":' * 100_000

    assert (await Asker().ask(CHAT, deep)).status == 400


@pytest.mark.parametrize("path", [CHAT, TEXT])
async def test_another_model_is_not_found(path: str) -> None:
    answer = await Asker().ask(path, prompt="Hello", model="gpt-4o")

    assert answer.status == 404
    assert answer.error == {
        "message": "There is no model “gpt-4o” here; /v1/models lists it.",
        "type": "not_found_error",
        "code": "model_not_found",
        "param": "model",
    }


async def test_an_engine_without_probabilities_says_so() -> None:
    answer = await Asker(model=msgspec.structs.replace(MODEL, capabilities=Capabilities())).ask(logprobs=True)

    assert (answer.status, answer.error["param"]) == (400, "logprobs")


@pytest.mark.parametrize(("path", "param"), [(CHAT, "messages"), (TEXT, "prompt")])
@pytest.mark.parametrize("stream", [True, False])
async def test_a_prompt_that_is_too_long_is_told_with_its_numbers(path: str, param: str, stream: bool) -> None:
    asker = Asker([[Failed(0, "the prompt is too long", "Write less.", prompt_tokens=9000)]])
    answer = await asker.ask(path, prompt="Hello", stream=stream)

    assert answer.status == 400
    assert answer.error == {
        "message": "The prompt has 9000 tokens, but the maximum context length is 8192. "
        "Send a shorter one, or start the server with a larger --ctx.",
        "type": "exceed_context_size_error",
        "code": "context_length_exceeded",
        "param": param,
        "n_prompt_tokens": 9000,
        "n_ctx": 8192,
    }


async def test_more_messages_than_the_context_has_tokens_never_reach_the_engine() -> None:
    asker = Asker([said("Yes.")])
    blank, written = {"role": "user", "content": " "}, {"role": "user", "content": "a"}
    assert (await asker.ask(messages=[blank] * 9000 + [written] * 8192)).status == 200
    answer = await asker.ask(messages=[written] * 8193)

    assert (answer.status, answer.error["code"]) == (400, "context_length_exceeded")
    assert answer.error["message"].startswith("The prompt has at least 8193 tokens, but the maximum context length is")
    assert answer.error["n_prompt_tokens"] == 8193
    assert len(asker.engine.reply_requests) == 1


@pytest.mark.parametrize(
    ("path", "fields"),
    [
        (TEXT, {"prompt": "a" * (2**20 + 1)}),
        (CHAT, {"messages": [{"role": "user", "content": "a" * 2**19}] * 2 + QUESTION}),
        (CHAT, {"messages": [*QUESTION, {"role": "assistant", "content": "", "reasoning_content": "a" * 2**20}]}),
        (CHAT, {"chat_template_kwargs": {"a": "a" * 2**20}}),
    ],
)
async def test_a_prompt_of_too_many_characters_never_reaches_the_engine(path: str, fields: dict[str, Any]) -> None:
    asker = Asker()
    answer = await asker.ask(path, **fields)

    assert (answer.status, answer.error["code"]) == (400, "context_length_exceeded")
    assert "but the server takes 1048576. Send a shorter one." in answer.error["message"]
    assert not asker.engine.reply_requests


async def test_a_larger_context_takes_a_longer_prompt() -> None:
    asker = Asker([said("Yes.")], model=msgspec.structs.replace(MODEL, context_size=2**18))

    assert (await asker.ask(TEXT, prompt="a" * 2**21)).status == 200


@pytest.mark.parametrize("stream", [True, False])
async def test_what_fails_before_the_prompt_is_known_is_the_requests_fault(stream: bool) -> None:
    asker = Asker([[Failed(0, "the template refused the messages: no tools", "Send others.")]])
    answer = await asker.ask(stream=stream)

    assert answer.status == 400
    assert answer.error["message"] == "The template refused the messages: no tools. Send others."


@pytest.mark.parametrize("before", [[], [PromptEncoded(0, 0, (1,))]])
async def test_a_mistake_of_the_engine_is_the_servers_fault_and_keeps_its_words(before: list[Step]) -> None:
    asker = Asker([[*before, Failed(0, "the engine failed: KeyError: 'a secret'", LOG_HINT)]])
    answer = await asker.ask()

    assert (answer.status, answer.error["type"]) == (500, "server_error")
    assert answer.error["message"] == "The engine failed; its log has details."


async def test_what_fails_later_is_the_servers_fault() -> None:
    asker = Asker([[PromptEncoded(0, 0, (1,)), Failed(0, "a logit is not a number")]])
    answer = await asker.ask()

    assert (answer.status, answer.error["type"]) == (500, "server_error")
    assert answer.error["message"] == "A logit is not a number."


async def test_a_lost_engine_is_told() -> None:
    answer = await Asker([[PromptEncoded(0, 0, (1,)), Loss()]]).ask()

    assert (answer.status, answer.error["code"]) == (500, "engine_lost")


@pytest.mark.parametrize("ending", [Failed(0, "a logit is not a number"), Loss("the engine ended")])
async def test_an_error_in_a_stream_is_its_last_event(ending: Failed | Loss) -> None:
    answer = await Asker([[PromptEncoded(0, 0, (1,)), TextPiece(0, "Hel", (1,)), ending]]).ask(stream=True)

    assert answer.status == 200
    assert answer.has_ended
    assert answer.chunks[-1]["error"]["type"] == "server_error"
    assert b"[DONE]" not in answer.body
    assert answer.chunks[-2]["choices"][0]["delta"] == {"content": "Hel"}


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
NAMES = sorted({name for fields, _ in (*BOTH, *IN_CHATS, *IN_TEXTS) for name in fields} | {"tools", "messages"})


@given(fields=st.dictionaries(st.sampled_from(NAMES), values, max_size=4), path=st.sampled_from([CHAT, TEXT]))
async def test_whatever_is_asked_is_answered_or_refused(fields: dict[str, Any], path: str) -> None:
    asker = Asker(lambda request: [Failed(0, "refused")])

    assert (await asker.ask(path, msgspec.json.encode(fields))).status in {400, 404}
    assert (await asker.ask(path, msgspec.json.encode({"messages": QUESTION, "prompt": "a", **fields}))).status in {
        400,
        404,
    }
