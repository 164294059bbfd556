"""Models whose scores fall with the distance of tokens (ALiBi), instead of queries and keys that rotate.

Sources: Press et al. 2022 (ALiBi); BigScience 2022 (BLOOM); MosaicML 2023 (MPT); Sengupta et al. 2023 (Jais); Yang et
al. 2023 (Baichuan 2); llama.cpp, src/models of October 2026.
"""

from typing import Final

from tui_llama.engine.plan.architectures.declaration import (
    EVERY_MATRIX,
    NOWHERE,
    Architecture,
    FeedForward,
    Norms,
    RotationRules,
    cap,
)
from tui_llama.engine.plan.forward.before_layers import add_positions_if_any, norm_embeddings
from tui_llama.engine.plan.sizes.keys import OTHER_MODEL_HINT, Keys

_USUAL_BIAS: Final = 8.0
_NORMS: Final = Norms(kind="layer", biases_required=True)
_PLAIN: Final = FeedForward(activation="gelu", is_gated=False)
_LAYERS_7B, _LAYERS_13B = 32, 40


def _usual_bias(keys: Keys) -> float:
    return _USUAL_BIAS


def _is_13b(keys: Keys) -> bool:
    """Tells the larger Baichuan from the smaller one; nothing but the number of layers does."""
    if keys.layer_count not in (_LAYERS_7B, _LAYERS_13B):
        what = f"of Baichuan, only models of {_LAYERS_7B} or {_LAYERS_13B} layers are known"
        raise keys.refuse("block_count", what, OTHER_MODEL_HINT)
    return keys.layer_count == _LAYERS_13B


BLOOM = Architecture(
    name="bloom",
    rotation=NOWHERE,
    norms=_NORMS,
    required_biases=EVERY_MATRIX,
    feed_forward=_PLAIN,
    distance_bias=_usual_bias,
    emit_before_layers=norm_embeddings,
)
MPT = Architecture(
    name="mpt",
    rotation=NOWHERE,
    norms=Norms(kind="layer"),
    feed_forward=_PLAIN,
    projection_limit=cap("attention.clamp_kqv"),
    distance_bias=cap("attention.max_alibi_bias", None),
    emit_before_layers=add_positions_if_any,
)
"""Norms may have biases, and positions may be learned vectors instead.

Files with norms of queries and keys are refused: llama.cpp ends itself over them, so nothing says what they should be.
"""
REFACT = Architecture(name="refact", rotation=NOWHERE, distance_bias=_usual_bias)
JAIS = Architecture(
    name="jais",
    rotation=NOWHERE,
    norms=_NORMS,
    required_biases=EVERY_MATRIX,
    attention_scale=lambda keys, head_dim: 1.0 / head_dim,
    distance_bias=cap("attention.max_alibi_bias", None),
    output="own",
)
BAICHUAN = Architecture(
    name="baichuan",
    rotation=RotationRules(neighbours=True, whole_heads=True, unrotated=lambda keys, layer, has_window: _is_13b(keys)),
    distance_bias=lambda keys: _USUAL_BIAS if _is_13b(keys) else 0.0,
    output="own",
)
"""The smaller model rotates, in the larger one scores fall with distance."""
