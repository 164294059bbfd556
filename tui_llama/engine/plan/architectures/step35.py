"""Step 3.5: heads with gates, as many as the layer needs, and limits between the halves of experts.

Sources: StepFun 2026 (Step 3.5 Flash); llama.cpp, src/models/step35.cpp.
"""

from tui_llama.engine.plan.architectures.declaration import (
    Architecture,
    Experts,
    FeedForward,
    HeadNorms,
    RotationRules,
    Windows,
)
from tui_llama.engine.plan.architectures.expert_rules import (
    by_norm_key,
    gating,
    of_own_key,
    scale_of_weights,
    shared_if_given,
    with_router,
)
from tui_llama.engine.plan.sizes.keys import Keys


def _each_head_if_given(keys: Keys, layer: int, heads: int, elements: int) -> int:
    return heads if f"blk.{layer}.attn_gate.weight" in keys.file.tensors else 0


STEP35 = Architecture(
    name="step35",
    rotation=RotationRules(
        half_without_window=True,
        has_factors=True,
        long_factors="with longrope",
        window_base_is_read=True,
        window_scaling="factor 1",
        window_has_factors=False,
    ),
    head_norms=HeadNorms(is_optional=True),
    windows=Windows(size=None, period=None),
    attention_gates=_each_head_if_given,
    feed_forward=FeedForward(limits=lambda keys: keys.numbers("swiglu_clamp_shexp", 0.0)),
    experts=Experts(
        required=False,
        gating=gating("sigmoid"),
        normalises=by_norm_key,
        weights_scale=scale_of_weights,
        selection_bias="optional",
        hidden_size=of_own_key,
        shared_hidden_size=shared_if_given,
        has_experts=with_router,
        limits=lambda keys: keys.numbers("swiglu_clamp_exp", 0.0),
    ),
    output="own",
)
