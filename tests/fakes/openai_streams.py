"""The bytes of answers as five kinds of servers stream them: chunks in server-sent events.

Those of llama-server are as it sent them, those of the others as their sources write them.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

DONE: Final = b"data: [DONE]\n\n"
PING: Final = b":\n\n"
KEEP_ALIVE: Final = b": keep-alive\n\n"

ANSWER: Final = ("Llamas", " hum", " — softly. 🦙")
THOUGHT: Final = ("Let me", " think", " about…")
USAGE: Final = {"prompt_tokens": 30, "completion_tokens": 7, "total_tokens": 37}
CACHED_USAGE: Final = {**USAGE, "prompt_tokens_details": {"cached_tokens": 20}}
TIMINGS: Final = {
    "cache_n": 20,
    "prompt_n": 10,
    "prompt_ms": 250.0,
    "prompt_per_token_ms": 25.0,
    "prompt_per_second": 40.0,
    "predicted_n": 7,
    "predicted_ms": 500.0,
    "predicted_per_token_ms": 71.4,
    "predicted_per_second": 14.0,
}


def event(payload: object) -> bytes:
    """Returns one event with a JSON text."""
    return b"data: " + json.dumps(payload, ensure_ascii=False).encode() + b"\n\n"


def frame(choices: Sequence[object], **more: object) -> bytes:
    """Returns one chunk with these choices."""
    return event(
        {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1_795_826_335, "model": "llama"}
        | {"choices": choices}
        | more
    )


def chunk(delta: Mapping[str, object], finish_reason: str | None = None, **more: object) -> bytes:
    """Returns a chunk with a piece of the answer. Whatever is in `more` stands beside the choices."""
    return frame([{"index": 0, "delta": delta, "finish_reason": finish_reason}], **more)


def text(content: str) -> bytes:
    """Returns a chunk with text."""
    return chunk({"content": content})


def texts(contents: Iterable[str]) -> list[bytes]:
    """Returns a chunk for each text."""
    return [text(content) for content in contents]


def usage(numbers: Mapping[str, object] = USAGE, **more: object) -> bytes:
    """Returns the chunk with the numbers of tokens."""
    return frame([], usage=numbers, **more)


ROLE: Final = chunk({"role": "assistant", "content": ""})
STOP: Final = chunk({}, "stop")


def plain(contents: Iterable[str] = ANSWER, finish_reason: str = "stop") -> list[bytes]:
    """Returns the events of an answer as OpenAI sends them."""
    return [ROLE, *texts(contents), chunk({}, finish_reason), usage(), DONE]


def llama_server(contents: Iterable[str] = ANSWER) -> list[bytes]:
    """Returns the events of llama-server: progress, the role again before the first text, timings at the end."""
    role = {"role": "assistant", "content": None}
    return [
        chunk(role, prompt_progress={"total": 30, "cache": 20, "processed": 20, "time_ms": 0}),
        chunk(role, prompt_progress={"total": 30, "cache": 20, "processed": 30, "time_ms": 250}),
        chunk(role),
        *texts(contents),
        STOP,
        usage(CACHED_USAGE, timings=TIMINGS),
        DONE,
    ]


def vllm(contents: Sequence[str] = ANSWER, thoughts: Iterable[str] = ()) -> list[bytes]:
    """Returns the events of vLLM: thoughts as `reasoning`, the end in the chunk of the last text."""
    return [
        ROLE,
        *(chunk({"reasoning": thought}) for thought in thoughts),
        *texts(contents[:-1]),
        frame([{"index": 0, "delta": {"content": contents[-1]}, "finish_reason": "stop", "stop_reason": None}]),
        usage(),
        DONE,
    ]


def sglang(contents: Iterable[str] = ANSWER, thoughts: Iterable[str] = ()) -> list[bytes]:
    """Returns the events of SGLang: `reasoning_content` in every chunk, null where there is none."""

    def piece(content: str | None, thought: str | None) -> bytes:
        return chunk({"role": None, "content": content, "reasoning_content": thought, "tool_calls": None})

    return [
        chunk({"role": "assistant", "content": "", "reasoning_content": None, "tool_calls": None}),
        *(piece(None, thought) for thought in thoughts),
        *(piece(content, None) for content in contents),
        frame([{"index": 0, "delta": {"reasoning_content": None}, "finish_reason": "stop", "matched_stop": 2}]),
        usage({**USAGE, "reasoning_tokens": 3}),
        DONE,
    ]


def ollama(contents: Iterable[str] = ANSWER, thoughts: Iterable[str] = ()) -> list[bytes]:
    """Returns the events of Ollama: the role in each chunk, no count of cached tokens."""
    role = {"role": "assistant"}
    return [
        *(chunk({**role, "content": "", "reasoning": thought}) for thought in thoughts),
        *(chunk({**role, "content": content}) for content in contents),
        chunk({**role, "content": ""}, "stop"),
        usage(),
        DONE,
    ]


def bare(contents: Iterable[str] = ANSWER) -> list[bytes]:
    """Returns chunks with nothing but what is needed, as a very small server sends them: no id, no usage, no end."""
    ends = event({"choices": [{"delta": {}, "finish_reason": "stop"}]})
    return [*(event({"choices": [{"delta": {"content": content}}]}) for content in contents), ends]


def tool_call(index: int, **function: str) -> dict[str, Any]:
    """Returns one piece of a tool call; the first, which has the name, has its id and type as well."""
    first = {"id": f"call_{index}", "type": "function"} if "name" in function else {}
    return {"index": index, **first, "function": function}


def error_event(error: object) -> bytes:
    """Returns the event with which a server tells an error in the middle of a stream."""
    return event({"error": error})
