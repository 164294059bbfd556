"""One chunk of a streamed answer, taken out of the data of an event."""

from typing import Any, Final

import msgspec

from tui_llama.engine.events import TokenProbability
from tui_llama.engine.remote.stream.json_values import count_at, decode_json, list_at, number_at, text_at, value_at

END_OF_STREAM: Final = b"[DONE]"

_MOST_ALTERNATIVES: Final = 100


class CallPiece(msgspec.Struct, frozen=True):
    """A piece of a tool call: pieces with the same `place` belong together."""

    place: int
    name: str
    arguments: str


class Chunk(msgspec.Struct, frozen=True):
    """What one chunk tells; whatever it lacks is empty.

    Attributes:
        thinking: A piece of the thinking, under whichever name.
        text: A piece of the answer.
        calls: Pieces of tool calls.
        probabilities: Those of its tokens.
        finish_reason: Why the answer has ended; "" if it goes on.
        stop_text: The stop text that ended it, where the server tells.
        usage: The object `usage`, None if there is none.
        timings: llama-server's object `timings`, None if there is none.
        progress: llama-server's object `prompt_progress`, None if there is none.
        error: The object or text of an error in the stream, None if there is none.
    """

    thinking: str = ""
    text: str = ""
    calls: tuple[CallPiece, ...] = ()
    probabilities: tuple[TokenProbability, ...] = ()
    finish_reason: str = ""
    stop_text: str = ""
    usage: Any = None
    timings: Any = None
    progress: Any = None
    error: Any = None


def read_chunk(data: bytes) -> Chunk:
    """Returns the chunk in the data of an event.

    Raises:
        NotJsonError: it is no JSON.
    """
    value = decode_json(data)
    choice = value_at(value, "choices", 0)
    delta = value_at(choice, "delta")
    if not isinstance(delta, dict):
        delta = value_at(choice, "message")
    return Chunk(
        thinking=text_at(delta, "reasoning_content") or text_at(delta, "reasoning"),
        text=_content(delta),
        calls=tuple(_call(call) for call in list_at(delta, "tool_calls")),
        probabilities=_probabilities(list_at(choice, "logprobs", "content")),
        finish_reason=text_at(choice, "finish_reason"),
        stop_text=text_at(choice, "stop_reason") or text_at(choice, "matched_stop"),
        usage=_object(value, "usage"),
        timings=_object(value, "timings"),
        progress=_object(value, "prompt_progress"),
        error=_error(value),
    )


def _content(delta: Any) -> str:
    """Returns the text of a delta; a few servers send it in parts."""
    if parts := list_at(delta, "content"):
        return "".join(text_at(part, "text") for part in parts)
    return text_at(delta, "content")


def _call(call: Any) -> CallPiece:
    return CallPiece(
        count_at(call, "index") or 0, text_at(call, "function", "name"), text_at(call, "function", "arguments")
    )


def _object(value: Any, name: str) -> Any:
    found = value_at(value, name)
    return found if isinstance(found, dict) else None


def _error(value: Any) -> Any:
    if value_at(value, "object") == "error":  # SGLang's flat form
        return value
    error = value_at(value, "error")
    return value if isinstance(error, dict | str) and error else None


def _probabilities(entries: list[Any]) -> tuple[TokenProbability, ...]:
    return tuple(_probability(entry, list_at(entry, "top_logprobs")) for entry in entries)


def _probability(entry: Any, alternatives: list[Any]) -> TokenProbability:
    # A token that cannot come has NaN or an infinite logarithm, which a store of numbers does not take.
    logarithm = number_at(entry, "logprob")
    return TokenProbability(
        token=_token_bytes(entry),
        log_probability=-9999.0 if logarithm is None else min(logarithm, 0.0),
        token_id=_token_id(entry),
        alternatives=tuple(_probability(each, []) for each in alternatives[:_MOST_ALTERNATIVES]),
    )


def _token_bytes(entry: Any) -> bytes:
    numbers = list_at(entry, "bytes")
    if numbers and all(isinstance(number, int) and 0 <= number <= 255 for number in numbers):
        return bytes(numbers)
    return text_at(entry, "token").encode()


def _token_id(entry: Any) -> int | None:
    token_id = count_at(entry, "id")
    return token_id if token_id is not None and token_id < 2**31 else None
