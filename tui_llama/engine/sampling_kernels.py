"""The one part of sampling that looks at every token of the vocabulary, compiled."""

from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from tui_llama.engine.compilation import compile_now, helper, kernel

NOT_A_NUMBER = -1
_BLOCK = 64  # logits looked at together: almost every block holds nothing better than what was found


@helper
def _sift_down(ids: NDArray[np.int32], logits: NDArray[np.float32], count: int) -> None:
    """Lets the first entry sink to its place among the first `count`, which are a heap but for it.

    The worst entry is on top: the lowest logit, and of equal ones the highest id.
    """
    place = 0
    token_id, logit = ids[0], logits[0]
    while True:
        child = 2 * place + 1
        if child >= count:
            break
        right = child + 1
        if right < count and (
            logits[right] < logits[child] or (logits[right] == logits[child] and ids[right] > ids[child])
        ):
            child = right
        if logits[child] > logit or (logits[child] == logit and ids[child] < token_id):
            break
        ids[place], logits[place] = ids[child], logits[child]
        place = child
    ids[place], logits[place] = token_id, logit


@helper
def _sift_up(ids: NDArray[np.int32], logits: NDArray[np.float32], place: int) -> None:
    """Lets the entry at `place` rise to its place in the heap before it."""
    token_id, logit = ids[place], logits[place]
    while place > 0:
        parent = (place - 1) // 2
        if logits[parent] < logit or (logits[parent] == logit and ids[parent] > token_id):
            break
        ids[place], logits[place] = ids[parent], logits[parent]
        place = parent
    ids[place], logits[place] = token_id, logit


@helper
def _has_better(logits: NDArray[np.float32], start: int, end: int, worst: np.float32) -> bool:
    """Whether any logit from `start` to before `end` is above `worst`, or not a number; without a branch inside."""
    better = False
    for token_id in range(start, end):
        better |= not logits[token_id] <= worst
    return better


@kernel
def select_top(logits: NDArray[np.float32], top_ids: NDArray[np.int32], top_logits: NDArray[np.float32]) -> int:
    """Finds the highest logits, highest first; of equal ones the lowest id comes first.

    Args:
        logits: (vocab,) float32.
        top_ids: (top,) int32, overwritten; `top` is at least 1 and at most `vocab`.
        top_logits: (top,) float32, overwritten.

    Returns:
        0, or `NOT_A_NUMBER` if a logit is none; then the outputs mean nothing.

    Naive twin: tests/naive/sampling.py.
    """
    count = top_ids.size
    for token_id in range(count):
        if np.isnan(logits[token_id]):
            return NOT_A_NUMBER
        top_ids[token_id], top_logits[token_id] = token_id, logits[token_id]
        _sift_up(top_ids, top_logits, token_id)
    token_id = count
    while token_id < logits.size:
        end = min(token_id + _BLOCK, logits.size)
        if _has_better(logits, token_id, end, top_logits[0]):
            for better_id in range(token_id, end):
                if np.isnan(logits[better_id]):
                    return NOT_A_NUMBER
                if logits[better_id] > top_logits[0]:
                    top_ids[0], top_logits[0] = better_id, logits[better_id]
                    _sift_down(top_ids, top_logits, count)
        token_id = end
    for last in range(count - 1, 0, -1):
        top_ids[0], top_ids[last] = top_ids[last], top_ids[0]
        top_logits[0], top_logits[last] = top_logits[last], top_logits[0]
        _sift_down(top_ids, top_logits, last)
    return 0


SELECT_TOP_SIGNATURE: Any = numba.int64(numba.float32[::1], numba.int32[::1], numba.float32[::1])


def compile_sampling_kernels() -> None:
    """Compiles what sampling needs, or loads it from the cache, before the first token asks for it."""
    compile_now(select_top, SELECT_TOP_SIGNATURE)
