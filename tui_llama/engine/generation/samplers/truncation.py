"""Samplers that drop candidates: by number, by probability, by distance from the best, and the likeliest ones.

Formulas are llama.cpp's (src/llama-sampler.cpp). `min_keep` is the least number of candidates that a step leaves.
"""

import math
from dataclasses import dataclass
from typing import Final

import numpy as np

from tui_llama.engine.generation.samplers.candidates import Candidates, FloatArray, falling, single
from tui_llama.engine.generation.samplers.random_numbers import UniformNumbers

# Resolution with which top_p looks at the logits before sorting. A logit 64 below the best is next to impossible.
_BINS_PER_LOGIT: Final = 16
_BINS: Final = 64 * _BINS_PER_LOGIT


@dataclass(frozen=True, slots=True)
class TopNSigma:
    """Excludes candidates whose logit is more than `n` standard deviations below the best; they stay in their places.

    Source: Tang et al. 2024 (top-n-sigma).
    """

    n: float

    def apply(self, candidates: Candidates) -> Candidates:
        """Returns the same candidates; those that are excluded have a logit of -inf."""
        if len(candidates) <= 1:
            return candidates
        logits = candidates.checked().logits
        deviation = float(logits[logits != -np.inf].std(dtype=np.float64))
        least = single(float(candidates.highest()) - float(single(self.n)) * deviation)
        kept: FloatArray = np.where(logits < least, np.float32(-np.inf), logits)
        return Candidates(kept, candidates.ids, candidates.is_sorted)


@dataclass(frozen=True, slots=True)
class TopK:
    """Keeps the `k` best candidates."""

    k: int

    def apply(self, candidates: Candidates) -> Candidates:
        """Returns the `k` best candidates, sorted."""
        return candidates.top(self.k)


@dataclass(frozen=True, slots=True)
class TypicalP:
    """Keeps the candidates whose surprise is nearest to the expected one, until they are more probable than `p`.

    Source: Meister et al. 2022 (locally typical sampling).
    """

    p: float
    min_keep: int = 0

    def apply(self, candidates: Candidates) -> Candidates:
        """Returns the candidates that are kept, the most typical one first; at least one."""
        ordered = candidates.checked().sorted()
        probabilities = ordered.probabilities()
        with np.errstate(divide="ignore", invalid="ignore"):
            surprise = -np.log(probabilities)
            expected = np.sum(probabilities * surprise, where=probabilities > 0, dtype=np.float32)
        places = falling(-np.abs(surprise - expected))
        sums = np.cumsum(probabilities[places], dtype=np.float32)
        reached = np.flatnonzero(sums > single(self.p))
        count = max(int(reached[0]) + 1, self.min_keep) if len(reached) else len(places)
        kept = places[:count]
        return Candidates(ordered.logits[kept], kept if ordered.ids is None else ordered.ids[kept])


@dataclass(frozen=True, slots=True)
class TopP:
    """Keeps the best candidates until their probabilities add up to `p`; at least one."""

    p: float
    min_keep: int = 0

    def apply(self, candidates: Candidates) -> Candidates:
        """Returns the best candidates, sorted."""
        total = candidates.checked().weights().sum(dtype=np.float32)
        best = candidates if candidates.is_sorted else self._holding(candidates).sorted()
        sums = np.cumsum(best.weights() / total, dtype=np.float32)
        reached = np.flatnonzero(sums >= np.float32(self.p))
        count = int(reached[0]) + 1 if len(reached) else len(best)
        return best.top(count) if count >= self.min_keep else candidates.top(self.min_keep)

    def _holding(self, candidates: Candidates) -> Candidates:
        """Returns few candidates that hold a probability of `p`, without sorting: sorting all takes much longer."""
        below_best = np.minimum(candidates.below_highest(), np.float32(_BINS)) * np.float32(_BINS_PER_LOGIT)
        bins = np.minimum(below_best, _BINS - 1).astype(np.int64)
        sums = np.cumsum(np.bincount(bins, candidates.weights(), _BINS))
        last_bin = int(np.searchsorted(sums, self.p * sums[-1])) + 1  # one more, because of rounding
        return candidates.where(bins <= last_bin)


@dataclass(frozen=True, slots=True)
class MinP:
    """Keeps candidates that are at least `p` times as probable as the best."""

    p: float
    min_keep: int = 0

    def apply(self, candidates: Candidates) -> Candidates:
        """Returns the candidates that are probable enough, in the same order; at least the best.

        If they are too few, the best ones are returned, sorted.
        """
        best = candidates.highest()
        kept = candidates.where(candidates.logits >= min(best, best + np.float32(math.log(self.p))))
        return kept if len(kept) >= self.min_keep else candidates.top(self.min_keep)


@dataclass(frozen=True, slots=True)
class Xtc:
    """Drops, as often as `probability` says, all candidates that are likely but the last of them.

    Source: llama.cpp's sampler of that name, "exclude top choices".
    """

    probability: float
    threshold: float
    numbers: UniformNumbers
    min_keep: int = 0

    def apply(self, candidates: Candidates) -> Candidates:
        """Returns the same candidates, or those that are left, sorted."""
        if len(candidates) < 2 or self.numbers.next_single() > single(self.probability):
            return candidates
        ordered = candidates.checked().sorted()
        probabilities = ordered.probabilities()
        is_likely = (probabilities >= single(self.threshold)) & (probabilities > 0)  # the last may not be excluded
        last = int(np.count_nonzero(is_likely)) - 1
        is_dropping = last > 0 and len(ordered) - last >= self.min_keep
        return ordered.without_best(last) if is_dropping else ordered
