"""The probabilities that the model itself gives to tokens, before penalties and sampling change anything."""

import math
from collections.abc import Callable

import numpy as np

from tui_llama.engine.events import TokenProbability
from tui_llama.engine.generation.samplers.candidates import Candidates
from tui_llama.engine.token_sequence import Logits


def token_probability(
    logits: Logits, token_id: int, alternatives: int, text_of: Callable[[int], bytes]
) -> TokenProbability:
    """Returns the natural logarithm of a token's probability, and those of the likeliest tokens at its place.

    The logarithms are a softmax in float64, so they depend on nothing but the logits.

    Args:
        logits: (vocab,) float32, as the model computed them; the highest is finite.
        token_id: The token.
        alternatives: How many of the likeliest tokens to tell; of equally likely ones the lowest ids. Tokens that are
            impossible are left out.
        text_of: Returns a token's bytes.

    Raises:
        EngineError: a logit is not a number.

    Naive twin: tests/naive/sampling.py.
    """
    exact = logits.astype(np.float64)
    below_highest = exact - exact.max()
    total = math.log(float(np.exp(below_highest).sum()))

    def told(each: int, others: tuple[TokenProbability, ...] = ()) -> TokenProbability:
        return TokenProbability(text_of(each), float(below_highest[each]) - total, each, others)

    if not alternatives:
        return told(token_id)
    best = Candidates(np.require(logits, requirements=("C", "W"))).top(alternatives)
    likeliest = [best.token_id(place) for place in range(len(best.logits)) if math.isfinite(best.logits[place])]
    return told(token_id, tuple(told(each) for each in likeliest))
