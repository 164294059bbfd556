"""MiniCPM 3: multi-head latent attention, and the scales of the first MiniCPM as constants.

Sources: Hu et al. 2024 (MiniCPM); DeepSeek-AI 2024 (DeepSeek-V2), section 2.1; llama.cpp for the constants.
"""

from typing import Final

from tui_llama.engine.plan.architectures.declaration import Architecture, RotationRules
from tui_llama.engine.plan.sizes.keys import Keys
from tui_llama.engine.tensors.hyperparameters import MAX_SIZE

_EMBEDDING_SCALE: Final = 12.0
_DEPTH_SCALE: Final = 1.4
_EMBEDDING_OF_BASE: Final = 256


def _query_rank(keys: Keys) -> int:
    return keys.size("attention.q_lora_rank", MAX_SIZE)


MINICPM3 = Architecture(
    name="minicpm3",
    rotation=RotationRules(long_factors="always", at_end_of_head=True),
    latent_query_rank=_query_rank,
    embedding_scale=lambda keys: _EMBEDDING_SCALE,
    residual_scale=lambda keys: float(_DEPTH_SCALE * keys.layer_count**-0.5),
    logit_scale=lambda keys: _EMBEDDING_OF_BASE / keys.embedding_size,
)
