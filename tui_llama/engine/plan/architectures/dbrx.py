"""DBRX: norms that subtract the mean, without biases, and experts in every layer.

Source: Mosaic Research 2024 (Introducing DBRX); llama.cpp, src/models/dbrx.cpp of October 2026.
"""

from tui_llama.engine.plan.architectures.declaration import Architecture, Experts, Norms, RotationRules, cap
from tui_llama.engine.plan.architectures.expert_rules import always

DBRX = Architecture(
    name="dbrx",
    rotation=RotationRules(whole_heads=True),
    norms=Norms(kind="layer", before_feed_forward="attn_output_norm"),
    experts=Experts(normalises=always),
    projection_limit=cap("attention.clamp_kqv", None),
    output="own",
)
