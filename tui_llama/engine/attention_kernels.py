"""Attention: query rows against cached keys and values in blocks of 64 positions, with a running softmax.

Query heads that share a key-value head, and several tokens of a prompt, form the rows of one unit of work, so that a
key or value is read once for all of them. Blocks start at multiples of 64 positions and every row goes through them
from position 0 on with the same operations in the same order, whatever rows go beside it: one answer, however the
prompt was cut.

Keys lie in tiles of 16 positions, [kv_head][position / 16][head_dim][16], so that a vector holds one component of 16
keys and no sum runs across lanes; values lie in rows, [kv_head][position][head_dim]. Both are float16, head_dim
rounded up to 16 and filled with zeros.

Source of the running softmax: Milakov and Gimelshein 2018; of its use by blocks: Dao et al. 2022 (FlashAttention).
"""

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils

from tui_llama.engine import simd
from tui_llama.engine.compilation import intrinsic, kernel
from tui_llama.engine.simd import (
    F16,
    F32,
    I32,
    Builder,
    Value,
    batch_at,
    constant,
    float32_at,
    row_at,
    vector,
)

BLOCK_POSITIONS = 64
MOST_ROWS = 32
_VECTORS = BLOCK_POSITIONS // simd.LANES
_SCORE_BYTES = 4 * BLOCK_POSITIONS


def _score_rows(rows: int, name: str) -> Any:
    """Makes the intrinsic that computes queries · keys for `rows` query rows and one block of 64 positions."""

    def score(_: Any, queries: Any, keys: Any, head_dim: Any, scores: Any) -> Any:
        def generate(context: Any, b: Builder, signature: Any, arguments: Any) -> Value:
            queries, keys, head_dim, scores = arguments
            query_stride = b.mul(head_dim, simd.integer(4))
            tile_stride = b.mul(head_dim, simd.integer(2 * simd.LANES))
            sums = [[simd.lane_variable(b, constant(F32, 0.0)) for _ in range(_VECTORS)] for _ in range(rows)]
            for place in (place for line in sums for place in line):
                b.store(constant(F32, 0.0), place)
            with cgutils.for_range(b, head_dim) as loop:
                step = b.mul(loop.index, simd.integer(2 * simd.LANES))
                key = []
                for t in range(_VECTORS):
                    tile = b.add(keys, b.mul(tile_stride, simd.integer(t)))
                    key.append(simd.half_to_float(b, simd.load(b, simd.pointer(b, tile, step), 0, F16)))
                for r, line in enumerate(sums):
                    at = b.add(b.mul(query_stride, simd.integer(r)), b.mul(loop.index, simd.integer(4)))
                    query = simd.load_splat(b, simd.pointer(b, queries, at), 0, F32)
                    for t, place in enumerate(line):
                        b.store(simd.fma(b, query, key[t], b.load(place)), place)
            out = simd.pointer(b, scores)
            for r, line in enumerate(sums):
                for t, place in enumerate(line):
                    simd.store(b, b.load(place), out, _SCORE_BYTES * r + 4 * simd.LANES * t)
            return context.get_dummy_value()

        return types.void(types.uintp, types.uintp, types.int64, types.uintp), generate

    score.__name__ = name
    return intrinsic(score)


def _value_rows(rows: int, vectors: int, name: str) -> Any:
    """Makes the intrinsic: out = out × factor + probabilities · values, for `rows` rows and 16 × `vectors` columns."""

    def weigh(_: Any, probabilities: Any, values: Any, count: Any, head_dim: Any, factors: Any, out: Any) -> Any:
        def generate(context: Any, b: Builder, signature: Any, arguments: Any) -> Value:
            probabilities, values, count, head_dim, factors, out = arguments
            out_stride = b.mul(head_dim, simd.integer(4))
            value_stride = b.mul(head_dim, simd.integer(2))
            outputs = [simd.pointer(b, out, b.mul(out_stride, simd.integer(r))) for r in range(rows)]
            factor_at = simd.pointer(b, factors)
            sums = []
            for r, output in enumerate(outputs):
                factor = simd.load_splat(b, factor_at, 4 * r, F32)
                line = []
                for c in range(vectors):
                    place = simd.lane_variable(b, constant(F32, 0.0))
                    b.store(b.fmul(simd.load(b, output, 64 * c, F32), factor), place)
                    line.append(place)
                sums.append(line)
            with cgutils.for_range(b, count) as loop:
                row = simd.pointer(b, values, b.mul(loop.index, value_stride))
                value = [simd.half_to_float(b, simd.load(b, row, 32 * c, F16)) for c in range(vectors)]
                for r, line in enumerate(sums):
                    at = b.add(simd.integer(_SCORE_BYTES * r), b.mul(loop.index, simd.integer(4)))
                    probability = simd.load_splat(b, simd.pointer(b, probabilities, at), 0, F32)
                    for c, place in enumerate(line):
                        b.store(simd.fma(b, probability, value[c], b.load(place)), place)
            for output, line in zip(outputs, sums, strict=True):
                for c, place in enumerate(line):
                    simd.store(b, b.load(place), output, 64 * c)
            return context.get_dummy_value()

        address = types.uintp
        return types.void(address, address, types.int64, types.int64, address, address), generate

    weigh.__name__ = name
    return intrinsic(weigh)


