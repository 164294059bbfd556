"""Hunyuan: heads are normed after they have been rotated."""

from tui_llama.engine.plan.architectures.declaration import Architecture, Experts, HeadNorms, RotationRules
from tui_llama.engine.plan.architectures.expert_rules import (
    always,
    by_norm_key,
    gating,
    of_own_key,
    scale_of_weights,
    shared_or_dense,
    shared_or_own,
    with_router,
)
from tui_llama.engine.plan.sizes.keys import Keys


def _base_for_long_contexts(keys: Keys, base: float, head_dim: int) -> float:
    """Returns the base that NTK-aware scaling by `rope.scaling.alpha` gives."""
    alpha = keys.not_negative("rope.scaling.alpha", 0.0)
    return base * alpha ** (head_dim / (head_dim - 2)) if alpha > 0 and head_dim > 2 else base


HUNYUAN_DENSE = Architecture(
    name="hunyuan-dense",
    rotation=RotationRules(sections="mrope", base=_base_for_long_contexts),
    head_norms=HeadNorms(is_after_rotation=True),
)
HUNYUAN_MOE = Architecture(
    name="hunyuan-moe",
    rotation=RotationRules(),
    head_norms=HeadNorms(is_after_rotation=True),
    experts=Experts(normalises=always, shared_hidden_size=shared_or_dense),
)
"""Hunyuan with experts: Sun et al. 2024 (Hunyuan-Large)."""
HY_V3 = Architecture(
    name="hy_v3",
    rotation=RotationRules(whole_heads=True),
    head_norms=HeadNorms(),
    experts=Experts(
        required=False,
        gating=gating("sigmoid"),
        normalises=by_norm_key,
        weights_scale=scale_of_weights,
        selection_bias="optional",
        hidden_size=of_own_key,
        shared_hidden_size=shared_or_own,
        has_experts=with_router,
    ),
)
"""Hunyuan 3: heads are normed before they are rotated, and a sigmoid weighs experts (Tencent 2026)."""
