"""Chooses the next token: a list of steps over the candidates, in llama.cpp's default order.

    chain = SamplerChain(SamplingSettings(), vocab_size=32000)
    chain.accept(token_id)           # for every token of the prompt and of the answer
    token_id = chain.sample(logits)

Every step takes candidates and returns candidates; the last one also gets the random number. Code that loads kernels is
imported only when the first step needs it.
"""

import math
import secrets
from collections import Counter, deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias, cast

import numpy as np
from numpy.typing import NDArray

from tui_llama.errors import EngineError, ShapeMismatchError
from tui_llama.sampling.settings import SamplingSettings
from tui_llama.settings import SAMPLING, check_fields

FloatArray: TypeAlias = NDArray[np.float32]
IdArray: TypeAlias = NDArray[np.int32]

# The range of float32, without numbers that lose digits. Settings beyond it become its nearest end.
_LEAST = float(np.finfo(np.float32).tiny)
_LARGEST = float(np.finfo(np.float32).max)

# Resolution with which top_p looks at the logits before sorting. A logit 64 below the best is next to impossible.
_BINS_PER_LOGIT = 16
_BINS = 64 * _BINS_PER_LOGIT


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

    def token_id(self, place: int) -> int:
        """Returns the token at `place`."""
        return place if self.ids is None else int(self.ids[place])

    def top(self, count: int) -> "Candidates":
        """Returns the `count` best candidates, sorted.

        Raises:
            EngineError: a logit is NaN.
        """
        count = min(count, len(self.logits))
        if self.is_sorted:
            return Candidates(self.logits[:count], None if self.ids is None else self.ids[:count], True)
        return self._select_top(count)

    def sorted(self) -> "Candidates":
        """Returns all candidates, sorted."""
        order = np.argsort(-self.logits, kind="stable").astype(np.int32)
        return Candidates(self.logits[order], order if self.ids is None else self.ids[order], True)

    def where(self, kept: NDArray[np.bool_]) -> "Candidates":
        """Returns the candidates for which `kept` is true, in the same order."""
        places = np.flatnonzero(kept).astype(np.int32)
        return Candidates(self.logits[places], places if self.ids is None else self.ids[places], self.is_sorted)

    def highest(self) -> np.float32:
        """Returns the highest logit; NaN counts as higher than all numbers."""
        best: np.float32 = self.logits[0] if self.is_sorted else self.logits.max()
        return best

    def weights(self) -> FloatArray:
        """Returns the weights, (candidates,) float32, proportional to the probabilities; the best one's is 1."""
        weights: FloatArray = np.exp(-self.below_highest())
        return weights

    def below_highest(self) -> FloatArray:
        """Returns how far each logit lies below the highest, (candidates,) float32; infinite beyond float32."""
        with np.errstate(over="ignore", invalid="ignore"):
            below: FloatArray = self.highest() - self.logits
        return below

    def _select_top(self, count: int) -> "Candidates":
        from tui_llama.engine.generation.top_logits import select_top

        try:
            places, logits = select_top(self.logits, count)
        except FloatingPointError:
            raise _no_numbers() from None
        return Candidates(logits, places if self.ids is None else self.ids[places], True)


class SamplingStep(Protocol):
    """One sampling step of the chain; its text is its name and setting."""

    def apply(self, candidates: Candidates) -> Candidates:
        """Returns the candidates that this step keeps, without changing the arrays of `candidates`."""
        ...


@dataclass(frozen=True, slots=True)
class Penalties:
    """Makes recently used tokens less likely.

    A logit is divided by `repeat` (multiplied if negative), then lowered by `frequency` for each use and once by
    `presence`. `counts` is read whenever the step is applied.
    """

    counts: Mapping[int, int]
    last_n: int
    repeat: float
    frequency: float
    presence: float

    def __str__(self) -> str:
        values = (
            ("repeat", self.repeat, 1.0),
            ("frequency", self.frequency, 0.0),
            ("presence", self.presence, 0.0),
        )
        active = " ".join(f"{name} {value:g}" for name, value, off in values if value != off)
        return f"penalties last {self.last_n} {active}"

    def apply(self, candidates: Candidates) -> Candidates:
        """Returns the same candidates with new logits; the order of the ids must still be that of the vocabulary."""
        if not self.counts:
            return candidates
        used = np.fromiter(self.counts.keys(), np.int64, len(self.counts))
        uses = np.fromiter(self.counts.values(), np.float32, len(self.counts))
        old = candidates.logits[used]
        repeat = max(_single(self.repeat), np.float32(_LEAST))
        with np.errstate(over="ignore", invalid="ignore"):
            scaled = _within_float32(np.where(old <= 0, old * repeat, old / repeat))
            new = _within_float32(scaled - (uses * _single(self.frequency) + _single(self.presence)))
        logits = candidates.logits.copy()
        logits[used] = np.where(np.isfinite(old), new, old)  # excluded tokens and NaN stay so
        return Candidates(logits)


