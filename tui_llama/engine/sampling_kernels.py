"""The one part of sampling that looks at every token of the vocabulary, most of it compiled."""

from typing import Any

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numpy.typing import NDArray

from tui_llama.engine import simd
from tui_llama.engine.compilation import compile_now, helper, intrinsic, kernel

_BLOCK = 64  # logits that are summed up by their highest


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


@intrinsic
def _highest_of_block(_: Any, address: Any) -> Any:
    """The highest of the `_BLOCK` float32 at an address; not a number if one of them is not."""

    def generate(context: Any, b: simd.Builder, signature: Any, arguments: Any) -> simd.Value:
        base = simd.pointer(b, arguments[0])
        parts = [simd.load(b, base, 64 * i, simd.F32) for i in range(_BLOCK // simd.LANES)]
        is_bad = simd.constant(ir.IntType(1), 0)
        while len(parts) > 1:
            pairs = list(zip(parts[::2], parts[1::2], strict=True))
            if len(pairs) == _BLOCK // simd.LANES // 2:
                for x, y in pairs:
                    is_bad = b.or_(is_bad, b.fcmp_unordered("uno", x, y))
            parts = [simd.maximum(b, x, y) for x, y in pairs]
        bad_lanes = b.bitcast(is_bad, ir.IntType(simd.LANES))
        no_number = ir.Constant(simd.F32, float("nan"))
        any_bad = b.icmp_unsigned("!=", bad_lanes, ir.Constant(ir.IntType(simd.LANES), 0))
        return b.select(any_bad, no_number, simd.maximum_lane(b, parts[0]))

    return types.float32(types.uintp), generate


@helper
def _highest_of_rest(logits: NDArray[np.float32], start: int) -> np.float32:
    """As `_highest_of_block`, of the logits from `start` on."""
    best: np.float32 = logits[start]
    for token_id in range(start, logits.size):
        if not logits[token_id] <= best:
            best = logits[token_id]
            if np.isnan(best):
                break
    return best


@kernel
def _summarise(logits: NDArray[np.float32], highest: NDArray[np.float32]) -> None:
    """Writes the highest logit of each block to `highest`, (blocks,); what is not a number stays one."""
    address = logits.ctypes.data
    for block in range(logits.size // _BLOCK):
        highest[block] = _highest_of_block(np.uintp(address + 4 * _BLOCK * block))
    if logits.size % _BLOCK:
        highest[-1] = _highest_of_rest(logits, logits.size // _BLOCK * _BLOCK)


@kernel
def _collect(
    logits: NDArray[np.float32],
    highest: NDArray[np.float32],
    least: np.float32,
    top_ids: NDArray[np.int32],
    top_logits: NDArray[np.float32],
) -> None:
    """Finds the best of at least `least`, of which there are enough, and sorts them: highest first, then lowest id."""
    held, count = 0, top_ids.size
    for block in range(highest.size):
        if highest[block] >= least:
            for token_id in range(block * _BLOCK, min((block + 1) * _BLOCK, logits.size)):
                logit = logits[token_id]
                if logit < least:
                    continue
                if held < count:
                    top_ids[held], top_logits[held] = token_id, logit
                    _sift_up(top_ids, top_logits, held)
                    held += 1
                elif logit > top_logits[0]:  # ids rise, so that of equal ones the new one is never better
                    top_ids[0], top_logits[0] = token_id, logit
                    _sift_down(top_ids, top_logits, count)
    for last in range(count - 1, 0, -1):
        top_ids[0], top_ids[last] = top_ids[last], top_ids[0]
        top_logits[0], top_logits[last] = top_logits[last], top_logits[0]
        _sift_down(top_ids, top_logits, last)


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
    highest = np.empty(-(-logits.size // _BLOCK), np.float32)
    _summarise(logits, highest)
    if np.isnan(highest.max()):
        raise FloatingPointError
    least = np.partition(highest, -count)[-count] if count < len(highest) else np.float32(-np.inf)
    top_ids, top_logits = np.empty(count, np.int32), np.empty(count, np.float32)
    _collect(logits, highest, least, top_ids, top_logits)
    return top_ids, top_logits


_LOGITS, _IDS = numba.float32[::1], numba.int32[::1]
_SIGNATURES: dict[Any, Any] = {
    _summarise: numba.void(_LOGITS, _LOGITS),
    _collect: numba.void(_LOGITS, _LOGITS, numba.float32, _IDS, _LOGITS),
}


def compile_sampling_kernels() -> None:
    """Compiles what sampling needs, or loads it from the cache, before the first token asks for it."""
    for function, signature in _SIGNATURES.items():
        compile_now(function, signature)
