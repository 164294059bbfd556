"""GPT-2 and the first StarCoder: positions are learned vectors, which are added to the embeddings.

Sources: Radford et al. 2019 (GPT-2); Li et al. 2023 (StarCoder); llama.cpp, src/models/gpt2.cpp and starcoder.cpp of
October 2026.
"""

from dataclasses import replace

from tui_llama.engine.plan.architectures.declaration import (
    EVERY_MATRIX,
    NOWHERE,
    Architecture,
    FeedForward,
    Norms,
)
from tui_llama.engine.plan.forward.before_layers import add_learned_positions

GPT2 = Architecture(
    name="gpt2",
    rotation=NOWHERE,
    norms=Norms(kind="layer", biases_required=True),
    required_biases=EVERY_MATRIX,
    feed_forward=FeedForward(activation="gelu", is_gated=False),
    emit_before_layers=add_learned_positions,
)
STARCODER = replace(GPT2, name="starcoder")
