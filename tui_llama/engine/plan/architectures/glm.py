"""GLM 4: norms on both sides of blocks, and half of each head rotated."""

from tui_llama.engine.plan.architectures.declaration import (
    NORMS_ON_BOTH_SIDES,
    Architecture,
    FeedForward,
    RotationRules,
)

GLM4 = Architecture(
    name="glm4",
    rotation=RotationRules(neighbours=True, sections="mrope"),
    norms=NORMS_ON_BOTH_SIDES,
    feed_forward=FeedForward(gate_is_above_up=True),
)
