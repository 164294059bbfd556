"""SmallThinker: experts are chosen before attention, so that a program can fetch them in the meantime.

Sources: Song et al. 2025 (SmallThinker); llama.cpp, src/models/smallthinker.cpp.
"""

from tui_llama.engine.plan.architectures.declaration import Architecture, Experts, RotationRules, Windows
from tui_llama.engine.plan.architectures.expert_rules import always, gating, of_own_key
from tui_llama.engine.plan.sizes.keys import Keys
from tui_llama.engine.tensors.hyperparameters import MAX_CONTEXT

_PERIOD, _WINDOW = 4, 4096


def _is_fourth_of_windowed_model(keys: Keys, layer: int, has_window: bool) -> bool:
    return keys.count("attention.sliding_window", MAX_CONTEXT) > 0 and layer % _PERIOD == 0


SMALLTHINKER = Architecture(
    name="smallthinker",
    rotation=RotationRules(whole_heads=True, window_base_is_read=True, unrotated=_is_fourth_of_windowed_model),
    windows=Windows(size=0, period=_PERIOD, fixed_size=_WINDOW, full_comes_first=True),
    experts=Experts(
        reads_layer_input=True,
        gating=gating(None),
        normalises=always,
        hidden_size=of_own_key,
        activation="relu",
    ),
)
