"""Finds out, by trying, what a chat template does with tools, with calls of them and with their answers.

Many templates know no tools. They would leave them out without a word, and the model would answer as if there were
none. So a conversation with tools is refused where its template has no place for them.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from tui_llama.chat import ChatMessage, Role
from tui_llama.engine.templates.given_values import GivenValuesError, message_fields
from tui_llama.engine.templates.manners import Given
from tui_llama.errors import EngineError

Write: TypeAlias = Callable[[Sequence[ChatMessage], Given], str]

TOOL_TRIES: Final = 10
"""The most texts that `find_tool_places` has written."""

_TOOL, _CALLED, _ARGUMENT, _ANSWER = "look_for_it", "look_again", "a needle", "it is in the haystack"
_CALL_ID: Final = "abcdefghi"  # Mistral's templates want nine letters
_TOOLS: Final[list[Any]] = [
    {
        "type": "function",
        "function": {
            "name": _TOOL,
            "description": "Looks for something.",
            "parameters": {
                "type": "object",
                "properties": {"what": {"type": "string", "description": "The thing to look for."}},
                "required": ["what"],
            },
        },
    }
]
_QUESTION: Final = (ChatMessage(Role.USER, "Where is it?"),)
_WITH_SYSTEM: Final = (ChatMessage(Role.SYSTEM, "Be brief."), *_QUESTION)
_USE: Final = (
    *_QUESTION,
    ChatMessage(
        Role.ASSISTANT,
        "",
        fields=f'{{"tool_calls": [{{"id": "{_CALL_ID}", "type": "function", "function": {{"name": "{_CALLED}", '
        f'"arguments": "{{\\"what\\": \\"{_ARGUMENT}\\"}}"}}}}]}}',
    ),
    ChatMessage(Role.TOOL, _ANSWER, fields=f'{{"tool_call_id": "{_CALL_ID}", "name": "{_CALLED}"}}'),
)
_WAYS: Final = tuple(
    Given(values, are_text, is_none)
    for is_none in (False, True)
    for are_text in (False, True)
    for values in ({}, {"tools": _TOOLS})
)
_WHOLE: Final = 5
_WRONG_ARGUMENTS: Final = ("'what'", '\\"what\\"')
"""What an object looks like that Python writes, and a text that is written as JSON once more."""


@dataclass(frozen=True, slots=True)
class ToolPlaces:
    """What a template writes of tools.

    Attributes:
        tools: It writes the tools that there are.
        calls: It writes the calls in answers of the model.
        answers: It writes the messages of tools.
        arguments_are_text: It wants the arguments of calls as JSON text, not as objects.
        no_text_is_none: It wants `None` as the text of an answer that only calls tools.
    """

    tools: bool
    calls: bool
    answers: bool
    arguments_are_text: bool
    no_text_is_none: bool


def find_tool_places(write: Write) -> ToolPlaces:
    """Tries what a template writes of tools.

    Args:
        write: Writes messages; raises `EngineError` where the template fails or refuses them.
    """
    has_tools = any(_TOOL in _written(write, talk, Given({"tools": _TOOLS})) for talk in (_QUESTION, _WITH_SYSTEM))
    best, best_success = ToolPlaces(has_tools, False, False, False, False), 0
    for given in _WAYS:
        text = _written(write, _USE, given)
        has_calls = _CALLED in text and _ARGUMENT in text
        has_answers = _ANSWER in text
        success = has_answers + 2 * has_calls * (1 + all(wrong not in text for wrong in _WRONG_ARGUMENTS))
        if success > best_success:
            best = ToolPlaces(has_tools, has_calls, has_answers, given.arguments_are_text, given.no_text_is_none)
            best_success = success
        if success == _WHOLE:
            break
    return best


def check_tool_places(messages: Sequence[ChatMessage], tools: Any, places: ToolPlaces) -> None:
    """Checks that a template has a place for all that a conversation has of tools.

    Raises:
        GivenValuesError: it has none.
    """
    lacking = ""
    if tools and not places.tools:
        lacking = "tools"
    elif not places.calls and any(message_fields(message).get("tool_calls") for message in messages):
        lacking = "calls of tools"
    elif not places.answers and any(message.role is Role.TOOL for message in messages):
        lacking = "answers of tools"
    if lacking:
        raise GivenValuesError(
            f"the model's chat template has no place for {lacking}",
            "Use a model that was made to call tools, or leave the tools out.",
        )


def uses_tools(messages: Sequence[ChatMessage], tools: Any) -> bool:
    """Tells whether there is anything to check."""
    return bool(tools) or any(message.fields or message.role is Role.TOOL for message in messages)


def _written(write: Write, messages: Sequence[ChatMessage], given: Given) -> str:
    try:
        return write(messages, given)
    except EngineError:
        return ""
