"""Running softmax state of query rows: weighted values, the sums of their weights, and their peaks.

A state is float32: outputs (rows, width), sums of weights lane by lane (rows, 16), and peaks (rows, 4). A peak is the
largest score so far, to which the weights are relative; it is stored four times. Rows come in multiples of four. States
of earlier and later positions are merged; the order of merging decides the bits.

Source: Milakov and Gimelshein 2018 (online normalizer calculation for softmax).
"""

from typing import Any

from numba import types
from numba.core import cgutils

from tui_llama.engine.kernels.attention.vectors import ROWS, VECTOR_BYTES, moved, power_of_two, row_groups, spread, step
from tui_llama.engine.kernels.ir import simd
from tui_llama.engine.kernels.ir.simd import F32, Builder, Value, constant, integer, pointer
from tui_llama.engine.layouts import attention
from tui_llama.engine.toolchain.numba_codegen import callable_from_kernels, intrinsic

# peak of a row that has seen nothing; finite, so that the difference of two such peaks is 0 and not NaN
_LOWEST_PEAK = -1e30


state_bytes = callable_from_kernels(attention.state_bytes)


def _state_parts(b: Builder, state: Value, width: Value, rows: Value) -> tuple[Value, Value, Value]:
    sums = b.add(state, b.mul(rows, b.mul(width, integer(4))))
    return state, sums, b.add(sums, b.mul(rows, integer(VECTOR_BYTES)))


@step
def clear_rows(b: Builder, state: Value, width: Value, rows: Value) -> None:
    """Writes the state of rows that have seen nothing."""
    outputs, _, peaks = _state_parts(b, state, width, rows)
    zeros = b.udiv(b.sub(peaks, outputs), integer(VECTOR_BYTES))
    for start, count, value in ((outputs, zeros, 0.0), (peaks, b.udiv(rows, integer(ROWS)), _LOWEST_PEAK)):
        with cgutils.for_range(b, count) as loop:
            simd.store(b, constant(F32, value), pointer(b, moved(b, start, loop.index, VECTOR_BYTES)))


@step
def merge_rows(b: Builder, state: Value, later_state: Value, width: Value, rows: Value) -> None:
    """Merges the state of later positions into the state of earlier ones."""
    outputs, lane_sums, peaks = _state_parts(b, state, width, rows)
    later_outputs, later_sums, later_peaks = _state_parts(b, later_state, width, rows)
    with row_groups(b, rows) as group:
        at, later_at = (pointer(b, moved(b, address, group.index, 16 * ROWS)) for address in (peaks, later_peaks))
        before, later = simd.load(b, at, 0, F32), simd.load(b, later_at, 0, F32)
        now = simd.maximum(b, before, later)
        simd.store(b, now, at)
        factor, later_factor = (power_of_two(b, b.fsub(peak, now)) for peak in (before, later))
        for r in range(ROWS):
            mine, theirs = spread(b, factor, r), spread(b, later_factor, r)
            row = b.add(b.mul(group.index, integer(ROWS)), integer(r))
            _merge_vector(b, (lane_sums, mine), (later_sums, theirs), b.mul(row, integer(VECTOR_BYTES)))
            first = b.mul(row, b.mul(width, integer(4)))
            with cgutils.for_range(b, b.udiv(width, integer(simd.LANES))) as loop:
                place = moved(b, first, loop.index, VECTOR_BYTES)
                _merge_vector(b, (outputs, mine), (later_outputs, theirs), place)


def _merge_vector(b: Builder, earlier: tuple[Value, Value], later: tuple[Value, Value], offset: Value) -> None:
    """Writes earlier · its factor + later · its factor over the 16 earlier lanes at `offset`."""
    target = pointer(b, earlier[0], offset)
    scaled = b.fmul(simd.load(b, target, 0, F32), earlier[1])
    simd.store(b, simd.fma(b, simd.load(b, pointer(b, later[0], offset), 0, F32), later[1], scaled), target)


@intrinsic
def lane_total(_: Any, lane_sums: Any) -> Any:
    """Returns the sum of the 16 float32 at an address, added in one fixed order."""

    def generate(context: Any, b: Builder, signature: Any, arguments: Any) -> Value:
        return simd.sum_lanes(b, simd.load(b, pointer(b, arguments[0]), 0, F32))

    return types.float32(types.int64), generate
