"""The ways of passing a conversation to a chat template, and the variables that a template then sees."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

import msgspec

from tui_llama.chat import ChatMessage, Role
from tui_llama.engine.templates.dates import write_date
from tui_llama.engine.templates.given_values import (
    message_fields,
    with_object_arguments,
    with_strings,
    with_text_arguments,
)
from tui_llama.engine.templates.message_marks import without_marks
from tui_llama.engine.templates.thinking.forms import THOUGHT_NAMES


@dataclass(frozen=True, slots=True)
class Manner:
    """One way of passing messages and variables to a template.

    Attributes:
        roles_in_parts: Roles whose messages are lists of parts, as in models that see images; other messages are texts.
        variables: Variables beside the messages. Variables without a value, such as `tools`, stay undefined, as in
            llama.cpp; a few templates require the `None` that transformers passes.
    """

    roles_in_parts: frozenset[Role] = frozenset()
    variables: Mapping[str, Any] = field(default_factory=dict)


_VARIABLES: Final[tuple[Mapping[str, Any], ...]] = (
    {"enable_thinking": True, "reasoning_effort": "medium"},
    {"enable_thinking": True},  # some templates know other efforts, and refuse this one
    {"enable_thinking": True, "tools": None, "documents": None},
)
MANNERS: Final = tuple(
    Manner(frozenset(roles), variables)
    for roles in ((), tuple(Role), (Role.USER,))
    for variables in _VARIABLES
)  # fmt: skip
"""All manners; those that suit most templates come first."""


@dataclass(frozen=True, slots=True)
class Given:
    """What a request gives a template beside texts.

    Attributes:
        values: Variables, which come before those of the manner.
        arguments_are_text: True: the arguments of tool calls are passed as JSON text, else as objects.
        no_text_is_none: True: an answer without text that calls tools has `None` as its text, else an empty one.
        mark: Changes the texts in values and fields, which have no marks before; None leaves them as they are.
    """

    values: Mapping[str, Any] = field(default_factory=dict)
    arguments_are_text: bool = False
    no_text_is_none: bool = False
    mark: Callable[[str], str] | None = None

    def fields_of(self, message: ChatMessage) -> dict[str, Any]:
        """Returns the further fields of a message, as the template sees them.

        Raises:
            GivenValuesError: they are no JSON object.
        """
        if not message.fields:
            return {}
        passed = with_text_arguments if self.arguments_are_text else with_object_arguments
        return self._marked(passed(message_fields(message)))

    def variables(self) -> dict[str, Any]:
        """Returns the variables, as the template sees them."""
        return self._marked(dict(self.values))

    def _marked(self, values: dict[str, Any]) -> dict[str, Any]:
        marked: dict[str, Any] = with_strings(values, without_marks)
        if self.mark is not None:
            marked = with_strings(marked, self.mark)
        return marked


NOTHING_GIVEN: Final = Given()


def template_variables(
    manner: Manner, messages: Sequence[ChatMessage], add_generation_prompt: bool, now: datetime, given: Given
) -> dict[str, Any]:
    """Returns the variables that templates expect, and those that are given.

    Raises:
        GivenValuesError: the fields of a message are no JSON object.
    """
    return {
        "messages": [_as_template_sees(message, manner, given) for message in messages],
        "add_generation_prompt": add_generation_prompt,
        "datetime": write_date(now, "%b %d %Y"),
        "date_string": write_date(now, "%d %b %Y"),
        **manner.variables,
        **given.variables(),
    }


def _as_template_sees(message: ChatMessage, manner: Manner, given: Given) -> dict[str, Any]:
    content: Any = [{"type": "text", "text": message.text}] if message.role in manner.roles_in_parts else message.text
    fields = given.fields_of(message)
    if message.role is Role.ASSISTANT and message.thought:
        fields = dict.fromkeys(THOUGHT_NAMES, without_marks(message.thought)) | fields
    if given.no_text_is_none and fields.get("tool_calls") and not message.text.strip():
        content = None
    return {"role": str(message.role), "content": content, **fields}


def merge_system(messages: Sequence[ChatMessage]) -> list[ChatMessage]:
    """Puts each system message before the next message of the user; those at the end become one message."""
    merged: list[ChatMessage] = []
    waiting: list[str] = []
    for message in messages:
        if message.role is Role.SYSTEM:
            waiting.append(message.text)
        elif message.role is Role.USER and waiting:
            merged.append(msgspec.structs.replace(message, text="\n".join([*waiting, message.text])))
            waiting = []
        else:
            merged.append(message)
    if waiting:
        merged.append(ChatMessage(Role.USER, "\n".join(waiting)))
    return merged
