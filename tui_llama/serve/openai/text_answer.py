"""Writes the events of a reply as text completions, in chunks or as a whole. Knows no HTTP."""

from collections.abc import Iterable, Iterator
from typing import Any, Final

from tui_llama.engine.events import Finished, PromptProgress, TextPiece, TokenProbability
from tui_llama.serve.openai.chunks import Envelope, Ids, finish_reason
from tui_llama.serve.openai.figures import RunningFigures, timings, usage_figures
from tui_llama.serve.openai.probabilities import TellableProbabilities, TextProbabilities
from tui_llama.serve.openai.request.asked import AskedText

_OBJECT: Final = "text_completion"


class TextAnswer:
    """One answer.

    Args:
        asked: What the request asks for.
        echoed: The prompt, with which the answer begins; empty if it does not.
        ids: Supplies ids and times.
    """

    def __init__(self, asked: AskedText, echoed: str, ids: Ids) -> None:
        self._form = asked.form
        self._envelope = Envelope("cmpl-", asked.model, ids)
        self._echoed = echoed
        self._figures = RunningFigures(ids.clock)
        self._probabilities = TellableProbabilities()
        self._told = TextProbabilities(len(echoed))
        self._has_begun = False

    def progress(self, event: PromptProgress) -> Iterator[dict[str, Any]]:
        """Yields the chunk that tells how much of the prompt is read, if the request asks for it."""
        told = self._figures.read(event)
        if self._form.tells_progress:
            yield self._chunk("", prompt_progress=told)

    def piece(self, piece: TextPiece) -> Iterator[dict[str, Any]]:
        """Yields the chunks of a piece of the answer; none while it is held back."""
        yield from self._begin()
        self._figures.wrote(piece)
        told = self._probabilities.take(piece)
        if piece.text:
            yield self._chunk(piece.text, told)

    def finish(self, event: Finished) -> Iterator[dict[str, Any]]:
        """Yields the end, and the usage if the request asks for it."""
        yield from self._begin()
        told = self._probabilities.finish(event.stop_reason)
        last: dict[str, Any] = {"timings": timings(event.usage)}
        reason = finish_reason(event.stop_reason)
        if self._form.tells_usage:
            yield self._chunk("", told, reason)
            yield self._envelope.around(_OBJECT, [], usage=usage_figures(event.usage), **last)
        else:
            yield self._chunk("", told, reason, **last)

    def whole(self, pieces: Iterable[TextPiece], event: Finished) -> dict[str, Any]:
        """Returns the whole answer at once."""
        text, told = self._echoed, []
        for piece in pieces:
            text += piece.text
            told += self._probabilities.take(piece)
        told += self._probabilities.finish(event.stop_reason)
        choice = self._choice(text, told, finish_reason(event.stop_reason))
        return self._envelope.around(_OBJECT, [choice], usage=usage_figures(event.usage), timings=timings(event.usage))

    def _begin(self) -> Iterator[dict[str, Any]]:
        if not self._has_begun and self._echoed:
            yield self._chunk(self._echoed)
        self._has_begun = True

    def _chunk(
        self, text: str, told: list[TokenProbability] | None = None, reason: str | None = None, **further: Any
    ) -> dict[str, Any]:
        if self._form.times_tokens:
            further.setdefault("timings", self._figures.timings())
        return self._envelope.around(_OBJECT, [self._choice(text, told or [], reason)], **further)

    def _choice(self, text: str, told: list[TokenProbability], reason: str | None) -> dict[str, Any]:
        shown = self._told.told(told) if told and self._form.has_probabilities else None
        return {"index": 0, "text": text, "logprobs": shown, "finish_reason": reason}
