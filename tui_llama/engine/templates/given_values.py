"""What a request gives a chat template beside the texts of messages: fields of messages and variables, as JSON.

They come from programs that use tools, and from whatever these programs have read. So nothing is believed of them: they
are bounded, and they may not take the place of what the engine itself gives.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

import msgspec

from tui_llama.chat import ChatMessage
from tui_llama.errors import EngineError

_MOST_CHARACTERS: Final = 1 << 22  # as of a rendered text
_DEEPEST: Final = 64
_OF_THE_ENGINE: Final = ("messages", "add_generation_prompt", "bos_token", "eos_token")


class GivenValuesError(EngineError):
    """The template cannot write what a request gives it; no other template can take its place."""


def template_values(text: str) -> dict[str, Any]:
    """Returns the variables that a request gives a template, without `tools` where there are none of them.

    Some templates would announce an empty list of tools.

    Raises:
        GivenValuesError: they are no JSON object, too large, or among those that the engine gives.
    """
    values = _json_object(text, "the template's values")
    taken = [name for name in _OF_THE_ENGINE if name in values]
    if taken:
        raise GivenValuesError(f"the template's value {taken[0]!r} is given by the engine", "Leave it out.")
    if not values.get("tools", True):
        del values["tools"]
    return values


def message_fields(message: ChatMessage) -> dict[str, Any]:
    """Returns the further fields of a message.

    Raises:
        GivenValuesError: they are no JSON object, or too large.
    """
    return _json_object(message.fields, "the fields of a message")


def with_object_arguments(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the fields with the arguments of tool calls as objects; arguments that are no JSON object stay text."""
    return _with_arguments(fields, lambda arguments: _object_of(arguments) if isinstance(arguments, str) else arguments)


def with_text_arguments(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the fields with the arguments of tool calls as JSON text."""
    return _with_arguments(
        fields,
        lambda arguments: json.dumps(arguments, ensure_ascii=False) if isinstance(arguments, dict) else arguments,
    )


def with_strings(value: Any, change: Callable[[str], str]) -> Any:
    """Returns the value with every text in it changed, those of keys among them."""
    if isinstance(value, str):
        return change(value)
    if isinstance(value, dict):
        return {change(key): with_strings(member, change) for key, member in value.items()}
    return [with_strings(member, change) for member in value] if isinstance(value, list) else value


def strings_in(value: Any) -> Iterator[str]:
    """Yields every text in a value, those of keys among them."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for key, member in value.items():
            yield key
            yield from strings_in(member)
    elif isinstance(value, list):
        for member in value:
            yield from strings_in(member)


def _json_object(text: str, what: str) -> dict[str, Any]:
    if not text:
        return {}
    if len(text) > _MOST_CHARACTERS:
        raise GivenValuesError(f"{what} are too long", "Give fewer or shorter ones.")
    value = _decoded(text)
    if not isinstance(value, dict):
        raise GivenValuesError(f"{what} are no JSON object", "Give names and values, in braces.")
    if not _is_within(value, _DEEPEST):
        raise GivenValuesError(f"{what} are nested too deeply", f"Nest {_DEEPEST} levels at most.")
    return value


def _object_of(text: str) -> Any:
    value = _decoded(text)
    return value if isinstance(value, dict) and _is_within(value, _DEEPEST) else text


def _decoded(text: str) -> Any:
    """Returns the value of a JSON text; None if it is none."""
    try:
        return msgspec.json.decode(text)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None


def _is_within(value: Any, levels: int) -> bool:
    """Tells whether lists and objects are nested at most `levels` deep."""
    if not isinstance(value, dict | list):
        return True
    members = value.values() if isinstance(value, dict) else value
    return levels > 0 and all(_is_within(member, levels - 1) for member in members)


def _with_arguments(fields: Mapping[str, Any], change: Callable[[Any], Any]) -> dict[str, Any]:
    def changed(call: Any) -> Any:
        """Changes the arguments of a call, which stand in it or, as in OpenAI's protocol, in its function."""
        if not isinstance(call, dict):
            return call
        new = {**call, "function": changed(call["function"])} if "function" in call else call
        return {**new, "arguments": change(new["arguments"])} if "arguments" in new else new

    calls = fields.get("tool_calls")
    return {**fields, "tool_calls": [changed(call) for call in calls]} if isinstance(calls, list) else dict(fields)
