"""BitNet b1.58: norms in the middle of both blocks, before their last matrices.

The large model that was published has the square of ReLU in the place of SiLU; files say it since 2026.

Sources: Ma et al. 2024 (The era of 1-bit LLMs) and 2025 (BitNet b1.58 2B4T); llama.cpp, src/models/bitnet.cpp.
"""

from tui_llama.engine.plan.architectures.declaration import Architecture, FeedForward, Norms, RotationRules

BITNET = Architecture(
    name="bitnet",
    rotation=RotationRules(),
    norms=Norms(before_attention_output="attn_sub_norm", before_down="ffn_sub_norm"),
    feed_forward=FeedForward(activation_is_read=True),
    output="embedding",
)
