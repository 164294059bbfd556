"""Matrix products: tiles of 16 rows times the activations of some tokens; product_kernels.py has the kernels.

An output element is always summed in the same order: block by block along the reduction, and inside a block in
integers. So the result does not depend on the number of tokens in a pass, nor on the thread that does a tile.
layouts/activations.py describes the quantised activations.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils

from tui_llama.engine.kernels.ir import simd
from tui_llama.engine.kernels.ir.simd import F32, I16, I32, Builder, Value, constant, vector
from tui_llama.engine.kernels.matrix import amx
from tui_llama.engine.kernels.matrix.tile_values import half_row, scale_pairs, tile_codes
from tui_llama.engine.layouts import weight_tile
from tui_llama.engine.layouts.activations import (
    FEWEST_GROUPED_TOKENS,
    SCALED_SUM_AT,
    START_32_AT,
    START_256_AT,
    SUMMARY_BYTES,
    SUMS_AT,
)
from tui_llama.engine.layouts.weight_tile import TileFormat
from tui_llama.engine.machine.instruction_sets import INSTRUCTION_SET
from tui_llama.engine.toolchain.numba_codegen import intrinsic

_PASSES = (8, 4, 2, 1)  # tokens that share an unpacked tile
_FLOAT_PASSES = (4, 1)
_FLOAT_SUMS = 4  # running sums of a token
_PREFETCH_BYTES = 6144  # from the bytes in use to those that are prefetched
_INPUT_BYTES_IN_CACHE = 1 << 19  # of the tokens of a group, which every tile row of the unit reads once more


def _dot(
    b: Builder, layout: TileFormat, start: Value, codes: list[Value], quants: Value, at: int, sum_count: int
) -> Value:
    """Adds to `start` the products of code vectors and quants from byte `at` on, in `sum_count` running sums."""
    groups = [simd.load_splat(b, quants, at + 4 * group, I32) for group in range(len(codes))]
    step = -(-len(codes) // sum_count)
    total = simd.dot4_sum(b, start, codes[:step], groups[:step], layout.code_bits)
    for first in range(step, len(codes), step):
        mine = slice(first, first + step)
        total = b.add(total, simd.dot4_sum(b, constant(I32, 0), codes[mine], groups[mine], layout.code_bits))
    return total


@dataclass(frozen=True, slots=True)
class _Pass:
    """Other factor of a tile's block: one block of some tokens, with the places of their sums."""

    quants: list[Value]
    summaries: list[Value]
    totals: list[Value]

    @property
    def sum_count(self) -> int:
        """Running sums for each token.

        Two sums hide the latency of adding for a single token; several tokens hide it for each other.
        """
        return 2 if len(self.totals) == 1 else 1


def _add_block_32(b: Builder, layout: TileFormat, tile: Value, block: _Pass) -> None:
    d = half_row(b, tile, 0)
    codes = tile_codes(b, tile, layout, simd.integer(0))
    minimum = half_row(b, tile, 32) if layout.has_minimum else None
    for quants, summary, total in zip(block.quants, block.summaries, block.totals, strict=True):
        start = constant(I32, 0)
        if layout.code_offset:
            start = simd.load_splat(b, summary, START_32_AT[layout.code_offset], I32)
        dot = b.sitofp(_dot(b, layout, start, codes, quants, 0, block.sum_count), vector(F32))
        scale = b.fmul(d, simd.load_splat(b, summary, 0, F32))
        value = simd.fma(b, dot, scale, b.load(total))
        if minimum is not None:
            value = simd.fma(b, minimum, simd.load_splat(b, summary, SCALED_SUM_AT, F32), value)
        b.store(value, total)


# Columns between two scales that can be summed up in 16 bits, by the bits of a code, once the offset has made the
# codes of Q4_K, Q5_K and Q6_K signed. One product of 16-bit lanes then applies a scale and adds.
_OFFSETS = {4: 8, 5: 16, 6: 32}
_COLUMNS_IN_16_BITS = {4: 32, 5: 16, 6: 8}


