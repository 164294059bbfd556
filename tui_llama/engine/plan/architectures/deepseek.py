"""DeepSeek 2 and 3, and the models that share their latent attention.

Source: DeepSeek-AI 2024 (DeepSeek-V2, DeepSeek-V3).
"""

import math
from dataclasses import replace
from typing import Final

from tui_llama.engine.plan.architectures.declaration import Architecture, Experts, RotationRules, by_head_size
from tui_llama.engine.plan.architectures.expert_rules import (
    behind_dense_layers,
    by_norm_key,
    gating,
    of_own_key,
    scale_of_weights,
    several_as_one,
)
from tui_llama.engine.plan.sizes.keys import Keys
from tui_llama.engine.plan.sizes.rotations import scaling_factor, yarn_multiplier
from tui_llama.engine.tensors.expert_sizes import Gating
from tui_llama.engine.tensors.hyperparameters import MAX_CONTEXT, MAX_SIZE, QueryTemperature

_LITE_LAYERS: Final = (26, 27)
_KANANA: Final = (48, 128256)
"""Layers and tokens of a model whose queries are not compressed, whatever the key says."""
_FLASH_LAYERS, _FLASH_TOKENS = (47, 48), 154880


def _query_rank(keys: Keys) -> int:
    if keys.layer_count in _LITE_LAYERS or (keys.layer_count, keys.token_count) == _KANANA:
        return 0
    return keys.count("attention.q_lora_rank", MAX_SIZE, None)


def _attention_scale(keys: Keys, head_dim: int) -> float:
    """Returns the scale of a head as wide as before its matrices were absorbed, grown by yarn's factor squared."""
    factor, multiplier = scaling_factor(keys), yarn_multiplier(keys) / 0.1
    is_absorbed = keys.has("attention.key_length_mla")
    dim = keys.size("attention.key_length_mla", MAX_SIZE) if is_absorbed else head_dim
    growth = 1.0 + 0.1 * (multiplier or 1.0) * math.log(factor)
    return by_head_size(keys, dim) * (keys.positive("rope.scaling.attn_factor", 1.0) * growth) ** 2


def _gating(keys: Keys) -> Gating:
    """Returns what the file says, else softmax, but sigmoid for GLM 4.7 Flash, whose files do not say."""
    is_flash = keys.layer_count in _FLASH_LAYERS and keys.token_count == _FLASH_TOKENS
    return gating("sigmoid" if is_flash else "softmax")(keys)


def _temperature(keys: Keys) -> QueryTemperature | None:
    strength = keys.number("attention.temperature_scale", 0.0)
    return QueryTemperature(strength, keys.size("attention.temperature_length", MAX_CONTEXT), 0) if strength else None


DEEPSEEK2 = Architecture(
    name="deepseek2",
    rotation=RotationRules(neighbours=True, yarn_multiplier="replaces", at_end_of_head=True),
    attention_scale=_attention_scale,
    temperature=_temperature,
    latent_query_rank=_query_rank,
    experts=Experts(
        gating=_gating,
        normalises=by_norm_key,
        weights_scale=scale_of_weights,
        selection_bias="optional",
        hidden_size=of_own_key,
        shared_hidden_size=several_as_one,
        has_experts=behind_dense_layers,
    ),
)
MISTRAL4 = replace(DEEPSEEK2, name="mistral4")
"""The same graph under a name of its own."""
