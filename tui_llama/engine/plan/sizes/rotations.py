"""Reads how positions enter queries and keys.

Sources: Peng et al. 2023 (YaRN); Ding et al. 2024 (LongRoPE); llama.cpp, src/llama-model.cpp and src/llama-context.cpp.
"""

import math
from typing import Final

from tui_llama.engine.plan.architectures.declaration import RotationRules
from tui_llama.engine.plan.sizes.keys import OTHER_MODEL_HINT, Keys
from tui_llama.engine.tensors.hyperparameters import MAX_CONTEXT, RopeScaling, Rotation, ScalingKind

FREQUENCY_FACTORS: Final = "rope_freqs.weight"
SHORT_FACTORS, LONG_FACTORS = "rope_factors_short.weight", "rope_factors_long.weight"
ASSUMED_CONTEXT: Final = 1 << 13
"""Context in tokens that is assumed for a file that declares 0."""

_DEFAULT_BASE: Final = 10000.0
_SCALING_KINDS: Final[dict[str, ScalingKind]] = {
    "none": "none",
    "linear": "linear",
    "yarn": "yarn",
    "longrope": "longrope",
}
_SECTIONS_KEY: Final = "rope.dimension_sections"
_SECTIONS: Final = 4  # of an image model's positions: time, height, width and one more


def read_rotation(
    keys: Keys, rules: RotationRules, head_dim: int, context_length: int, *, has_window: bool
) -> Rotation:
    """Reads the rotation of layers with or without a window; see `Keys` for the errors.

    Args:
        keys: The file's.
        rules: The architecture's.
        head_dim: Elements of a head.
        context_length: That of the model in tokens, 0 if the file leaves it open.
        has_window: Whether the layers have a window.
    """
    dim = _dim(keys, rules, head_dim, has_window=has_window)
    scaling = _scaling(keys, rules, context_length)
    factors, long_factors = _factor_tensors(keys, rules, scaling)
    if has_window and rules.window_scaling != "as full":
        magnitude = 1.0 if rules.window_scaling == "plain" else keys.positive("rope.scaling.attn_factor", 1.0)
        scaling = RopeScaling("none", 1.0, scaling.original_context, magnitude)
    if has_window and not rules.window_has_factors:
        factors = long_factors = ""
    return Rotation(
        dim=dim,
        first=head_dim - dim if rules.at_end_of_head else 0,
        base=_base(keys, rules, head_dim, has_window),
        scaling=scaling,
        # Heads of models with position sections pair halves, whatever their rows were permuted for.
        neighbours=rules.neighbours and not _has_sections(keys, rules),
        still_pairs=_still_pairs(keys, rules, dim),
        factors=factors,
        long_factors=long_factors,
        spare_factors=_spare_factors(keys, rules, head_dim, dim) if factors else 0,
    )


def _dim(keys: Keys, rules: RotationRules, head_dim: int, *, has_window: bool) -> int:
    key = "rope.dimension_count"
    if has_window and keys.has("rope.dimension_count_swa"):
        key = "rope.dimension_count_swa"
    dim = keys.size(key, head_dim, default=head_dim)
    if rules.half_without_window and not has_window:
        dim //= 2
    if dim % 2:
        raise keys.refuse(key, f"{dim} is odd, but must be even")
    if not dim:
        raise keys.refuse(key, "half of it is nothing")
    if rules.whole_heads and dim != head_dim:
        raise keys.refuse(key, f"{dim} should be the whole head, {head_dim}")
    return dim


def _base(keys: Keys, rules: RotationRules, head_dim: int, has_window: bool) -> float:
    key, default = "rope.freq_base", _DEFAULT_BASE
    base = keys.number(key, default)
    if has_window and rules.window_base_is_read:
        key, default = "rope.freq_base_swa", base if rules.window_base is None else rules.window_base
        base = keys.number(key, default)
    if base <= 1:  # angles must shrink from pair to pair, and yarn divides by the logarithm
        raise keys.refuse(key, f"{base} is not greater than 1")
    return rules.base(keys, base, head_dim)


def _scaling(keys: Keys, rules: RotationRules, context_length: int) -> RopeScaling:
    factor = scaling_factor(keys)
    kind = _scaling_kind(keys, factor)
    if rules.yarn_factors_are_read:
        _check_yarn_factors(keys)
    factor = 1.0 if kind == "none" else factor
    return RopeScaling(
        kind=kind,
        factor=factor,
        original_context=_original_context(keys, kind, context_length),
        magnitude=_magnitude(keys, rules, kind, factor),
        beta_fast=_beta_fast(keys, rules),
        beta_slow=keys.positive("rope.scaling.yarn_beta_slow", 1.0) if rules.reads_yarn_bounds else 1.0,
    )


