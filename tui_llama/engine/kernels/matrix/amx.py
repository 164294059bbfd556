"""Matrix products of many tokens with AMX, the tile multiplier of newer x86 servers, with the same bits as elsewhere.

AMX multiplies 16 tokens × 64 columns of signed bytes with 64 columns × 16 rows of bytes and adds to 16 × 16 integers,
eight times as fast as a vector dot product. A tile of weights already has the order that AMX needs: a vector holds four
columns of 16 rows. Only the scales inside a block of 256 columns must become part of the bytes, so that AMX can sum up
a whole block:

    Q4_K, Q5_K    scale = 8 · high + low, of three bits each; code × low and code × high are two unsigned bytes, and
                  the sum is that of the lows plus 8 times that of the highs
    others        (code - offset) × scale, or value × scale, has up to 14 bits: an unsigned byte, and a signed one that
                  counts 256 times
    32 columns    codes without their offset are signed bytes; d is a float, so the sum is read out after each block, or
                  after each 16 columns where these have a d of their own

All of this is exact. The floats that follow therefore see the same integers that sums_256.py computes for few tokens.

The input of 16 tokens is interleaved, so that a tile register is loaded from one place; see layouts/activations.py.

A panel holds the prepared bytes of up to 8 blocks of 256 columns (or 32 blocks of 32) of two tile rows. It is prepared
once for up to 256 tokens. Both tile rows use the loaded bytes of 32 tokens before the next 32 tokens are loaded. All
tile rows of a unit take turns chunk by chunk of columns, so that the tokens' part of that chunk stays in the cache.

Source of the instructions: Intel 64 and IA-32 Architectures Software Developer's Manual, volume 2 (TDPBSUD, TDPBSSD).
"""

from collections.abc import Callable
from dataclasses import dataclass

from llvmlite import ir
from numba.core import cgutils

from tui_llama.engine.kernels.ir import simd
from tui_llama.engine.kernels.ir.simd import F32, I8, Builder, Value, constant, vector
from tui_llama.engine.kernels.matrix.amx_additions import Token, addition_32, addition_256
from tui_llama.engine.kernels.matrix.amx_panels import prepare_32, prepare_256
from tui_llama.engine.kernels.matrix.block_pass import in_blocks
from tui_llama.engine.layouts.activations import (
    GROUP_SUMMARY_BYTES,
    GROUP_SUMS_AT,
    GROUP_SUMS_BYTES,
    GROUP_TOKENS,
    grouped_columns,
)
from tui_llama.engine.layouts.amx_panel import (
    BLOCKS_AT_ONCE,
    CHUNK_BLOCKS,
    CONFIG_AT,
    IDLE_TOTALS_AT,
    MOST_TILES,
    MOST_TOKENS,
    PANEL_AT,
    PANEL_BYTES,
    STEP_BYTES,
    STEPS,
    SUMS_AT,
    SUMS_BYTES,
    TILES_AT_ONCE,
    TOKENS_AT_ONCE,
    TOTALS_AT,
    TOTALS_BYTES,
)
from tui_llama.engine.layouts.weight_tile import TileFormat

# Uses of the eight tile registers.
_SUMS, _TOKENS, _WEIGHTS = (0, 1, 2, 3), (4, 5), (6, 7)


@dataclass(frozen=True, slots=True)
class _Work:
    """Task of one kernel call, a part of a product, as SSA values."""

    layout: TileFormat
    row: Value
    scratch: Value
    pending: "_Pending"

    def field(self, b: Builder, name: str) -> Value:
        return simd.field(b, self.row, name)

    def totals(self, b: Builder, tile: Value, token: Value) -> Value:
        """Returns the address of a token's running sums: 16 float32."""
        at = b.add(b.mul(tile, simd.integer(TOTALS_BYTES)), b.mul(token, simd.integer(64)))
        return simd.pointer(b, self.scratch, b.add(simd.integer(TOTALS_AT), at))


