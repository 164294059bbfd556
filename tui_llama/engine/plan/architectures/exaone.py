"""EXAONE 3 is like llama. EXAONE 4 has norms of what blocks give; its large model rotates in window layers only."""

from tui_llama.engine.plan.architectures.declaration import (
    NORMS_BEHIND,
    Architecture,
    Experts,
    HeadNorms,
    RotationRules,
    Windows,
)
from tui_llama.engine.plan.architectures.expert_rules import (
    behind_dense_layers,
    by_norm_key,
    gating,
    of_own_key,
    scale_of_weights,
    shared_or_own,
)
from tui_llama.engine.plan.sizes.keys import Keys

_LAYERS_OF_LARGE_MODEL = 64


def _is_large(keys: Keys) -> bool:
    return keys.layer_count == _LAYERS_OF_LARGE_MODEL


def _sees_everything(keys: Keys, layer: int, has_window: bool) -> bool:
    return not has_window


def _sees_everything_in_large_model(keys: Keys, layer: int, has_window: bool) -> bool:
    return _is_large(keys) and not has_window


EXAONE = Architecture(name="exaone", rotation=RotationRules(has_factors=True))
"""EXAONE 3 and 3.5: llama with other pairs."""
EXAONE_MOE = Architecture(
    name="exaone-moe",
    rotation=RotationRules(unrotated=_sees_everything),
    head_norms=HeadNorms(),
    windows=Windows(size=None, period=4),
    experts=Experts(
        gating=gating(None),
        normalises=by_norm_key,
        weights_scale=scale_of_weights,
        selection_bias="optional",
        hidden_size=of_own_key,
        shared_hidden_size=shared_or_own,
        has_experts=behind_dense_layers,
    ),
    output="own",
)
EXAONE4 = Architecture(
    name="exaone4",
    rotation=RotationRules(has_factors=True, unrotated=_sees_everything_in_large_model),
    norms=NORMS_BEHIND,
    head_norms=HeadNorms(),
    windows=Windows(size=4096, period=4, applies=_is_large),
)
