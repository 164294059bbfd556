"""Ling 2: experts in groups, and half of each head rotated.

Source: Ling Team 2025 (Every activation boosted).
"""

from tui_llama.engine.plan.architectures.declaration import Architecture, Experts, HeadNorms, RotationRules
from tui_llama.engine.plan.architectures.expert_rules import (
    behind_dense_layers,
    by_norm_key,
    gating,
    of_own_key,
    scale_of_weights,
    several_as_one,
    shared_if_given,
)
from tui_llama.engine.plan.sizes.keys import Keys


def _shared_size(keys: Keys, hidden: int, own: int) -> int:
    return several_as_one(keys, hidden, shared_if_given(keys, hidden, own) or own)


BAILINGMOE2 = Architecture(
    name="bailingmoe2",
    rotation=RotationRules(),
    head_norms=HeadNorms(),
    experts=Experts(
        gating=gating(None),
        normalises=by_norm_key,
        weights_scale=scale_of_weights,
        selection_bias="optional",
        hidden_size=of_own_key,
        shared_hidden_size=_shared_size,
        has_experts=behind_dense_layers,
    ),
    output="own",
)