def _beta_fast(keys: Keys, rules: RotationRules) -> float:
    usual = rules.usual_beta_fast
    return keys.positive("rope.scaling.yarn_beta_fast", usual) if rules.reads_yarn_bounds else usual


def _check_yarn_factors(keys: Keys) -> None:
    for key in ("rope.scaling.yarn_ext_factor", "rope.scaling.yarn_attn_factor"):
        if keys.positive(key, 1.0) != 1.0:
            raise keys.refuse(key, "only 1 is supported", OTHER_MODEL_HINT)


def _magnitude(keys: Keys, rules: RotationRules, kind: ScalingKind, factor: float) -> float:
    """Returns the factor of sine and cosine: yarn's own times the file's."""

    def growth(strength: float) -> float:
        return 1.0 if factor <= 1.0 else 0.1 * strength * math.log(factor) + 1.0

    magnitude = keys.positive("rope.scaling.attn_factor", 1.0)
    if kind != "yarn":
        return magnitude
    multiplier = yarn_multiplier(keys) if rules.yarn_multiplier != "ignored" else 0.0
    if multiplier == 0.0:
        return magnitude * growth(1.0)
    return magnitude * growth(1.0) / growth(multiplier) if rules.yarn_multiplier == "divides" else magnitude


def yarn_multiplier(keys: Keys) -> float:
    """Returns the strength of the correction of the attention's temperature, 0 for none."""
    return keys.not_negative("rope.scaling.yarn_log_multiplier", 0.0)


def _original_context(keys: Keys, kind: ScalingKind, context_length: int) -> int:
    """Reads the original context; if the context length is missing as well, that is an error for yarn only."""
    default = context_length if context_length or kind == "yarn" else ASSUMED_CONTEXT
    return keys.size("rope.scaling.original_context_length", MAX_CONTEXT, default=default)


def scaling_factor(keys: Keys) -> float:
    """Reads the scaling factor; absent or 0 means 1. Older files have the key `rope.scale_linear`."""
    for key in ("rope.scaling.factor", "rope.scale_linear"):
        factor = keys.not_negative(key, 0.0)
        if factor > 0:
            return factor
    return 1.0


def _scaling_kind(keys: Keys, factor: float) -> ScalingKind:
    key = "rope.scaling.type"
    declared = keys.text(key, "linear")
    kind = _SCALING_KINDS.get(declared)
    if kind is None:
        raise keys.refuse(key, f"{declared[:40]!a} is not a kind of scaling that this program knows", OTHER_MODEL_HINT)
    return "none" if kind == "linear" and factor == 1.0 else kind


def _factor_tensors(keys: Keys, rules: RotationRules, scaling: RopeScaling) -> tuple[str, str]:
    """Returns the tensors of divisors in short and in long contexts; "" where the file has none."""
    tensors = keys.file.tensors
    if rules.has_factors and FREQUENCY_FACTORS in tensors:
        return FREQUENCY_FACTORS, FREQUENCY_FACTORS
    has_two = rules.long_factors == "always" or (rules.long_factors == "with longrope" and scaling.kind == "longrope")
    if has_two and SHORT_FACTORS in tensors and LONG_FACTORS in tensors:
        return SHORT_FACTORS, LONG_FACTORS
    return "", ""


def _spare_factors(keys: Keys, rules: RotationRules, head_dim: int, dim: int) -> int:
    """Returns how many divisors only layers with a window have pairs for."""
    in_window = _dim(keys, rules, head_dim, has_window=True) if rules.half_without_window else dim
    return max(0, in_window - dim) // 2


def _has_sections(keys: Keys, rules: RotationRules) -> bool:
    return bool(rules.sections) and (rules.sections_required or keys.has(_SECTIONS_KEY))


def _still_pairs(keys: Keys, rules: RotationRules, dim: int) -> tuple[int, ...]:
    """Returns the pairs that follow the fourth section of positions, which is 0 for text."""
    if not _has_sections(keys, rules):
        return ()
    key = _SECTIONS_KEY
    sections = [*keys.integers(key), *[0] * _SECTIONS][:_SECTIONS]
    if min(sections) < 0 or not 0 < sum(sections) <= dim:
        raise keys.refuse(key, f"the sections {sections} do not fit {dim // 2} pairs")
    time, height, width, _ = sections
    still = []
    for pair in range(dim // 2):
        place = pair % sum(sections)
        if rules.sections == "mrope":
            moves = place < time + height + width
        else:
            moves = place < 3 * (time, height, width)[place % 3]
        if not moves:
            still.append(pair)
    return tuple(still)
