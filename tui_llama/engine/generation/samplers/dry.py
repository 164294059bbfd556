"""DRY, "don't repeat yourself": a token that would prolong a repetition becomes the less likely the longer that is.

    history: … a b c X … a b c        X would make a repetition of 4 tokens

Source: llama.cpp's sampler of that name, from p-e-w's pull request 5677 to text-generation-webui.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from tui_llama.engine.generation.samplers.breakers import Breakers, Tail
from tui_llama.engine.generation.samplers.candidates import LARGEST, Candidates, FloatArray, IdArray, single
from tui_llama.engine.generation.samplers.logits import with_logits

_LARGEST_LOGARITHM: Final = 88.7228391
_LEAST_LIMITED_BASE: Final = 1.000001
_FIRST_CAPACITY: Final = 256


class Repetitions:
    """The last `size` tokens, and how long the repetitions are that end in each of them.

    A new token costs one pass over the recent tokens in NumPy.

    Args:
        size: How many tokens count.
        breakers: The sequence breakers.
    """

    def __init__(self, size: int, breakers: Breakers) -> None:
        self._size = size
        self._breakers = breakers
        self._count = 0
        self._tokens: IdArray = np.empty(_FIRST_CAPACITY, np.int32)
        # How many tokens up to a place equal the last ones; of the place i at i + 1, behind a 0 for what is before all.
        self._lengths: IdArray = np.zeros(_FIRST_CAPACITY + 1, np.int32)
        self._heads: list[int] = []  # the places of tokens that may begin a breaker

    def accept_all(self, token_ids: Sequence[int]) -> None:
        """Appends many tokens, as `accept` would one by one."""
        self._append(token_ids[max(0, len(token_ids) - self._size) :])
        lengths = common_endings(self._tokens[self._first : self._count].tolist())
        self._lengths[self._first + 1 : self._count] = lengths[:-1]

    def accept(self, token_id: int) -> None:
        """Appends a token: what ended as the last ones do goes on if the same token follows there."""
        self._append([token_id])
        first, last = self._first, self._count - 1
        goes_on = self._tokens[first:last] == token_id
        self._lengths[first + 1 : last + 1] = (self._lengths[first:last] + 1) * goes_on

    def longest(self, allowed: int) -> dict[int, int]:
        """Returns the tokens that would prolong a repetition, and how long that is.

        Args:
            allowed: The least length that counts.
        """
        first, last = self._first, self._count - 1
        most = self._since_breaker()
        if self._count - first <= allowed or most < allowed:
            return {}
        within = np.arange(1, last - first + 1, dtype=np.int32)  # a repetition does not begin before what counts
        lengths = np.minimum(np.minimum(self._lengths[first + 1 : last + 1], within), most)
        places = np.flatnonzero(lengths >= allowed)
        tokens, which = np.unique(self._tokens[first + places + 1], return_inverse=True)
        longest = np.zeros(len(tokens), np.int32)
        np.maximum.at(longest, which, lengths[places])
        alone = ((token, length) for token, length in zip(tokens.tolist(), longest.tolist(), strict=True))
        return {token: length for token, length in alone if () not in self._breakers.get(token, ())}

    @property
    def _first(self) -> int:
        return max(0, self._count - self._size)

    def _append(self, token_ids: Sequence[int]) -> None:
        end = self._count + len(token_ids)
        if end > len(self._tokens):
            added = np.zeros(end, np.int32)
            self._tokens = np.concatenate([self._tokens, added])
            self._lengths = np.concatenate([self._lengths, added])
        self._tokens[self._count : end] = token_ids
        self._heads += (place for place, token_id in enumerate(token_ids, self._count) if token_id in self._breakers)
        self._count = end

    def _since_breaker(self) -> int:
        """Returns how many tokens there are after the last breaker, or in all that counts."""
        for head in reversed(self._heads):
            if head < self._first:
                break
            after = self._count - 1 - head
            tails = self._breakers[int(self._tokens[head])]
            matching = [len(tail) for tail in tails if len(tail) <= after and self._follows(head, tail)]
            if matching:
                return after - max(matching)
        return self._count - self._first

    def _follows(self, head: int, tail: Tail) -> bool:
        return tuple(self._tokens[head + 1 : head + 1 + len(tail)].tolist()) == tail


def common_endings(tokens: Sequence[int]) -> list[int]:
    """Returns for each place how many tokens up to it equal the last ones; for the last place, the number of tokens.

    Source: Gusfield 1997, the Z algorithm, from the end; its time is proportional to the number of tokens.
    """
    backwards, count = tokens[::-1], len(tokens)
    lengths = [count] * count
    left = right = 0  # the stretch that reaches farthest and equals the beginning
    for place in range(1, count):
        length = min(lengths[place - left], right - place) if place < right else 0
        while place + length < count and backwards[length] == backwards[place + length]:
            length += 1
        lengths[place] = length
        if place + length > right:
            left, right = place, place + length
    return lengths[::-1]


@dataclass(frozen=True, slots=True)
class Dry:
    """Lowers the logits of tokens that would prolong a repetition.

    The penalty is `multiplier` for a repetition of `allowed` tokens, and grows by the factor `base` with each token.
    """

    repetitions: Repetitions
    multiplier: float
    base: float
    allowed: int

    def apply(self, candidates: Candidates) -> Candidates:
        """Returns the same candidates with new logits."""
        longest = self.repetitions.longest(self.allowed)
        if not longest:
            return candidates
        places, found = candidates.places_of(np.fromiter(longest.keys(), np.int64, len(longest)))
        lengths = np.fromiter(longest.values(), np.int64, len(longest))[found]
        with np.errstate(over="ignore"):
            new = candidates.logits[places] - self._penalties(lengths - self.allowed)
        return with_logits(candidates, places, new)

    def _penalties(self, beyond: NDArray[np.int64]) -> FloatArray:
        """Returns the penalties, (repetitions,) float32, for so many tokens beyond the allowed ones."""
        base = single(self.base)
        if base > _LEAST_LIMITED_BASE:
            beyond = np.minimum(beyond, int(_LARGEST_LOGARITHM / math.log(base)))
        penalties = np.power(float(base), beyond.astype(np.float64)) * float(single(self.multiplier))
        return np.minimum(penalties, LARGEST).astype(np.float32)
