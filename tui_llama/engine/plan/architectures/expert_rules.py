"""Rules that several declarations of experts share: which keys say how experts are chosen, and how large they are."""

from typing import Final

from tui_llama.engine.plan.architectures.declaration import GatingRule, LayerRule
from tui_llama.engine.plan.sizes.keys import OTHER_MODEL_HINT, Keys
from tui_llama.engine.tensors.expert_sizes import Gating
from tui_llama.engine.tensors.hyperparameters import MAX_EXPERTS, MAX_LAYERS, MAX_SIZE

_GATINGS: Final[dict[int, Gating]] = {1: "softmax", 2: "sigmoid", 3: "softmax of chosen"}


def always(keys: Keys) -> bool:
    """Tells that weights are divided by their sum."""
    return True


def by_norm_key(keys: Keys) -> bool:
    """Tells whether the file wants the weights divided by their sum."""
    return keys.flag("expert_weights_norm", False)


def scale_of_weights(keys: Keys) -> float:
    """Returns the factor of weights; 0 stands for 1, as in llama.cpp."""
    return keys.number("expert_weights_scale", 0.0) or 1.0


def always_sigmoid(keys: Keys) -> Gating:
    """Tells that a sigmoid of each of the router's numbers weighs, whatever the file says."""
    return "sigmoid"


def gating(default: Gating | None) -> GatingRule:
    """Makes the rule that reads what turns the router's numbers into weights; None: the file must say."""

    def read(keys: Keys) -> Gating:
        key = "expert_gating_func"
        number = keys.count(key, 255, None if default is None else 0)
        if number == 0 and default is not None:
            return default
        if number not in _GATINGS:
            raise keys.refuse(key, f"{number} is not a gating that this program knows", OTHER_MODEL_HINT)
        return _GATINGS[number]

    return read


def of_own_key(keys: Keys, hidden: int, used: int) -> int:
    """Returns the size of an expert that the file must give."""
    return keys.size("expert_feed_forward_length", MAX_SIZE)


def own_or_share(keys: Keys, hidden: int, used: int) -> int:
    """Returns the size of an expert: the file's, or an equal share of the dense block's."""
    return keys.count("expert_feed_forward_length", MAX_SIZE) or hidden // used


def own_or_dense(keys: Keys, hidden: int, used: int) -> int:
    """Returns the size of an expert: the file's, or the dense block's."""
    return keys.count("expert_feed_forward_length", MAX_SIZE) or hidden


def shared_if_given(keys: Keys, hidden: int, own: int) -> int:
    """Returns the size of the shared expert, which exists if the file gives one."""
    return keys.count("expert_shared_feed_forward_length", MAX_SIZE)


def shared_or_dense(keys: Keys, hidden: int, own: int) -> int:
    """Returns the size of the shared expert: the file's, or the dense block's."""
    return shared_if_given(keys, hidden, own) or hidden


def shared_or_own(keys: Keys, hidden: int, own: int) -> int:
    """Returns the size of the shared expert: the file's, or that of the others."""
    return shared_if_given(keys, hidden, own) or own


def as_an_expert(keys: Keys, hidden: int, own: int) -> int:
    """Returns the size of a shared expert that is like the others."""
    return own


def several_as_one(keys: Keys, hidden: int, own: int) -> int:
    """Returns the size of shared experts that are stored as one."""
    return own * keys.count("expert_shared_count", MAX_EXPERTS)


def shared_if_counted(keys: Keys, hidden: int, own: int) -> int:
    """Returns the size of shared experts, of which the file says how many there are, and maybe their size together."""
    if not keys.count("expert_shared_count", MAX_EXPERTS):
        return 0
    return shared_if_given(keys, hidden, own) or several_as_one(keys, hidden, own)


def behind_dense_layers(keys: Keys, layer: int, has_window: bool) -> bool:
    """Tells whether a layer comes after the dense ones at the beginning."""
    return layer >= keys.count("leading_dense_block_count", MAX_LAYERS)


def with_router(keys: Keys, layer: int, has_window: bool) -> bool:
    """Tells whether the file has the router of a layer's experts; else the layer is dense."""
    return f"blk.{layer}.ffn_gate_inp.weight" in keys.file.tensors


def every_so_many(first: LayerRule) -> LayerRule:
    """Makes the rule that the last of every so many layers has experts, where another rule allows it."""

    def applies(keys: Keys, layer: int, has_window: bool) -> bool:
        step = keys.size("interleave_moe_layer_step", MAX_LAYERS)
        return (layer + 1) % step == 0 and first(keys, layer, has_window)

    return applies
