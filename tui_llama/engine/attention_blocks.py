"""The steps of attention over one block of 64 positions: widening, scores, softmax, weighing, and merging.

They work on query rows four by four, so that what is loaded of a key or value serves four. Every row goes through the
same operations in the same order, whatever rows go beside it. What a row may not see has the score minus infinity and
so the weight 0.

Scores are in units of log 2, so that weights are powers of two: 2^(score - peak). Arguments are addresses and counts,
64-bit integers. Naive twin of all steps together: `attention` in tests/naive/ops.py.

Source of the running softmax: Milakov and Gimelshein 2018; of its use by blocks: Dao et al. 2022 (FlashAttention).
"""

import inspect
import math
from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils

from tui_llama.engine import simd
from tui_llama.engine.compilation import callable_from_kernels, intrinsic
from tui_llama.engine.instruction_sets import INSTRUCTION_SET
from tui_llama.engine.simd import F16, F32, I8, I32, I64, Builder, Value, constant, integer, pointer, vector

BLOCK_POSITIONS = 64
ROWS = 4
"""Query rows that share what is loaded; counts of rows are multiples of it."""
SCORE_BYTES = 4 * BLOCK_POSITIONS
QUANT_COLUMNS = 32
"""Components of a key or value that share a scale in a quantised cache."""
WEIGHED_AT_ONCE = 4
"""Counts of positions to weigh are multiples of it."""
LOG2_E = math.log2(math.e)
LOWEST_PEAK = -1e30
"""The peak of a row that has seen nothing. Finite: nothing seen minus nothing seen is 0 and not NaN."""

_TILES = BLOCK_POSITIONS // simd.LANES
_VECTOR_BYTES = 4 * simd.LANES
_COLUMNS_AT_ONCE = 2
# 16 sums, the vectors they are made from and a query fit into 32 wide registers; elsewhere 4 sums are all that does.
_VECTORS_AT_ONCE = 4 if INSTRUCTION_SET in ("amx_int8", "avx512_vnni") else 1


def _step(emit: Callable[..., None]) -> Any:
    """Makes the intrinsic that calls a function of 64-bit integers, whose code `emit(b, *arguments)` writes.

    The function is not inlined: LLVM would copy it into every branch of its caller and optimise each copy.
    """
    signature = inspect.signature(emit)
    count = len(signature.parameters) - 1

    def call(_: Any, *arguments: Any) -> Any:
        def generate(context: Any, b: Builder, _: Any, values: Any) -> Value:
            name = f"attention.{emit.__name__}"
            function = b.module.globals.get(name)
            if function is None:
                function = ir.Function(b.module, ir.FunctionType(ir.VoidType(), [I64] * count), name)
                function.linkage = "internal"
                function.attributes.add("noinline")
                inside = ir.IRBuilder(function.append_basic_block())
                emit(inside, *function.args)
                inside.ret_void()
            b.call(function, values)
            return context.get_dummy_value()

        return types.void(*[types.int64] * count), generate

    call.__name__ = emit.__name__
    call.__signature__ = signature  # type: ignore[attr-defined]  # Numba wants to know the arguments one by one
    return intrinsic(call)


def _row_groups(b: Builder, rows: Value) -> Any:
    """A loop over rows, four by four."""
    return cgutils.for_range(b, b.udiv(rows, integer(ROWS)))


def _moved(b: Builder, address: Value, index: Value, step: Value | int) -> Value:
    """address + index · step"""
    return b.add(address, b.mul(index, integer(step) if isinstance(step, int) else step))


def _element_bytes(element: ir.Type) -> int:
    return 2 if element == F16 else 4


def _load_float(b: Builder, base: Value, offset: int, element: ir.Type) -> Value:
    """Loads 16 lanes of float16 or float32 as float32."""
    value = simd.load(b, base, offset, element)
    return simd.half_to_float(b, value) if element == F16 else value


