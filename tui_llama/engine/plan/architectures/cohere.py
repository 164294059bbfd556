"""Command R and Cohere 2: one norm, and blocks side by side.

Source: Cohere 2025 (Command A).
"""

from tui_llama.engine.plan.architectures.declaration import (
    ONE_NORM,
    Architecture,
    HeadNorms,
    RotationRules,
    Windows,
    factor,
)
from tui_llama.engine.plan.sizes.keys import Keys

_LAYERS_WITH_HEAD_NORMS = 64  # so many or more: Command R+


def _has_no_window(keys: Keys, layer: int, has_window: bool) -> bool:
    return not has_window


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
