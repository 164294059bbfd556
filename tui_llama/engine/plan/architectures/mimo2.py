"""MiMo V2: windows with sinks in most layers, keys longer than values, and experts chosen by a sigmoid.

Sources: Xiaomi LLM-Core 2026 (MiMo-V2-Flash); llama.cpp, src/models/mimo2.cpp.
"""

from tui_llama.engine.plan.architectures.declaration import Architecture, Experts, RotationRules, Windows, factor
from tui_llama.engine.plan.architectures.expert_rules import always, always_sigmoid, of_own_key, with_router

MIMO2 = Architecture(
    name="mimo2",
    rotation=RotationRules(window_base_is_read=True, window_scaling="factor 1"),
    windows=Windows(size=None, period=None),
    sinks="optional",
    attention_output_scale=factor("attention.value_scale"),
    experts=Experts(
        required=False,
        gating=always_sigmoid,
        normalises=always,
        selection_bias="optional",
        hidden_size=of_own_key,
        has_experts=with_router,
    ),
    output="own",
)
