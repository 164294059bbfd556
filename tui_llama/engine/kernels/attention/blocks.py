"""Steps of attention over one block of 64 positions: widening, scores, softmax and weighted sums.

The steps work on query rows in groups of four, so that each key or value vector is loaded once for four rows. Every
row goes through the same operations in the same order, whatever other rows share the block; its bits therefore do not
depend on the batch. A position that a row must not see has the score minus infinity and so the weight 0.

Scores are in units of log 2, so that weights are powers of two: 2^(score - peak). Arguments are addresses and counts,
64-bit integers. Naive twin of all steps together: `attention` in tests/naive/ops.py.

Source of the running softmax: Milakov and Gimelshein 2018; of its use by blocks: Dao et al. 2022 (FlashAttention).
"""

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils

from tui_llama.engine.kernels.attention.vectors import (
    LOG2_E,
    ROWS,
    VECTOR_BYTES,
    lanes,
    moved,
    power_of_two,
    row_groups,
    spread,
    step,
)
from tui_llama.engine.kernels.ir import simd
from tui_llama.engine.kernels.ir.simd import F16, F32, I8, I32, Builder, Value, constant, integer, pointer, vector
from tui_llama.engine.layouts.attention import BLOCK_POSITIONS, SCORE_BYTES
from tui_llama.engine.machine.instruction_sets import INSTRUCTION_SET
from tui_llama.engine.toolchain.numba_codegen import intrinsic

QUANT_COLUMNS = 32
"""Components of a key or value that share a scale in a quantised cache."""
WEIGHED_AT_ONCE = 2
"""Counts of weighted positions are rounded up to a multiple of this."""

_TILES = BLOCK_POSITIONS // simd.LANES
_COLUMNS_AT_ONCE = 2
# 16 sums, the vectors they are made from and a query fit into 32 wide registers; on other processors only 4 sums fit.
_VECTORS_AT_ONCE = 4 if INSTRUCTION_SET in ("amx_int8", "avx512_vnni") else 1


def _element_bytes(element: ir.Type) -> int:
    return 2 if element == F16 else 4


def _load_float(b: Builder, base: Value, offset: int, element: ir.Type) -> Value:
    """Loads 16 lanes of float16 or float32 as float32."""
    value = simd.load(b, base, offset, element)
    return simd.half_to_float(b, value) if element == F16 else value


def _sum(b: Builder, x: Value, y: Value) -> Value:
    return b.fadd(x, y)


def _folded(b: Builder, combine: Callable[[Builder, Value, Value], Value], parts: list[Value]) -> Value:
    """Combines four vectors in pairs."""
    return combine(b, combine(b, parts[0], parts[1]), combine(b, parts[2], parts[3]))


def _row_maxima(b: Builder, rows: list[Value]) -> Value:
    """Returns the largest lane of each of four vectors, four times each: lanes 4r … 4r + 3 are row r's."""
    low, high = list(range(8)), list(range(8, 16))
    left, right = (
        simd.maximum(
            b,
            lanes(b, first, second, [*low, *(16 + i for i in low)]),
            lanes(b, first, second, [*high, *(16 + i for i in high)]),
        )
        for first, second in (rows[:2], rows[2:])
    )
    even = [8 * half + i for half in range(4) for i in range(4)]
    fours = simd.maximum(b, lanes(b, left, right, even), lanes(b, left, right, [4 + i for i in even]))
    for distance in (2, 1):
        fours = simd.maximum(b, fours, lanes(b, fours, fours, [i ^ distance for i in range(simd.LANES)]))
    return fours


# --- widening ---------------------------------------------------------------------------------------------------------


@step
def widen_halves(b: Builder, source: Value, target: Value, count: Value) -> None:
    """Widens `count` float16, a multiple of 64, to float32, and prefetches as many that follow."""
    with cgutils.for_range(b, b.udiv(count, integer(64))) as loop:
        halves, floats = (
            pointer(b, moved(b, address, loop.index, step)) for address, step in ((source, 128), (target, 256))
        )
        for line in range(2):
            simd.prefetch(b, b.gep(halves, [b.mul(count, integer(2))]), 64 * line)
        for i in range(4):
            simd.store(b, _load_float(b, halves, 32 * i, F16), floats, 64 * i)


