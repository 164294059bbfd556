"""Compiled part of the search for the highest logits; generation/top_logits.py calls it."""

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types

from tui_llama.engine.kernels.ir import simd
from tui_llama.engine.kernels.ir.simd import float32_at, int32_at
from tui_llama.engine.layouts.top_logits import BLOCK_LOGITS
from tui_llama.engine.toolchain.numba_codegen import helper, intrinsic


@helper
def _sift_down(ids: Any, logits: Any, count: int) -> None:
    """Moves the first entry down to its place among the first `count` entries; the others form a heap already.

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
def _sift_up(ids: Any, logits: Any, place: int) -> None:
    """Moves the entry at `place` up to its place in the heap before it."""
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
    """Returns the highest of the `BLOCK_LOGITS` float32 at an address; NaN if one of them is NaN."""

    def generate(context: Any, b: simd.Builder, signature: Any, arguments: Any) -> simd.Value:
        base = simd.pointer(b, arguments[0])
        parts = [simd.load(b, base, 64 * i, simd.F32) for i in range(BLOCK_LOGITS // simd.LANES)]
        is_bad = simd.constant(ir.IntType(1), 0)
        while len(parts) > 1:
            pairs = list(zip(parts[::2], parts[1::2], strict=True))
            if len(pairs) == BLOCK_LOGITS // simd.LANES // 2:  # the first round has all logits; `maximum` loses NaN
                for x, y in pairs:
                    is_bad = b.or_(is_bad, b.fcmp_unordered("uno", x, y))
            parts = [simd.maximum(b, x, y) for x, y in pairs]
        bad_lanes = b.bitcast(is_bad, ir.IntType(simd.LANES))
        no_number = ir.Constant(simd.F32, float("nan"))
        any_bad = b.icmp_unsigned("!=", bad_lanes, ir.Constant(ir.IntType(simd.LANES), 0))
        return b.select(any_bad, no_number, simd.maximum_lane(b, parts[0]))

    return types.float32(types.uintp), generate


@helper
def _highest_of_rest(address: int, start: int, end: int) -> np.float32:
    """Does the same as `_highest_of_block` for the logits `start` … `end` - 1."""
    logits = float32_at(np.uintp(address))
    best: np.float32 = logits[start]
    for token_id in range(start, end):
        if not logits[token_id] <= best:  # true for NaN, too
            best = logits[token_id]
            if np.isnan(best):
                break
    return best


def summarise(logits: int, count: int, highest: int) -> None:
    """Writes the highest logit of each block; NaN if one of the block is NaN.

    Args:
        logits: Address of (count,) float32.
        count: Number of logits.
        highest: Address of (blocks,) float32; the last block may be shorter than `BLOCK_LOGITS`.
    """
    out = float32_at(np.uintp(highest))
    for block in range(count // BLOCK_LOGITS):
        out[block] = _highest_of_block(np.uintp(logits + 4 * BLOCK_LOGITS * block))
    if count % BLOCK_LOGITS:
        out[count // BLOCK_LOGITS] = _highest_of_rest(logits, count // BLOCK_LOGITS * BLOCK_LOGITS, count)


def collect(logits: int, size: int, highest: int, blocks: int, top_ids: int, top_logits: int, count: int) -> None:
    """Finds the `count` best logits among those that are high enough, and sorts them: highest first, then lowest id.

    At least `count` logits must be high enough.

    Args:
        logits: Address of (size,) float32.
        size: Number of logits.
        highest: Address of (blocks,) float32 from `summarise`.
        blocks: Number of blocks.
        top_ids: Address of (count,) int32, overwritten.
        top_logits: Address of (count,) float32; the first one says how high is high enough, and all are overwritten.
        count: Number of logits to find.
    """
    all_logits, highest_of = float32_at(np.uintp(logits)), float32_at(np.uintp(highest))
    ids, best = int32_at(np.uintp(top_ids)), float32_at(np.uintp(top_logits))
    least, held = best[0], 0
    for block in range(blocks):
        if highest_of[block] >= least:
            for token_id in range(block * BLOCK_LOGITS, min((block + 1) * BLOCK_LOGITS, size)):
                logit = all_logits[token_id]
                if logit < least:
                    continue
                if held < count:
                    ids[held], best[held] = token_id, logit
                    _sift_up(ids, best, held)
                    held += 1
                elif logit > best[0]:  # ids rise, so a new logit that equals the worst one is never better
                    ids[0], best[0] = token_id, logit
                    _sift_down(ids, best, count)
    for last in range(count - 1, 0, -1):
        ids[0], ids[last] = ids[last], ids[0]
        best[0], best[last] = best[last], best[0]
        _sift_down(ids, best, last)