def _add_block_256(b: Builder, layout: TileFormat, tile: Value, block: _Pass) -> None:
    """Adds a block of 256 columns to the totals. All sums before the product with d are exact, in integers."""
    pieces = 32 // _COLUMNS_IN_16_BITS[layout.code_bits]
    places = [[_zero(b, I32) for _ in range(min(block.sum_count, pieces))] for _ in block.totals]
    parts_of_a_pair = 512 // layout.scale_count // 32
    part_bytes = layout.tile_bytes * 32 // layout.columns
    with cgutils.for_range(b, simd.integer(layout.scale_count // 2)) as loop:
        pair = scale_pairs(b, layout, tile, layout.scales_at, loop.index)
        scales = (b.and_(pair, constant(I32, 0xFFFF)), b.lshr(pair, constant(I32, 16)))
        for j in range(parts_of_a_pair):
            part = b.add(b.mul(loop.index, simd.integer(parts_of_a_pair)), simd.integer(j))
            codes = tile_codes(b, tile, layout, part)
            _ask_ahead(b, b.gep(tile, [b.mul(part, simd.integer(part_bytes))]), part_bytes)
            mine = scales if parts_of_a_pair == 1 else scales[j : j + 1]
            for quants, summary, sums in zip(block.quants, block.summaries, places, strict=True):
                _add_part(b, layout, (part, codes), mine, quants, summary, sums, block.sum_count // len(sums))
    scaled = [reduce(b.add, [b.load(place) for place in sums]) for sums in places]
    d, minima = half_row(b, tile, 0), None
    if layout.has_minimum:
        minima = _minima(b, layout, tile, block, scaled)
    for m, (summary, total) in enumerate(zip(block.summaries, block.totals, strict=True)):
        value = b.fmul(b.sitofp(scaled[m], vector(F32)), d)
        if minima is not None:
            value = b.fsub(value, b.fmul(b.sitofp(minima[m], vector(F32)), half_row(b, tile, 32)))
        b.store(simd.fma(b, value, simd.load_splat(b, summary, 0, F32), b.load(total)), total)


def _add_part(
    b: Builder,
    layout: TileFormat,
    part_and_codes: Any,
    scales: Sequence[Value],
    quants: Value,
    summary: Value,
    places: Sequence[Value],
    sum_count: int,
) -> None:
    """Adds 32 columns of one token, scaled, to the sums at `places` in turn."""
    part, codes = part_and_codes
    columns = _COLUMNS_IN_16_BITS[layout.code_bits]
    pieces = 32 // columns
    quants = b.gep(quants, [b.mul(part, simd.integer(32))])
    starts = b.gep(summary, [b.mul(part, simd.integer(4 * pieces))])
    for piece in range(pieces):
        place = places[piece % len(places)]
        start = simd.load_splat(b, starts, START_256_AT[_OFFSETS[layout.code_bits]] + 4 * piece, I32)
        mine = codes[piece * columns // 4 : (piece + 1) * columns // 4]
        dot = _dot(b, layout, start, mine, quants, piece * columns, sum_count)
        b.store(simd.dot2(b, b.load(place), dot, scales[piece * len(scales) // pieces]), place)


def _minima(b: Builder, layout: TileFormat, tile: Value, block: _Pass, scaled: list[Value]) -> list[Value]:
    """Returns the sums of the minima, and adds to `scaled` what the codes' offset had subtracted."""
    zero = constant(I32, 0)
    minima, offsets = [zero] * len(scaled), [zero] * len(scaled)
    for index in range(layout.scale_count // 2):
        scale = scale_pairs(b, layout, tile, layout.scales_at, simd.integer(index))
        minimum = scale_pairs(b, layout, tile, layout.minima_at, simd.integer(index))
        for m, summary in enumerate(block.summaries):
            sums = simd.load_splat(b, summary, SUMS_AT + 4 * index, I32)
            offsets[m] = simd.dot2(b, offsets[m], scale, sums)
            minima[m] = simd.dot2(b, minima[m], minimum, sums)
    shift = constant(I32, _OFFSETS[layout.code_bits].bit_length() - 1)
    for m, offset in enumerate(offsets):
        scaled[m] = b.add(scaled[m], b.shl(offset, shift))
    return minima


def _ask_ahead(b: Builder, place: Value, size: int) -> None:
    """Prefetches the weights that are needed a while after the `size` bytes at `place`.

    It prefetches only a few lines at a time: more than a core can wait for would block all other loads.
    """
    for line in range(0, size, 64):
        simd.prefetch(b, place, _PREFETCH_BYTES + line)


def _sum_blocks(b: Builder, layout: TileFormat, row: Value, weights: Value, inputs: list[Value]) -> list[Value]:
    """Multiplies a tile row with some tokens, block by block."""
    blocks = simd.field(b, row, "columns")
    summaries_at = b.mul(blocks, simd.integer(layout.columns))
    totals = [_zero(b) for _ in inputs]
    with cgutils.for_range(b, blocks) as loop:
        tile = simd.pointer(b, weights, b.mul(loop.index, simd.integer(layout.tile_bytes)))
        if layout.columns == 32:
            _ask_ahead(b, tile, layout.tile_bytes)
        quants_step = b.mul(loop.index, simd.integer(layout.columns))
        summary_step = b.add(summaries_at, b.mul(loop.index, simd.integer(SUMMARY_BYTES[layout.columns])))
        block = _Pass(
            [simd.pointer(b, address, quants_step) for address in inputs],
            [simd.pointer(b, address, summary_step) for address in inputs],
            totals,
        )
        (_add_block_32 if layout.columns == 32 else _add_block_256)(b, layout, tile, block)
    return [b.load(total) for total in totals]


def _sum_columns(b: Builder, layout: TileFormat, row: Value, weights: Value, inputs: list[Value]) -> list[Value]:
    """Multiplies a row of float tiles with some tokens, in four running sums that hide the latency of adding.

    Each sum takes every fourth column.
    """
    columns = simd.field(b, row, "columns")
    totals = [[_zero(b) for _ in range(_FLOAT_SUMS)] for _ in inputs]
    steps = b.sdiv(columns, simd.integer(_FLOAT_SUMS))
    done = b.mul(steps, simd.integer(_FLOAT_SUMS))
    with cgutils.for_range(b, steps) as loop:
        first = b.mul(loop.index, simd.integer(_FLOAT_SUMS))
        for k in range(_FLOAT_SUMS):
            _add_column(b, layout, weights, inputs, b.add(first, simd.integer(k)), [total[k] for total in totals])
        for line in range(0, _FLOAT_SUMS * layout.tile_bytes, 64):
            at = b.mul(first, simd.integer(layout.tile_bytes))
            simd.prefetch(b, simd.pointer(b, weights, at), _PREFETCH_BYTES + line)
    with cgutils.for_range(b, b.sub(columns, done)) as loop:
        _add_column(b, layout, weights, inputs, b.add(done, loop.index), [total[0] for total in totals])
    return [
        b.fadd(b.fadd(b.load(total[0]), b.load(total[1])), b.fadd(b.load(total[2]), b.load(total[3])))
        for total in totals
    ]


def _add_column(
    b: Builder, layout: TileFormat, weights: Value, inputs: list[Value], column: Value, totals: list[Value]
) -> None:
    tile = simd.pointer(b, weights, b.mul(column, simd.integer(layout.tile_bytes)))
    if layout is weight_tile.F32_FORMAT:
        values = simd.load(b, tile, 0, F32)
    elif layout is weight_tile.F16_FORMAT:
        values = half_row(b, tile, 0)
    else:
        values = simd.bfloat_to_float(b, simd.load(b, tile, 0, I16))
    step = b.mul(column, simd.integer(4))
    for address, total in zip(inputs, totals, strict=True):
        activation = simd.load_splat(b, simd.pointer(b, address, step), 0, F32)
        b.store(simd.fma(b, values, activation, b.load(total)), total)


def _zero(b: Builder, element: ir.Type = F32) -> Value:
    zero = constant(element, 0)
    place = simd.lane_variable(b, zero)
    b.store(zero, place)
    return place


def _emit_tokens(
    b: Builder, layout: TileFormat, row: Value, tile_index: Value, token: Value, width: int, count: Value
) -> None:
    """Multiplies one tile row with `width` tokens from `token` on; only the first `count` results are stored."""
    weights = b.add(simd.field(b, row, "weight"), b.mul(tile_index, simd.field(b, row, "weight_stride")))
    input_stride, output_stride = simd.field(b, row, "input_stride"), simd.field(b, row, "output_stride")
    first_input = b.add(simd.field(b, row, "input"), b.mul(token, input_stride))
    inputs = [b.add(first_input, b.mul(input_stride, simd.integer(m))) for m in range(width)]
    sums = (_sum_columns if layout.is_float else _sum_blocks)(b, layout, row, weights, inputs)
    lanes_at = b.mul(tile_index, simd.integer(4 * simd.LANES))
    first_output = b.add(b.add(simd.field(b, row, "output"), b.mul(token, output_stride)), lanes_at)
    for m, total in enumerate(sums):
        with b.if_then(b.icmp_signed("<", simd.integer(m), count)):
            finish(b, row, lanes_at, total, simd.pointer(b, first_output, b.mul(output_stride, simd.integer(m))))


def finish(b: Builder, row: Value, lanes_at: Value, value: Value, output: Value) -> None:
    """Adds the bias and the present output, where the plan row says so, and stores the result."""
    result = simd.lane_variable(b, value)
    b.store(value, result)
    bias = simd.field(b, row, "extra")
    with b.if_then(b.icmp_unsigned("!=", bias, simd.integer(0))):
        b.store(b.fadd(b.load(result), simd.load(b, simd.pointer(b, bias, lanes_at), 0, F32)), result)
    with b.if_then(b.icmp_signed("!=", simd.field(b, row, "accumulate"), simd.integer(0))):
        b.store(b.fadd(b.load(result), simd.load(b, output, 0, F32)), result)
    simd.store(b, b.load(result), output)


def _emit_group(
    b: Builder, layout: TileFormat, row: Value, tiles_of_unit: tuple[Value, Value], start: Value, count: Value
) -> None:
    """Multiplies some tile rows with `count` tokens from `start` on.

    A wide pass of which more than half is wanted costs less than several narrow ones, because each pass unpacks the
    tile.
    """
    first, last = tiles_of_unit
    passes = _FLOAT_PASSES if layout.is_float else _PASSES
    with cgutils.for_range(b, b.sub(last, first)) as tile_loop:
        tile, done = b.add(first, tile_loop.index), simd.integer(0)
        for width, next_width in zip(passes, (*passes[1:], 0), strict=True):
            left = b.sub(count, done)
            rounds = b.sdiv(b.add(left, simd.integer(width - next_width - 1)), simd.integer(width))
            with cgutils.for_range(b, rounds) as loop:
                offset = b.add(done, b.mul(loop.index, simd.integer(width)))
                _emit_tokens(b, layout, row, tile, b.add(start, offset), width, b.sub(count, offset))
            reached = b.add(done, b.mul(rounds, simd.integer(width)))
            done = b.select(b.icmp_signed("<", reached, count), reached, count)


def product(layout: TileFormat, name: str) -> Callable[..., None]:
    """Makes the intrinsic that multiplies the tile rows first … last - 1 with all tokens of the batch."""

    def multiply(_: Any, row: Any, batch: Any, first: Any, last: Any, scratch: Any) -> Any:
        def generate(context: Any, b: Builder, signature: Any, arguments: Any) -> Value:
            row, batch, first, last, scratch = arguments
            start = first_token(b, row, batch)
            count = b.sub(simd.field(b, batch, "token_count"), start)
            if INSTRUCTION_SET != "amx_int8" or layout.is_float:
                _emit_groups(b, layout, row, (first, last), (start, count))
                return context.get_dummy_value()
            many = b.icmp_signed(">=", count, simd.integer(FEWEST_GROUPED_TOKENS))  # see `are_interleaved`
            with b.if_else(many) as (then, otherwise):
                with then:
                    amx.emit_product(b, layout, row, (first, last), (start, count), scratch, finish)
                with otherwise:
                    _emit_groups(b, layout, row, (first, last), (start, count))
            return context.get_dummy_value()

        return types.void(types.uintp, types.uintp, types.int64, types.int64, types.uintp), generate

    multiply.__name__ = name
    return intrinsic(multiply)


def _emit_groups(
    b: Builder, layout: TileFormat, row: Value, units: tuple[Value, Value], tokens: tuple[Value, Value]
) -> None:
    """Takes as many tokens at a time as have room for their input in a core's cache, a multiple of any pass."""
    start, count = tokens
    fitting = b.sdiv(simd.integer(_INPUT_BYTES_IN_CACHE), simd.field(b, row, "input_stride"))
    group = b.and_(fitting, simd.integer(-_PASSES[0]))  # rounded down to whole passes of the widest kind
    group = b.select(b.icmp_signed("<", group, simd.integer(_PASSES[0])), simd.integer(_PASSES[0]), group)
    groups = b.sdiv(b.add(count, b.sub(group, simd.integer(1))), group)
    with cgutils.for_range(b, groups) as loop:
        done = b.mul(loop.index, group)
        left = b.sub(count, done)
        fit = b.select(b.icmp_signed("<", left, group), left, group)
        _emit_group(b, layout, row, units, b.add(start, done), fit)


def first_token(b: Builder, row: Value, batch: Value) -> Value:
    """Returns the first token of the batch that a plan row works on."""
    wanted = b.icmp_signed("!=", simd.field(b, row, "output_tokens_only"), simd.integer(0))
    return b.select(wanted, simd.field(b, batch, "first_output_token"), simd.integer(0))
