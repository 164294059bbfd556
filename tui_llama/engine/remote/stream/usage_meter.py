"""Measures an answer, and reads what the server tells about its cost. What it does not tell stays unknown."""

from collections.abc import Callable
from time import perf_counter
from typing import Any

from tui_llama.chat import Usage
from tui_llama.engine.remote.stream.json_values import count_at, number_at

_MOST_SECONDS = 1e12


class UsageMeter:
    """The cost of one answer.

    Args:
        context_size: The context of the model in tokens; 0 if it is unknown.
        clock: Returns the seconds of a monotonic clock.
    """

    def __init__(self, context_size: int, clock: Callable[[], float] = perf_counter) -> None:
        self._context_size = context_size
        self._clock = clock
        self._begun_at = clock()
        self._first_at: float | None = None
        self._last_at = 0.0
        self._thought_at: float | None = None
        self._thought_end = 0.0
        self._has_text = False
        self._usage: Any = None
        self._timings: Any = None

    @property
    def prompt_tokens(self) -> int | None:
        """The tokens of the whole prompt; None if the server does not tell."""
        return count_at(self._usage, "prompt_tokens")

    def note_request(self) -> None:
        """Notes that the request is sent now."""
        self._begun_at = self._clock()

    def note_token(self, *, is_thought: bool = False, is_text: bool = False) -> None:
        """Notes that a piece of the answer has come now, and what it has of the thought and of the text."""
        self._last_at = self._clock()
        if self._first_at is None:
            self._first_at = self._last_at
        if is_thought and self._thought_at is None:
            self._thought_at = self._last_at
        if is_thought or not self._has_text:
            self._thought_end = self._last_at
        self._has_text = self._has_text or is_text

    def note_report(self, usage: Any, timings: Any) -> None:
        """Notes what the server tells; each None if a chunk does not have it."""
        self._usage = usage or self._usage
        self._timings = timings or self._timings

    def usage(self) -> Usage:
        """Returns the cost, as far as it is known up to now."""
        counts = self._counts()
        measured_seconds = 0.0 if self._first_at is None else self._last_at - self._first_at
        return Usage(
            **counts,
            read_seconds=_seconds(self._timings, "prompt_ms") or 0.0,
            generate_seconds=_told_or(_seconds(self._timings, "predicted_ms"), measured_seconds),
            context_size=self._context_size,
            drafted_tokens=count_at(self._timings, "draft_n") or 0,
            accepted_tokens=count_at(self._timings, "draft_n_accepted") or 0,
            thought_seconds=0.0 if self._thought_at is None else max(0.0, self._thought_end - self._thought_at),
            thought_tokens=min(self._thought_tokens(), counts.get("generated_tokens", 0)),
            first_token_seconds=None if self._first_at is None else max(0.0, self._first_at - self._begun_at),
        )

    def _thought_tokens(self) -> int:
        told = count_at(self._usage, "completion_tokens_details", "reasoning_tokens")
        return told or count_at(self._usage, "reasoning_tokens") or 0

    def _counts(self) -> dict[str, Any]:
        """Returns the counts of tokens: by the usage, else by the timings."""
        prompt, generated = self.prompt_tokens, count_at(self._usage, "completion_tokens")
        reused = count_at(self._usage, "prompt_tokens_details", "cached_tokens")
        if prompt is not None and generated is not None:
            reused_tokens = min(reused or 0, prompt)
            return {
                "reused_tokens": reused_tokens,
                "read_tokens": prompt - reused_tokens,
                "generated_tokens": generated,
                "context_used": prompt + generated,
                "knows_reused": reused is not None,
            }
        read, generated = count_at(self._timings, "prompt_n"), count_at(self._timings, "predicted_n")
        if read is None or generated is None:
            return {"knows_tokens": False, "knows_reused": False}
        cached = count_at(self._timings, "cache_n")
        return {
            "reused_tokens": cached or 0,
            "read_tokens": read,
            "generated_tokens": generated,
            "context_used": (cached or 0) + read + generated,
            "knows_reused": cached is not None,
        }


def _seconds(timings: Any, name: str) -> float | None:
    milliseconds = number_at(timings, name)
    return None if milliseconds is None or not 0 <= milliseconds <= _MOST_SECONDS else milliseconds / 1000


def _told_or(told: float | None, measured: float) -> float:
    return max(0.0, measured) if told is None else told
