"""The figures of an answer: usage as OpenAI counts it, and timings and progress under llama-server's names."""

from collections.abc import Callable
from typing import Any

from tui_llama.chat import Usage
from tui_llama.engine.events import PromptProgress, TextPiece

_MILLISECONDS = 1000.0


def usage_figures(usage: Usage) -> dict[str, Any]:
    """Returns the token counts of an answer."""
    prompt_tokens = usage.reused_tokens + usage.read_tokens
    figures: dict[str, Any] = {
        "prompt_tokens": prompt_tokens,
        "completion_tokens": usage.generated_tokens,
        "total_tokens": prompt_tokens + usage.generated_tokens,
        "prompt_tokens_details": {"cached_tokens": usage.reused_tokens},
    }
    if usage.thought_tokens:
        figures["completion_tokens_details"] = {"reasoning_tokens": usage.thought_tokens}
    return figures


def timings(usage: Usage) -> dict[str, Any]:
    """Returns how long an answer took. A speed that nothing was measured of is 0."""
    figures: dict[str, Any] = {
        "cache_n": usage.reused_tokens,
        **_phase("prompt", usage.read_tokens, usage.read_seconds),
        **_phase("predicted", usage.generated_tokens, usage.generate_seconds),
    }
    if usage.drafted_tokens:
        figures |= {"draft_n": usage.drafted_tokens, "draft_n_accepted": usage.accepted_tokens}
    return figures


def _phase(name: str, tokens: int, seconds: float) -> dict[str, Any]:
    milliseconds = seconds * _MILLISECONDS
    return {
        f"{name}_n": tokens,
        f"{name}_ms": milliseconds,
        f"{name}_per_token_ms": milliseconds / tokens if tokens else 0.0,
        f"{name}_per_second": tokens / seconds if seconds else 0.0,
    }


class RunningFigures:
    """The figures of an answer while it comes, as far as events and a clock tell them.

    Args:
        clock: Returns the seconds of a monotonic clock.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._began_at = self._was_read_at = clock()
        self._reused_tokens = self._read_tokens = self._generated_tokens = 0

    def read(self, event: PromptProgress) -> dict[str, Any]:
        """Takes the progress of reading the prompt; returns it as llama-server tells it."""
        self._was_read_at = self._clock()
        self._reused_tokens, self._read_tokens = event.reused_tokens, event.done_tokens - event.reused_tokens
        return {
            "total": event.total_tokens,
            "cache": event.reused_tokens,
            "processed": event.done_tokens,
            "time_ms": int((self._was_read_at - self._began_at) * _MILLISECONDS),
        }

    def wrote(self, piece: TextPiece) -> None:
        """Takes a piece of the answer."""
        self._generated_tokens += len(piece.token_ids)

    def timings(self) -> dict[str, Any]:
        """Returns the timings so far."""
        return timings(
            Usage(
                reused_tokens=self._reused_tokens,
                read_tokens=self._read_tokens,
                generated_tokens=self._generated_tokens,
                read_seconds=self._was_read_at - self._began_at,
                generate_seconds=self._clock() - self._was_read_at,
            )
        )
