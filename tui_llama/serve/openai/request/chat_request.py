"""Makes the engine's request of a request for an answer in a conversation."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from tui_llama.chat import ChatMessage, Role, Thinking
from tui_llama.engine.descriptions import ModelInfo
from tui_llama.engine.requests import CompleteRequest, Overflow, OverflowMode, ReplyRequest
from tui_llama.serve.openai.answer_text.tool_formats import ToolFormat, Tools, tool_format
from tui_llama.serve.openai.owner import conversation_owner
from tui_llama.serve.openai.request.answer_grammar import AskedGrammar, asked_grammar
from tui_llama.serve.openai.request.asked import AskedChat, answer_form
from tui_llama.serve.openai.request.asked_sampling import asked_sampling
from tui_llama.serve.openai.request.bodies import ChatBody
from tui_llama.serve.openai.request.messages import chat_messages
from tui_llama.serve.openai.request.refusals import check_chat, check_sizes, unsupported, wrong
from tui_llama.serve.openai.request.values import (
    most_thinking_tokens,
    most_tokens,
    stop_texts,
    top_probabilities,
)
from tui_llama.settings import Settings

_KEPT_VARIABLES: Final = frozenset({"messages", "tools", "add_generation_prompt", "bos_token", "eos_token"})
_SPLIT_FORMATS: Final = (None, "auto", "deepseek")
_WHOLE_FORMAT: Final = "none"
_NO_EFFORT: Final = "none"
_THOUGHT_FIELD: Final = "reasoning_content"
STOPS_WHEN_FULL: Final = Overflow(OverflowMode.STOP)
"""A server cuts nothing out of a prompt behind its client's back."""


def asked_chat(body: ChatBody, turn: int, settings: Settings, model: ModelInfo) -> AskedChat:
    """Returns what a request asks for.

    Args:
        body: The request.
        turn: The number of the engine's turn.
        settings: The user's settings, which count where the request says nothing.
        model: The model that is loaded.

    Raises:
        ApiError: the request is wrong, or asks for what the server cannot do.
    """
    check_chat(body)
    messages, tools = chat_messages(body.messages), _tools(body.tools)
    asked_of_tokens = top_probabilities(body, model)
    request = _reply(body, turn, settings, model, messages, asked_of_tokens)
    check_sizes(messages, request.template_values, model)
    is_continued = _continues(body, messages)
    return AskedChat(
        request if not (is_continued or _closes(body)) else _continuation(request, is_continued),
        model,
        answer_form(body, asked_of_tokens),
        _parts_thinking(body),
        _tool_format(body, model, tools),
        body.parallel_tool_calls is not False,
        is_continued and bool(messages[-1].thought) and not messages[-1].text,
    )


def _reply(
    body: ChatBody,
    turn: int,
    settings: Settings,
    model: ModelInfo,
    messages: tuple[ChatMessage, ...],
    asked_of_tokens: int | None,
) -> ReplyRequest:
    sampling, given = asked_sampling(body, settings, model)
    values, bound = _template_values(body), asked_grammar(body)
    return ReplyRequest(
        turn=turn,
        messages=messages,
        sampling=sampling,
        given_sampling=given,
        max_tokens=most_tokens(body, settings.max_tokens),
        stop_texts=stop_texts(body),
        chat_id=conversation_owner(messages, values),
        draft_max=settings.draft_max,
        overflow=STOPS_WHEN_FULL,
        ignore_eos=bool(body.ignore_eos),
        template_values=values,
        top_probabilities=asked_of_tokens,
        keeps_template=True,
        thinking=Thinking(settings.thinking),
        thinking_tokens=most_thinking_tokens(body, settings.thinking_tokens),
        json_schema=bound.json_schema,
        grammar=bound.grammar,
        free_marks=_call_marks(body, bound, tool_format(model.template_marks, _tools(body.tools))),
    )


def _call_marks(body: ChatBody, bound: AskedGrammar, calls: ToolFormat | None) -> tuple[str, ...]:
    """Returns the marks with one of which an answer may begin that is a call of a tool and not bound.

    Raises:
        ApiError: what binds the answer cannot stand beside tools: a grammar, which llama-server refuses there, too, or
            a schema where the model's family writes calls without a mark, or in a way that is not known.
    """
    if not any(bound) or not body.tools or body.tool_choice == "none":
        return ()
    if bound.grammar:
        raise unsupported("grammar", "grammar binds the text of an answer and so forbids tools. Ask without them.")
    if calls is None or not calls.begins_with_mark:
        name = "json_schema" if body.response_format is None else "response_format"
        raise unsupported(
            name, f"{name} forbids tools with this model, whose calls no mark tells from an answer. Ask without them."
        )
    return calls.marks