_score_4 = _score_rows(4, "score_4")
_score_1 = _score_rows(1, "score_1")
_values_4x64 = _value_rows(4, 4, "values_4x64")
_values_1x64 = _value_rows(1, 4, "values_1x64")
_values_4x16 = _value_rows(4, 1, "values_4x16")
_values_1x16 = _value_rows(1, 1, "values_1x16")


@intrinsic
def _softmax_block(_: Any, scores: Any, visible: Any, peak: Any, lane_sums: Any) -> Any:
    """Turns 64 scores into weights against the running peak, which it raises; returns the factor for older weights.

    Args:
        scores: Address of 64 float32; overwritten with exp(score - peak), 0 from index `visible` on.
        visible: How many of the positions this row may see.
        peak: Address of the largest score so far.
        lane_sums: Address of 16 float32, the running sum of the weights lane by lane.
    """

    def generate(context: Any, b: Builder, signature: Any, arguments: Any) -> Value:
        scores, visible, peak, lane_sums = arguments
        base, peak_at, sums_at = (simd.pointer(b, address) for address in (scores, peak, lane_sums))
        limit = simd.splat(b, b.trunc(visible, I32))
        lowest = constant(F32, float("-inf"))
        parts = []
        for t in range(_VECTORS):
            lane = ir.Constant(vector(I32), [simd.LANES * t + i for i in range(simd.LANES)])
            seen = b.icmp_signed("<", lane, limit)
            parts.append(b.select(seen, simd.load(b, base, 64 * t, F32), lowest))
        best = simd.maximum(b, simd.maximum(b, parts[0], parts[1]), simd.maximum(b, parts[2], parts[3]))
        before = simd.load_scalar(b, peak_at, 0, F32)
        now = simd.maximum(b, before, simd.maximum_lane(b, best))
        simd.store(b, now, peak_at)
        shift = simd.splat(b, now)
        factor = simd.exponential(b, b.fsub(simd.splat(b, before), shift))
        weights = [simd.exponential(b, b.fsub(part, shift)) for part in parts]
        for t, weight in enumerate(weights):
            simd.store(b, weight, base, 64 * t)
        block = b.fadd(b.fadd(weights[0], weights[1]), b.fadd(weights[2], weights[3]))
        simd.store(b, simd.fma(b, simd.load(b, sums_at, 0, F32), factor, block), sums_at)
        return b.extract_element(factor, ir.Constant(I32, 0))

    return types.float32(types.uintp, types.int64, types.uintp, types.uintp), generate


@intrinsic
def _lane_total(_: Any, lane_sums: Any) -> Any:
    """The sum of the 16 float32 at an address, in one fixed order."""

    def generate(context: Any, b: Builder, signature: Any, arguments: Any) -> Value:
        return simd.sum_lanes(b, simd.load(b, simd.pointer(b, arguments[0]), 0, F32))

    return types.float32(types.uintp), generate


def scratch_bytes(padded_head_dim: int) -> int:
    """Bytes of working memory that a thread needs for `attention`."""
    return MOST_ROWS * (_SCORE_BYTES + 2 * 4 * padded_head_dim + 64 + 4 + 4)


