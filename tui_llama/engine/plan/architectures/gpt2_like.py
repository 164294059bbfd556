"""Models with the norms and biases of GPT-2 and rotary positions: StarCoder 2 and StableLM.

Sources: Lozhkov et al. 2024 (StarCoder 2); Bellagente et al. 2024 (Stable LM 2).
"""

from tui_llama.engine.plan.architectures.declaration import (
    EVERY_MATRIX,
    QUERY_KEY_VALUE,
    Architecture,
    FeedForward,
    HeadNorms,
    Norms,
    RotationRules,
)

_NORMS = Norms(kind="layer", biases_required=True)

STARCODER2 = Architecture(
    name="starcoder2",
    rotation=RotationRules(),
    norms=_NORMS,
    required_biases=EVERY_MATRIX,
    feed_forward=FeedForward(activation="gelu", is_gated=False),
)
NEMOTRON = Architecture(
    name="nemotron",
    rotation=RotationRules(),
    norms=_NORMS,
    feed_forward=FeedForward(activation="relu_squared", is_gated=False),
    output="own",
)
"""Nemotron 4 and Minitron: Parmar et al. 2024."""
JAIS2 = Architecture(
    name="jais2",
    rotation=RotationRules(),
    norms=_NORMS,
    required_biases=EVERY_MATRIX - QUERY_KEY_VALUE,
    feed_forward=FeedForward(activation="relu_squared", is_gated=False),
)
ORION = Architecture(
    name="orion",
    rotation=RotationRules(),
    norms=_NORMS,
    output="own",
)
"""Llama with norms that subtract the mean: Chen et al. 2024 (Orion-14B)."""
STABLELM = Architecture(
    name="stablelm",
    rotation=RotationRules(),
    norms=_NORMS,
    side_by_side="without a second norm",
    head_norms=HeadNorms(vector_per_head=True, is_optional=True),
    output="own",
)
