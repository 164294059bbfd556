"""EXAONE 4: norms of what blocks give; the large model rotates in layers with a window only."""

from tui_llama.engine.plan.architectures.declaration import (
    NORMS_BEHIND,
    Architecture,
    HeadNorms,
    RotationRules,
    Windows,
)
from tui_llama.engine.plan.sizes.keys import Keys

_LAYERS_OF_LARGE_MODEL = 64


def _is_large(keys: Keys) -> bool:
    return keys.layer_count == _LAYERS_OF_LARGE_MODEL


def _sees_everything_in_large_model(keys: Keys, layer: int, has_window: bool) -> bool:
    return _is_large(keys) and not has_window


EXAONE4 = Architecture(
    name="exaone4",
    rotation=RotationRules(has_factors=True, unrotated=_sees_everything_in_large_model),
    norms=NORMS_BEHIND,
    head_norms=HeadNorms(),
    windows=Windows(size=4096, period=4, applies=_is_large),
)
