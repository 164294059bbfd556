"""What the endpoints refuse, always with the name of the field: nothing that would change an answer is ignored."""

from collections.abc import Iterable, Sequence
from typing import Any, Final

import msgspec

from tui_llama.chat import ChatMessage
from tui_llama.engine.descriptions import ModelInfo
from tui_llama.engine.events import Failed
from tui_llama.engine.process.border import LOG_HINT
from tui_llama.serve.http.errors import FAILED, INVALID, NOT_FOUND, ApiError
from tui_llama.serve.model_name import is_called
from tui_llama.serve.openai.request.bodies import THOUGHT_LIMITS, ChatBody, CommonBody, TextBody
from tui_llama.serve.openai.request.unfollowed import INSTEAD, OFF_VALUES

NOT_SUPPORTED: Final = "unsupported_parameter"
TOO_LONG: Final = "exceed_context_size_error"
"""The type of llama-server's error for a prompt that is too long; clients shorten the prompt when they see it."""

_LONGEST_PROMPT: Final = 1 << 20
"""Characters of a prompt that are always taken, as many as `/tokenize` takes."""
_MOST_CHARACTERS_A_TOKEN: Final = 8
"""More than a token of text has on average, for models with a very large context."""

_DEEPEST: Final = 64
_HOLDERS: Final = (dict, list, msgspec.Struct)

_GRAMMARS: Final = (
    *("structured_outputs", "guided_json", "guided_regex", "guided_choice", "guided_grammar", "regex", "ebnf"),
)
"""Other servers' names for what binds an answer."""
_OLD_TOOLS: Final = ("functions", "function_call")


class PromptTooLong(ApiError):  # noqa: N818 - named for what the client is told
    """The prompt does not fit into the context.

    Args:
        prompt_tokens: The tokens of the prompt.
        context_size: The tokens that the context holds.
        param: The field that is too long.
        is_least: The prompt has so many tokens or more; it was not counted.
    """

    def __init__(self, prompt_tokens: int, context_size: int, param: str, *, is_least: bool = False) -> None:
        counted = f"{'at least ' if is_least else ''}{prompt_tokens}"
        message = (
            f"The prompt has {counted} tokens, but the maximum context length is {context_size}. "
            "Send a shorter one, or start the server with a larger --ctx."
        )
        super().__init__(400, message, TOO_LONG, "context_length_exceeded", param)
        self._counts = {"n_prompt_tokens": prompt_tokens, "n_ctx": context_size}

    def body(self) -> bytes:
        """Returns the error as JSON, with the two counts beside its other fields."""
        fields = msgspec.json.decode(super().body())
        fields["error"] |= self._counts
        return msgspec.json.encode(fields)


def wrong(param: str, message: str) -> ApiError:
    """Returns the error for a field whose value is not allowed."""
    return ApiError(400, message, INVALID, "invalid_value", param)


def unsupported(param: str, message: str) -> ApiError:
    """Returns the error for a field that the server does not know to follow."""
    return ApiError(400, message, INVALID, NOT_SUPPORTED, param)


def check_depth(body: CommonBody) -> None:
    """Checks that nothing in a request is nested so deeply that writing it again could fail.

    Raises:
        ApiError: something is.
    """
    level: list[Any] = [body]
    for _ in range(_DEEPEST):
        level = [each for holder in level for each in _members(holder) if isinstance(each, _HOLDERS)]
        if not level:
            return
    raise ApiError(400, f"The request is nested too deeply; {_DEEPEST} levels are the most.", INVALID)


def _members(holder: Any) -> Iterable[Any]:
    if isinstance(holder, dict):
        return holder.values()
    return holder if isinstance(holder, list) else msgspec.structs.astuple(holder)


def check_sizes(messages: Sequence[ChatMessage], values: str, model: ModelInfo) -> None:
    """Checks that a conversation may fit into the context, before the engine writes and tokenises it.

    Nobody else has the engine meanwhile, and it cannot be cancelled.

    Args:
        messages: The conversation; each that has a text takes a token at least.
        values: The variables of the template, as JSON.
        model: The model that is asked.

    Raises:
        ApiError: it cannot fit.
    """
    written = sum(bool(message.text.strip()) for message in messages)
    if written > model.context_size:
        raise PromptTooLong(written, model.context_size, "messages", is_least=True)
    check_length(
        sum(len(each.text) + len(each.thought) + len(each.fields) for each in messages) + len(values), model, "messages"
    )


