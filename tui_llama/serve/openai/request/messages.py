"""Makes the engine's messages of a request's, and refuses what is no conversation."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from tui_llama.chat import ChatMessage, Role
from tui_llama.serve.openai.request.bodies import MessageBody
from tui_llama.serve.openai.request.refusals import unsupported, wrong

_ROLES: Final = {
    "system": Role.SYSTEM,
    "developer": Role.SYSTEM,
    "user": Role.USER,
    "assistant": Role.ASSISTANT,
    "tool": Role.TOOL,
}
_BETWEEN_PARTS: Final = "\n"
_TEXT_PARTS: Final = {"text": "text", "refusal": "refusal"}
"""The kinds of parts that hold text, and the field with it."""


def chat_messages(bodies: Sequence[MessageBody] | None) -> tuple[ChatMessage, ...]:
    """Returns the messages of a request.

    Raises:
        ApiError: there are none, or one of them is wrong.
    """
    if not bodies:
        raise wrong("messages", "messages must hold at least one message.")
    return tuple(_message(body, f"messages[{place}]") for place, body in enumerate(bodies))


def _message(body: MessageBody, param: str) -> ChatMessage:
    role = _ROLES.get(body.role)
    if role is None:
        raise wrong(f"{param}.role", f"The role must be one of {', '.join(_ROLES)}.")
    if body.function_call is not None:
        raise unsupported(f"{param}.function_call", "function_call is the old form; use tool_calls.")
    if body.content is None and role is not Role.ASSISTANT:
        raise wrong(f"{param}.content", f"A message of the role “{body.role}” needs content.")
    thought = (body.reasoning_content or body.reasoning or "") if role is Role.ASSISTANT else ""
    return ChatMessage(role, _text(body.content, f"{param}.content"), fields=_fields(body, param), thought=thought)


def _text(content: str | Sequence[Mapping[str, Any]] | None, param: str) -> str:
    if content is None or isinstance(content, str):
        return content or ""
    return _BETWEEN_PARTS.join(_part(part, f"{param}[{place}]") for place, part in enumerate(content))


def _part(part: Mapping[str, Any], param: str) -> str:
    kind = part.get("type")
    if kind == "image_url":
        raise unsupported(param, "The model sees no images.")
    field = _TEXT_PARTS.get(kind) if isinstance(kind, str) else None
    if field is None:
        raise unsupported(param, "The model reads text only; a part must have the type “text”.")
    text = part.get(field)
    if not isinstance(text, str):
        raise wrong(f"{param}.{field}", f"The part needs {field} as a text.")
    return text


def _fields(body: MessageBody, param: str) -> str:
    """Returns the further fields of a message as JSON; "" if it has none."""
    fields = {
        "name": body.name,
        "tool_calls": [_call(call, f"{param}.tool_calls[{place}]") for place, call in enumerate(body.tool_calls or ())],
        "tool_call_id": body.tool_call_id,
    }
    given = {name: value for name, value in fields.items() if value}
    return msgspec.json.encode(given).decode() if given else ""


def _call(call: Mapping[str, Any], param: str) -> dict[str, Any]:
    """Returns a call with its arguments as JSON text, as OpenAI writes it."""
    function = call.get("function")
    if call.get("type", "function") != "function" or not isinstance(function, Mapping):
        raise wrong(param, "A tool call needs the type “function” and a function.")
    name, arguments = function.get("name"), function.get("arguments")
    if not isinstance(name, str) or not name:
        raise wrong(f"{param}.function.name", "A tool call needs the name of its function.")
    if not isinstance(arguments, str):
        arguments = msgspec.json.encode(arguments or {}).decode()
    named = {"id": call["id"]} if isinstance(call.get("id"), str) else {}
    return {**named, "type": "function", "function": {"name": name, "arguments": arguments}}