@kernel
def _gather(
    row: Any, queries: int, outputs: int, lane_sums: int, peaks: int, token: int, kv_head: int, rows: int
) -> None:
    """Copies the query rows of one kv head, scaled, side by side, and clears what is summed up for them."""
    width, group = row.padded_head_dim, row.heads // row.kv_heads
    for r in range(rows):
        head = kv_head * group + r % group
        source = float32_at(np.uintp(row.input + (token + r // group) * row.input_stride + head * width * 4))
        query, output = (
            float32_at(np.uintp(queries + r * width * 4)),
            float32_at(np.uintp(outputs + r * width * 4)),
        )
        for i in range(width):
            query[i] = source[i] * row.scale
            output[i] = np.float32(0.0)
        for i in range(16):
            float32_at(np.uintp(lane_sums + 64 * r))[i] = np.float32(0.0)
        float32_at(np.uintp(peaks))[r] = np.float32(-np.inf)


@kernel
def _score(queries: int, keys: int, width: int, scores: int, rows: int) -> None:
    """Scores of all rows against one block of keys, four rows at a time."""
    r = 0
    while r < rows:
        query, score = np.uintp(queries + r * width * 4), np.uintp(scores + r * _SCORE_BYTES)
        if r + 4 <= rows:
            _score_4(query, np.uintp(keys), width, score)
            r += 4
        else:
            _score_1(query, np.uintp(keys), width, score)
            r += 1


@kernel
def _weigh(scores: int, values: int, count: int, width: int, factors: int, outputs: int, rows: int) -> None:
    """Adds one block of weighted values to all rows, four rows and up to 64 columns at a time."""
    step = 64 if width % 64 == 0 else 16
    r = 0
    while r < rows:
        many = r + 4 <= rows
        weights, factor = np.uintp(scores + r * _SCORE_BYTES), np.uintp(factors + 4 * r)
        for column in range(0, width, step):
            value, output = np.uintp(values + 2 * column), np.uintp(outputs + (r * width + column) * 4)
            if many and step == 64:
                _values_4x64(weights, value, count, width, factor, output)
            elif many:
                _values_4x16(weights, value, count, width, factor, output)
            elif step == 64:
                _values_1x64(weights, value, count, width, factor, output)
            else:
                _values_1x16(weights, value, count, width, factor, output)
        r += 4 if many else 1


@kernel
def _scatter(row: Any, outputs: int, lane_sums: int, token: int, kv_head: int, rows: int) -> None:
    """Divides each row by the sum of its weights and puts it where its token and head belong."""
    head_dim, width, group = row.head_dim, row.padded_head_dim, row.heads // row.kv_heads
    for r in range(rows):
        head = kv_head * group + r % group
        total = _lane_total(np.uintp(lane_sums + 64 * r))
        output = float32_at(np.uintp(outputs + r * width * 4))
        target = float32_at(np.uintp(row.output + (token + r // group) * row.output_stride + head * head_dim * 4))
        for i in range(head_dim):
            target[i] = output[i] / total


def attention(row_address: int, batch_address: int, first: int, last: int, scratch: int) -> None:
    """Attention of all query heads of one kv head, for the tokens of one unit.

    Units: token groups × kv heads, kv heads fastest. Row: `input` is float32 (tokens, heads, padded_head_dim), rotated;
    `output` float32 (tokens, heads · head_dim); `scale` multiplies the scores; `tokens_per_unit` · heads / kv_heads is
    at most `MOST_ROWS`. Naive twin: tests/naive/ops.py.
    """
    row, batch = row_at(row_address), batch_at(batch_address)
    start = batch.first_output_token if row.output_tokens_only else 0
    width, group = row.padded_head_dim, row.heads // row.kv_heads
    scores = scratch
    queries = scores + MOST_ROWS * _SCORE_BYTES
    outputs = queries + MOST_ROWS * 4 * width
    lane_sums = outputs + MOST_ROWS * 4 * width
    peaks = lane_sums + MOST_ROWS * 64
    factors = peaks + MOST_ROWS * 4
    for unit in range(first, last):
        kv_head = unit % row.kv_heads
        token = start + unit // row.kv_heads * row.tokens_per_unit
        tokens = min(row.tokens_per_unit, batch.token_count - token)
        rows = tokens * group
        _gather(row, queries, outputs, lane_sums, peaks, token, kv_head, rows)
        position = batch.first_position + token
        end = position + tokens
        head_at = (row.layer * row.kv_heads + kv_head) * batch.context_size * width
        for block_start in range(0, end, BLOCK_POSITIONS):
            cached = 2 * (head_at + block_start * width)
            _score(queries, batch.keys + cached, width, scores, rows)
            for r in range(rows):
                visible = min(BLOCK_POSITIONS, max(0, position + r // group + 1 - block_start))
                float32_at(np.uintp(factors))[r] = _softmax_block(
                    np.uintp(scores + r * _SCORE_BYTES),
                    visible,
                    np.uintp(peaks + 4 * r),
                    np.uintp(lane_sums + 64 * r),
                )
            count = min(BLOCK_POSITIONS, end - block_start)
            _weigh(scores, batch.values + cached, count, width, factors, outputs, rows)
        _scatter(row, outputs, lane_sums, token, kv_head, rows)
