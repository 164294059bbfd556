"""Writes the body of a request: what the user has set, under the names of the dialect, and nothing else.

What the dialect does not know is told. If the answer would not be what was asked for, the request is refused.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from tui_llama.chat import ChatMessage, Role, Thinking
from tui_llama.engine.events import FailureCause
from tui_llama.engine.remote.dialects import Dialect
from tui_llama.engine.remote.failures import RemoteEngineError
from tui_llama.engine.remote.request.messages import request_messages, stands_in_thinking
from tui_llama.engine.remote.request.sampling import sampling_fields
from tui_llama.engine.remote.stream.json_values import NotJsonError, decode_json
from tui_llama.engine.requests import CompleteRequest, ReplyRequest

_TOP_LEVEL_VALUES = ("tools", "reasoning_effort")
_KWARGS = "chat_template_kwargs"


class RequestBody(msgspec.Struct, frozen=True):
    """The body of a request, and the names of what was set and is not sent."""

    body: dict[str, Any]
    unknown_names: tuple[str, ...]


def request_body(
    request: ReplyRequest | CompleteRequest, messages: Sequence[ChatMessage], model: str, dialect: Dialect
) -> RequestBody:
    """Returns the body for a request.

    Args:
        request: What to answer or to continue.
        messages: Its messages, as they are to be sent.
        model: The server's name of the model.
        dialect: How the server speaks.

    Raises:
        RemoteEngineError: the server cannot do what the request asks for.
    """
    is_begun = isinstance(request, CompleteRequest) or bool(request.reply_start)
    goes_on = is_begun and bool(messages) and messages[-1].role is Role.ASSISTANT
    body: dict[str, Any] = {
        "model": model,
        "messages": request_messages(messages, dialect, goes_on),
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    sampling, unknown = sampling_fields(request, dialect)
    values, unknown_values = _template_values(request, dialect)
    thinking, unknown_thinking = _thinking(request, dialect)
    if isinstance(kwargs := values.get(_KWARGS), dict):
        values[_KWARGS] = {**thinking.get(_KWARGS, {}), **kwargs}
    body |= sampling | thinking | values | _limits(request, dialect) | _bounds(request, dialect)
    if goes_on:
        body |= _continuation(request, messages[-1], dialect)
    if dialect.tells_progress:
        body["return_progress"] = True
    return RequestBody(body, (*unknown, *unknown_values, *unknown_thinking))


def _limits(request: ReplyRequest | CompleteRequest, dialect: Dialect) -> dict[str, Any]:
    limits: dict[str, Any] = {}
    if request.max_tokens is not None:
        limits["max_tokens"] = request.max_tokens
    if request.stop_texts:
        limits["stop"] = list(request.stop_texts)
    if request.ignore_eos:
        if not dialect.can_ignore_end:
            raise _refused(f"{dialect.title} always lets the model end its answer", "Switch ignore-eos off.")
        limits["ignore_eos"] = True
    return limits


def _response_format(schema: Any, dialect: Dialect) -> dict[str, Any]:
    """Returns the field for an answer in JSON; with a schema that wants no more than an object, as plain as may be."""
    if schema in ({}, True, {"type": "object"}) and dialect.has_json_object:
        return {"type": "json_object"}
    return {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema, "strict": True}}


def _bounds(request: ReplyRequest | CompleteRequest, dialect: Dialect) -> dict[str, Any]:
    """Returns the fields of a schema, a grammar and probabilities."""
    bounds: dict[str, Any] = {}
    if request.json_schema:
        schema = _json_object(request.json_schema, "the JSON schema", allows_bool=True)
        bounds["response_format"] = _response_format(schema, dialect)
    if request.grammar:
        if not dialect.grammar_path:
            raise _refused(f"{dialect.title} knows no grammars", "Use a JSON schema instead.")
        value: Any = request.grammar
        for name in reversed(dialect.grammar_path):
            value = {name: value}
        bounds |= value
    if request.top_probabilities is not None:
        if not dialect.has_probabilities:
            raise _refused(f"{dialect.title} does not tell probabilities", "Switch them off for this server.")
        bounds |= {"logprobs": True, "top_logprobs": request.top_probabilities}
    return bounds


def _template_values(request: ReplyRequest | CompleteRequest, dialect: Dialect) -> tuple[dict[str, Any], list[str]]:
    """Returns the fields for variables of the chat template, and the names of those that the server does not know."""
    if not isinstance(request, ReplyRequest) or not request.template_values:
        return {}, []
    values: Mapping[str, Any] = _json_object(request.template_values, "the values for the chat template")
    sent = {name: value for name, value in values.items() if name in _TOP_LEVEL_VALUES}
    others = {name: value for name, value in values.items() if name not in _TOP_LEVEL_VALUES}
    if others and dialect.takes_template_values:
        return {**sent, _KWARGS: others}, []
    if dialect.name == "ollama" and others.get("enable_thinking") is False:
        sent.setdefault("reasoning_effort", "none")
        del others["enable_thinking"]
    return sent, list(others)


def _thinking(request: ReplyRequest | CompleteRequest, dialect: Dialect) -> tuple[dict[str, Any], list[str]]:
    """Returns the fields that say whether, how hard and how long to think, and the names of what is unknown of it."""
    sent: dict[str, Any] = {}
    unknown: list[str] = []
    if request.thinking in dialect.thinking:
        sent |= dialect.thinking[request.thinking]
    elif request.thinking is not Thinking.DEFAULT:
        unknown.append("thinking")
    if request.thinking_tokens is not None:
        if dialect.thinking_limit:
            sent[dialect.thinking_limit] = request.thinking_tokens
        else:
            unknown.append("thinking_tokens")
    return sent, unknown


def _continuation(request: ReplyRequest | CompleteRequest, answer: ChatMessage, dialect: Dialect) -> dict[str, Any]:
    if not dialect.continue_fields and isinstance(request, ReplyRequest):
        raise _refused(
            f"the start of the reply cannot be given to {dialect.title}: {dialect.why_not_continue.rstrip('.')}",
            "Ask without a start of the reply.",
        )
    if not dialect.continue_fields:
        raise _refused(dialect.why_not_continue.rstrip("."), "Ask for a new answer instead.")
    if dialect.continues_thinking and stands_in_thinking(answer):
        return {**dialect.continue_fields, "continue_final_message": dialect.continues_thinking}
    return dict(dialect.continue_fields)


def _json_object(text: str, what: str, allows_bool: bool = False) -> Any:
    try:
        value = decode_json(text.encode())
    except NotJsonError as error:
        raise _refused(f"{what} is not JSON", "Correct it.") from error
    if not isinstance(value, dict) and not (allows_bool and isinstance(value, bool)):
        raise _refused(f"{what} is no JSON object", "Correct it.")
    return value


def _refused(message: str, hint: str) -> RemoteEngineError:
    return RemoteEngineError(FailureCause.ENGINE, message, hint)
