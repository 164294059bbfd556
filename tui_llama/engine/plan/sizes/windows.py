"""Reads which layers see only the positions near by, and how many.

Source: Beltagy et al. 2020 (Longformer); llama.cpp, src/llama-hparams.cpp (`set_swa_pattern`).
"""

from typing import Final

from tui_llama.engine.plan.architectures.declaration import Windows
from tui_llama.engine.plan.sizes.keys import Keys
from tui_llama.engine.tensors.hyperparameters import MAX_CONTEXT, MAX_LAYERS

_SIZE_KEY: Final = "attention.sliding_window"
_PATTERN_KEY: Final = "attention.sliding_window_pattern"


def read_windows(keys: Keys, rules: Windows | None) -> tuple[int, ...]:
    """Returns the window of each layer in positions, its own included; 0 where a layer sees everything before it.

    Raises:
        ModelFileError: a key is missing or absurd.
    """
    everywhere = (0,) * keys.layer_count
    if rules is None or not rules.applies(keys):
        return everywhere
    size = keys.count(_SIZE_KEY, MAX_CONTEXT, rules.size)
    if size and rules.fixed_size:
        size = rules.fixed_size
    return tuple(size if has_window else 0 for has_window in _pattern(keys, rules)) if size else everywhere


def _pattern(keys: Keys, rules: Windows) -> tuple[bool, ...]:
    """Tells of each layer whether it has a window."""
    if keys.is_array(_PATTERN_KEY) or rules.period is None:
        return keys.flags(_PATTERN_KEY, keys.layer_count)
    period = keys.count(_PATTERN_KEY, MAX_LAYERS, rules.period)
    if period == 0:
        return (True,) * keys.layer_count
    full = 0 if rules.full_comes_first else period - 1
    return tuple(layer % period != full for layer in range(keys.layer_count))
