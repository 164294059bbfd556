"""GLM 4: norms on both sides of blocks, and half of each head rotated; GLM 4.5 with experts."""

from tui_llama.engine.plan.architectures.declaration import (
    NORMS_ON_BOTH_SIDES,
    SECOND_NORM_NAMED_POST,
    Architecture,
    Experts,
    FeedForward,
    HeadNorms,
    RotationRules,
)
from tui_llama.engine.plan.architectures.expert_rules import (
    behind_dense_layers,
    by_norm_key,
    gating,
    own_or_share,
    scale_of_weights,
    several_as_one,
)

GLM4 = Architecture(
    name="glm4",
    rotation=RotationRules(neighbours=True, sections="mrope"),
    norms=NORMS_ON_BOTH_SIDES,
    feed_forward=FeedForward(gate_is_above_up=True),
)
CHATGLM = Architecture(
    name="chatglm", rotation=RotationRules(neighbours=True), feed_forward=FeedForward(gate_is_above_up=True)
)
"""ChatGLM 2 and 3, GLM 4 of June 2024."""
GLM4MOE = Architecture(
    name="glm4moe",
    rotation=RotationRules(sections="mrope"),
    norms=SECOND_NORM_NAMED_POST,
    head_norms=HeadNorms(is_optional=True),
    experts=Experts(
        gating=gating("sigmoid"),
        normalises=by_norm_key,
        weights_scale=scale_of_weights,
        selection_bias="required",
        hidden_size=own_or_share,
        shared_hidden_size=several_as_one,
        has_experts=behind_dense_layers,
    ),
)
"""GLM 4.5 and later: GLM-4.5 Team 2025."""
