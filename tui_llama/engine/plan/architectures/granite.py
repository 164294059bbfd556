"""Granite: llama with a factor of its own at every place where one can be.

Source: IBM Granite Team 2024 (Granite 3.0).
"""

from tui_llama.engine.plan.architectures.declaration import (
    Architecture,
    Experts,
    RotationRules,
    Windows,
    by_head_size,
    factor,
)
from tui_llama.engine.plan.architectures.expert_rules import always, shared_if_given
from tui_llama.engine.plan.sizes.keys import Keys


def _scale_of_scores(keys: Keys, head_dim: int) -> float:
    return keys.not_negative("attention.scale", 0.0) or by_head_size(keys, head_dim)


def _divided_logits(keys: Keys) -> float:
    return 1.0 / keys.positive("logit_scale")


def _was_not_finetuned(keys: Keys, layer: int, has_window: bool) -> bool:
    return not keys.flag("rope.scaling.finetuned", True)


def _not_in_pattern(keys: Keys, layer: int, has_window: bool) -> bool:
    return not keys.flags("attention.rope_pattern", keys.layer_count)[layer]


GRANITE = Architecture(
    name="granite",
    rotation=RotationRules(
        neighbours=True, has_factors=True, long_factors="with longrope", unrotated=_was_not_finetuned
    ),
    attention_scale=_scale_of_scores,
    embedding_scale=factor("embedding_scale"),
    residual_scale=factor("residual_scale"),
    logit_scale=_divided_logits,
)
GRANITE_SWA = Architecture(
    name="granite_swa",
    rotation=RotationRules(neighbours=True, has_factors=True, long_factors="with longrope", unrotated=_not_in_pattern),
    experts=Experts(
        required=False, normalises=always, shared_hidden_size=shared_if_given, shared_gate_is_above_up=True
    ),
    windows=Windows(size=None, period=None),
    sinks="required",
    attention_scale=_scale_of_scores,
    embedding_scale=factor("embedding_scale"),
    residual_scale=factor("residual_scale"),
    logit_scale=_divided_logits,
)
"""Granite with windows, sinks, and layers that positions do not enter."""
GRANITEMOE = Architecture(
    name="granitemoe",
    rotation=RotationRules(neighbours=True, has_factors=True, long_factors="with longrope"),
    experts=Experts(normalises=always, shared_hidden_size=shared_if_given),
    attention_scale=_scale_of_scores,
    embedding_scale=factor("embedding_scale"),
    residual_scale=factor("residual_scale"),
    logit_scale=_divided_logits,
)