def emit_product(
    b: Builder, layout: TileFormat, row: Value, units: tuple[Value, Value], tokens: tuple[Value, Value], scratch: Value,
    finish: Callable[..., None],
) -> None:  # fmt: skip
    """Multiplies tile rows with tokens.

    The input must be readable for whole groups of tokens; the content after the last token is ignored.

    Args:
        b: Builder that receives the code.
        layout: The format of the tiles, not a float format.
        row: Address of the plan row.
        units: First tile row, and one past the last.
        tokens: First token, and count.
        scratch: Address of `SCRATCH_BYTES` of scratch memory.
        finish: Writes a result; see `finish` in products.py.
    """
    work = _Work(layout, row, scratch, _Pending.nothing(b, layout, row, scratch))
    simd.store(b, _configuration(layout), simd.pointer(b, scratch), CONFIG_AT)
    _tile(b, "ldtilecfg", simd.pointer(b, scratch))
    (first, last), (start, count) = units, tokens
    with in_blocks(b, b.sub(last, first), MOST_TILES) as (tile_offset, tile_count):
        tile = b.add(first, tile_offset)
        with in_blocks(b, count, MOST_TOKENS) as (token_offset, token_count):
            token, inputs = b.add(start, token_offset), (token_offset, token_count)
            _clear_totals(b, work, tile_count, token_count)
            chunks = in_blocks(b, work.field(b, "columns"), CHUNK_BLOCKS[layout.columns])
            with chunks as blocks, in_blocks(b, tile_count, TILES_AT_ONCE) as (index, together):
                _multiply_chunk(b, work, _Tiles(tile, index, together), inputs, blocks)
            work.pending.settle(b, _blocks_at_once(layout))
            _finish_tiles(b, work, (tile, tile_count), (token, token_count), finish)
    _tile(b, "tilerelease")


@dataclass(frozen=True, slots=True)
class _Tiles:
    """Tile rows that are worked on together: `count` of them from number `index` on, counted from tile row `first`."""

    first: Value
    index: Value
    count: Value


def columns_at_once(layout: TileFormat) -> int:
    """Returns how many columns one instruction multiplies."""
    return grouped_columns(layout.columns) // layout.scales_of_columns


def _blocks_at_once(layout: TileFormat) -> int:
    return BLOCKS_AT_ONCE[layout.columns] // layout.scales_of_columns


def _configuration(layout: TileFormat) -> Value:
    """Returns the shapes of the tile registers: palette 1, bytes of a row for each, rows for each."""
    columns = columns_at_once(layout)
    config = [0] * 64
    config[0] = 1
    for register in range(8):
        config[16 + 2 * register] = columns if register in _TOKENS else 64
        config[48 + register] = columns // 4 if register in _WEIGHTS else 16
    return ir.Constant(vector(I8, 64), config)


def _tile(b: Builder, name: str, *arguments: Value | int) -> None:
    """Calls an AMX instruction; plain numbers are tile registers."""
    values = [ir.Constant(I8, value) if isinstance(value, int) else value for value in arguments]
    simd.call(b, f"llvm.x86.{name}", ir.VoidType(), values)


def _clear_totals(b: Builder, work: _Work, tile_count: Value, token_count: Value) -> None:
    with cgutils.for_range(b, tile_count) as tile_loop, cgutils.for_range(b, token_count) as loop:
        simd.store(b, constant(F32, 0.0), work.totals(b, tile_loop.index, loop.index))


def _finish_tiles(
    b: Builder, work: _Work, tiles: tuple[Value, Value], tokens: tuple[Value, Value], finish: Callable[..., None]
) -> None:
    """Writes the totals token by token, because tile rows lie side by side in the output."""
    with cgutils.for_range(b, tokens[1]) as token_loop, cgutils.for_range(b, tiles[1]) as loop:
        total = simd.load(b, work.totals(b, loop.index, token_loop.index), 0, F32)
        lanes_at = b.mul(b.add(tiles[0], loop.index), simd.integer(4 * simd.LANES))
        output = b.add(work.field(b, "output"), lanes_at)
        at = b.mul(b.add(tokens[0], token_loop.index), work.field(b, "output_stride"))
        finish(b, work.row, lanes_at, total, simd.pointer(b, output, at))