@dataclass(frozen=True, slots=True)
class TopK:
    """Keeps the `k` best candidates."""

    k: int

    def __str__(self) -> str:
        return f"top_k {self.k}"

    def apply(self, candidates: Candidates) -> Candidates:
        """Returns the `k` best candidates, sorted."""
        return candidates.top(self.k)


@dataclass(frozen=True, slots=True)
class TopP:
    """Keeps the best candidates until their probabilities add up to `p`; at least one."""

    p: float

    def __str__(self) -> str:
        return f"top_p {self.p:g}"

    def apply(self, candidates: Candidates) -> Candidates:
        """Returns the best candidates, sorted."""
        total = _checked(candidates).weights().sum(dtype=np.float32)
        best = candidates if candidates.is_sorted else self._holding(candidates).sorted()
        sums = np.cumsum(best.weights() / total, dtype=np.float32)
        reached = np.flatnonzero(sums >= np.float32(self.p))
        return best.top(int(reached[0]) + 1) if len(reached) else best

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

    def __str__(self) -> str:
        return f"min_p {self.p:g}"

    def apply(self, candidates: Candidates) -> Candidates:
        """Returns the candidates that are probable enough, in the same order; at least the best."""
        best = candidates.highest()
        return candidates.where(candidates.logits >= min(best, best + np.float32(math.log(self.p))))


@dataclass(frozen=True, slots=True)
class Temperature:
    """Divides the logits: below 1 probable tokens become more so, above 1 less."""

    temperature: float

    def __str__(self) -> str:
        return f"temperature {self.temperature:g}"

    def apply(self, candidates: Candidates) -> Candidates:
        """Returns the same candidates with new logits."""
        with np.errstate(over="ignore"):  # an overflow becomes -inf, which excludes the token; the best stays at 0
            divided = candidates.below_highest() / _single(self.temperature)
        return Candidates(-divided, candidates.ids, candidates.is_sorted)


def draw(candidates: Candidates, uniform: float) -> int:
    """Returns the token that the random number selects: the first whose running sum of weights reaches its share.

    Args:
        candidates: At least one; their weights need not add up to 1.
        uniform: From 0 to below 1.
    """
    sums = np.cumsum(candidates.weights(), dtype=np.float64)
    share = max(uniform * sums[-1], np.nextafter(0.0, 1.0))  # above 0, so that an excluded token is never chosen
    return candidates.token_id(int(np.searchsorted(sums, share)))


def pick_best(candidates: Candidates) -> int:
    """Returns the token with the highest logit, the lowest id of equal ones."""
    return candidates.token_id(int(candidates.logits.argmax()))


class UniformNumbers:
    """Random numbers from 0 to below 1, the same as llama.cpp's for the same seed.

    The generator is MT19937 seeded with 32 bits. Two of its numbers, the first one as the lower half, make 64 bits, and
    these make a fraction.
    """

    def __init__(self, seed: int) -> None:
        self._bits = np.random.MT19937()
        self._bits.state = cast(Any, np.random.RandomState(seed).get_state(legacy=False))

    def next(self) -> float:
        """Returns the next number."""
        low, high = (float(number) for number in self._bits.random_raw(2))
        return min((low + high * 2.0**32) / 2.0**64, math.nextafter(1.0, 0.0))


