"""Seed-OSS: Qwen 2.5 with another name for the norm before the feed-forward block."""

from tui_llama.engine.plan.architectures.declaration import (
    QUERY_KEY_VALUE,
    SECOND_NORM_NAMED_POST,
    Architecture,
    RotationRules,
)

SEED_OSS = Architecture(
    name="seed_oss", rotation=RotationRules(), norms=SECOND_NORM_NAMED_POST, required_biases=QUERY_KEY_VALUE
)
