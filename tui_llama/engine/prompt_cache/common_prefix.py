"""Finds the common prefix of two sequences of tokens."""

from collections.abc import Sequence

import numpy as np

from tui_llama.engine.state_file import TokenIds


def common_prefix_length(first: Sequence[int] | TokenIds, second: Sequence[int] | TokenIds) -> int:
    """Returns how many tokens two sequences have in common at their start."""
    length = min(len(first), len(second))
    different = np.flatnonzero(np.asarray(first[:length]) != np.asarray(second[:length]))
    return int(different[0]) if len(different) else length