class SamplerChain:
    """The sampling steps of some settings, with the recently used tokens and the state of the random numbers.

    `str(chain)` names the steps in their order; steps that would do nothing are left out.

    Args:
        settings: The sampling settings.
        vocab_size: Length of the logits that `sample` gets.

    Attributes:
        seed: The seed in use, 32 bits: the same settings, seed, tokens and logits give the same answer.

    Raises:
        SettingsError: a setting makes no sense.
    """

    def __init__(self, settings: SamplingSettings, vocab_size: int) -> None:
        check_settings(settings)
        self.seed = (secrets.randbits(32) if settings.seed is None else settings.seed) & 0xFFFFFFFF
        self._vocab_size = vocab_size
        self._is_greedy = settings.temperature < _LEAST  # dividing by so low a temperature would also choose the best
        self._uniform_numbers = UniformNumbers(self.seed)
        self._recent = _RecentTokens(settings.penalty_last_n)
        self._penalties = list(_penalties(settings, self._recent.counts))
        self._steps = [] if self._is_greedy else list(choosing_steps(settings))

    def __str__(self) -> str:
        names = [str(step) for step in (*self._penalties, *self._steps)]
        return " → ".join([*names, "greedy" if self._is_greedy else "random"])

    def accept(self, token_id: int) -> None:
        """Counts a token as used; tokens of the prompt count too."""
        if self._penalties:
            self._recent.append(token_id)

    def sample(self, logits: FloatArray) -> int:
        """Returns the next token; the caller must accept it.

        Args:
            logits: (vocab,) float32, not changed. -inf excludes a token.

        Raises:
            EngineError: the logits are not numbers, or every token is excluded.
            ShapeMismatchError: `logits` has the wrong shape or type.
        """
        if logits.shape != (self._vocab_size,) or logits.dtype != np.float32:
            wanted = f"float32 ({self._vocab_size},)"
            raise ShapeMismatchError(f"logits are {logits.dtype} {logits.shape}, not {wanted}")
        candidates = Candidates(np.require(logits, requirements=("C", "W")))
        for step in self._penalties:
            candidates = step.apply(candidates)
        if self._is_greedy:
            return pick_best(_checked(candidates))
        for step in self._steps:
            candidates = step.apply(candidates)
        return draw(_checked(candidates), self._uniform_numbers.next())


def check_settings(settings: SamplingSettings) -> None:
    """Checks that settings make sense.

    Raises:
        SettingsError: with the name of the setting and its value.
    """
    check_fields(settings, *SamplingSettings.__struct_fields__, section=SAMPLING)


class _RecentTokens:
    """Counts how often each of the last `size` tokens was used."""

    def __init__(self, size: int) -> None:
        self.counts: Counter[int] = Counter()
        self._tokens: deque[int] = deque()
        self._size = size

    def append(self, token_id: int) -> None:
        self._tokens.append(token_id)
        self.counts[token_id] += 1
        if len(self._tokens) > self._size:
            oldest = self._tokens.popleft()
            self.counts[oldest] -= 1
            if not self.counts[oldest]:
                del self.counts[oldest]


def _penalties(settings: SamplingSettings, counts: Mapping[int, int]) -> Iterable[SamplingStep]:
    values = (settings.repeat_penalty, settings.frequency_penalty, settings.presence_penalty)
    if settings.penalty_last_n > 0 and values != (1.0, 0.0, 0.0):
        yield Penalties(counts, settings.penalty_last_n, *values)


def choosing_steps(settings: SamplingSettings) -> Iterable[SamplingStep]:
    """Yields the steps after the penalties and before the draw, in llama.cpp's default order."""
    if settings.top_k > 0:
        yield TopK(settings.top_k)
    if settings.top_p < 1:
        yield TopP(settings.top_p)
    if settings.min_p > 0:
        yield MinP(settings.min_p)
    if settings.temperature != 1:
        yield Temperature(settings.temperature)


def _single(value: float) -> np.float32:
    """Returns a setting as float32; a setting beyond float32 becomes the largest number."""
    return np.float32(min(max(value, -_LARGEST), _LARGEST))


def _within_float32(values: FloatArray) -> FloatArray:
    """Returns the values, with infinite ones replaced by the largest numbers."""
    within: FloatArray = np.clip(values, np.float32(-_LARGEST), np.float32(_LARGEST))
    return within


def _checked(candidates: Candidates) -> Candidates:
    """Returns the candidates, and refuses logits without a highest one. To NumPy, NaN is also the highest."""
    if not math.isfinite(candidates.highest()):
        raise _no_numbers()
    return candidates


def _no_numbers() -> EngineError:
    return EngineError(
        "The model computed values that are not numbers",
        "The model file may be damaged; download it again or try another quantization.",
    )
