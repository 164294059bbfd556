"""Gemma 1 to 4: GELU, embeddings that are scaled, caps, and layers that see a window only.

Sources: Gemma Team 2024 (Gemma), 2024 (Gemma 2), 2025 (Gemma 3).
"""

from tui_llama.engine.plan.architectures.declaration import (
    NORMS_ON_BOTH_SIDES,
    Architecture,
    Experts,
    FeedForward,
    HeadNorms,
    RotationRules,
    ScaleRule,
    Windows,
    by_head_size,
    cap,
)
from tui_llama.engine.plan.architectures.expert_rules import always, of_own_key
from tui_llama.engine.plan.forward import gemma4
from tui_llama.engine.plan.sizes.keys import Keys
from tui_llama.engine.tensors.hyperparameters import MAX_HEADS


def _root_of_embedding(keys: Keys) -> float:
    return float(keys.embedding_size**0.5)


def _by_embedding(layers_of_largest: int) -> ScaleRule:
    """Makes the rule by which the largest model of a family divides by √(embedding / heads) and not √head."""

    def rule(keys: Keys, head_dim: int) -> float:
        if keys.layer_count != layers_of_largest:
            return by_head_size(keys, head_dim)
        head_count = keys.sizes("attention.head_count", MAX_HEADS, keys.layer_count)[0]
        return by_head_size(keys, keys.embedding_size // head_count)

    return rule


_GELU = FeedForward(activation="gelu")

GEMMA = Architecture(
    name="gemma",
    rotation=RotationRules(),
    feed_forward=_GELU,
    embedding_scale=_root_of_embedding,
    output="embedding",
)
GEMMA2 = Architecture(
    name="gemma2",
    rotation=RotationRules(window_base_is_read=True),
    norms=NORMS_ON_BOTH_SIDES,
    feed_forward=_GELU,
    windows=Windows(size=4096, period=2),
    attention_scale=_by_embedding(46),
    score_cap=cap("attn_logit_softcapping", 50.0),
    embedding_scale=_root_of_embedding,
    logit_cap=cap("final_logit_softcapping", 30.0),
    output="embedding",
)
GEMMA3 = Architecture(
    name="gemma3",
    rotation=RotationRules(window_base_is_read=True, window_base=10000.0, window_scaling="factor 1"),
    norms=NORMS_ON_BOTH_SIDES,
    head_norms=HeadNorms(),
    feed_forward=_GELU,
    windows=Windows(size=0, period=6),
    attention_scale=_by_embedding(62),
    embedding_scale=_root_of_embedding,
    logit_cap=cap("final_logit_softcapping"),
)
GEMMA4 = Architecture(
    name="gemma4",
    rotation=RotationRules(
        window_base_is_read=True,
        window_base=10000.0,
        window_scaling="factor 1",
        has_factors=True,
        window_has_factors=False,
    ),
    norms=NORMS_ON_BOTH_SIDES,
    feed_forward=_GELU,
    windows=Windows(size=None, period=None),
    attention_scale=lambda keys, head_dim: 1.0,
    embedding_scale=_root_of_embedding,
    logit_cap=cap("final_logit_softcapping", 30.0),
    experts=Experts(required=False, normalises=always, hidden_size=of_own_key, activation="gelu"),
    shares_keys_and_values=True,
    has_layer_embeddings=True,
    emit_before_layers=gemma4.emit_layer_inputs,
    emit_layer=gemma4.emit_layer,
)