def _multiply_chunk(
    b: Builder, work: _Work, together: _Tiles, tokens: tuple[Value, Value], blocks: tuple[Value, Value]
) -> None:
    """Adds some blocks of a few tile rows to the totals of all tokens."""
    columns = work.layout.columns
    prepare, most = prepare_32 if columns == 32 else prepare_256, _blocks_at_once(work.layout)
    chunk = _Chunk(work, together, tokens, blocks[0])
    with cgutils.for_range(b, together.count) as tile_loop, cgutils.for_range(b, blocks[1]) as loop:
        source, panel = chunk.source(b, tile_loop.index, loop.index), chunk.panel(b, tile_loop.index, loop.index)
        prepare(b, work.layout, simd.pointer(b, source), panel)
    rounds = b.sdiv(blocks[1], simd.integer(most))
    done = b.mul(rounds, simd.integer(most))
    with cgutils.for_range(b, rounds) as loop:
        _multiply_blocks(b, chunk, b.mul(loop.index, simd.integer(most)), most)
    if most > 1:
        # Blocks that are left go one by one. Pending sums must be added as they were stored: the earlier ones as `most`
        # blocks, the later ones as one.
        with b.if_then(b.icmp_signed("<", done, blocks[1])):
            work.pending.settle(b, most)
            with cgutils.for_range(b, b.sub(blocks[1], done)) as loop:
                _multiply_blocks(b, chunk, b.add(done, loop.index), 1)


@dataclass(frozen=True, slots=True)
class _Chunk:
    """A few tile rows, from column block `first_block` on, and all tokens."""

    work: _Work
    together: _Tiles
    tokens: tuple[Value, Value]
    first_block: Value

    def source(self, b: Builder, tile: Value, block: Value) -> Value:
        """Returns the address of a weight tile; both numbers count within the chunk."""
        row = b.add(b.add(self.together.first, self.together.index), tile)
        at = b.mul(b.add(self.first_block, block), simd.integer(self.work.layout.tile_bytes))
        weights = b.add(self.work.field(b, "weight"), b.mul(row, self.work.field(b, "weight_stride")))
        return b.add(weights, at)

    def panel(self, b: Builder, tile: Value, block: Value) -> Value:
        """Returns the address of the panel prepared for that tile."""
        columns = self.work.layout.columns
        index = b.add(b.mul(tile, simd.integer(CHUNK_BLOCKS[columns])), block)
        at = b.add(simd.integer(PANEL_AT), b.mul(index, simd.integer(PANEL_BYTES[columns])))
        return simd.pointer(b, self.work.scratch, at)


def _multiply_blocks(b: Builder, chunk: _Chunk, block: Value, count: int) -> None:
    """Multiplies `count` blocks from `block` on with all tokens, group by group, and settles single blocks at once."""
    work, columns = chunk.work, chunk.work.layout.columns
    at, all_blocks = b.add(chunk.first_block, block), work.field(b, "columns")
    summaries_at = b.add(
        b.mul(all_blocks, simd.integer(GROUP_TOKENS * columns)), b.mul(at, simd.integer(GROUP_SUMMARY_BYTES[columns]))
    )
    multiply = _multiply_32 if columns == 32 else _multiply_256
    with in_blocks(b, chunk.tokens[1], TOKENS_AT_ONCE[columns]) as (token, _):
        group = b.udiv(b.add(chunk.tokens[0], token), simd.integer(GROUP_TOKENS))
        inputs = b.add(work.field(b, "input"), b.mul(group, work.pending.group_bytes))
        quants = simd.pointer(b, inputs, b.mul(at, simd.integer(GROUP_TOKENS * columns)))
        with cgutils.for_range(b, chunk.together.count) as loop:
            sums_at = b.load(work.pending.next_sums)
            sums = simd.pointer(b, work.scratch, sums_at)
            panel = chunk.panel(b, loop.index, block)
            multiply(b, work, quants, panel, sums, count)
            work.pending.replace(
                b, sums, chunk.source(b, loop.index, block), b.add(inputs, summaries_at),
                work.totals(b, b.add(chunk.together.index, loop.index), token),
            )  # fmt: skip
            # There are two places for sums: AMX fills one while those in the other are added.
            b.store(b.sub(simd.integer(2 * SUMS_AT + SUMS_BYTES), sums_at), work.pending.next_sums)
            if count < _blocks_at_once(work.layout):
                work.pending.settle(b, count)


