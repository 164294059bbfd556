"""Apertus: llama with norms of heads and a trained activation without a gate.

Sources: Hernández-Cano et al. 2025 (Apertus); llama.cpp, src/models/apertus.cpp and ggml/src/ggml.c (`ggml_xielu`).
"""

import math

from tui_llama.engine.plan.architectures.declaration import Architecture, FeedForward, HeadNorms, RotationRules
from tui_llama.engine.plan.sizes.keys import Keys

_LINEAR_FROM = 20.0  # softplus(x) is x from here on, as in ggml


def _softplus(x: float) -> float:
    return x if x > _LINEAR_FROM else math.log1p(math.exp(x))


def _xielu(keys: Keys, layer: int) -> tuple[float, ...]:
    """Returns the four numbers that the kernel `xielu` wants; two of them are stored before a softplus."""
    below, above, slope, highest = (
        keys.numbers(f"xielu.{name}", is_general=True)[layer] for name in ("alpha_n", "alpha_p", "beta", "eps")
    )
    return slope + _softplus(below), _softplus(above), slope, highest


APERTUS = Architecture(
    name="apertus",
    rotation=RotationRules(whole_heads=True, has_factors=True, long_factors="with longrope"),
    head_norms=HeadNorms(),
    feed_forward=FeedForward(activation="xielu", is_gated=False, activation_numbers=_xielu),
    output="own",
)
