"""Prints an answer as its events come, whichever engine gives it."""

from tui_llama.chat import StopReason
from tui_llama.engine.events import Failed, Finished, GrammarProgress, Notice, PromptProgress, TextPiece
from tui_llama.engine.protocol import ReplyEvent
from tui_llama.engine.requests import CompleteRequest, ReplyRequest
from tui_llama.errors import EngineError
from tui_llama.output import Output, percent


def show_reply_event(event: ReplyEvent, output: Output, incomplete: str = "") -> None:
    """Prints what an event of a reply says.

    Args:
        event: The event.
        output: Where it goes.
        incomplete: What is said of an answer that ended before it fits its grammar.

    Raises:
        EngineError: it says that the reply failed.
    """
    if isinstance(event, PromptProgress):
        output.progress(f"reading the prompt: {event.done_tokens} of {event.total_tokens} tokens")
    elif isinstance(event, GrammarProgress):
        output.progress(f"compiling the grammar: {percent(event.done, event.total)}")
    elif isinstance(event, TextPiece):
        output.thought(event.thought)
        output.result(event.text)
    elif isinstance(event, Notice):
        output.notice(event.text)
    elif isinstance(event, Failed):
        raise EngineError(event.message, event.hint)
    elif isinstance(event, Finished) and (words := _ending_words(event, incomplete)):
        output.notice(words)


class StartOfReply:
    """The given start of a reply, which engines do not tell again; it is printed once the reply has begun.

    Args:
        request: What was asked for.
        output: Where the answer goes.
    """

    def __init__(self, request: ReplyRequest | CompleteRequest, output: Output) -> None:
        self._text = request.reply_start if isinstance(request, ReplyRequest) else ""
        self._output = output

    def print_before(self, event: ReplyEvent) -> None:
        """Prints the start before the first event of the answer itself."""
        if self._text and isinstance(event, TextPiece | Finished):
            self._output.result(self._text)
            self._text = ""


def _ending_words(event: Finished, incomplete: str) -> str:
    """Returns what is to be said of the end of an answer; empty where it is complete."""
    return "; ".join(filter(None, (_cut_off_words(event), incomplete if event.usage.is_incomplete else "")))


def _cut_off_words(event: Finished) -> str:
    """Returns why an answer was cut off; empty where the model or the user ended it."""
    match event.stop_reason:
        case StopReason.CONTEXT_FULL:
            size = event.usage.context_size
            return f"the context{f' of {size} tokens' if size else ''} is full; the answer is cut off"
        case StopReason.LOOP:
            return "the answer was ended because it repeats itself; --no-loop-guard turns this off"
    return ""
