"""DeepSeekMoE and the models with its experts: dense layers first, then small experts and some that all tokens use.

Sources: Dai et al. 2024 (DeepSeekMoE); Ling Team 2025 (Ling); Huo et al. 2025 (dots.llm1).
"""

from tui_llama.engine.plan.architectures.declaration import Architecture, Experts, HeadNorms, RotationRules
from tui_llama.engine.plan.architectures.expert_rules import (
    behind_dense_layers,
    by_norm_key,
    gating,
    of_own_key,
    scale_of_weights,
    several_as_one,
)

DEEPSEEK = Architecture(
    name="deepseek",
    rotation=RotationRules(neighbours=True),
    experts=Experts(
        weights_scale=scale_of_weights,
        hidden_size=of_own_key,
        shared_hidden_size=several_as_one,
        has_experts=behind_dense_layers,
    ),
)
BAILINGMOE = Architecture(
    name="bailingmoe",
    rotation=RotationRules(neighbours=True, whole_heads=True),
    experts=Experts(
        normalises=by_norm_key,
        weights_scale=scale_of_weights,
        hidden_size=of_own_key,
        shared_hidden_size=several_as_one,
    ),
    output="own",
)
DOTS1 = Architecture(
    name="dots1",
    rotation=RotationRules(),
    head_norms=HeadNorms(),
    experts=Experts(
        gating=gating(None),
        normalises=by_norm_key,
        weights_scale=scale_of_weights,
        selection_bias="optional",
        hidden_size=of_own_key,
        shared_hidden_size=several_as_one,
        has_experts=behind_dense_layers,
    ),
    output="own",
)
