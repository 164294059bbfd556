"""Products of many tokens with tiles of 256 columns: a tile is unpacked once for all of them, with the same bits.

The codes of a block are written out as bytes, in the order in which they are multiplied, and then serve up to 128
tokens. They are written in one of two ways:

    weighed    where an instruction set sums products with bytes of eight bits exactly, and (code - offset) × scale of a
               sub-block fits into a byte: such bytes, to which an offset is added. The sum of the whole block is then
               one chain of dot products, from which offset × sum of the quants is subtracted
    plain      otherwise the codes, or the values of a table, which sums_256.py multiplies as those of a packed tile

Both sums are exact, so the floats that follow see the same integers as those of few tokens.

All tile rows of a unit take turns chunk by chunk of columns, so that the tokens' part of that chunk stays in the cache.
The running sums wait in scratch memory meanwhile.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import reduce

from numba.core import cgutils

from tui_llama.engine.kernels.ir import simd
from tui_llama.engine.kernels.ir.simd import F32, I8, I16, I32, Builder, Value, constant, vector
from tui_llama.engine.kernels.matrix.block_pass import Pass, in_blocks, zero
from tui_llama.engine.kernels.matrix.sums_256 import add_block_256, add_scaled_sums, sub_block_scales, wants_signs
from tui_llama.engine.kernels.matrix.tile_values import Tile, UnpackedTile
from tui_llama.engine.layouts.activations import SUM_AT, SUMMARY_BYTES
from tui_llama.engine.layouts.unpacked_tile import (
    CHUNK_BLOCKS,
    CODES_AT,
    MOST_TILES,
    MOST_TOKENS,
    PART_BYTES,
    TOTALS_AT,
    TOTALS_BYTES,
)
from tui_llama.engine.layouts.weight_tile import TileFormat

_TOKENS_AT_ONCE = 8


@dataclass(frozen=True, slots=True)
class _Work:
    """Task of one kernel call: some tile rows and tokens, as SSA values."""

    layout: TileFormat
    row: Value
    scratch: Value

    @property
    def is_weighed(self) -> bool:
        return self.layout.byte_offset is not None and simd.sums_bytes_exactly()

    def field(self, b: Builder, name: str) -> Value:
        return simd.field(b, self.row, name)

    def totals(self, b: Builder, tile: Value, token: Value) -> Value:
        """Returns the place of a token's running sums: 16 float32."""
        at = b.add(b.mul(tile, simd.integer(TOTALS_BYTES)), b.mul(token, simd.integer(64)))
        return simd.pointer(b, self.scratch, b.add(simd.integer(TOTALS_AT), at))


def emit_unpacked(
    b: Builder, layout: TileFormat, row: Value, units: tuple[Value, Value], tokens: tuple[Value, Value], scratch: Value,
    finish: Callable[..., None],
) -> None:  # fmt: skip
    """Multiplies tile rows with tokens.

    The input must be readable for a multiple of eight tokens; the content after the last token is ignored.

    Args:
        b: Builder that receives the code.
        layout: The format of the tiles, of 256 columns.
        row: Address of the plan row.
        units: First tile row, and one past the last.
        tokens: First token, and count.
        scratch: Address of `SCRATCH_BYTES` of scratch memory.
        finish: Writes a result; see `finish` in products.py.
    """
    work = _Work(layout, row, scratch)
    (first, last), (start, count) = units, tokens
    with in_blocks(b, b.sub(last, first), MOST_TILES) as (tile_offset, tile_count):
        first_tile = b.add(first, tile_offset)
        with in_blocks(b, count, MOST_TOKENS) as (token_offset, token_count):
            token = b.add(start, token_offset)
            passes = b.sdiv(b.add(token_count, simd.integer(_TOKENS_AT_ONCE - 1)), simd.integer(_TOKENS_AT_ONCE))
            padded = b.mul(passes, simd.integer(_TOKENS_AT_ONCE))
            with cgutils.for_range(b, tile_count) as tile_loop, cgutils.for_range(b, padded) as loop:
                simd.store(b, constant(F32, 0.0), work.totals(b, tile_loop.index, loop.index))
            with (
                in_blocks(b, work.field(b, "columns"), CHUNK_BLOCKS) as (first_block, block_count),
                cgutils.for_range(b, tile_count) as tile_loop,
                cgutils.for_range(b, block_count) as loop,
            ):
                block = b.add(first_block, loop.index)
                _multiply_block(b, work, (first_tile, tile_loop.index), block, (token, passes))
            with cgutils.for_range(b, tile_count) as tile_loop, cgutils.for_range(b, token_count) as loop:
                lanes_at = b.mul(b.add(first_tile, tile_loop.index), simd.integer(4 * simd.LANES))
                output_at = b.mul(b.add(token, loop.index), work.field(b, "output_stride"))
                output = simd.pointer(b, b.add(work.field(b, "output"), lanes_at), output_at)
                total = simd.load(b, work.totals(b, tile_loop.index, loop.index), 0, F32)
                finish(b, row, lanes_at, total, output)


