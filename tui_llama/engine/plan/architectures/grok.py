"""Grok 1 and 2: a dense block beside the experts, norms on both sides of blocks, and fixed scales and caps.

Source: xAI 2024 and 2025 (open releases of Grok-1 and Grok-2); llama.cpp, src/models/grok.cpp of October 2026. That
reads a cap of the router's numbers as well, and does not use it.
"""

from typing import Final

from tui_llama.engine.plan.architectures.declaration import (
    Architecture,
    Experts,
    FeedForward,
    Norms,
    RotationRules,
    cap,
    factor,
)
from tui_llama.engine.plan.architectures.expert_rules import always, own_or_dense
from tui_llama.engine.plan.forward import grok

_EMBEDDING_SCALE: Final = 6144**0.5
"""The following are those of Grok 1, whose files may have no keys for them."""
_SCORE_SCALE: Final = 128**-0.5
_LOGIT_SCALE: Final = 3**-0.5
_SCORE_CAP: Final = 30.0
_YARN_BETA_FAST: Final = 8.0

GROK = Architecture(
    name="grok",
    rotation=RotationRules(
        whole_heads=True, reads_yarn_bounds=True, usual_beta_fast=_YARN_BETA_FAST, yarn_factors_are_read=True
    ),
    norms=Norms(after_attention="attn_output_norm", after_feed_forward="layer_output_norm"),
    feed_forward=FeedForward(activation="gelu"),
    experts=Experts(normalises=always, hidden_size=own_or_dense, activation="gelu"),
    attention_scale=lambda keys, head_dim: factor("attention.output_scale", _SCORE_SCALE)(keys),
    score_cap=cap("attn_logit_softcapping", _SCORE_CAP),
    embedding_scale=factor("embedding_scale", _EMBEDDING_SCALE),
    logit_scale=factor("logit_scale", _LOGIT_SCALE),
    logit_cap=cap("final_logit_softcapping"),
    emit_layer=grok.emit_layer,
)