def _lanes(b: Builder, first: Value, second: Value, picked: list[int]) -> Value:
    """Picks lanes of two vectors; those of the second count from 16 on."""
    return b.shuffle_vector(first, second, ir.Constant(vector(I32), picked))


def _spread(b: Builder, fours: Value, row: int) -> Value:
    """What lanes 4 · row … 4 · row + 3 hold, in all lanes."""
    return _lanes(b, fours, fours, [4 * row] * simd.LANES)


def _sum(b: Builder, x: Value, y: Value) -> Value:
    return b.fadd(x, y)


def _folded(b: Builder, combine: Callable[[Builder, Value, Value], Value], parts: list[Value]) -> Value:
    """Combines four vectors in pairs."""
    return combine(b, combine(b, parts[0], parts[1]), combine(b, parts[2], parts[3]))


def _row_maxima(b: Builder, rows: list[Value]) -> Value:
    """The largest lane of each of four vectors, each four times: lanes 4r … 4r + 3 are row r's."""
    low, high = list(range(8)), list(range(8, 16))
    left, right = (
        simd.maximum(
            b,
            _lanes(b, first, second, [*low, *(16 + i for i in low)]),
            _lanes(b, first, second, [*high, *(16 + i for i in high)]),
        )
        for first, second in (rows[:2], rows[2:])
    )
    even = [8 * half + i for half in range(4) for i in range(4)]
    fours = simd.maximum(b, _lanes(b, left, right, even), _lanes(b, left, right, [4 + i for i in even]))
    for step in (2, 1):
        fours = simd.maximum(b, fours, _lanes(b, fours, fours, [i ^ step for i in range(simd.LANES)]))
    return fours


# --- powers of two ----------------------------------------------------------------------------------------------------

# 2^r = 1 + r · (…) for |r| ≤ 1/2; fitted for the smallest relative error, 9e-8, with p(0) = 1 exactly.
_POWER_POLYNOMIAL = (1.32647e-3, 9.67151e-3, 5.550734e-2, 0.24022242, 0.69314698, 1.0)
_LOWEST_POWER = -127.0
_ROUNDING = 1.5 * 2.0**23  # so large that adding it rounds to a whole number, which is then in the sum's low bits


def power_of_two(b: Builder, x: Value) -> Value:
    """2 to the power of each lane, which must not be above 0; 1 for 0, and 0 from -127 down, minus infinity too.

    Relative error below 2e-7 down to 2^-126.
    """
    clamped = simd.maximum(b, x, constant(F32, _LOWEST_POWER))
    shifted = b.fadd(clamped, constant(F32, _ROUNDING))
    rest = b.fsub(clamped, b.fsub(shifted, constant(F32, _ROUNDING)))
    value = constant(F32, _POWER_POLYNOMIAL[0])
    for coefficient in _POWER_POLYNOMIAL[1:]:
        value = simd.fma(b, value, rest, constant(F32, coefficient))
    exponent = b.shl(b.bitcast(shifted, vector(I32)), constant(I32, 23))
    return b.bitcast(b.add(b.bitcast(value, vector(I32)), exponent), vector(F32))


@intrinsic
def scalar_power_of_two(_: Any, x: Any) -> Any:
    """2 to the power of x, which must not be above 0; the same bits as in the vectors."""

    def generate(context: Any, b: Builder, signature: Any, arguments: Any) -> Value:
        return b.extract_element(power_of_two(b, simd.splat(b, arguments[0])), ir.Constant(I32, 0))

    return types.float32(types.float32), generate


# --- widening ---------------------------------------------------------------------------------------------------------


@_step
def widen_halves(b: Builder, source: Value, target: Value, count: Value) -> None:
    """Widens `count` float16, a multiple of 64, to float32, and asks for as many that follow them."""
    with cgutils.for_range(b, b.udiv(count, integer(64))) as loop:
        halves, floats = (
            pointer(b, _moved(b, address, loop.index, step)) for address, step in ((source, 128), (target, 256))
        )
        for line in range(2):
            simd.prefetch(b, b.gep(halves, [b.mul(count, integer(2))]), 64 * line)
        for i in range(4):
            simd.store(b, _load_float(b, halves, 32 * i, F16), floats, 64 * i)


