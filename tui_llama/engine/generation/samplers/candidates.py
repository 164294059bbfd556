"""The tokens that may still be chosen, with their logits; and numbers that stay within 32 bits."""

import math
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from tui_llama.errors import EngineError

FloatArray: TypeAlias = NDArray[np.float32]
IdArray: TypeAlias = NDArray[np.int32]

LARGEST: Final = float(np.finfo(np.float32).max)
"""The largest number in 32 bits, without a loss. Settings beyond it become this one."""


@dataclass(frozen=True, slots=True)
class Candidates:
    """The tokens that may still be chosen.

    Attributes:
        logits: (candidates,) float32; -inf excludes a token.
        ids: (candidates,) int32, or None while the candidates are the whole vocabulary in the order of ids.
        is_sorted: True if the highest logit comes first (of equal ones the lowest id).
    """

    logits: FloatArray
    ids: IdArray | None = None
    is_sorted: bool = False

    def __len__(self) -> int:
        return len(self.logits)

    def token_id(self, place: int) -> int:
        """Returns the token at `place`."""
        return place if self.ids is None else int(self.ids[place])

    def places_of(self, token_ids: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Returns the places of the tokens that are candidates, and for each of `token_ids` whether it is one."""
        if self.ids is None:
            return token_ids, np.ones(len(token_ids), np.bool_)
        order = np.argsort(self.ids)
        nearest = order[np.minimum(np.searchsorted(self.ids, token_ids, sorter=order), len(order) - 1)]
        found = self.ids[nearest] == token_ids
        return nearest[found], found

    def top(self, count: int) -> "Candidates":
        """Returns the `count` best candidates, sorted.

        Raises:
            EngineError: a logit is NaN.
        """
        count = min(count, len(self.logits))
        if self.is_sorted:
            return Candidates(self.logits[:count], None if self.ids is None else self.ids[:count], True)
        return self._select_top(count)

    def without_best(self, count: int) -> "Candidates":
        """Returns the candidates, which are sorted, without the `count` best."""
        ids = np.arange(len(self.logits), dtype=np.int32) if self.ids is None else self.ids
        return Candidates(self.logits[count:], ids[count:], True)

    def sorted(self) -> "Candidates":
        """Returns all candidates, sorted."""
        if self.is_sorted:
            return self
        order = falling(self.logits)
        return Candidates(self.logits[order], order if self.ids is None else self.ids[order], True)

    def where(self, kept: NDArray[np.bool_]) -> "Candidates":
        """Returns the candidates for which `kept` is true, in the same order."""
        places = np.flatnonzero(kept).astype(np.int32)
        return Candidates(self.logits[places], places if self.ids is None else self.ids[places], self.is_sorted)

    def highest(self) -> np.float32:
        """Returns the highest logit; NaN counts as higher than all numbers."""
        best: np.float32 = self.logits[0] if self.is_sorted else self.logits.max()
        return best

    def checked(self) -> "Candidates":
        """Returns the candidates themselves.

        Raises:
            EngineError: there is no highest logit, or all candidates are excluded. To NumPy, NaN is also the highest.
        """
        highest = self.highest()
        if highest == -np.inf:
            raise EngineError(
                "No token may follow: everything is ruled out", "Take back a bias of tokens, or loosen the grammar."
            )
        if not math.isfinite(highest):
            raise _no_numbers()
        return self

    def weights(self) -> FloatArray:
        """Returns the weights, (candidates,) float32, proportional to the probabilities; the best one's is 1."""
        weights: FloatArray = np.exp(-self.below_highest())
        return weights

    def probabilities(self) -> FloatArray:
        """Returns the probabilities, (candidates,) float32."""
        weights = self.weights()
        probabilities: FloatArray = weights / weights.sum(dtype=np.float32)
        return probabilities

    def below_highest(self) -> FloatArray:
        """Returns how far each logit lies below the highest, (candidates,) float32; infinite beyond float32."""
        with np.errstate(over="ignore", invalid="ignore"):
            below: FloatArray = self.highest() - self.logits
        return below

    def _select_top(self, count: int) -> "Candidates":
        from tui_llama.engine.generation.top_logits import select_top  # here: it loads kernels

        try:
            places, logits = select_top(self.logits, count)
        except FloatingPointError:
            raise _no_numbers() from None
        return Candidates(logits, places if self.ids is None else self.ids[places], True)


def falling(values: FloatArray) -> IdArray:
    """Returns the places of values, none of them NaN, the highest first and of equal ones the first one first.

    Numbers of 64 bits, each of a value's bits and its place, are sorted several times as fast as floats are by a sort
    that keeps the order of equal ones.
    """
    bits = (values + np.float32(0)).view(np.uint32)  # there are two zeros, of which the sum is always the same
    falling_bits = np.where(bits >> 31, bits, ~(bits | np.uint32(1 << 31)))
    keys = (falling_bits.astype(np.uint64) << np.uint64(32)) | np.arange(len(values), dtype=np.uint64)
    keys.sort()
    return (keys & np.uint64(0xFFFFFFFF)).astype(np.int32)


def single(value: float) -> np.float32:
    """Returns a setting as float32; a setting beyond float32 becomes the largest number."""
    return np.float32(min(max(value, -LARGEST), LARGEST))


def within_float32(values: FloatArray) -> FloatArray:
    """Returns the values, with infinite ones replaced by the largest numbers."""
    within: FloatArray = np.clip(values, np.float32(-LARGEST), np.float32(LARGEST))
    return within


def _no_numbers() -> EngineError:
    return EngineError(
        "The model computed values that are not numbers",
        "The model file may be damaged; download it again or try another quantization.",
    )
