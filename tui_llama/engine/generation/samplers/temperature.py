"""Samplers that make the probabilities of all candidates more or less equal.

Formulas are llama.cpp's (src/llama-sampler.cpp).
"""

import math
from dataclasses import dataclass

import numpy as np

from tui_llama.engine.generation.samplers.candidates import Candidates, single
from tui_llama.sampling.chain import LEAST_TEMPERATURE


@dataclass(frozen=True, slots=True)
class Temperature:
    """Divides the logits: below 1 probable tokens become more so, above 1 less."""

    temperature: float

    def apply(self, candidates: Candidates) -> Candidates:
        """Returns the same candidates with new logits."""
        with np.errstate(over="ignore"):  # an overflow becomes -inf, which excludes the token
            divided = candidates.logits / single(self.temperature)
            highest = candidates.highest() / single(self.temperature)
            if math.isinf(highest):  # then only the differences can be told
                divided = -(candidates.below_highest() / single(self.temperature))
        return Candidates(divided, candidates.ids, candidates.is_sorted)


@dataclass(frozen=True, slots=True)
class DynamicTemperature:
    """Divides the logits by a temperature that rises with the entropy of the probabilities.

    Attributes:
        least: The temperature where one candidate is certain.
        most: The temperature where all are equally likely.
        exponent: Of the entropy as a share of the largest one; above 1, the temperature rises later.
    """

    least: float
    most: float
    exponent: float

    def apply(self, candidates: Candidates) -> Candidates:
        """Returns the same candidates with new logits, sorted; the best one alone at a temperature of 0."""
        if len(candidates) <= 1:
            return candidates
        ordered = candidates.checked().sorted()
        temperature = self._temperature(ordered)
        return ordered.top(1) if temperature < LEAST_TEMPERATURE else Temperature(temperature).apply(ordered)

    def _temperature(self, candidates: Candidates) -> float:
        probabilities = candidates.probabilities()
        positive = probabilities[probabilities > 0]
        entropy = -float(np.sum(positive * np.log(positive), dtype=np.float32))
        share = min(max(entropy / math.log(len(candidates)), 0.0), 1.0)
        least, most = float(single(self.least)), float(single(self.most))
        return least + (most - least) * math.pow(share, self.exponent)
