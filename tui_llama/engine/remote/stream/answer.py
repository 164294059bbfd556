"""One answer as it streams: the events of its chunks, and how it ended."""

from collections.abc import Iterator, Sequence
from typing import Any, Final

import msgspec

from tui_llama.chat import ChatMessage, Role, StopReason
from tui_llama.engine.events import FailureCause, Finished, Notice, PromptProgress, TextPiece
from tui_llama.engine.protocol import ReplyEvent
from tui_llama.engine.remote.failures import RemoteEngineError, message_of, short
from tui_llama.engine.remote.stream.chunk import CallPiece, Chunk
from tui_llama.engine.remote.stream.json_values import count_at
from tui_llama.engine.remote.stream.thinking import ThinkingText, split_thinking
from tui_llama.engine.remote.stream.usage_meter import UsageMeter
from tui_llama.engine.requests import CompleteRequest, ReplyRequest

_COMPLETE: Final = ("stop", "tool_calls", "function_call", "eos", "end_turn")
_CUT: Final = ("length", "max_tokens")
_BROKEN_OFF: Final = "abort"
_MOST_CALLS: Final = 256
CALL_OPENING: Final = "<tool_call>"
"""The mark of a tool call in the text of an answer."""


class Answer:
    """The answer to one request.

    Args:
        request: What was asked for.
        server: The server's name.
        meter: Measures the answer.
        key: The key that was sent, which no message may have.
        is_thinking_apart: The server continues an answer in its thought beside the text.
    """

    def __init__(
        self,
        request: ReplyRequest | CompleteRequest,
        server: str,
        meter: UsageMeter,
        key: str = "",
        is_thinking_apart: bool = False,
    ) -> None:
        self.has_begun = False
        self.finish_reason = ""
        self._request = request
        self._server = server
        self._meter = meter
        self._key = key
        self._stop_text = ""
        self._thinking = _thinking_of(request, is_thinking_apart)
        self._calls: dict[int, CallPiece] = {}
        self._has_text = False

    def take(self, chunk: Chunk) -> Iterator[ReplyEvent]:
        """Yields the events of a chunk.

        Raises:
            RemoteEngineError: the chunk tells an error.
        """
        if chunk.error is not None and not self.finish_reason:
            raise self._error(chunk.error)
        self._meter.note_report(chunk.usage, chunk.timings)
        if chunk.progress is not None:
            yield self._progress(chunk.progress)
        thought, text = self._thinking.add(chunk.thinking, chunk.text)
        for call in chunk.calls:
            self._add_call(call)
        if chunk.thinking or chunk.text or chunk.calls or chunk.probabilities:
            self.has_begun = True
            self._meter.note_token(is_thought=bool(thought), is_text=bool(text))
        self.finish_reason = chunk.finish_reason or self.finish_reason
        self._stop_text = chunk.stop_text or self._stop_text
        self._has_text = self._has_text or bool(text)
        if thought or text or chunk.probabilities:
            wants = self._request.top_probabilities is not None
            yield TextPiece(self._request.turn, text, (), chunk.probabilities if wants else (), thought)

    def end(self, context_size: int) -> Iterator[ReplyEvent]:
        """Yields the last events of an answer that has a reason for its end: what is held back, notices, the end."""
        can_go_on = self.finish_reason in (*_CUT, _BROKEN_OFF)
        thought, rest = self._thinking.finish(can_go_on)
        rest += self._calls_text(follows_text=self._has_text or bool(rest))
        if thought or rest:
            yield TextPiece(self._request.turn, rest, (), thought=thought)
        if notice := self._notice():
            yield Notice(notice)
        yield Finished(self._request.turn, self._stop_reason(context_size), self._meter.usage())

    def _progress(self, progress: Any) -> PromptProgress:
        total = count_at(progress, "total") or 0
        reused = min(count_at(progress, "cache") or 0, total)
        done = min(max(count_at(progress, "processed") or 0, reused), total)
        return PromptProgress(self._request.turn, reused, done, total)

    def _error(self, error: Any) -> RemoteEngineError:
        text = message_of(error, self._key)
        return RemoteEngineError(
            FailureCause.ERROR_IN_STREAM,
            f"{self._server} failed in the answer: {text}",
            "Try again; if it happens again, look at the server's own messages.",
        )

    def _add_call(self, piece: CallPiece) -> None:
        """Joins the pieces of a tool call; Ollama sends each call whole."""
        before = self._calls.get(piece.place, CallPiece(piece.place, "", ""))
        if len(self._calls) < _MOST_CALLS:
            name, arguments = before.name or piece.name, before.arguments + piece.arguments
            self._calls[piece.place] = CallPiece(piece.place, name, arguments)

    def _calls_text(self, follows_text: bool) -> str:
        """Returns the tool calls in the form in which most local models write them."""
        calls = (self._calls[place] for place in sorted(self._calls))
        text = "\n".join(
            f'{CALL_OPENING}\n{{"name": {msgspec.json.encode(call.name).decode()}, '
            f'"arguments": {call.arguments or "{}"}}}\n</tool_call>'
            for call in calls
        )
        return f"\n{text}" if text and follows_text else text

    def _stop_reason(self, context_size: int) -> StopReason:
        if self.finish_reason in _CUT:
            usage = self._meter.usage()
            asked = self._request.max_tokens
            reached_limit = asked is not None and (not usage.knows_tokens or usage.generated_tokens >= asked)
            is_full = usage.knows_tokens and 0 < context_size <= usage.context_used + 1
            return StopReason.CONTEXT_FULL if is_full and not reached_limit else StopReason.LENGTH
        if self._stop_text in self._request.stop_texts:
            return StopReason.STOP_TEXT
        if self.finish_reason == _BROKEN_OFF:
            return StopReason.LENGTH  # not complete, so it can go on
        return StopReason.END_OF_GENERATION

    def _notice(self) -> str:
        """Returns what the user should know about how the answer ended, "" if nothing."""
        reason = self.finish_reason
        if reason in _COMPLETE or reason in _CUT:
            return ""
        if reason == "content_filter":
            return f"{self._server} ended the answer because of its content filter."
        if reason == _BROKEN_OFF:
            return f"{self._server} broke off the answer."
        return f"{self._server} ended the answer for a reason of its own: {short(reason, self._key)}."


def _thinking_of(request: ReplyRequest | CompleteRequest, is_apart: bool) -> ThinkingText:
    """Returns where the answer stands in its thinking: an answer that goes on may have been cut within it."""
    if isinstance(request, ReplyRequest):
        return ThinkingText(has_text=bool(request.reply_start))
    if not request.messages:
        return ThinkingText()
    answer = continued_messages(request)[-1]
    _thinking, text, has_ended = split_thinking(answer.text)
    has_text = bool(text.strip())
    is_open = not has_ended or (bool(answer.thought) and not has_text)
    return ThinkingText(is_open, has_text, is_apart, keeps_marks=not has_ended)


def begun_messages(request: ReplyRequest) -> tuple[ChatMessage, ...]:
    """Returns the messages to answer, and the start of the answer behind them if it is given."""
    begun = (ChatMessage(Role.ASSISTANT, request.reply_start),) if request.reply_start else ()
    return (*request.messages, *begun)


def continued_messages(request: CompleteRequest) -> Sequence[ChatMessage]:
    """Returns the messages of a request that continues an answer, with what follows the answer in it."""
    if not request.text:
        return request.messages
    last = request.messages[-1]
    return (*request.messages[:-1], msgspec.structs.replace(last, text=last.text + request.text))