def _continuation(reply: ReplyRequest, is_continued: bool) -> CompleteRequest:
    """Returns the request that continues the last message, or that begins no answer of its own after it."""
    last = reply.messages[-1]
    if is_continued and last.fields:
        raise unsupported("messages", "A message with tool calls or a name is not continued.")
    same = {name: getattr(reply, name) for name in _SHARED_FIELDS}
    return CompleteRequest(
        text="",
        answer=last.text if is_continued else "",
        answer_thought=last.thought if is_continued else "",
        answer_has_ended=not is_continued,
        **same,
    )


_SHARED_FIELDS: Final = tuple(
    name for name in ReplyRequest.__struct_fields__ if name in CompleteRequest.__struct_fields__
)


def _continues(body: ChatBody, messages: Sequence[ChatMessage]) -> bool:
    """Tells whether the answer continues the last message, as llama-server does unless a request says otherwise."""
    asks = body.continue_final_message
    is_answer = messages[-1].role is Role.ASSISTANT
    goes_on_in_thought = asks == _THOUGHT_FIELD and bool(messages[-1].thought) and not messages[-1].text
    if asks is True or asks == "content" or goes_on_in_thought:
        if body.add_generation_prompt:
            raise wrong(
                "continue_final_message", "continue_final_message and add_generation_prompt exclude each other."
            )
        if not is_answer:
            raise wrong("continue_final_message", "The last message is none of the assistant's.")
        return True
    if isinstance(asks, str):
        raise unsupported(
            "continue_final_message", "The content of a message is continued, or reasoning_content without content."
        )
    has_calls = '"tool_calls"' in messages[-1].fields
    return is_answer and not has_calls and asks is None and body.add_generation_prompt is not True


def _closes(body: ChatBody) -> bool:
    """Tells whether the prompt ends behind the last message, without the beginning of an answer."""
    return body.add_generation_prompt is False and not body.continue_final_message


def _tools(tools: Sequence[Mapping[str, Any]] | None) -> Tools:
    """Returns the schemas of the tools.

    Raises:
        ApiError: a tool is wrong.
    """
    schemas: dict[str, Mapping[str, Any]] = {}
    for place, tool in enumerate(tools or ()):
        param, function = f"tools[{place}]", tool.get("function")
        if tool.get("type") != "function" or not isinstance(function, Mapping):
            raise unsupported(param, "A tool must have the type “function” and a function.")
        name, schema = function.get("name"), function.get("parameters")
        if not isinstance(name, str) or not name:
            raise wrong(f"{param}.function.name", "A tool needs a name.")
        if schema is not None and not isinstance(schema, Mapping):
            raise wrong(f"{param}.function.parameters", "The parameters of a tool are a JSON schema, an object.")
        schemas[name] = schema or {}
    return schemas


def _template_values(body: ChatBody) -> str:
    """Returns the variables of the chat template as JSON; "" for none.

    Raises:
        ApiError: a variable may not be set, or not so.
    """
    values: dict[str, Any] = {"tools": body.tools} if body.tools else {}
    if body.reasoning_effort == _NO_EFFORT:
        values["enable_thinking"] = False
    elif body.reasoning_effort:
        values["reasoning_effort"] = body.reasoning_effort
    for name, value in (body.chat_template_kwargs or {}).items():
        if name in _KEPT_VARIABLES:
            raise wrong(f"chat_template_kwargs.{name}", f"{name} has a field of its own.")
        if name == "enable_thinking" and not isinstance(value, bool):
            raise wrong(f"chat_template_kwargs.{name}", "enable_thinking must be true or false.")
        values[name] = value
    return msgspec.json.encode(values).decode() if values else ""


def _parts_thinking(body: ChatBody) -> bool:
    if body.reasoning_format not in (*_SPLIT_FORMATS, _WHOLE_FORMAT):
        raise unsupported("reasoning_format", "reasoning_format can be “auto”, “deepseek” or “none”.")
    return body.reasoning_format != _WHOLE_FORMAT


def _tool_format(body: ChatBody, model: ModelInfo, tools: Tools) -> ToolFormat | None:
    """Returns how calls are to be read; None if the request has no tools, or forbids them."""
    return tool_format(model.template_marks, tools) if tools and body.tool_choice != "none" else None
