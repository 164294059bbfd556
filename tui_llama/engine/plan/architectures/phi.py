"""Phi 2 with blocks side by side, and Phi 3 and 4 with fused matrices.

Sources: Abdin et al. 2024 (Phi-3, Phi-4).
"""

from tui_llama.engine.plan.architectures.declaration import (
    EVERY_MATRIX,
    Architecture,
    Experts,
    FeedForward,
    Norms,
    RotationRules,
)
from tui_llama.engine.plan.architectures.expert_rules import always

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
PHIMOE = Architecture(
    name="phimoe",
    rotation=RotationRules(long_factors="always"),
    norms=Norms(biases_required=True),
    required_biases=frozenset({"attn_output", "output"}),
    experts=Experts(normalises=always),
    output="own",
)
"""Phi 3.5 with experts: root-mean-square norms that add a bias."""
