"""Models with the norms and biases of GPT-2 and rotary positions: GPT-NeoX, Falcon, StarCoder 2, StableLM and others.

Sources: Black et al. 2022 (GPT-NeoX-20B); Almazrouei et al. 2023 (Falcon); Lozhkov et al. 2024 (StarCoder 2);
Bellagente et al. 2024 (Stable LM 2); llama.cpp, src/models of October 2026.
"""

from tui_llama.engine.plan.architectures.declaration import (
    EVERY_MATRIX,
    QUERY_KEY_VALUE,
    Architecture,
    FeedForward,
    HeadNorms,
    Norms,
    RotationRules,
)

_NORMS = Norms(kind="layer", biases_required=True)

STARCODER2 = Architecture(
    name="starcoder2",
    rotation=RotationRules(),
    norms=_NORMS,
    required_biases=EVERY_MATRIX,
    feed_forward=FeedForward(activation="gelu", is_gated=False),
)
NEMOTRON = Architecture(
    name="nemotron",
    rotation=RotationRules(),
    norms=_NORMS,
    feed_forward=FeedForward(activation="relu_squared", is_gated=False),
    output="own",
)
"""Nemotron 4 and Minitron: Parmar et al. 2024."""
JAIS2 = Architecture(
    name="jais2",
    rotation=RotationRules(),
    norms=_NORMS,
    required_biases=EVERY_MATRIX - QUERY_KEY_VALUE,
    feed_forward=FeedForward(activation="relu_squared", is_gated=False),
)
ORION = Architecture(
    name="orion",
    rotation=RotationRules(),
    norms=_NORMS,
    output="own",
)
"""Llama with norms that subtract the mean: Chen et al. 2024 (Orion-14B)."""
STABLELM = Architecture(
    name="stablelm",
    rotation=RotationRules(),
    norms=_NORMS,
    side_by_side="without a second norm",
    head_norms=HeadNorms(vector_per_head=True, is_optional=True),
    output="own",
)
GPTNEOX = Architecture(
    name="gptneox",
    rotation=RotationRules(),
    norms=_NORMS,
    side_by_side="by key",
    required_biases=EVERY_MATRIX,
    feed_forward=FeedForward(activation="gelu", is_gated=False),
    output="own",
)
FALCON = Architecture(
    name="falcon",
    rotation=RotationRules(whole_heads=True),
    norms=Norms(kind="layer", before_feed_forward="", of_attention_alone="attn_norm_2", biases_required=True),
    side_by_side="always",
    feed_forward=FeedForward(activation="gelu", is_gated=False),
)
"""Falcon 7B has one norm for both blocks, Falcon 40B one for each."""
