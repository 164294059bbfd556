"""Llama 1 to 3 and the many models that share their graph, and models that differ from them in a rule or two."""

from tui_llama.engine.plan.architectures.declaration import (
    Architecture,
    Experts,
    FeedForward,
    HeadNorms,
    Norms,
    RotationRules,
    factor,
)
from tui_llama.engine.plan.architectures.expert_rules import (
    always,
    behind_dense_layers,
    every_so_many,
    of_own_key,
    shared_if_given,
)
from tui_llama.engine.plan.sizes.keys import Keys
from tui_llama.engine.tensors.hyperparameters import MAX_CONTEXT, QueryTemperature


def _is_fourth(keys: Keys, layer: int, has_window: bool) -> bool:
    return (layer + 1) % 4 == 0


def _mistral_temperature(keys: Keys) -> QueryTemperature | None:
    strength = keys.number("attention.temperature_scale", 0.0)
    if strength == 0.0:
        return None
    context_length = keys.size("context_length", MAX_CONTEXT)
    length = keys.size("rope.scaling.original_context_length", MAX_CONTEXT, context_length)
    return QueryTemperature(strength, length, offset=0)


# Converters permute the rows of Q and K, so that rotations pair neighbours.
_ROTATION = RotationRules(neighbours=True, has_factors=True, long_factors="with longrope")

_EXPERTS_IF_ANY = Experts(required=False, normalises=always)
"""Those of Mixtral: Jiang et al. 2024."""

LLAMA = Architecture(
    name="llama",
    rotation=RotationRules(neighbours=True, whole_heads=True, has_factors=True, long_factors="with longrope"),
    experts=_EXPERTS_IF_ANY,
)
MISTRAL3 = Architecture(
    name="mistral3",
    rotation=RotationRules(
        neighbours=True,
        has_factors=True,
        long_factors="with longrope",
        reads_yarn_bounds=True,
        yarn_multiplier="divides",
    ),
    experts=_EXPERTS_IF_ANY,
    temperature=_mistral_temperature,
)
"""Ministral 3, Mistral Small 4: queries grow with their position."""
MINICPM = Architecture(
    name="minicpm",
    rotation=_ROTATION,
    embedding_scale=factor("embedding_scale", 12.0),
    residual_scale=lambda keys: factor("residual_scale", 1.4 * keys.layer_count**-0.5)(keys),
    # llama.cpp's default is the inverse of what the models want; the files carry the key.
    logit_scale=lambda keys: 1.0 / factor("logit_scale", 256.0 / keys.embedding_size)(keys),
)
"""MiniCPM: Hu et al. 2024, with the scales of μP."""
ARCEE = Architecture(
    name="arcee",
    rotation=RotationRules(neighbours=True, has_factors=True),
    feed_forward=FeedForward(activation="relu_squared", is_gated=False),
)
SMOLLM3 = Architecture(name="smollm3", rotation=RotationRules(neighbours=True, unrotated=_is_fourth))
"""SmolLM 3: positions do not enter every fourth layer (Yang et al. 2025)."""
INTERNLM2 = Architecture(name="internlm2", rotation=RotationRules(neighbours=True), output="own")
PLAMO = Architecture(
    name="plamo",
    rotation=RotationRules(whole_heads=True),
    norms=Norms(before_feed_forward=""),
    side_by_side="always",
    output="own",
)
XVERSE = Architecture(
    name="xverse",
    rotation=RotationRules(neighbours=True),
    output="own",
)
PANGU_EMBEDDED = Architecture(
    name="pangu-embedded",
    rotation=RotationRules(),
    required_biases=frozenset({"attn_output"}),
    output="own",
)
MAINCODER = Architecture(
    name="maincoder", rotation=RotationRules(neighbours=True), head_norms=HeadNorms(is_after_rotation=True)
)
ERNIE4_5 = Architecture(name="ernie4_5", rotation=RotationRules(neighbours=True, sections="mrope"))
ERNIE4_5_MOE = Architecture(
    name="ernie4_5-moe",
    rotation=RotationRules(neighbours=True, sections="mrope"),
    experts=Experts(
        normalises=always,
        selection_bias="optional",
        hidden_size=of_own_key,
        shared_hidden_size=shared_if_given,
        has_experts=every_so_many(behind_dense_layers),
    ),
)
"""ERNIE 4.5 with experts (Baidu 2025)."""