def _widen_quants(b: Builder, source: Value, target: Value, width: Value, share_lanes: bool) -> None:
    """Turns a block of quantised tiles, see kv_cache.py, into float32, and asks for the block that follows it.

    Where a vector holds 16 components of one position, all lanes `share` a scale; where it holds one component of 16
    positions, a vector of scales serves 32 of them.
    """
    tile_bytes = b.mul(width, integer(17))
    block_bytes = b.mul(tile_bytes, integer(_TILES))
    with cgutils.for_range(b, integer(_TILES)) as tile:
        scales = _moved(b, source, tile.index, tile_bytes)
        quants, floats = b.add(scales, width), _moved(b, target, tile.index, b.mul(width, integer(_VECTOR_BYTES)))
        with cgutils.for_range(b, b.udiv(width, integer(QUANT_COLUMNS))) as group:
            scale_line = pointer(b, _moved(b, scales, group.index, 2 * simd.LANES))
            simd.prefetch(b, b.gep(scale_line, [block_bytes]), 0)
            first = b.mul(group.index, integer(QUANT_COLUMNS if share_lanes else QUANT_COLUMNS * simd.LANES))
            per_lane = simd.half_to_float(b, simd.load(b, scale_line, 0, F16))
            with cgutils.for_range(b, integer(simd.LANES)) as line:
                at = _moved(b, first, line.index, width if share_lanes else 2 * simd.LANES)
                line_quants, line_floats = pointer(b, quants, at), pointer(b, _moved(b, floats, at, 4))
                simd.prefetch(b, b.gep(line_quants, [block_bytes]), 0)
                scale = per_lane
                if share_lanes:
                    shared = b.gep(scale_line, [b.mul(line.index, integer(2))])
                    scale = simd.splat(b, b.fpext(simd.load_scalar(b, shared, 0, F16), F32))
                for i in range(2):
                    wide = b.sext(simd.load(b, line_quants, simd.LANES * i, I8), vector(I32))
                    value = b.fmul(b.sitofp(wide, vector(F32)), scale)
                    simd.store(b, value, line_floats, _VECTOR_BYTES * i)


@_step
def widen_quantised_keys(b: Builder, source: Value, target: Value, width: Value) -> None:
    """Turns a block of quantised keys into float32 (4 tiles, width, 16)."""
    _widen_quants(b, source, target, width, share_lanes=False)


@_step
def widen_quantised_values(b: Builder, source: Value, target: Value, width: Value) -> None:
    """Turns a block of quantised values into float32 (64, width)."""
    _widen_quants(b, source, target, width, share_lanes=True)


# --- scores -----------------------------------------------------------------------------------------------------------