@dataclass(frozen=True, slots=True)
class _Pending:
    """Sums that AMX has stored and that are not yet added to the totals, as places on the stack.

    They are added while AMX multiplies the next group, so that the two overlap. Whole groups of tokens are added, even
    if the batch has fewer: there is room for all of them. If no sums are pending, the additions go to idle totals,
    which no kernel reads. They then read the weights' scales from the idle totals, too, because the memory after the
    last tile of a matrix may not be readable.
    """

    layout: TileFormat
    group_bytes: Value
    idle_totals: Value
    idle_source: Value
    next_sums: Value
    sums: Value
    source: Value
    summaries: Value
    totals: Value

    @classmethod
    def nothing(cls, b: Builder, layout: TileFormat, row: Value, scratch: Value) -> "_Pending":
        idle = simd.pointer(b, scratch, IDLE_TOTALS_AT)
        idle_source = b.add(scratch, simd.integer(IDLE_TOTALS_AT))
        inputs = simd.field(b, row, "input")
        values = [simd.integer(SUMS_AT), simd.pointer(b, scratch, SUMS_AT), idle_source, inputs, idle]
        places = [cgutils.alloca_once_value(b, value) for value in values]
        for value, place in zip(values, places, strict=True):
            b.store(value, place)
        group_bytes = b.mul(
            simd.field(b, row, "columns"),
            simd.integer(GROUP_TOKENS * layout.columns + GROUP_SUMMARY_BYTES[layout.columns]),
        )
        return cls(layout, group_bytes, idle, idle_source, *places)

    def replace(self, b: Builder, sums: Value, source: Value, summaries: Value, totals: Value) -> None:
        """Sets the sums that are added next."""
        places = (self.sums, self.source, self.summaries, self.totals)
        for value, place in zip((sums, source, summaries, totals), places, strict=True):
            b.store(value, place)

    def loaded(self, b: Builder, blocks: int) -> "_Addition":
        """Loads the pending sums of `blocks` blocks, ready to be added."""
        source = simd.pointer(b, b.load(self.source))
        if self.layout.columns == 32:
            add = addition_32(b, self.layout, source, blocks)
        else:
            add = addition_256(b, self.layout, source)
        return _Addition(
            self.layout, self.group_bytes, b.load(self.sums), b.load(self.summaries), b.load(self.totals), add
        )

    def settle(self, b: Builder, blocks: int) -> None:
        """Adds all pending sums."""
        addition = self.loaded(b, blocks)
        tokens = TOKENS_AT_ONCE[self.layout.columns] // STEPS
        with cgutils.for_range(b, simd.integer(STEPS)) as loop:
            addition.add_tokens(b, b.mul(loop.index, simd.integer(tokens)), tokens)
        b.store(self.idle_totals, self.totals)
        b.store(self.idle_source, self.source)


