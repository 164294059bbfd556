"""Sampling over a plain list of (token, probability), as one would explain it on a blackboard."""

import math
from collections.abc import Sequence
from itertools import accumulate
from typing import TypeAlias

from tui_llama.sampling.settings import SamplingSettings

Probabilities: TypeAlias = list[tuple[int, float]]


def select_top(logits: Sequence[float], count: int) -> list[tuple[int, float]]:
    """Returns the `count` highest logits with their ids; of equal ones the lowest id first."""
    return sorted(enumerate(logits), key=lambda pair: (-pair[1], pair[0]))[:count]


def normalized(pairs: list[tuple[int, float]]) -> Probabilities:
    """Scales weights so that they add up to 1."""
    total = math.fsum(weight for _, weight in pairs)
    return [(token_id, weight / total) for token_id, weight in pairs]


def chain(logits: Sequence[float], settings: SamplingSettings) -> Probabilities:
    """Returns the tokens that may be drawn after the steps other than penalties, the most probable first."""
    kept = select_top(logits, settings.top_k or len(logits))
    best = kept[0][1]
    probable = normalized([(token_id, math.exp(logit - best)) for token_id, logit in kept])
    sums = accumulate(probability for _, probability in probable)
    count = next((place for place, total in enumerate(sums, 1) if total >= settings.top_p), len(kept))
    kept = [pair for pair in kept[:count] if math.exp(pair[1] - best) >= settings.min_p]
    return normalized([(token_id, math.exp((logit - best) / settings.temperature)) for token_id, logit in kept])


def draw(probabilities: Probabilities, uniform: float) -> int:
    """Returns the token at which the running sum reaches `uniform`."""
    total = 0.0
    for token_id, probability in probabilities:
        total += probability
        if total >= uniform:
            return token_id
    return probabilities[-1][0]


def log_probabilities(logits: Sequence[float]) -> list[float]:
    """Returns the natural logarithm of every token's probability."""
    best = max(logits)
    total = math.fsum(math.exp(logit - best) for logit in logits)
    return [logit - best - math.log(total) for logit in logits]
