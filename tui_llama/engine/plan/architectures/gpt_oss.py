"""gpt-oss: experts with biases and limits, a sink for every head, and a window in every other layer.

Source: OpenAI 2025 (gpt-oss model card), section 2.
"""

from tui_llama.engine.plan.architectures.declaration import (
    QUERY_KEY_VALUE,
    SECOND_NORM_NAMED_POST,
    Architecture,
    Experts,
    RotationRules,
    Windows,
)
from tui_llama.engine.plan.architectures.expert_rules import of_own_key
from tui_llama.engine.plan.sizes.keys import Keys
from tui_llama.engine.tensors.expert_sizes import Gating


def _softmax_of_chosen(keys: Keys) -> Gating:
    return "softmax of chosen"


GPT_OSS = Architecture(
    name="gpt-oss",
    rotation=RotationRules(window_base_is_read=True),
    norms=SECOND_NORM_NAMED_POST,
    required_biases=QUERY_KEY_VALUE | {"attn_output"},
    experts=Experts(gating=_softmax_of_chosen, hidden_size=of_own_key, activation="clamped_silu", biases_required=True),
    windows=Windows(size=None, period=2),
    sinks="required",
    output="own",
)