def _score(b: Builder, queries: Value, keys: Value, element: ir.Type, width: Value, scores: Value, rows: Value) -> None:
    column_bytes = simd.LANES * _element_bytes(element)
    query_bytes, tile_bytes = b.mul(width, integer(4)), b.mul(width, integer(column_bytes))
    sums = [[simd.lane_variable(b, constant(F32, 0.0)) for _ in range(_VECTORS_AT_ONCE)] for _ in range(ROWS)]
    with _row_groups(b, rows) as group, cgutils.for_range(b, integer(_TILES // _VECTORS_AT_ONCE)) as part:
        first_row = _moved(b, queries, group.index, b.mul(query_bytes, integer(ROWS)))
        first_tile = _moved(b, keys, part.index, b.mul(tile_bytes, integer(_VECTORS_AT_ONCE)))
        for place in (place for line in sums for place in line):
            b.store(constant(F32, 0.0), place)
        with cgutils.for_range(b, b.udiv(width, integer(_COLUMNS_AT_ONCE))) as loop:
            row = _moved(b, first_row, loop.index, 4 * _COLUMNS_AT_ONCE)
            tile = _moved(b, first_tile, loop.index, column_bytes * _COLUMNS_AT_ONCE)
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
        out = _moved(b, scores, group.index, ROWS * SCORE_BYTES)
        out_at = pointer(b, _moved(b, out, part.index, _VECTOR_BYTES * _VECTORS_AT_ONCE))
        for r, line in enumerate(sums):
            for t, place in enumerate(line):
                simd.store(b, b.load(place), out_at, SCORE_BYTES * r + _VECTOR_BYTES * t)


@_step
def score_halves(b: Builder, queries: Value, keys: Value, width: Value, scores: Value, rows: Value) -> None:
    """Computes queries · keys for one block of keys, and asks for the block that follows it.

    Args:
        b: Where the code goes.
        queries: float32 (rows, width).
        keys: float16 (4 tiles, width, 16).
        width: Components of a head, a multiple of 16.
        scores: float32 (rows, 64), overwritten.
        rows: A multiple of 4.
    """
    _score(b, queries, keys, F16, width, scores, rows)


@_step
def score_floats(b: Builder, queries: Value, keys: Value, width: Value, scores: Value, rows: Value) -> None:
    """As `score_halves` with widened keys, which are in the processor's cache already."""
    _score(b, queries, keys, F32, width, scores, rows)


@intrinsic
def cap_scores(_: Any, scores: Any, cap: Any) -> Any:
    """scores = cap · tanh(scores) for the 64 float32 at `scores`.

    tanh(x) is (1 - e) / (1 + e) with e = exp(-2 · |x|), and the sign of x.
    """

    def generate(context: Any, b: Builder, signature: Any, arguments: Any) -> Value:
        base, cap, one = pointer(b, arguments[0]), simd.splat(b, arguments[1]), constant(F32, 1.0)
        for at in range(0, SCORE_BYTES, _VECTOR_BYTES):
            score = simd.load(b, base, at, F32)
            small = power_of_two(b, b.fmul(simd.absolute(b, score), constant(F32, -2.0 * LOG2_E)))
            magnitude = b.fmul(b.fdiv(b.fsub(one, small), b.fadd(one, small)), cap)
            simd.store(b, simd.call(b, "llvm.copysign.v16f32", score.type, [magnitude, score]), base, at)
        return context.get_dummy_value()

    return types.void(types.int64, types.float32), generate


@_step
def mask_scores(b: Builder, scores: Value, first: Value, end: Value) -> None:
    """Sets the scores of a row's 64 positions to minus infinity but for those from `first` to `end` - 1."""
    base = pointer(b, scores)
    low, high = (simd.splat(b, b.trunc(limit, I32)) for limit in (first, end))
    for t in range(_TILES):
        lane = ir.Constant(vector(I32), [simd.LANES * t + i for i in range(simd.LANES)])
        seen = b.and_(b.icmp_signed(">=", lane, low), b.icmp_signed("<", lane, high))
        score = simd.load(b, base, _VECTOR_BYTES * t, F32)
        simd.store(b, b.select(seen, score, constant(F32, float("-inf"))), base, _VECTOR_BYTES * t)


# --- softmax and weighing ---------------------------------------------------------------------------------------------


@_step
def weigh_positions(b: Builder, scores: Value, lane_sums: Value, peaks: Value, factors: Value, rows: Value) -> None:
    """Turns scores into weights against running peaks, which it raises.

    Args:
        b: Where the code goes.
        scores: float32 (rows, 64), overwritten with 2^(score - peak).
        lane_sums: float32 (rows, 16), the running sums of the weights lane by lane.
        peaks: float32 (rows, 4), the largest score so far, each four times.
        factors: float32 (rows, 4), overwritten with what older weights must be multiplied by, each four times.
        rows: A multiple of 4.
    """
    with _row_groups(b, rows) as group:
        score_at, sum_at, peak_at, factor_at = (
            pointer(b, _moved(b, address, group.index, step))
            for address, step in (
                (scores, ROWS * SCORE_BYTES), (lane_sums, ROWS * _VECTOR_BYTES), (peaks, 16 * ROWS),
                (factors, 16 * ROWS),
            )
        )  # fmt: skip
        lines = [
            [simd.load(b, score_at, SCORE_BYTES * r + _VECTOR_BYTES * t, F32) for t in range(_TILES)]
            for r in range(ROWS)
        ]
        before = simd.load(b, peak_at, 0, F32)
        now = simd.maximum(b, before, _row_maxima(b, [_folded(b, simd.maximum, line) for line in lines]))
        factor = power_of_two(b, b.fsub(before, now))
        simd.store(b, now, peak_at)
        simd.store(b, factor, factor_at)
        for r, line in enumerate(lines):
            peak = _spread(b, now, r)
            weights = [power_of_two(b, b.fsub(score, peak)) for score in line]
            for t, weight in enumerate(weights):
                simd.store(b, weight, score_at, SCORE_BYTES * r + _VECTOR_BYTES * t)
            older = b.fmul(simd.load(b, sum_at, _VECTOR_BYTES * r, F32), _spread(b, factor, r))
            simd.store(b, b.fadd(older, _folded(b, _sum, weights)), sum_at, _VECTOR_BYTES * r)


def _add(
    b: Builder, weights: Value, values: Value, element: ir.Type, count: Value, width: Value, factors: Value,
    outputs: Value, rows: Value,
) -> None:  # fmt: skip
    with _row_groups(b, rows) as group:
        weight_rows = _moved(b, weights, group.index, ROWS * SCORE_BYTES)
        factor_rows = _moved(b, factors, group.index, ROWS * 16)
        output_rows = _moved(b, outputs, group.index, b.mul(width, integer(4 * ROWS)))
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
    """Adds 16 · `vectors` columns of the values to four rows; `column` counts such groups."""
    size = _element_bytes(element)
    value_bytes = b.mul(width, integer(size))
    first_value = _moved(b, values, column, size * simd.LANES * vectors)
    first_output = _moved(b, outputs, column, _VECTOR_BYTES * vectors)
    output_rows = [pointer(b, first_output, b.mul(width, integer(4 * r))) for r in range(ROWS)]
    factor_at = pointer(b, factors)
    sums = []
    for r, output in enumerate(output_rows):
        factor = simd.load_splat(b, factor_at, 16 * r, F32)
        line = [simd.lane_variable(b, constant(F32, 0.0)) for _ in range(vectors)]
        for c, place in enumerate(line):
            b.store(b.fmul(simd.load(b, output, _VECTOR_BYTES * c, F32), factor), place)
        sums.append(line)
    with cgutils.for_range(b, b.udiv(count, integer(WEIGHED_AT_ONCE))) as loop:
        weight_rows = pointer(b, _moved(b, weights, loop.index, 4 * WEIGHED_AT_ONCE))
        for position in range(WEIGHED_AT_ONCE):
            row = _moved(b, first_value, loop.index, b.mul(value_bytes, integer(WEIGHED_AT_ONCE)))
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
            simd.store(b, b.load(place), output, _VECTOR_BYTES * c)


@_step
def add_halves(
    b: Builder, weights: Value, values: Value, count: Value, width: Value, factors: Value, outputs: Value, rows: Value
) -> None:
    """outputs = outputs · factors + weights · values, for one block of values; asks for the block that follows it.

    Args:
        b: Where the code goes.
        weights: float32 (rows, 64).
        values: float16 (count, width).
        count: Positions, a multiple of 4, at most 64.
        width: Components of a head, a multiple of 16.
        factors: float32 (rows, 4), each four times.
        outputs: float32 (rows, width).
        rows: A multiple of 4.
    """
    _add(b, weights, values, F16, count, width, factors, outputs, rows)


@_step
def add_floats(
    b: Builder, weights: Value, values: Value, count: Value, width: Value, factors: Value, outputs: Value, rows: Value
) -> None:
    """As `add_halves` with widened values, which are in the processor's cache already."""
    _add(b, weights, values, F32, count, width, factors, outputs, rows)


# --- what rows have found so far --------------------------------------------------------------------------------------


@callable_from_kernels
def state_bytes(rows: int, width: int) -> int:
    """Bytes of a state: outputs, float32 (rows, width), lane sums, (rows, 16), and peaks, (rows, 4)."""
    return rows * (4 * width + _VECTOR_BYTES + 16)


def _state_parts(b: Builder, state: Value, width: Value, rows: Value) -> tuple[Value, Value, Value]:
    sums = b.add(state, b.mul(rows, b.mul(width, integer(4))))
    return state, sums, b.add(sums, b.mul(rows, integer(_VECTOR_BYTES)))


@_step
def clear_rows(b: Builder, state: Value, width: Value, rows: Value) -> None:
    """Makes the state of rows that have seen nothing."""
    outputs, _, peaks = _state_parts(b, state, width, rows)
    zeros = b.udiv(b.sub(peaks, outputs), integer(_VECTOR_BYTES))
    for start, count, value in ((outputs, zeros, 0.0), (peaks, b.udiv(rows, integer(ROWS)), LOWEST_PEAK)):
        with cgutils.for_range(b, count) as loop:
            simd.store(b, constant(F32, value), pointer(b, _moved(b, start, loop.index, _VECTOR_BYTES)))


@_step
def merge_rows(b: Builder, state: Value, later_state: Value, width: Value, rows: Value) -> None:
    """Adds what rows found in later positions to what they found in earlier ones; see `state_bytes`."""
    outputs, lane_sums, peaks = _state_parts(b, state, width, rows)
    later_outputs, later_sums, later_peaks = _state_parts(b, later_state, width, rows)
    with _row_groups(b, rows) as group:
        at, later_at = (pointer(b, _moved(b, address, group.index, 16 * ROWS)) for address in (peaks, later_peaks))
        before, later = simd.load(b, at, 0, F32), simd.load(b, later_at, 0, F32)
        now = simd.maximum(b, before, later)
        simd.store(b, now, at)
        factor, later_factor = (power_of_two(b, b.fsub(peak, now)) for peak in (before, later))
        for r in range(ROWS):
            mine, theirs = _spread(b, factor, r), _spread(b, later_factor, r)
            row = b.add(b.mul(group.index, integer(ROWS)), integer(r))
            _merge_vector(b, (lane_sums, mine), (later_sums, theirs), b.mul(row, integer(_VECTOR_BYTES)))
            first = b.mul(row, b.mul(width, integer(4)))
            with cgutils.for_range(b, b.udiv(width, integer(simd.LANES))) as loop:
                place = _moved(b, first, loop.index, _VECTOR_BYTES)
                _merge_vector(b, (outputs, mine), (later_outputs, theirs), place)


def _merge_vector(b: Builder, earlier: tuple[Value, Value], later: tuple[Value, Value], offset: Value) -> None:
    """16 lanes at `offset`: earlier · its factor + later · its factor, over the earlier."""
    target = pointer(b, earlier[0], offset)
    scaled = b.fmul(simd.load(b, target, 0, F32), earlier[1])
    simd.store(b, simd.fma(b, simd.load(b, pointer(b, later[0], offset), 0, F32), later[1], scaled), target)


@intrinsic
def lane_total(_: Any, lane_sums: Any) -> Any:
    """The sum of the 16 float32 at an address, in one fixed order."""

    def generate(context: Any, b: Builder, signature: Any, arguments: Any) -> Value:
        return simd.sum_lanes(b, simd.load(b, pointer(b, arguments[0]), 0, F32))

    return types.float32(types.int64), generate
