"""Qwen 1, 2 and 2.5 with biases on queries, keys and values; Qwen 3 with norms on every head instead."""

from tui_llama.engine.plan.architectures.declaration import (
    QUERY_KEY_VALUE,
    Architecture,
    Experts,
    FeedForward,
    HeadNorms,
    Norms,
    RotationRules,
    Windows,
)
from tui_llama.engine.plan.architectures.expert_rules import always, gating, own_or_share, shared_or_dense

QWEN = Architecture(
    name="qwen",
    rotation=RotationRules(),
    required_biases=QUERY_KEY_VALUE,
    feed_forward=FeedForward(length_is_of_both_halves=True),
    output="own",
)
"""Qwen 1: Bai et al. 2023."""
QWEN2 = Architecture(name="qwen2", rotation=RotationRules(), required_biases=QUERY_KEY_VALUE)
QWEN2VL = Architecture(
    name="qwen2vl",
    rotation=RotationRules(sections="mrope", sections_required=True),
    # llama.cpp does not read the epsilon of these files.
    norms=Norms(epsilon_is_read=False),
    required_biases=QUERY_KEY_VALUE,
)
"""The text part of Qwen 2-VL and 2.5-VL."""
QWEN3 = Architecture(name="qwen3", rotation=RotationRules(), head_norms=HeadNorms())
QWEN3VL = Architecture(
    name="qwen3vl", rotation=RotationRules(sections="imrope", sections_required=True), head_norms=HeadNorms()
)
"""The text part of Qwen 3-VL."""
_EXPERTS = Experts(normalises=always, hidden_size=own_or_share)
QWEN2MOE = Architecture(
    name="qwen2moe",
    rotation=RotationRules(),
    required_biases=QUERY_KEY_VALUE,
    experts=Experts(hidden_size=own_or_share, shared_hidden_size=shared_or_dense, shared_is_weighed=True),
    output="own",
)
"""Qwen 1.5 and 2 with experts."""
QWEN3MOE = Architecture(name="qwen3moe", rotation=RotationRules(), head_norms=HeadNorms(), experts=_EXPERTS)
MINIMAX_M2 = Architecture(
    name="minimax-m2",
    rotation=RotationRules(),
    head_norms=HeadNorms(spans="all heads"),
    experts=Experts(gating=gating(None), normalises=always, selection_bias="required"),
    output="own",
)
"""Qwen 3 with one norm over all heads, and part of each head rotated."""
MELLUM = Architecture(
    name="mellum",
    rotation=RotationRules(window_scaling="plain"),
    head_norms=HeadNorms(),
    windows=Windows(size=0, period=4),
    experts=_EXPERTS,
    output="own",
)
QWEN3VLMOE = Architecture(
    name="qwen3vlmoe",
    rotation=RotationRules(sections="imrope", sections_required=True),
    head_norms=HeadNorms(),
    experts=_EXPERTS,
)
"""The text part of Qwen 3-VL with experts."""