def _widen_quants(b: Builder, source: Value, target: Value, width: Value, share_lanes: bool) -> None:
    """Turns a block of quantised tiles (see tensors/kv_cache.py) into float32, and prefetches the block that follows.

    With `share_lanes` a vector holds 16 components of one position, and all lanes share a scale. Otherwise it holds one
    component of 16 positions, and one vector of scales serves 32 components.
    """
    tile_bytes = b.mul(width, integer(17))
    block_bytes = b.mul(tile_bytes, integer(_TILES))
    with cgutils.for_range(b, integer(_TILES)) as tile:
        scales = moved(b, source, tile.index, tile_bytes)
        quants, floats = b.add(scales, width), moved(b, target, tile.index, b.mul(width, integer(VECTOR_BYTES)))
        with cgutils.for_range(b, b.udiv(width, integer(QUANT_COLUMNS))) as group:
            scale_line = pointer(b, moved(b, scales, group.index, 2 * simd.LANES))
            simd.prefetch(b, b.gep(scale_line, [block_bytes]), 0)
            first = b.mul(group.index, integer(QUANT_COLUMNS if share_lanes else QUANT_COLUMNS * simd.LANES))
            per_lane = simd.half_to_float(b, simd.load(b, scale_line, 0, F16))
            with cgutils.for_range(b, integer(simd.LANES)) as line:
                at = moved(b, first, line.index, width if share_lanes else 2 * simd.LANES)
                line_quants, line_floats = pointer(b, quants, at), pointer(b, moved(b, floats, at, 4))
                simd.prefetch(b, b.gep(line_quants, [block_bytes]), 0)
                scale = per_lane
                if share_lanes:
                    shared = b.gep(scale_line, [b.mul(line.index, integer(2))])
                    scale = simd.splat(b, b.fpext(simd.load_scalar(b, shared, 0, F16), F32))
                for i in range(2):
                    wide = b.sext(simd.load(b, line_quants, simd.LANES * i, I8), vector(I32))
                    value = b.fmul(b.sitofp(wide, vector(F32)), scale)
                    simd.store(b, value, line_floats, VECTOR_BYTES * i)


@step
def widen_quantised_keys(b: Builder, source: Value, target: Value, width: Value) -> None:
    """Widens a block of quantised keys to float32 (4 tiles, width, 16)."""
    _widen_quants(b, source, target, width, share_lanes=False)


@step
def widen_quantised_values(b: Builder, source: Value, target: Value, width: Value) -> None:
    """Widens a block of quantised values to float32 (64, width)."""
    _widen_quants(b, source, target, width, share_lanes=True)


@step
def transpose_keys(b: Builder, source: Value, target: Value, width: Value, value_width: Value) -> None:
    """Turns a block of widened keys, float32 (4 tiles, width, 16), into values: float32 (64, value_width).

    The values are the keys' first `value_width` components, a multiple of 16.
    """
    with cgutils.for_range(b, integer(_TILES)) as tile:
        keys = moved(b, source, tile.index, b.mul(width, integer(VECTOR_BYTES)))
        values = moved(b, target, tile.index, b.mul(value_width, integer(VECTOR_BYTES)))
        with cgutils.for_range(b, b.udiv(value_width, integer(simd.LANES))) as part:
            columns = pointer(b, moved(b, keys, part.index, VECTOR_BYTES * simd.LANES))
            square = [simd.load(b, columns, VECTOR_BYTES * i, F32) for i in range(simd.LANES)]
            for row, vector_ in enumerate(_transposed(b, square)):
                place = moved(b, values, part.index, VECTOR_BYTES)
                simd.store(b, vector_, pointer(b, place, b.mul(value_width, integer(4 * row))))


def _transposed(b: Builder, square: list[Value]) -> list[Value]:
    """Transposes 16 vectors of 16 lanes: exchanges halves, then quarters, eighths and single lanes of pairs of them."""
    for distance in (8, 4, 2, 1):
        upper = [lane & distance > 0 for lane in range(simd.LANES)]
        for i in (i for i in range(simd.LANES) if not i & distance):
            first, second = square[i], square[i + distance]
            low = [simd.LANES + lane - distance if is_upper else lane for lane, is_upper in enumerate(upper)]
            high = [simd.LANES + lane if is_upper else lane + distance for lane, is_upper in enumerate(upper)]
            square[i], square[i + distance] = lanes(b, first, second, low), lanes(b, first, second, high)
    return square


