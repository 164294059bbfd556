"""The bodies of requests to the two endpoints. `null` means the same as a field that is not there.

Fields that change no answer, such as `user` and `metadata`, are not declared and so ignored. Fields that would change
the answer and that the server does not know yet are declared, here and in `unfollowed`, so that they can be refused.
"""

from typing import Any, Final, TypeAlias

import msgspec

from tui_llama.serve.openai.request.sampling_fields import SamplingFields

Json: TypeAlias = Any

THOUGHT_LIMITS: Final = (
    "reasoning_budget_tokens",
    "thinking_budget_tokens",
    "thinking_token_budget",
    "thinking_budget",
    "reasoning_budget",
)
"""The names for the most tokens of a thought: llama-server's, vLLM's and older ones. The first given one counts."""


class StreamOptions(msgspec.Struct):
    """How an answer is streamed."""

    include_usage: bool | None = None


class ResponseFormat(msgspec.Struct):
    """The form that the answer must have; `schema` beside "json_object" is llama-server's."""

    type: str = "text"
    json_schema: Json = None
    schema: Json = None


class CommonBody(SamplingFields, kw_only=True):
    """What both endpoints take. Other servers' names for the same thing stand beside OpenAI's."""

    model: str | None = None
    max_tokens: int | None = None
    n_predict: int | None = None
    stop: str | list[str] | None = None
    ignore_eos: bool | None = None
    reasoning_budget_tokens: int | None = None
    thinking_budget_tokens: int | None = None
    thinking_token_budget: int | None = None
    thinking_budget: int | None = None
    reasoning_budget: int | None = None
    logprobs: bool | int | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    return_progress: bool | None = None
    timings_per_token: bool | None = None
    n: int | None = None
    best_of: int | None = None
    response_format: ResponseFormat | None = None
    grammar: Json = None
    json_schema: Json = None
    structured_outputs: Json = None
    guided_json: Json = None
    guided_regex: Json = None
    guided_choice: Json = None
    guided_grammar: Json = None
    regex: Json = None
    ebnf: Json = None


class MessageBody(msgspec.Struct):
    """One message of a conversation."""

    role: str
    content: str | list[dict[str, Json]] | None = None
    name: str | None = None
    tool_calls: list[dict[str, Json]] | None = None
    tool_call_id: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    function_call: Json = None


class ChatBody(CommonBody):
    """The body of `POST /v1/chat/completions`."""

    messages: list[MessageBody] | None = None
    max_completion_tokens: int | None = None
    top_logprobs: int | None = None
    tools: list[dict[str, Json]] | None = None
    tool_choice: str | dict[str, Json] | None = None
    parallel_tool_calls: bool | None = None
    chat_template_kwargs: dict[str, Json] | None = None
    reasoning_effort: str | None = None
    reasoning_format: str | None = None
    add_generation_prompt: bool | None = None
    continue_final_message: bool | str | None = None
    functions: Json = None
    function_call: Json = None
    audio: Json = None
    modalities: list[str] | None = None
    web_search_options: Json = None


class TextBody(CommonBody):
    """The body of `POST /v1/completions`."""

    prompt: str | list[str | int | list[int]] | None = None
    echo: bool | None = None
    suffix: str | None = None
