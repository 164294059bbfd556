"""Command R and Cohere 2, also with experts: one norm, and blocks side by side.

Source: Cohere 2025 (Command A).
"""

from tui_llama.engine.plan.architectures.declaration import (
    ONE_NORM,
    Architecture,
    Experts,
    HeadNorms,
    Norms,
    RotationRules,
    Windows,
    factor,
)
from tui_llama.engine.plan.architectures.expert_rules import (
    behind_dense_layers,
    by_norm_key,
    gating,
    own_or_dense,
    scale_of_weights,
    shared_if_counted,
)
from tui_llama.engine.plan.sizes.keys import Keys

_LAYERS_WITH_HEAD_NORMS = 64  # so many or more: Command R+


def _has_no_window(keys: Keys, layer: int, has_window: bool) -> bool:
    return not has_window


def _has_experts_but_no_window(keys: Keys, layer: int, has_window: bool) -> bool:
    return not has_window and behind_dense_layers(keys, layer, has_window)


COMMAND_R = Architecture(
    name="command-r",
    rotation=RotationRules(neighbours=True),
    norms=ONE_NORM,
    side_by_side="always",
    head_norms=HeadNorms(
        vector_per_head=True, applies=lambda sizes, layer: sizes.layer_count >= _LAYERS_WITH_HEAD_NORMS
    ),
    logit_scale=factor("logit_scale"),
    output="embedding",
)
COHERE2 = Architecture(
    name="cohere2",
    rotation=RotationRules(neighbours=True, unrotated=_has_no_window),
    norms=ONE_NORM,
    side_by_side="always",
    windows=Windows(size=None, period=4),
    logit_scale=factor("logit_scale", None),
    output="embedding",
)
COHERE2MOE = Architecture(
    name="cohere2moe",
    rotation=RotationRules(neighbours=True, whole_heads=True, unrotated=_has_experts_but_no_window),
    norms=Norms(kind="by key", before_feed_forward=""),
    side_by_side="always",
    windows=Windows(size=None, period=4, full_comes_first=True),
    logit_scale=factor("logit_scale", None),
    experts=Experts(
        gating=gating("sigmoid"),
        normalises=by_norm_key,
        weights_scale=scale_of_weights,
        hidden_size=own_or_dense,
        shared_hidden_size=shared_if_counted,
        shared_is_averaged=True,
        has_experts=behind_dense_layers,
    ),
)
"""Cohere 2 with experts: the first layer of a period sees everything, dense layers at the beginning are rotated."""