def _multiply_block(
    b: Builder, work: _Work, tiles: tuple[Value, Value], block: Value, tokens: tuple[Value, Value]
) -> None:
    """Unpacks a block of a tile row, and adds its products with all tokens to their totals."""
    layout, (first_tile, tile), (token, passes) = work.layout, tiles, tokens
    weights = b.add(work.field(b, "weight"), b.mul(b.add(first_tile, tile), work.field(b, "weight_stride")))
    source = Tile(layout, simd.pointer(b, weights, b.mul(block, simd.integer(layout.tile_bytes))))
    written = simd.pointer(b, work.scratch, CODES_AT)
    _unpack(b, source, written, is_weighed=work.is_weighed)
    unpacked = UnpackedTile(layout, source.place, written)
    stride, blocks = work.field(b, "input_stride"), work.field(b, "columns")
    quants_at = b.mul(block, simd.integer(layout.columns))
    summary_at = b.add(
        b.mul(blocks, simd.integer(layout.columns)), b.mul(block, simd.integer(SUMMARY_BYTES[layout.columns]))
    )
    with cgutils.for_range(b, passes) as loop:
        member = b.mul(loop.index, simd.integer(_TOKENS_AT_ONCE))
        first_input = b.add(work.field(b, "input"), b.mul(b.add(token, member), stride))
        inputs = [b.add(first_input, b.mul(stride, simd.integer(m))) for m in range(_TOKENS_AT_ONCE)]
        places = [work.totals(b, tile, b.add(member, simd.integer(m))) for m in range(_TOKENS_AT_ONCE)]
        totals = [simd.lane_variable(b, constant(F32, 0.0)) for _ in places]
        for place, total in zip(places, totals, strict=True):
            b.store(simd.load(b, place, 0, F32), total)
        together = Pass(
            [simd.pointer(b, address, quants_at) for address in inputs],
            [simd.pointer(b, address, summary_at) for address in inputs],
            totals,
        )
        if work.is_weighed:
            add_scaled_sums(b, unpacked, together, _weighed_sums(b, unpacked, together))
        else:
            add_block_256(b, unpacked, together)
        for place, total in zip(places, totals, strict=True):
            simd.store(b, b.load(total), place)


def _unpack(b: Builder, tile: Tile, written: Value, *, is_weighed: bool) -> None:
    """Writes 512 bytes for each 32 columns of a tile."""
    with cgutils.for_range(b, simd.integer(8)) as loop:
        tile.ask_ahead(b, loop.index)
        codes = tile.codes(b, loop.index, with_signs=wants_signs(tile.layout))
        if is_weighed and tile.layout.scale_count:
            codes = _weighed(b, tile, loop.index, codes)
        place = b.gep(written, [b.mul(loop.index, simd.integer(PART_BYTES))])
        for group, code in enumerate(codes):
            simd.store(b, code, place, 64 * group)


# --- weighed ----------------------------------------------------------------------------------------------------------


def _weighed(b: Builder, tile: Tile, part: Value, codes: list[Value]) -> list[Value]:
    """Returns (code - offset) × scale + byte offset of 32 columns, which have two scales.

    Sums and products are taken modulo 256, which is all the same, because the results fit into a byte.
    """
    byte, pairs = constant(I16, 0xFF, 32), vector(I16, 32)
    weighed = []
    for half, scale in enumerate(sub_block_scales(b, tile, part)):
        factors = b.bitcast(b.or_(scale, b.shl(scale, constant(I32, 16))), pairs)
        constants = b.sub(
            constant(I16, tile.layout.byte_offset or 0, 32), b.mul(factors, constant(I16, tile.layout.code_offset, 32))
        )
        constants = b.and_(constants, byte)
        constants = b.bitcast(b.or_(constants, b.shl(constants, constant(I16, 8, 32))), vector(I8, 64))
        for code in codes[4 * half : 4 * half + 4]:
            both = b.bitcast(code, pairs)
            even = b.and_(b.mul(b.and_(both, byte), factors), byte)
            odd = b.mul(b.and_(both, b.not_(byte)), factors)  # the lower byte is zero
            weighed.append(b.add(b.bitcast(b.or_(even, odd), vector(I8, 64)), constants))
    return weighed


def _weighed_sums(b: Builder, tile: UnpackedTile, block: Pass) -> list[Value]:
    """Returns, for each token, the sum of its quants times (code - offset) × scale."""
    # Two running sums of each token hide the latency of adding, where there are registers for them.
    places = [[zero(b, I32) for _ in range(2 if simd.has_many_registers() else 1)] for _ in block.totals]
    with cgutils.for_range(b, simd.integer(8)) as loop:
        codes = tile.codes(b, loop.index, with_signs=False)
        quants = [b.gep(token_quants, [b.mul(loop.index, simd.integer(32))]) for token_quants in block.quants]
        for group, code in enumerate(codes):  # all tokens of a group, because none waits for another
            for token_quants, sums in zip(quants, places, strict=True):
                splat, place = simd.load_splat(b, token_quants, 4 * group, I32), sums[group % len(sums)]
                b.store(simd.dot4_sum(b, b.load(place), [code], [splat]), place)
    sums = [reduce(b.add, [b.load(place) for place in mine]) for mine in places]
    if not tile.layout.byte_offset:
        return sums
    offset = I32(-tile.layout.byte_offset)
    missing = [b.mul(simd.load_scalar(b, summary, SUM_AT, I32), offset) for summary in block.summaries]
    return [b.add(total, simd.splat(b, number)) for total, number in zip(sums, missing, strict=True)]
