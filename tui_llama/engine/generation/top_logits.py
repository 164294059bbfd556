"""The one part of sampling that looks at every token of the vocabulary, most of it compiled (sampling_kernels.py)."""

import numpy as np
from numpy.typing import NDArray

from tui_llama.engine.layouts.top_logits import BLOCK_LOGITS
from tui_llama.engine.toolchain.object_store import Kernel

_SUMMARISE = Kernel("top_logits", "summarise", "iii")
_COLLECT = Kernel("top_logits", "collect", "iiiiiii")
SAMPLING_KERNELS = (_SUMMARISE, _COLLECT)


def select_top(logits: NDArray[np.float32], count: int) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """Finds the highest logits, highest first; of equal ones the lowest id comes first.

    As many blocks of the vocabulary as there are logits to find, those with the highest, hold all of them. So all
    others are looked at only once, without a branch for each logit.

    Args:
        logits: (vocab,) float32, contiguous.
        count: From 1 to vocab.

    Returns:
        (count,) int32 ids and (count,) float32 logits.

    Raises:
        FloatingPointError: a logit is not a number.

    Naive twin: tests/naive/sampling.py.
    """
    highest = np.empty(-(-logits.size // BLOCK_LOGITS), np.float32)
    _SUMMARISE(logits.ctypes.data, logits.size, highest.ctypes.data)
    if np.isnan(highest.max()):
        raise FloatingPointError
    least = np.partition(highest, -count)[-count] if count < len(highest) else np.float32(-np.inf)
    top_ids, top_logits = np.empty(count, np.int32), np.full(count, least, np.float32)
    _COLLECT(
        logits.ctypes.data, logits.size, highest.ctypes.data, highest.size, top_ids.ctypes.data, top_logits.ctypes.data,
        count,
    )  # fmt: skip
    return top_ids, top_logits
