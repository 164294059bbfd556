"""Llama 4: experts in every so many layers, chunks of positions, and layers that positions do not enter.

Source: Meta 2025 (the Llama 4 herd).
"""

from typing import Final

from tui_llama.engine.plan.architectures.declaration import Architecture, Experts, HeadNorms, RotationRules, Windows
from tui_llama.engine.plan.architectures.expert_rules import as_an_expert, every_so_many, of_own_key
from tui_llama.engine.plan.sizes.keys import Keys
from tui_llama.engine.tensors.expert_sizes import Gating
from tui_llama.engine.tensors.hyperparameters import Hyperparameters, LayerSizes, QueryTemperature

_CHUNK: Final = 8192
_EXPERTS_WITHOUT_HEAD_NORMS: Final = 128  # Maverick


def _is_fourth(keys: Keys, layer: int, has_window: bool) -> bool:
    return (layer + 1) % 4 == 0


def _sigmoid(keys: Keys) -> Gating:
    return "sigmoid"


def _has_head_norms(sizes: Hyperparameters, layer: LayerSizes) -> bool:
    counts = {each.experts.count for each in sizes.layers if each.experts is not None}
    return layer.rotation is not None and _EXPERTS_WITHOUT_HEAD_NORMS not in counts


LLAMA4 = Architecture(
    name="llama4",
    rotation=RotationRules(neighbours=True, has_factors=True, window_base_is_read=True, unrotated=_is_fourth),
    head_norms=HeadNorms(is_after_rotation=True, has_weights=False, applies=_has_head_norms),
    windows=Windows(size=_CHUNK, period=4, is_chunked=True, fixed_size=_CHUNK),
    temperature=lambda keys: QueryTemperature(0.1, _CHUNK, offset=1),
    has_temperature=_is_fourth,
    experts=Experts(
        gating=_sigmoid,
        selects_by_logits=True,
        weighs_input=True,
        hidden_size=of_own_key,
        shared_hidden_size=as_an_expert,
        has_experts=every_so_many(lambda keys, layer, has_window: True),
    ),
)
