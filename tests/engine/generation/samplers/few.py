"""Candidates for tests: with given probabilities, at random, and as pairs for the naive twins."""

from collections.abc import Sequence

import numpy as np
import pytest

from tests.naive.samplers import Logits
from tui_llama.engine.generation.samplers.candidates import Candidates, FloatArray


def candidates(probabilities: Sequence[float]) -> Candidates:
    """Returns candidates with these probabilities."""
    return Candidates(np.log(np.array(probabilities, np.float32)))


def probabilities_of(left: Candidates) -> list[float]:
    """Returns the probabilities of the candidates, in their order."""
    return [float(probability) for probability in left.probabilities()]


def random_logits(vocab_size: int, seed: int = 0, excluded: int = 0) -> FloatArray:
    """Returns logits from a normal distribution, of which some are excluded."""
    generator = np.random.default_rng(seed)
    logits: FloatArray = generator.normal(0, 3, vocab_size).astype(np.float32)
    logits[generator.permutation(vocab_size)[:excluded]] = -np.inf
    return logits


def pairs(left: Candidates) -> Logits:
    """Returns the candidates as pairs of a token and its logit."""
    return [(left.token_id(place), float(logit)) for place, logit in enumerate(left.logits)]


def is_same(left: Candidates, expected: Logits) -> bool:
    """Tells whether the candidates are the expected ones, in their order, with their logits."""
    found = pairs(left)
    return [token for token, _ in found] == [token for token, _ in expected] and [
        logit for _, logit in found
    ] == pytest.approx([logit for _, logit in expected], rel=1e-4, abs=1e-4)
