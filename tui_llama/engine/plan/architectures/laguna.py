"""Laguna: gates of heads or elements behind attention, and windows whose layers have a plain rotation of their own.

Sources: poolside 2026 (Laguna); llama.cpp, src/models/laguna.cpp.
"""

from tui_llama.engine.plan.architectures.declaration import Architecture, Experts, HeadNorms, RotationRules, Windows
from tui_llama.engine.plan.architectures.expert_rules import (
    behind_dense_layers,
    by_norm_key,
    gating,
    of_own_key,
    scale_of_weights,
    shared_if_given,
)
from tui_llama.engine.plan.sizes.keys import Keys


def _as_the_tensor_is(keys: Keys, layer: int, heads: int, elements: int) -> int:
    """Returns a gate of each element if the matrix is as wide, else one of each head."""
    tensor = keys.file.tensors.get(f"blk.{layer}.attn_gate.weight")
    return elements if tensor is not None and tensor.shape[-1] == elements else heads


LAGUNA = Architecture(
    name="laguna",
    rotation=RotationRules(window_base_is_read=True, window_scaling="plain"),
    head_norms=HeadNorms(),
    windows=Windows(size=0, period=4, full_comes_first=True),
    attention_gates=_as_the_tensor_is,
    gate_activation="softplus",
    experts=Experts(
        gating=gating("sigmoid"),
        normalises=by_norm_key,
        weights_scale=scale_of_weights,
        selection_bias="required",
        hidden_size=of_own_key,
        shared_hidden_size=shared_if_given,
        has_experts=behind_dense_layers,
    ),
)
