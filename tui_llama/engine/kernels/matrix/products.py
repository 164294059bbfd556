"""Matrix products: tiles of 16 rows times the activations of some tokens; product_kernels.py has the kernels.

An output element is always summed in the same order: block by block along the reduction, and inside a block in
integers. So the result does not depend on the number of tokens in a pass, nor on the thread that does a tile.
layouts/activations.py describes the quantised activations. sums_32.py, sums_256.py and sums_float.py have the sums of
each kind of block.
"""

from collections.abc import Callable
from typing import Any

from numba import types
from numba.core import cgutils

from tui_llama.engine.kernels.ir import simd
from tui_llama.engine.kernels.ir.simd import F32, Builder, Value
from tui_llama.engine.kernels.matrix import amx
from tui_llama.engine.kernels.matrix.block_pass import Pass, ask_ahead, zero
from tui_llama.engine.kernels.matrix.sums_32 import add_block_32
from tui_llama.engine.kernels.matrix.sums_256 import add_block_256
from tui_llama.engine.kernels.matrix.sums_float import sum_columns
from tui_llama.engine.kernels.matrix.tile_values import Tile
from tui_llama.engine.kernels.matrix.unpacked import emit_unpacked
from tui_llama.engine.layouts.activations import FEWEST_GROUPED_TOKENS, SUMMARY_BYTES
from tui_llama.engine.layouts.unpacked_tile import FEWEST_TOKENS
from tui_llama.engine.layouts.weight_tile import TileFormat
from tui_llama.engine.machine.instruction_sets import INSTRUCTION_SET
from tui_llama.engine.toolchain.numba_codegen import intrinsic

_PASSES = (8, 4, 2, 1)  # tokens that share an unpacked tile
_FLOAT_PASSES = (4, 1)
_INPUT_BYTES_IN_CACHE = 1 << 19  # of the tokens of a group, which every tile row of the unit reads once more


def _sum_blocks(b: Builder, layout: TileFormat, row: Value, weights: Value, inputs: list[Value]) -> list[Value]:
    """Multiplies a tile row with some tokens, block by block."""
    blocks = simd.field(b, row, "columns")
    summaries_at = b.mul(blocks, simd.integer(layout.columns))
    totals = [zero(b) for _ in inputs]
    with cgutils.for_range(b, blocks) as loop:
        tile = simd.pointer(b, weights, b.mul(loop.index, simd.integer(layout.tile_bytes)))
        if layout.columns == 32:
            ask_ahead(b, tile, layout.tile_bytes)
        quants_step = b.mul(loop.index, simd.integer(layout.columns))
        summary_step = b.add(summaries_at, b.mul(loop.index, simd.integer(SUMMARY_BYTES[layout.columns])))
        block = Pass(
            [simd.pointer(b, address, quants_step) for address in inputs],
            [simd.pointer(b, address, summary_step) for address in inputs],
            totals,
        )
        if layout.columns == 32:
            add_block_32(b, layout, tile, block)
        else:
            add_block_256(b, Tile(layout, tile), block)
    return [b.load(total) for total in totals]


def _emit_tokens(
    b: Builder, layout: TileFormat, row: Value, tile_index: Value, token: Value, width: int, count: Value
) -> None:
    """Multiplies one tile row with `width` tokens from `token` on; only the first `count` results are stored."""
    weights = b.add(simd.field(b, row, "weight"), b.mul(tile_index, simd.field(b, row, "weight_stride")))
    input_stride, output_stride = simd.field(b, row, "input_stride"), simd.field(b, row, "output_stride")
    first_input = b.add(simd.field(b, row, "input"), b.mul(token, input_stride))
    inputs = [b.add(first_input, b.mul(input_stride, simd.integer(m))) for m in range(width)]
    sums = (sum_columns if layout.is_float else _sum_blocks)(b, layout, row, weights, inputs)
    lanes_at = b.mul(tile_index, simd.integer(4 * simd.LANES))
    first_output = b.add(b.add(simd.field(b, row, "output"), b.mul(token, output_stride)), lanes_at)
    for m, total in enumerate(sums):
        with b.if_then(b.icmp_signed("<", simd.integer(m), count)):
            finish(b, row, lanes_at, total, simd.pointer(b, first_output, b.mul(output_stride, simd.integer(m))))


def finish(b: Builder, row: Value, lanes_at: Value, value: Value, output: Value) -> None:
    """Applies the factor, the bias and the present output, where the plan row says so, and stores the result."""
    result = simd.lane_variable(b, value)
    b.store(value, result)
    factor = simd.field(b, row, "factor")
    with b.if_then(b.icmp_unsigned("!=", factor, simd.integer(0))):
        b.store(b.fmul(b.load(result), simd.load_splat(b, simd.pointer(b, factor), 0, F32)), result)
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
            emit_many, fewest = _product_of_many(layout)
            if emit_many is None:
                _emit_groups(b, layout, row, (first, last), (start, count))
                return context.get_dummy_value()
            with b.if_else(b.icmp_signed(">=", count, simd.integer(fewest))) as (then, otherwise):
                with then:
                    emit_many(b, layout, row, (first, last), (start, count), scratch, finish)
                with otherwise:
                    _emit_groups(b, layout, row, (first, last), (start, count))
            return context.get_dummy_value()

        return types.void(types.uintp, types.uintp, types.int64, types.int64, types.uintp), generate

    multiply.__name__ = name
    return intrinsic(multiply)


def _product_of_many(layout: TileFormat) -> tuple[Callable[..., None] | None, int]:
    """Returns what multiplies with many tokens in another way than with few, or none, and the fewest tokens for it."""
    if INSTRUCTION_SET == "amx_int8" and not layout.is_float:
        return amx.emit_product, FEWEST_GROUPED_TOKENS  # see `are_interleaved`
    if layout.columns == 256:
        return emit_unpacked, FEWEST_TOKENS
    return None, 0


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
