"""Phi 2 with blocks side by side, and Phi 3 and 4 with fused matrices.

Sources: Abdin et al. 2024 (Phi-3, Phi-4).
"""

from tui_llama.engine.plan.architectures.declaration import (
    EVERY_MATRIX,
    Architecture,
    FeedForward,
    Norms,
    RotationRules,
)

PHI2 = Architecture(
    name="phi2",
    rotation=RotationRules(),
    norms=Norms(kind="layer", before_feed_forward="", biases_required=True),
    side_by_side="always",
    required_biases=EVERY_MATRIX | {"output"},
    feed_forward=FeedForward(activation="gelu", is_gated=False),
    output="own",
)
PHI3 = Architecture(
    name="phi3", rotation=RotationRules(long_factors="always"), feed_forward=FeedForward(gate_is_above_up=True)
)
