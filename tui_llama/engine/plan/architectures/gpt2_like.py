"""Models with the norms and biases of GPT-2 and rotary positions: StarCoder 2 and StableLM.

Sources: Lozhkov et al. 2024 (StarCoder 2); Bellagente et al. 2024 (Stable LM 2).
"""

from tui_llama.engine.plan.architectures.declaration import (
    EVERY_MATRIX,
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
STABLELM = Architecture(
    name="stablelm",
    rotation=RotationRules(),
    norms=_NORMS,
    side_by_side="without a second norm",
    head_norms=HeadNorms(vector_per_head=True, is_optional=True),
    output="own",
)
