"""The samplers that take a token, the last of a chain: the best one, by chance, mirostat 1 and 2, adaptive-p.

Formulas are llama.cpp's (src/llama-sampler.cpp).
"""

from typing import Final, Protocol

import numpy as np

from tui_llama.engine.generation.samplers.candidates import Candidates, FloatArray, single
from tui_llama.engine.generation.samplers.random_numbers import UniformNumbers

_LEAST_SHARE: Final = np.nextafter(0.0, 1.0)
"""Above 0, so that an excluded token is never chosen."""


class Chooser(Protocol):
    """Takes one of the candidates."""

    def choose(self, candidates: Candidates) -> int:
        """Returns the chosen token.

        Raises:
            EngineError: the logits are not numbers, or every token is excluded.
        """
        ...


class Greedy:
    """Takes the best candidate."""

    def choose(self, candidates: Candidates) -> int:
        """Returns the token with the highest logit, the lowest id of equal ones."""
        return candidates.token_id(int(candidates.checked().logits.argmax()))


class Random:
    """Takes a candidate by its probability."""

    def __init__(self, numbers: UniformNumbers) -> None:
        self._numbers = numbers

    def choose(self, candidates: Candidates) -> int:
        """Returns a token. Takes one random number, even where there is one candidate."""
        return draw(candidates.checked(), self._numbers.next())


def draw(candidates: Candidates, uniform: float) -> int:
    """Returns the token that the random number selects: the first whose running sum of weights reaches its share.

    Args:
        candidates: At least one; their weights need not add up to 1.
        uniform: From 0 to below 1.
    """
    sums = np.cumsum(candidates.weights(), dtype=np.float64)
    share = max(uniform * sums[-1], _LEAST_SHARE)
    return candidates.token_id(int(np.searchsorted(sums, share)))


def draw_place(probabilities: FloatArray, numbers: UniformNumbers) -> int:
    """Returns the place that the next random number selects; a single one is taken without a number.

    Source: `std::discrete_distribution` of GCC's library, with which mirostat and adaptive-p draw.
    """
    if len(probabilities) < 2:
        return 0
    shares = probabilities.astype(np.float64)
    sums = np.cumsum(shares / shares.sum())
    sums[np.flatnonzero(shares)[-1] :] = 1.0
    return int(np.searchsorted(sums, max(numbers.next(), _LEAST_SHARE)))


class Mirostat:
    """Version 2: drops the candidates that would surprise too much, and learns how much that is from what it takes.

    Args:
        tau: The surprise to aim at, in bits.
        eta: How fast it learns.
        numbers: The random numbers.

    Source: Basu et al. 2021 (mirostat).
    """

    def __init__(self, tau: float, eta: float, numbers: UniformNumbers) -> None:
        self._tau = single(tau)
        self._eta = single(eta)
        self._numbers = numbers
        self._most_surprise = single(2.0 * tau)

    def choose(self, candidates: Candidates) -> int:
        """Returns a token, and learns from its surprise."""
        kept = self._kept(candidates.checked())
        probabilities = kept.probabilities()
        place = draw_place(probabilities, self._numbers)
        with np.errstate(over="ignore", invalid="ignore"):
            error = -np.log2(probabilities[place]) - self._tau
            self._most_surprise = single(float(self._most_surprise - self._eta * error))
        return kept.token_id(place)

    def _kept(self, candidates: Candidates) -> Candidates:
        """Returns the candidates that do not surprise too much, sorted; at least the best."""
        probabilities = candidates.probabilities()
        with np.errstate(over="ignore", divide="ignore", under="ignore"):
            nearly = np.flatnonzero(probabilities >= np.exp2(-self._most_surprise) * np.float32(0.999))
            is_kept = np.zeros(len(probabilities), np.bool_)
            is_kept[nearly] = -np.log2(probabilities[nearly]) <= self._most_surprise
        return candidates.where(is_kept).sorted() if is_kept.any() else candidates.top(1)


class FirstMirostat(Mirostat):
    """Version 1: keeps as many of the best candidates as would have the surprise, if they fell off as in Zipf's law.

    Args:
        tau: The surprise to aim at, in bits.
        eta: How fast it learns.
        numbers: The random numbers.
        vocab_size: Number of tokens in the vocabulary.
    """

    _MOST_EXAMINED: Final = 100

    def __init__(self, tau: float, eta: float, numbers: UniformNumbers, vocab_size: int) -> None:
        super().__init__(tau, eta, numbers)
        self._vocab_size = np.float32(vocab_size)

    def _kept(self, candidates: Candidates) -> Candidates:
        examined = candidates.top(self._MOST_EXAMINED).weights()
        return candidates.top(self._count(examined[examined > 0]))

    def _count(self, weights: FloatArray) -> int:
        """Returns how many candidates to keep; 1 where the formula has no value."""
        if len(weights) < 2:
            return 1
        ranks = np.arange(1, len(weights), dtype=np.float32)
        steps = np.log((ranks + 1) / ranks)
        one, two = np.float32(1), np.float32(2)
        with np.errstate(all="ignore"):
            exponent = np.sum(steps * np.log(weights[:-1] / weights[1:])) / np.sum(steps * steps)
            excess = exponent - one
            scale = (excess * two**self._most_surprise) / (one - self._vocab_size**-excess)
            count = scale ** (one / exponent)
        return int(min(max(count, 1), self._vocab_size)) if np.isfinite(count) else 1


class AdaptiveP:
    """Prefers candidates near a probability, and moves that probability against what it took before.

    Args:
        target: The probability to aim at on average; below 0, the token is drawn as it is.
        decay: The weight of each token before, compared with the one after it.
        numbers: The random numbers.

    Source: llama.cpp's sampler of that name.
    """

    _HIGHEST_LOGIT: Final = np.float32(5)
    _SHARPNESS: Final = np.float32(10)
    _WIDTH: Final = np.float32(0.3)
    _MOST_DECAY: Final = 0.99

    def __init__(self, target: float, decay: float, numbers: UniformNumbers) -> None:
        self._is_on = target >= 0
        self._target = np.float32(min(max(target, 0.0), 1.0))
        self._decay = np.float32(min(max(decay, 0.0), self._MOST_DECAY))
        self._numbers = numbers
        self._weight = np.float32(1) / (np.float32(1) - self._decay)
        self._sum = self._target * self._weight
        self._chosen: tuple[int, np.float32] | None = None

    def choose(self, candidates: Candidates) -> int:
        """Returns a token; `accept` learns from it."""
        before = candidates.checked().probabilities()
        after = self._preferred(candidates, before) if self._is_on else before
        place = draw_place(after, self._numbers)
        token_id = candidates.token_id(place)
        self._chosen = (token_id, before[place])
        return token_id

    def accept(self, token_id: int) -> None:
        """Learns from a token if it is the chosen one."""
        if self._is_on and self._chosen is not None and self._chosen[0] == token_id:
            self._sum = self._chosen[1] + self._decay * self._sum
            self._weight = np.float32(1) + self._decay * self._weight
        self._chosen = None

    def _preferred(self, candidates: Candidates, probabilities: FloatArray) -> FloatArray:
        """Returns the probabilities after those near the target were raised, (candidates,) float32."""
        wanted = np.clip(np.float32(2) * self._target - self._sum / self._weight, np.float32(0), np.float32(1))
        distance = np.abs((probabilities - wanted) / self._WIDTH)
        logits = self._HIGHEST_LOGIT - self._SHARPNESS * distance * distance / (np.float32(1) + distance)
        excluded = candidates.logits == -np.inf
        return Candidates(np.where(excluded, np.float32(-np.inf), logits)).probabilities()
