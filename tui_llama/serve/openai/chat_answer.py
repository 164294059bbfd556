"""Writes the events of a reply as chat completions, in chunks or as a whole. Knows no HTTP."""

import itertools
from collections.abc import Iterable, Iterator
from typing import Any, Final, TypeAlias

from tui_llama.chat import StopReason
from tui_llama.engine.events import Finished, PromptProgress, TextPiece, TokenProbability
from tui_llama.serve.openai.answer_text.tool_calls import AnswerPart, NumberedCall, ToolCallParser
from tui_llama.serve.openai.answer_text.whole_text import WholeText
from tui_llama.serve.openai.chunks import ENDED, Envelope, Ids, finish_reason
from tui_llama.serve.openai.figures import RunningFigures, timings, usage_figures
from tui_llama.serve.openai.probabilities import TellableProbabilities, chat_probabilities
from tui_llama.serve.openai.request.asked import AskedChat

Delta: TypeAlias = dict[str, Any]

_CHUNK: Final = "chat.completion.chunk"
_WHOLE: Final = "chat.completion"
_CALLED: Final = "tool_calls"
_CALL_ID_LENGTH: Final = 9
"""Mistral's templates take ids of nine letters and digits only, all others any."""


class ChatAnswer:
    """One answer.

    Args:
        asked: What the request asks for.
        ids: Supplies ids and times.
    """

    def __init__(self, asked: AskedChat, ids: Ids) -> None:
        self._form = asked.form
        self._allows_more_calls = asked.allows_more_calls
        self._envelope = Envelope("chatcmpl-", asked.model, ids)
        self._whole = None if asked.parts_thinking else WholeText(asked.goes_on_in_thought)
        self._parser = (
            ToolCallParser(asked.tool_format, lambda: ids.new()[:_CALL_ID_LENGTH]) if asked.tool_format else None
        )
        self._figures = RunningFigures(ids.clock)
        self._probabilities = TellableProbabilities()
        self._has_begun = False

    # --- in chunks ------------------------------------------------------------------------------------------

    def progress(self, event: PromptProgress) -> Iterator[dict[str, Any]]:
        """Yields the chunk that tells how much of the prompt is read, if the request asks for it."""
        told = self._figures.read(event)
        if self._form.tells_progress:
            yield self._chunk({"role": "assistant", "content": None}, prompt_progress=told)

    def piece(self, piece: TextPiece) -> Iterator[dict[str, Any]]:
        """Yields the chunks of a piece of the answer; none while it is held back."""
        yield from self._begin()
        self._figures.wrote(piece)
        yield from self._chunks(self._deltas(piece.thought, piece.text), self._probabilities.take(piece))

    def finish(self, event: Finished) -> Iterator[dict[str, Any]]:
        """Yields what was held back, the end, and the usage if the request asks for it."""
        yield from self._begin()
        yield from self._chunks(self._deltas(is_last=True), self._probabilities.finish(event.stop_reason))
        last: dict[str, Any] = {"timings": timings(event.usage)}
        usage = {"usage": usage_figures(event.usage)}
        reason = self._finish_reason(event.stop_reason)
        if self._form.tells_usage:
            yield self._chunk({}, reason)
            yield self._envelope.around(_CHUNK, [], **usage, **last)
        else:
            yield self._chunk({}, reason, **last)

    # --- as a whole -----------------------------------------------------------------------------------------

    def whole(self, pieces: Iterable[TextPiece], event: Finished) -> dict[str, Any]:
        """Returns the whole answer at once."""
        deltas: list[Delta] = []
        told: list[TokenProbability] = []
        for piece in pieces:
            deltas += self._deltas(piece.thought, piece.text)
            told += self._probabilities.take(piece)
        deltas += self._deltas(is_last=True)
        told += self._probabilities.finish(event.stop_reason)
        choice = {"index": 0, "message": _message(deltas), "finish_reason": self._finish_reason(event.stop_reason)}
        if self._form.has_probabilities:
            choice["logprobs"] = chat_probabilities(told)
        return self._envelope.around(_WHOLE, [choice], usage=usage_figures(event.usage), timings=timings(event.usage))

    # --- both -----------------------------------------------------------------------------------------------

    def _begin(self) -> Iterator[dict[str, Any]]:
        if not self._has_begun:
            self._has_begun = True
            yield self._chunk({"role": "assistant", "content": ""})

    def _deltas(self, thought: str = "", text: str = "", *, is_last: bool = False) -> list[Delta]:
        """Returns what is certain of the answer after the next text, in the order in which it was written."""
        if self._whole is not None:
            thought, text = "", self._whole.push(thought, text)
        thoughts: list[Delta] = [{"reasoning_content": thought}] if thought else []
        return thoughts + [_delta(part) for part in self._parts(text, is_last)]

    def _parts(self, text: str, is_last: bool) -> list[AnswerPart]:
        if self._parser is None:
            return [text] if text else []
        parts = [*(self._parser.push(text) if text else ()), *(self._parser.finish() if is_last else ())]
        return [part for part in parts if isinstance(part, str) or not part.index or self._allows_more_calls]

    def _chunks(self, deltas: list[Delta], told: list[TokenProbability]) -> Iterator[dict[str, Any]]:
        """Yields a chunk for each delta; the first one has the probabilities."""
        if told and self._form.has_probabilities and not deltas:
            deltas = [{"content": ""}]
        for delta, tokens in zip(deltas, itertools.chain([told], itertools.repeat([])), strict=False):
            yield self._chunk(delta, tokens=tokens)

    def _chunk(
        self, delta: Delta, reason: str | None = None, tokens: list[TokenProbability] | None = None, **further: Any
    ) -> dict[str, Any]:
        choice: dict[str, Any] = {"index": 0, "delta": delta, "finish_reason": reason}
        if tokens and self._form.has_probabilities:
            choice["logprobs"] = chat_probabilities(tokens)
        if self._form.times_tokens:
            further.setdefault("timings", self._figures.timings())
        return self._envelope.around(_CHUNK, [choice], **further)

    def _finish_reason(self, reason: StopReason) -> str:
        word = finish_reason(reason)
        has_called = self._parser is not None and self._parser.call_count > 0
        return _CALLED if has_called and word == ENDED else word


def _delta(part: AnswerPart) -> Delta:
    return {"content": part} if isinstance(part, str) else {"tool_calls": [{"index": part.index, **_call(part)}]}


def _call(call: NumberedCall) -> dict[str, Any]:
    return {
        "id": call.call_id,
        "type": "function",
        "function": {"name": call.name, "arguments": call.arguments},
    }


def _message(deltas: list[Delta]) -> dict[str, Any]:
    """Returns the message that the deltas are together."""
    content = "".join(delta.get("content", "") for delta in deltas)
    reasoning = "".join(delta.get("reasoning_content", "") for delta in deltas)
    calls = [
        {name: value for name, value in call.items() if name != "index"}
        for delta in deltas
        for call in delta.get("tool_calls", ())
    ]
    message: dict[str, Any] = {"role": "assistant", "content": content if content or not calls else None}
    if reasoning:
        message["reasoning_content"] = reasoning
    if calls:
        message["tool_calls"] = calls
    return message