def check_length(characters: int, model: ModelInfo, param: str) -> None:
    """Checks that a prompt has no more characters than are tokenised in one request.

    Raises:
        ApiError: it has more.
    """
    most = max(_LONGEST_PROMPT, _MOST_CHARACTERS_A_TOKEN * model.context_size)
    if characters > most:
        message = f"The prompt has {characters} characters, but the server takes {most}. Send a shorter one."
        raise ApiError(400, message, TOO_LONG, "context_length_exceeded", param)


def error_of_failure(failed: Failed, model: ModelInfo, param: str, *, has_begun: bool) -> ApiError:
    """Returns what the client is told of a reply that failed.

    What fails before the prompt is known, such as a template that refuses the messages, is the request's fault.

    Args:
        failed: The engine's event.
        model: The model that was asked.
        param: The field that holds the prompt.
        has_begun: Whether the prompt was known already.
    """
    if failed.prompt_tokens:
        return PromptTooLong(failed.prompt_tokens, model.context_size, param)
    if failed.hint == LOG_HINT:  # a mistake of the program; its words may hold anything
        return ApiError(500, "The engine failed; its log has details.", FAILED)
    message = f"{failed.message[:1].upper()}{failed.message[1:].rstrip('.')}. {failed.hint}".strip()
    return ApiError(500, message, FAILED) if has_begun else ApiError(400, message, INVALID)


def check_model(asked: str | None, model: ModelInfo) -> None:
    """Checks that a request asks for the model that is served, by its name or that of its file, or for none.

    Raises:
        ApiError: it asks for another one.
    """
    if asked and not is_called(model, asked):
        raise ApiError(
            404, f"There is no model “{asked[:200]}” here; /v1/models lists it.", NOT_FOUND, "model_not_found", "model"
        )


def check_common(body: CommonBody) -> None:
    """Checks what both endpoints refuse.

    Raises:
        ApiError: a field asks for what the server cannot do.
    """
    check_depth(body)
    for name in ("n", "best_of"):
        if getattr(body, name) not in (None, 1):
            raise unsupported(name, f"The server gives one answer; {name} must be 1.")
    for name in _GRAMMARS:
        if getattr(body, name) not in (None, "", {}, []):
            raise unsupported(name, f"The server knows no {name}. Use response_format, json_schema or grammar.")
    for name, off in OFF_VALUES.items():
        if getattr(body, name) not in off:
            raise unsupported(name, f"The server knows no {name}. {INSTEAD.get(name, 'Leave it out.')}")


def check_chat(body: ChatBody) -> None:
    """Checks what the chat endpoint refuses beside that.

    Raises:
        ApiError: a field asks for what the server cannot do.
    """
    check_common(body)
    for name in _OLD_TOOLS:
        if getattr(body, name) not in (None, [], "auto", "none"):
            raise unsupported(name, f"{name} is the old form; use tools.")
    if body.audio is not None or any(each != "text" for each in body.modalities or ()):
        raise unsupported("audio" if body.audio is not None else "modalities", "The model answers in text only.")
    if body.web_search_options is not None:
        raise unsupported("web_search_options", "The server searches nothing.")
    if body.tool_choice not in (None, "auto", "none"):
        raise unsupported("tool_choice", "tool_choice can be “auto” or “none”.")


def check_text(body: TextBody) -> None:
    """Checks what the text endpoint refuses beside that.

    Raises:
        ApiError: a field asks for what the server cannot do.
    """
    check_common(body)
    for name in THOUGHT_LIMITS:
        if getattr(body, name) not in (None, -1):
            raise unsupported(name, f"A text has no thought, so {name} limits none. Ask for a chat completion.")
    if body.suffix:
        raise unsupported("suffix", "The server cannot fill in text before a suffix.")
    if body.echo and body.logprobs not in (None, False):
        raise unsupported("logprobs", "The server has no log-probabilities of a prompt; leave out echo or logprobs.")
