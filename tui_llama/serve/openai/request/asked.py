"""What a request asks for, in the words of the engine and of the answer's form."""

from dataclasses import dataclass

from tui_llama.engine.descriptions import ModelInfo
from tui_llama.engine.requests import CompleteRequest, ReplyRequest
from tui_llama.serve.openai.answer_text.tool_formats import ToolFormat
from tui_llama.serve.openai.request.bodies import CommonBody


@dataclass(frozen=True, slots=True)
class AnswerForm:
    """How the answer is sent.

    Attributes:
        is_streamed: In chunks, as it comes.
        tells_usage: A streamed answer ends with its usage.
        tells_progress: A streamed answer tells how much of the prompt is read.
        times_tokens: Every chunk has the timings so far.
        has_probabilities: It has the tokens' log-probabilities.
    """

    is_streamed: bool = False
    tells_usage: bool = False
    tells_progress: bool = False
    times_tokens: bool = False
    has_probabilities: bool = False


@dataclass(frozen=True, slots=True)
class AskedChat:
    """What a request for an answer in a conversation asks for.

    Attributes:
        request: The engine's request.
        model: The model that answers.
        form: How the answer is sent.
        parts_thinking: The thinking is told in a field of its own.
        tool_format: How the model writes tool calls; None: calls stay text.
        allows_more_calls: The answer may have more than one tool call; if not, only the first one is told.
        goes_on_in_thought: The answer goes on within its thought, which the client has.
    """

    request: ReplyRequest | CompleteRequest
    model: ModelInfo
    form: AnswerForm
    parts_thinking: bool = False
    tool_format: ToolFormat | None = None
    allows_more_calls: bool = True
    goes_on_in_thought: bool = False


@dataclass(frozen=True, slots=True)
class AskedText:
    """What a request for the continuation of a text asks for.

    Attributes:
        request: The engine's request.
        model: The model that writes.
        form: How the answer is sent.
        echoes: The answer begins with the prompt.
    """

    request: CompleteRequest
    model: ModelInfo
    form: AnswerForm
    echoes: bool = False


def answer_form(body: CommonBody, top_probabilities: int | None) -> AnswerForm:
    """Returns the form that a request asks for."""
    options = body.stream_options
    return AnswerForm(
        is_streamed=bool(body.stream),
        tells_usage=options is not None and bool(options.include_usage),
        tells_progress=bool(body.return_progress),
        times_tokens=bool(body.timings_per_token),
        has_probabilities=top_probabilities is not None,
    )
