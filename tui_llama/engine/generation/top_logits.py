"""The only part of sampling that looks at every logit, mostly compiled (kernels/top_logits.py)."""

import numpy as np
from numpy.typing import NDArray

from tui_llama.engine import ops
from tui_llama.engine.layouts.top_logits import BLOCK_LOGITS


def select_top(logits: NDArray[np.float32], count: int) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """Finds the highest logits, highest first; of equal ones the lowest id comes first.

    Each logit to find is at least as high as the `count`-th highest maximum of a block. So only blocks whose maximum
    reaches this are searched. All other blocks are read only once, without a branch for each logit.

    Args:
        logits: (vocab,) float32, contiguous.
        count: From 1 to vocab.

    Returns:
        (count,) int32 ids and (count,) float32 logits.

    Raises:
        FloatingPointError: a logit is NaN.

    Naive twin: tests/naive/sampling.py.
    """
    highest = np.empty(-(-logits.size // BLOCK_LOGITS), np.float32)
    ops.SUMMARISE_LOGITS(logits.ctypes.data, logits.size, highest.ctypes.data)
    if np.isnan(highest.max()):
        raise FloatingPointError
    least = np.partition(highest, -count)[-count] if count < len(highest) else np.float32(-np.inf)
    top_ids, top_logits = np.empty(count, np.int32), np.full(count, least, np.float32)
    ops.COLLECT_TOP_LOGITS(
        logits.ctypes.data, logits.size, highest.ctypes.data, highest.size, top_ids.ctypes.data, top_logits.ctypes.data,
        count,
    )  # fmt: skip
    return top_ids, top_logits
