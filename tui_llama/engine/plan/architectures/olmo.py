"""OLMo with norms without weights; OLMo 2 and 3 with norms of what blocks give, and one norm over all heads.

Sources: Groeneveld et al. 2024 (OLMo); OLMo Team 2025 (2 OLMo 2 Furious).
"""

from tui_llama.engine.plan.architectures.declaration import (
    NORMS_BEHIND,
    Architecture,
    Experts,
    HeadNorms,
    Norms,
    RotationRules,
    Windows,
    cap,
)

OLMO = Architecture(
    name="olmo",
    rotation=RotationRules(neighbours=True, whole_heads=True),
    norms=Norms(kind="layer", has_weights=False),
    projection_limit=cap("attention.clamp_kqv"),
)
OLMO2 = Architecture(
    name="olmo2",
    rotation=RotationRules(window_scaling="plain"),
    norms=NORMS_BEHIND,
    head_norms=HeadNorms(spans="all heads"),
    windows=Windows(size=0, period=4),
    output="own",
)
OLMOE = Architecture(
    name="olmoe",
    rotation=RotationRules(),
    head_norms=HeadNorms(spans="all heads"),
    experts=Experts(),
    output="own",
)
"""OLMoE: Muennighoff et al. 2024."""