@dataclass(frozen=True, slots=True)
class _Addition:
    """Sums of a group of tokens on their way to the totals, with the values that all tokens need in registers."""

    layout: TileFormat
    group_bytes: Value
    sums: Value
    summaries: Value
    totals: Value
    add: Callable[[Token, Value], Value]

    def add_tokens(self, b: Builder, first: Value, count: int) -> None:
        """Adds the sums of `count` tokens to their totals; all of them are in one group of 16."""
        group = b.udiv(first, simd.integer(GROUP_TOKENS))
        member = b.and_(first, simd.integer(GROUP_TOKENS - 1))
        scales = b.add(self.summaries, b.mul(group, self.group_bytes))
        sums_bytes = GROUP_SUMS_BYTES[self.layout.columns]
        scale_at = simd.pointer(b, scales, b.mul(member, simd.integer(4)))
        sums_at = simd.pointer(b, b.add(scales, simd.integer(GROUP_SUMS_AT)), b.mul(member, simd.integer(sums_bytes)))
        line = b.mul(first, simd.integer(64))
        sums, totals = b.gep(self.sums, [line]), b.gep(self.totals, [line])
        for i in range(count):
            at = [simd.integer(64 * i)]
            token = Token(
                b.gep(sums, at), b.gep(scale_at, [simd.integer(4 * i)]), b.gep(sums_at, [simd.integer(sums_bytes * i)])
            )
            total = b.gep(totals, at)
            simd.store(b, self.add(token, simd.load(b, total, 0, F32)), total)


# --- blocks of 256 columns --------------------------------------------------------------------------------------------


def _multiply_256(b: Builder, work: _Work, quants: Value, panel: Value, sums: Value, count: int) -> None:
    """Stores the sums of 32 tokens: lower bytes of both halves, then upper bytes of both."""
    pending = work.pending.loaded(b, count)
    products = ("tdpbsud", "tdpbsud" if work.layout.scales_are_halved else "tdpbssd")
    second = b.gep(quants, [work.pending.group_bytes])
    for register in _SUMS:
        _tile(b, "tilezero", register)
    tokens = TOKENS_AT_ONCE[256] // STEPS // len(_SUMS)
    with cgutils.for_range(b, simd.integer(STEPS)) as loop:
        at, next_token = b.mul(loop.index, simd.integer(STEP_BYTES)), b.mul(loop.index, simd.integer(8))
        weights = [b.gep(panel, [b.add(at, simd.integer(upper))]) for upper in (0, STEPS * STEP_BYTES)]
        for register, place in zip(_WEIGHTS, weights, strict=True):
            _tile(b, "tileloadd64", register, place, simd.integer(64))
        for half, inputs in enumerate((quants, second)):
            _tile(b, "tileloadd64", _TOKENS[half], b.gep(inputs, [at]), simd.integer(64))
            for upper, product in enumerate(products):
                _tile(b, product, _SUMS[2 * upper + half], _TOKENS[half], _WEIGHTS[upper])
                pending.add_tokens(b, next_token, tokens)
                next_token = b.add(next_token, simd.integer(tokens))
    for register in _SUMS:
        _tile(b, "tilestored64", register, b.gep(sums, [simd.integer(STEP_BYTES * register)]), simd.integer(64))


# --- blocks of 32 columns ---------------------------------------------------------------------------------------------


def _multiply_32(b: Builder, work: _Work, quants: Value, panel: Value, sums: Value, count: int) -> None:
    """Stores the sums of 16 tokens for `count` blocks: at most four, one for each scale of the blocks."""
    scales, columns = work.layout.scales_of_columns, columns_at_once(work.layout)
    pending = work.pending.loaded(b, count) if count * scales == STEPS else None
    tokens = TOKENS_AT_ONCE[32] // STEPS
    for piece in range(count * scales):
        block, part = divmod(piece, scales)
        place = b.gep(panel, [simd.integer(PANEL_BYTES[32] * block + 16 * columns * part)])
        inputs = b.gep(quants, [simd.integer(32 * GROUP_TOKENS * block + columns * part)])
        _tile(b, "tileloadd64", _TOKENS[piece % 2], inputs, simd.integer(32))
        _tile(b, "tileloadd64", _WEIGHTS[piece % 2], place, simd.integer(64))
        _tile(b, "tilezero", _SUMS[piece])
        _tile(b, "tdpbssd", _SUMS[piece], _TOKENS[piece % 2], _WEIGHTS[piece % 2])
        if pending is not None:
            pending.add_tokens(b, simd.integer(tokens * piece), tokens)
    for piece in range(count * scales):
        place = b.gep(sums, [simd.integer(STEP_BYTES * piece)])
        _tile(b, "tilestored64", _SUMS[piece], place, simd.integer(64))
