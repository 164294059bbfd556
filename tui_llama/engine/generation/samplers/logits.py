"""Samplers that change logits by token, and remove none: biases and penalties."""

from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tui_llama.engine.generation.samplers.candidates import Candidates, FloatArray, single, within_float32
from tui_llama.sampling.chain import LEAST_TEMPERATURE


@dataclass(frozen=True, slots=True)
class LogitBias:
    """Adds to the logits of some tokens; -inf rules a token out. The candidates are still the whole vocabulary."""

    biases: Mapping[int, float]

    def apply(self, candidates: Candidates) -> Candidates:
        """Returns the same candidates with new logits."""
        ids = np.fromiter(self.biases.keys(), np.int64, len(self.biases))
        added = np.fromiter(self.biases.values(), np.float64, len(self.biases))
        logits = candidates.logits.copy()
        with np.errstate(over="ignore", invalid="ignore"):
            new = (logits[ids] + added).astype(np.float32)
        logits[ids] = np.where(np.isfinite(logits[ids]) & np.isfinite(added), within_float32(new), new)
        return Candidates(logits, candidates.ids)


class RecentTokens:
    """Counts how often each of the last `size` tokens was used."""

    def __init__(self, size: int) -> None:
        self.counts: Counter[int] = Counter()
        self._tokens: deque[int] = deque()
        self._size = size

    def accept(self, token_id: int) -> None:
        """Counts a token as used."""
        self._tokens.append(token_id)
        self.counts[token_id] += 1
        if len(self._tokens) > self._size:
            oldest = self._tokens.popleft()
            self.counts[oldest] -= 1
            if not self.counts[oldest]:
                del self.counts[oldest]

    def accept_all(self, token_ids: Sequence[int]) -> None:
        """Counts tokens as used."""
        for token_id in token_ids[max(0, len(token_ids) - self._size) :]:
            self.accept(token_id)


@dataclass(frozen=True, slots=True)
class Penalties:
    """Makes recently used tokens less likely.

    A logit is divided by `repeat` (multiplied if negative), then lowered by `frequency` for each use and once by
    `presence`. `counts` is read whenever the step is applied.
    """

    counts: Mapping[int, int]
    repeat: float
    frequency: float
    presence: float

    def apply(self, candidates: Candidates) -> Candidates:
        """Returns the same candidates with new logits."""
        if not self.counts:
            return candidates
        places, found = candidates.places_of(np.fromiter(self.counts.keys(), np.int64, len(self.counts)))
        uses = np.fromiter(self.counts.values(), np.float32, len(self.counts))[found]
        old = candidates.logits[places]
        repeat = max(single(self.repeat), np.float32(LEAST_TEMPERATURE))
        with np.errstate(over="ignore", invalid="ignore"):
            scaled = within_float32(np.where(old <= 0, old * repeat, old / repeat))
            new = scaled - (uses * single(self.frequency) + single(self.presence))
        return with_logits(candidates, places, new)


def with_logits(candidates: Candidates, places: NDArray[np.int64], new: FloatArray) -> Candidates:
    """Returns the candidates with other logits at some places, kept within float32.

    Excluded tokens stay so, and NaN stays NaN.
    """
    logits = candidates.logits.copy()
    logits[places] = np.where(np.isfinite(logits[places]), within_float32(new), logits[places])
    return Candidates(logits, candidates.ids)
