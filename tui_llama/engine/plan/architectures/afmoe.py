"""Trinity (AFMoE): what attention gives is gated, and positions enter layers with a window only.

Source: Arcee 2025 (Trinity), as in llama.cpp.
"""

from tui_llama.engine.plan.architectures.declaration import (
    NORMS_ON_BOTH_SIDES,
    Architecture,
    Experts,
    HeadNorms,
    RotationRules,
    Windows,
    each_element,
)
from tui_llama.engine.plan.architectures.expert_rules import (
    behind_dense_layers,
    by_norm_key,
    gating,
    of_own_key,
    scale_of_weights,
    several_as_one,
)
from tui_llama.engine.plan.sizes.keys import Keys


def _sees_everything(keys: Keys, layer: int, has_window: bool) -> bool:
    return not has_window


AFMOE = Architecture(
    name="afmoe",
    rotation=RotationRules(unrotated=_sees_everything),
    norms=NORMS_ON_BOTH_SIDES,
    head_norms=HeadNorms(),
    windows=Windows(size=0, period=4),
    attention_gates=each_element,
    embedding_scale=lambda keys: float(keys.embedding_size**0.5),
    experts=Experts(
        gating=gating("sigmoid"),
        normalises=by_norm_key,
        weights_scale=scale_of_weights,
        selection_bias="required",
        hidden_size=of_own_key,
        shared_hidden_size=several_as_one,
        has_experts=behind_dense_layers,
    ),
)