# --- scores -----------------------------------------------------------------------------------------------------------


def _score(b: Builder, queries: Value, keys: Value, element: ir.Type, width: Value, scores: Value, rows: Value) -> None:
    column_bytes = simd.LANES * _element_bytes(element)
    query_bytes, tile_bytes = b.mul(width, integer(4)), b.mul(width, integer(column_bytes))
    sums = [[simd.lane_variable(b, constant(F32, 0.0)) for _ in range(_VECTORS_AT_ONCE)] for _ in range(ROWS)]
    with row_groups(b, rows) as group, cgutils.for_range(b, integer(_TILES // _VECTORS_AT_ONCE)) as part:
        first_row = moved(b, queries, group.index, b.mul(query_bytes, integer(ROWS)))
        first_tile = moved(b, keys, part.index, b.mul(tile_bytes, integer(_VECTORS_AT_ONCE)))
        for place in (place for line in sums for place in line):
            b.store(constant(F32, 0.0), place)
        with cgutils.for_range(b, b.udiv(width, integer(_COLUMNS_AT_ONCE))) as loop:
            row = moved(b, first_row, loop.index, 4 * _COLUMNS_AT_ONCE)
            tile = moved(b, first_tile, loop.index, column_bytes * _COLUMNS_AT_ONCE)
            query_rows = [pointer(b, row, b.mul(query_bytes, integer(r))) for r in range(ROWS)]
            tiles = [pointer(b, tile, b.mul(tile_bytes, integer(t))) for t in range(_VECTORS_AT_ONCE)]
            if element == F16:
                for tile_line in tiles:
                    simd.prefetch(b, b.gep(tile_line, [b.mul(tile_bytes, integer(_TILES))]), 0)
            for column in range(_COLUMNS_AT_ONCE):
                key = [_load_float(b, t, column * column_bytes, element) for t in tiles]
                for query_row, line in zip(query_rows, sums, strict=True):
                    query = simd.load_splat(b, query_row, 4 * column, F32)
                    for value, place in zip(key, line, strict=True):
                        b.store(simd.fma(b, query, value, b.load(place)), place)
        out = moved(b, scores, group.index, ROWS * SCORE_BYTES)
        out_at = pointer(b, moved(b, out, part.index, VECTOR_BYTES * _VECTORS_AT_ONCE))
        for r, line in enumerate(sums):
            for t, place in enumerate(line):
                simd.store(b, b.load(place), out_at, SCORE_BYTES * r + VECTOR_BYTES * t)


@step
def score_halves(b: Builder, queries: Value, keys: Value, width: Value, scores: Value, rows: Value) -> None:
    """Computes queries · keys for one block of keys, and prefetches the block that follows.

    Args:
        b: Builder that receives the code.
        queries: float32 (rows, width).
        keys: float16 (4 tiles, width, 16).
        width: Components of a head, a multiple of 16.
        scores: float32 (rows, 64), overwritten.
        rows: A multiple of 4.
    """
    _score(b, queries, keys, F16, width, scores, rows)


@step
def score_floats(b: Builder, queries: Value, keys: Value, width: Value, scores: Value, rows: Value) -> None:
    """Does the same as `score_halves` with widened float32 keys, which are in the processor's cache already."""
    _score(b, queries, keys, F32, width, scores, rows)


@intrinsic
def cap_scores(_: Any, scores: Any, cap: Any) -> Any:
    """Replaces the 64 float32 at `scores` by cap · tanh(score).

    tanh(x) is (1 - e) / (1 + e) with e = exp(-2 · |x|), and the sign of x. |x| keeps the exponent at 0 or below, as
    `power_of_two` demands.
    """

    def generate(context: Any, b: Builder, signature: Any, arguments: Any) -> Value:
        base, cap, one = pointer(b, arguments[0]), simd.splat(b, arguments[1]), constant(F32, 1.0)
        for at in range(0, SCORE_BYTES, VECTOR_BYTES):
            score = simd.load(b, base, at, F32)
            small = power_of_two(b, b.fmul(simd.absolute(b, score), constant(F32, -2.0 * LOG2_E)))
            magnitude = b.fmul(b.fdiv(b.fsub(one, small), b.fadd(one, small)), cap)
            simd.store(b, simd.call(b, "llvm.copysign.v16f32", score.type, [magnitude, score]), base, at)
        return context.get_dummy_value()

    return types.void(types.int64, types.float32), generate


@step
def add_distances(b: Builder, scores: Value, slope: Value, first: Value) -> None:
    """Adds slope · distance to the scores of one row's 64 positions, in units of log 2.

    Args:
        b: Builder that receives the code.
        scores: float32 (64,), changed.
        slope: Address of a float32, the slope of the row's head.
        first: Distance of the first position from the row's own, below 0 where it is before it.
    """
    base = pointer(b, scores)
    steepness = b.fmul(simd.load_splat(b, pointer(b, slope), 0, F32), constant(F32, LOG2_E))
    distance = simd.splat(b, b.sitofp(first, F32))
    for t in range(_TILES):
        lane = ir.Constant(vector(F32), [float(simd.LANES * t + i) for i in range(simd.LANES)])
        score = simd.load(b, base, VECTOR_BYTES * t, F32)
        simd.store(b, simd.fma(b, steepness, b.fadd(distance, lane), score), base, VECTOR_BYTES * t)


@step
def mask_scores(b: Builder, scores: Value, first: Value, end: Value) -> None:
    """Sets the scores of one row's 64 positions to minus infinity, except those from `first` to `end` - 1."""
    base = pointer(b, scores)
    low, high = (simd.splat(b, b.trunc(limit, I32)) for limit in (first, end))
    for t in range(_TILES):
        lane = ir.Constant(vector(I32), [simd.LANES * t + i for i in range(simd.LANES)])
        seen = b.and_(b.icmp_signed(">=", lane, low), b.icmp_signed("<", lane, high))
        score = simd.load(b, base, VECTOR_BYTES * t, F32)
        simd.store(b, b.select(seen, score, constant(F32, float("-inf"))), base, VECTOR_BYTES * t)


# --- softmax and weighing ---------------------------------------------------------------------------------------------


@step
def weigh_positions(b: Builder, scores: Value, lane_sums: Value, peaks: Value, factors: Value, rows: Value) -> None:
    """Turns scores into weights relative to running peaks, and raises the peaks.

    Args:
        b: Builder that receives the code.
        scores: float32 (rows, 64), overwritten with 2^(score - peak).
        lane_sums: float32 (rows, 16), the running sums of the weights lane by lane.
        peaks: float32 (rows, 4), the largest score so far, four times each.
        factors: float32 (rows, 4), overwritten with the factor for all earlier weights, four times each.
        rows: A multiple of 4.
    """
    with row_groups(b, rows) as group:
        score_at, sum_at, peak_at, factor_at = (
            pointer(b, moved(b, address, group.index, step))
            for address, step in (
                (scores, ROWS * SCORE_BYTES), (lane_sums, ROWS * VECTOR_BYTES), (peaks, 16 * ROWS),
                (factors, 16 * ROWS),
            )
        )  # fmt: skip
        lines = [
            [simd.load(b, score_at, SCORE_BYTES * r + VECTOR_BYTES * t, F32) for t in range(_TILES)]
            for r in range(ROWS)
        ]
        before = simd.load(b, peak_at, 0, F32)
        now = simd.maximum(b, before, _row_maxima(b, [_folded(b, simd.maximum, line) for line in lines]))
        factor = power_of_two(b, b.fsub(before, now))
        simd.store(b, now, peak_at)
        simd.store(b, factor, factor_at)
        for r, line in enumerate(lines):
            peak = spread(b, now, r)
            weights = [power_of_two(b, b.fsub(score, peak)) for score in line]
            for t, weight in enumerate(weights):
                simd.store(b, weight, score_at, SCORE_BYTES * r + VECTOR_BYTES * t)
            older = b.fmul(simd.load(b, sum_at, VECTOR_BYTES * r, F32), spread(b, factor, r))
            simd.store(b, b.fadd(older, _folded(b, _sum, weights)), sum_at, VECTOR_BYTES * r)


def _add(
    b: Builder, weights: Value, values: Value, element: ir.Type, count: Value, width: Value, factors: Value,
    outputs: Value, rows: Value,
) -> None:  # fmt: skip
    with row_groups(b, rows) as group:
        weight_rows = moved(b, weights, group.index, ROWS * SCORE_BYTES)
        factor_rows = moved(b, factors, group.index, ROWS * 16)
        output_rows = moved(b, outputs, group.index, b.mul(width, integer(4 * ROWS)))
        wide = b.udiv(width, integer(simd.LANES * _VECTORS_AT_ONCE))
        arguments = weight_rows, element, count, width, factor_rows
        with cgutils.for_range(b, wide) as column:
            _add_columns(b, values, output_rows, column.index, _VECTORS_AT_ONCE, *arguments)
        if _VECTORS_AT_ONCE > 1:
            first = b.mul(wide, integer(_VECTORS_AT_ONCE))
            with cgutils.for_range(b, b.sub(b.udiv(width, integer(simd.LANES)), first)) as column:
                _add_columns(b, values, output_rows, b.add(first, column.index), 1, *arguments)


def _add_columns(
    b: Builder, values: Value, outputs: Value, column: Value, vectors: int,
    weights: Value, element: ir.Type, count: Value, width: Value, factors: Value,
) -> None:  # fmt: skip
    """Adds 16 · `vectors` columns of the values to four output rows; `column` counts groups of so many columns."""
    size = _element_bytes(element)
    value_bytes = b.mul(width, integer(size))
    first_value = moved(b, values, column, size * simd.LANES * vectors)
    first_output = moved(b, outputs, column, VECTOR_BYTES * vectors)
    output_rows = [pointer(b, first_output, b.mul(width, integer(4 * r))) for r in range(ROWS)]
    factor_at = pointer(b, factors)
    sums = []
    for r, output in enumerate(output_rows):
        factor = simd.load_splat(b, factor_at, 16 * r, F32)
        line = [simd.lane_variable(b, constant(F32, 0.0)) for _ in range(vectors)]
        for c, place in enumerate(line):
            b.store(b.fmul(simd.load(b, output, VECTOR_BYTES * c, F32), factor), place)
        sums.append(line)
    with cgutils.for_range(b, b.udiv(count, integer(WEIGHED_AT_ONCE))) as loop:
        weight_rows = pointer(b, moved(b, weights, loop.index, 4 * WEIGHED_AT_ONCE))
        for position in range(WEIGHED_AT_ONCE):
            row = moved(b, first_value, loop.index, b.mul(value_bytes, integer(WEIGHED_AT_ONCE)))
            value_row = pointer(b, row, b.mul(value_bytes, integer(position)))
            if element == F16:
                for line_at in range(0, size * simd.LANES * vectors, 64):
                    simd.prefetch(b, b.gep(value_row, [b.mul(value_bytes, integer(BLOCK_POSITIONS))]), line_at)
            value = [_load_float(b, value_row, size * simd.LANES * c, element) for c in range(vectors)]
            for r, line in enumerate(sums):
                weight = simd.load_splat(b, weight_rows, SCORE_BYTES * r + 4 * position, F32)
                for c, place in enumerate(line):
                    b.store(simd.fma(b, weight, value[c], b.load(place)), place)
    for output, line in zip(output_rows, sums, strict=True):
        for c, place in enumerate(line):
            simd.store(b, b.load(place), output, VECTOR_BYTES * c)


@step
def add_halves(
    b: Builder, weights: Value, values: Value, count: Value, width: Value, factors: Value, outputs: Value, rows: Value
) -> None:
    """Computes outputs = outputs · factors + weights · values for one block of values, and prefetches the next block.

    Args:
        b: Builder that receives the code.
        weights: float32 (rows, 64).
        values: float16 (count, width).
        count: Positions, an even number of at most 64.
        width: Components of a head, a multiple of 16.
        factors: float32 (rows, 4), four times each.
        outputs: float32 (rows, width).
        rows: A multiple of 4.
    """
    _add(b, weights, values, F16, count, width, factors, outputs, rows)


@step
def add_floats(
    b: Builder, weights: Value, values: Value, count: Value, width: Value, factors: Value, outputs: Value, rows: Value
) -> None:
    """Does the same as `add_halves` with widened float32 values; these are in the processor's cache already."""
    _add(b, weights, values, F32, count, width, factors, outputs, rows)
