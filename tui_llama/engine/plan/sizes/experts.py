"""Reads the sizes of mixtures of experts, layer by layer.

Source: llama.cpp, src/llama-model.cpp (`load_hparams`) and src/models, of October 2026.
"""

from dataclasses import replace

from tui_llama.engine.plan.architectures.declaration import Experts, NumbersRule
from tui_llama.engine.plan.sizes.keys import Keys
from tui_llama.engine.tensors.expert_sizes import ExpertSizes
from tui_llama.engine.tensors.hyperparameters import MAX_EXPERTS, MAX_SIZE

_COUNT, _USED = "expert_count", "expert_used_count"
_LEAST_LIMIT = 1e-6
_GROUPS, _USED_GROUPS = "expert_group_count", "expert_group_used_count"


def read_experts(
    keys: Keys, rules: Experts | None, hidden_sizes: tuple[int, ...], has_window: tuple[bool, ...]
) -> tuple[ExpertSizes | None, ...]:
    """Returns the experts of each layer; None for a layer that is dense.

    Args:
        keys: The file's keys.
        rules: What the architecture declares.
        hidden_sizes: The sizes of the layers' dense feed-forward blocks.
        has_window: Whether each layer has a window.

    Raises:
        ModelFileError: a key is missing, out of bounds, or contradicts another.
    """
    nowhere = (None,) * keys.layer_count
    if rules is None:
        return nowhere
    count = keys.count(_COUNT, MAX_EXPERTS)
    if count == 0:
        if rules.required:
            raise keys.refuse(_COUNT, "models of this kind have experts")
        return nowhere
    used_counts = keys.sizes(_USED, count, keys.layer_count)
    groups, limits = _groups(keys, count, max(used_counts)), read_limits(keys, rules.limits)
    return tuple(
        replace(_experts_of_layer(keys, rules, (count, used), hidden, groups), limit=limits[layer])
        if rules.has_experts(keys, layer, windowed)
        else None
        for layer, (used, hidden, windowed) in enumerate(zip(used_counts, hidden_sizes, has_window, strict=True))
    )


def read_limits(keys: Keys, limits: NumbersRule) -> tuple[float, ...]:
    """Returns the limit of each layer's gated blocks; 0 for none, which llama.cpp takes numbers up to 1e-6 for."""
    return tuple(limit if limit > _LEAST_LIMIT else 0.0 for limit in limits(keys))


def _experts_of_layer(
    keys: Keys, rules: Experts, count_and_used: tuple[int, int], hidden: int, groups: tuple[int, int]
) -> ExpertSizes:
    """Returns the experts of a layer, from how many there are and a token uses, and the same of groups."""
    count, used = count_and_used
    group_count, used_group_count = groups
    own = keys.bounded("expert_feed_forward_length", rules.hidden_size(keys, hidden, used), MAX_SIZE)
    shared = rules.shared_hidden_size(keys, hidden, own)
    return ExpertSizes(
        count=count,
        used_count=used,
        hidden_size=own,
        gating=rules.gating(keys),
        selects_by_logits=rules.selects_by_logits,
        normalises=rules.normalises(keys),
        weights_scale=rules.weights_scale(keys),
        group_count=group_count,
        used_group_count=used_group_count,
        weighs_input=rules.weighs_input,
        shared_hidden_size=keys.bounded("expert_shared_feed_forward_length", shared, MAX_SIZE, least=0),
    )


def _groups(keys: Keys, count: int, used: int) -> tuple[int, int]:
    """Returns the number of groups that experts lie in, and of those that are chosen from."""
    groups = keys.count(_GROUPS, count)
    if groups <= 1:
        return 1, 1
    if count % groups:
        raise keys.refuse(_GROUPS, f"{groups} does not divide the {count} experts")
    used_groups = keys.size(_USED_GROUPS, groups)
    if used_groups * (count // groups) < used:
        raise keys.refuse(_USED_GROUPS, f"{used_groups} groups have fewer than the {used} experts that a token uses")
    return groups, used_groups
