"""Matrix products of many tokens on the tile multiplier of newer x86 servers (AMX), to the same bits as elsewhere.

The unit multiplies 16 tokens × 64 columns of signed bytes with 64 columns × 16 rows of bytes and adds to 16 × 16 whole
numbers, eight times as fast as a vector dot product. A tile of weights has the order that it wants already: a vector
holds four columns of 16 rows. What is left is to make the scales inside a block of 256 columns part of the bytes, so
that a whole block is summed up inside the unit:

    Q4_K, Q5_K    scale = 8 · high + low, of three bits each; code × low and code × high are two unsigned bytes, and
                  the sum is that of the lows plus 8 times that of the highs
    Q6_K          (code - 32) × scale has 13 bits: an unsigned byte, and a signed one that counts 256 times
    32 columns    codes without their offset are signed bytes; d is a float, so a block's sum is taken out at its end

All of it is exact, so the floats that follow see the numbers that matrix_kernels.py computes for fewer tokens.

A panel, the bytes of up to 8 blocks of 256 (or 32 of 32) columns of a row of tiles, is prepared once for up to 512
tokens. Rows of tiles take turns chunk by chunk of columns, so that the tokens' part of that chunk stays in the cache.

Source of the instructions: Intel 64 and IA-32 Architectures Software Developer's Manual, volume 2 (TDPBSUD, TDPBSSD).
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from llvmlite import ir
from numba.core import cgutils

from tui_llama.engine import simd
from tui_llama.engine.activations import SCALED_SUM_AT, SUMMARY_BYTES, SUMS_AT
from tui_llama.engine.simd import F32, I8, I16, I32, Builder, Value, constant, vector
from tui_llama.engine.tile_values import half_row, scale_pairs, tile_codes
from tui_llama.engine.tiles import TileFormat

FEWEST_TOKENS = 24
"""From how many tokens on this is faster than vectors."""

_GROUP_TOKENS = 32
SPARE_TOKENS = _GROUP_TOKENS
"""How many tokens beyond the last an input must be readable for."""

_MOST_TOKENS = 512
_MOST_TILES = 8
_CHUNK_BLOCKS = {32: 32, 256: 8}
_STEP_BYTES = 1024  # of an operand: 16 × 64
_PANEL_BYTES = {32: 512 + 128, 256: 8 * _STEP_BYTES}  # of a block: codes and two vectors of floats; lows and highs
_CONFIG_AT = 0
_SUMS_OF_GROUP_AT = 64
_PANEL_AT = _SUMS_OF_GROUP_AT + 4 * _STEP_BYTES
_TOTALS_AT = _PANEL_AT + max(_CHUNK_BLOCKS[columns] * size for columns, size in _PANEL_BYTES.items())
SCRATCH_BYTES = _TOTALS_AT + _MOST_TILES * _MOST_TOKENS * 64

# Which tile register holds what.
_SUMS, _TOKENS, _WEIGHTS = (0, 1, 2, 3), (4, 5), (6, 7)


@dataclass(frozen=True, slots=True)
class _Work:
    """What a kernel was called for: a part of a product, as SSA values."""

    layout: TileFormat
    row: Value
    scratch: Value

    def field(self, b: Builder, name: str) -> Value:
        return simd.field(b, self.row, name)

    def totals(self, b: Builder, tile: Value, token: Value) -> Value:
        """The running sums of a token: 16 float32."""
        index = b.add(b.mul(tile, simd.integer(_MOST_TOKENS)), token)
        return simd.pointer(b, self.scratch, b.add(simd.integer(_TOTALS_AT), b.mul(index, simd.integer(64))))


def emit_product(
    b: Builder, layout: TileFormat, row: Value, units: tuple[Value, Value], tokens: tuple[Value, Value], scratch: Value,
    finish: Callable[..., None],
) -> None:  # fmt: skip
    """Multiplies rows of tiles with tokens.

    The input must be readable for whole groups of 32 tokens; what it holds beyond the last does not matter.

    Args:
        b: Where the code goes.
        layout: The format of the tiles, not a float format.
        row: Address of the plan's row.
        units: First row of tiles, and one past the last.
        tokens: First token, and how many.
        scratch: Address of `SCRATCH_BYTES` of working memory.
        finish: Writes a result; see matrix_kernels.finish.
    """
    work = _Work(layout, row, scratch)
    simd.store(b, _configuration(layout), simd.pointer(b, scratch), _CONFIG_AT)
    _tile(b, "ldtilecfg", simd.pointer(b, scratch))
    (first, last), (start, count) = units, tokens
    with _blocks(b, b.sub(last, first), _MOST_TILES) as (tile_offset, tile_count):
        tile = b.add(first, tile_offset)
        with _blocks(b, count, _MOST_TOKENS) as (token_offset, token_count):
            token = b.add(start, token_offset)
            _clear_totals(b, work, tile_count, token_count)
            chunks = _blocks(b, work.field(b, "columns"), _CHUNK_BLOCKS[layout.columns])
            with chunks as blocks, cgutils.for_range(b, tile_count) as loop:
                _multiply_chunk(b, work, (tile, loop.index), (token, token_count), blocks)
            with cgutils.for_range(b, tile_count) as loop:
                _finish_tile(b, work, (tile, loop.index), (token, token_count), finish)
    _tile(b, "tilerelease")


def _configuration(layout: TileFormat) -> Value:
    """The shapes of the tile registers: palette 1, bytes of a row for each, rows for each."""
    columns = min(layout.columns, 64)
    config = [0] * 64
    config[0] = 1
    for register in range(8):
        config[16 + 2 * register] = columns if register in _TOKENS else 64
        config[48 + register] = columns // 4 if register in _WEIGHTS else 16
    return ir.Constant(vector(I8, 64), config)


def _tile(b: Builder, name: str, *arguments: Value | int) -> None:
    """Calls an instruction of the unit; plain numbers are tile registers."""
    values = [ir.Constant(I8, value) if isinstance(value, int) else value for value in arguments]
    simd.call(b, f"llvm.x86.{name}", ir.VoidType(), values)


@contextmanager
def _blocks(b: Builder, count: Value, most: int) -> Iterator[tuple[Value, Value]]:
    """Loops over `count` things in blocks of at most `most`; gives first and count of each."""
    rounds = b.sdiv(b.add(count, simd.integer(most - 1)), simd.integer(most))
    with cgutils.for_range(b, rounds) as loop:
        done = b.mul(loop.index, simd.integer(most))
        left = b.sub(count, done)
        yield done, b.select(b.icmp_signed("<", left, simd.integer(most)), left, simd.integer(most))


def _clear_totals(b: Builder, work: _Work, tile_count: Value, token_count: Value) -> None:
    with cgutils.for_range(b, tile_count) as tile_loop, cgutils.for_range(b, token_count) as loop:
        simd.store(b, constant(F32, 0.0), work.totals(b, tile_loop.index, loop.index))


def _finish_tile(
    b: Builder, work: _Work, tile: tuple[Value, Value], tokens: tuple[Value, Value], finish: Callable[..., None]
) -> None:
    lanes_at = b.mul(b.add(*tile), simd.integer(4 * simd.LANES))
    output = b.add(work.field(b, "output"), lanes_at)
    with cgutils.for_range(b, tokens[1]) as loop:
        total = simd.load(b, work.totals(b, tile[1], loop.index), 0, F32)
        at = b.mul(b.add(tokens[0], loop.index), work.field(b, "output_stride"))
        finish(b, work.row, lanes_at, total, simd.pointer(b, output, at))


def _multiply_chunk(
    b: Builder, work: _Work, tile: tuple[Value, Value], tokens: tuple[Value, Value], blocks: tuple[Value, Value]
) -> None:
    """Adds some blocks of one row of tiles to the totals of all tokens."""
    layout = work.layout
    weights = b.add(work.field(b, "weight"), b.mul(b.add(*tile), work.field(b, "weight_stride")))
    weights = b.add(weights, b.mul(blocks[0], simd.integer(layout.tile_bytes)))
    panel = b.add(work.scratch, simd.integer(_PANEL_AT))
    prepare = _prepare_32 if layout.columns == 32 else _prepare_256
    with cgutils.for_range(b, blocks[1]) as loop:
        source = simd.pointer(b, weights, b.mul(loop.index, simd.integer(layout.tile_bytes)))
        prepare(
            b, layout, source, simd.pointer(b, panel, b.mul(loop.index, simd.integer(_PANEL_BYTES[layout.columns])))
        )
    stride = work.field(b, "input_stride")
    add = _add_32 if layout.columns == 32 else _add_256
    with _blocks(b, tokens[1], _GROUP_TOKENS) as (token, count):
        inputs = b.add(work.field(b, "input"), b.mul(b.add(tokens[0], token), stride))
        totals = work.totals(b, tile[1], token)
        with cgutils.for_range(b, blocks[1]) as loop:
            at = b.add(blocks[0], loop.index)
            summaries = b.add(
                b.mul(work.field(b, "columns"), simd.integer(layout.columns)),
                b.mul(at, simd.integer(SUMMARY_BYTES[layout.columns])),
            )
            group = _Group(
                simd.pointer(b, inputs, b.mul(at, simd.integer(layout.columns))),
                b.add(inputs, summaries), stride, totals, count, simd.pointer(b, work.scratch, _SUMS_OF_GROUP_AT),
            )  # fmt: skip
            source = simd.pointer(b, weights, b.mul(loop.index, simd.integer(layout.tile_bytes)))
            size = simd.integer(_PANEL_BYTES[layout.columns])
            add(b, layout, source, simd.pointer(b, panel, b.mul(loop.index, size)), group)


@dataclass(frozen=True, slots=True)
class _Group:
    """One block of up to 32 tokens: their quants, the address of the first summary, totals, and room for sums."""

    quants: Value
    summaries: Value
    stride: Value
    totals: Value
    count: Value
    sums: Value

    def token(self, b: Builder, index: Value) -> tuple[Value, Value, Value]:
        """The summary, the total and the first sum of one token."""
        line = b.mul(index, simd.integer(64))
        return (
            simd.pointer(b, self.summaries, b.mul(index, self.stride)), b.gep(self.totals, [line]),
            b.gep(self.sums, [line]),
        )  # fmt: skip


# --- blocks of 256 columns --------------------------------------------------------------------------------------------


def _prepare_256(b: Builder, layout: TileFormat, source: Value, panel: Value) -> None:
    """Codes times scales, as two bytes: four steps of 64 columns of the lower ones, four of the upper ones."""
    with cgutils.for_range(b, simd.integer(8)) as loop:
        codes = tile_codes(b, source, layout, loop.index)
        lows, highs = (_products_signed if layout.code_offset else _products)(b, layout, source, loop.index, codes)
        place = b.gep(panel, [b.mul(loop.index, simd.integer(512))])
        for q, (low, high) in enumerate(zip(lows, highs, strict=True)):
            simd.store(b, low, place, 64 * q)
            simd.store(b, high, place, 4 * _STEP_BYTES + 64 * q)


def _products(
    b: Builder, layout: TileFormat, source: Value, part: Value, codes: list[Value]
) -> tuple[list[Value], list[Value]]:
    """Unsigned codes of at most 5 bits times 3 bits stay within a byte, so one 16-bit product makes two of them."""
    pair = scale_pairs(b, layout, source, layout.scales_at, b.lshr(part, simd.integer(1)))
    odd = simd.splat(b, b.trunc(b.mul(b.and_(part, simd.integer(1)), simd.integer(16)), I32))
    scale = b.and_(b.lshr(pair, odd), constant(I32, 63))
    twice = constant(I32, 0x00010001)
    low = b.bitcast(b.mul(b.and_(scale, constant(I32, 7)), twice), vector(I16, 32))
    high = b.bitcast(b.mul(b.lshr(scale, constant(I32, 3)), twice), vector(I16, 32))
    wide = [b.bitcast(code, vector(I16, 32)) for code in codes]
    return [b.mul(code, low) for code in wide], [b.mul(code, high) for code in wide]


def _products_signed(
    b: Builder, layout: TileFormat, source: Value, part: Value, codes: list[Value]
) -> tuple[list[Value], list[Value]]:
    """Signed products of 16 bits, split into an unsigned lower and a signed upper byte."""
    pair = scale_pairs(b, layout, source, layout.scales_at, part)
    sixteen, twice = constant(I32, 16), constant(I32, 0x00010001)
    scales = [
        b.bitcast(b.mul(b.and_(half, constant(I32, 0xFFFF)), twice), vector(I16, 32))
        for half in (pair, b.lshr(pair, sixteen))
    ]
    eight, byte = constant(I16, 8, 32), constant(I16, 255, 32)
    offset = constant(I16, layout.code_offset, 32)
    lows, highs = [], []
    for q, code in enumerate(codes):
        wide, scale = b.bitcast(code, vector(I16, 32)), scales[q // 4]
        even = b.mul(b.sub(b.and_(wide, byte), offset), scale)
        odd = b.mul(b.sub(b.lshr(wide, eight), offset), scale)
        lows.append(b.or_(b.and_(even, byte), b.shl(odd, eight)))
        highs.append(b.or_(b.lshr(even, eight), b.and_(odd, b.not_(byte))))
    return lows, highs


def _add_256(b: Builder, layout: TileFormat, source: Value, panel: Value, group: _Group) -> None:
    upper = "tdpbssd" if layout.code_offset else "tdpbsud"
    second = b.gep(group.quants, [b.mul(group.stride, simd.integer(16))])
    for register in _SUMS:
        _tile(b, "tilezero", register)
    for step in range(4):
        _tile(b, "tileloadd64", _WEIGHTS[0], b.gep(panel, [simd.integer(_STEP_BYTES * step)]), simd.integer(64))
        _tile(b, "tileloadd64", _WEIGHTS[1], b.gep(panel, [simd.integer(_STEP_BYTES * (4 + step))]), simd.integer(64))
        for half, quants in enumerate((group.quants, second)):
            _tile(b, "tileloadd64", _TOKENS[half], b.gep(quants, [simd.integer(64 * step)]), group.stride)
            _tile(b, "tdpbsud", _SUMS[half], _TOKENS[half], _WEIGHTS[0])
            _tile(b, upper, _SUMS[2 + half], _TOKENS[half], _WEIGHTS[1])
    for register in _SUMS:
        _tile(b, "tilestored64", register, b.gep(group.sums, [simd.integer(_STEP_BYTES * register)]), simd.integer(64))
    d = half_row(b, source, 0)
    shift = constant(I32, 8 if layout.code_offset else 3)
    minima, d_minimum = [], None
    if layout.has_minimum:
        minima = [scale_pairs(b, layout, source, layout.minima_at, simd.integer(i)) for i in range(4)]
        d_minimum = half_row(b, source, 32)
    with cgutils.for_range(b, group.count) as loop:
        summary, total, sums = group.token(b, loop.index)
        high = b.shl(simd.load(b, sums, 2 * _STEP_BYTES, I32), shift)
        value = b.fmul(b.sitofp(b.add(simd.load(b, sums, 0, I32), high), vector(F32)), d)
        if layout.has_minimum:
            minimum = constant(I32, 0)
            for i, pair in enumerate(minima):
                minimum = simd.dot2(b, minimum, pair, simd.load_splat(b, summary, SUMS_AT + 4 * i, I32))
            value = b.fsub(value, b.fmul(b.sitofp(minimum, vector(F32)), d_minimum))
        scale = simd.load_splat(b, summary, 0, F32)
        simd.store(b, simd.fma(b, value, scale, simd.load(b, total, 0, F32)), total)


# --- blocks of 32 columns ---------------------------------------------------------------------------------------------


def _prepare_32(b: Builder, layout: TileFormat, source: Value, panel: Value) -> None:
    """Codes as signed bytes, then d and the minimum as floats."""
    for q, code in enumerate(tile_codes(b, source, layout, simd.integer(0))):
        # Taking 128 off an eight-bit code flips its upper bit; there is no borrow between bytes to keep.
        simd.store(b, b.sub(code, constant(I8, layout.code_offset, 64)), panel, 64 * q)
    simd.store(b, half_row(b, source, 0), panel, 512)
    if layout.has_minimum:
        simd.store(b, half_row(b, source, 32), panel, 512 + 64)


def _add_32(b: Builder, layout: TileFormat, source: Value, panel: Value, group: _Group) -> None:
    second = b.gep(group.quants, [b.mul(group.stride, simd.integer(16))])
    _tile(b, "tileloadd64", _WEIGHTS[0], panel, simd.integer(64))
    for half, quants in enumerate((group.quants, second)):
        _tile(b, "tilezero", _SUMS[half])
        _tile(b, "tileloadd64", _TOKENS[half], quants, group.stride)
        _tile(b, "tdpbssd", _SUMS[half], _TOKENS[half], _WEIGHTS[0])
        place = b.gep(group.sums, [simd.integer(_STEP_BYTES * half)])
        _tile(b, "tilestored64", _SUMS[half], place, simd.integer(64))
    d = simd.load(b, panel, 512, F32)
    minimum = simd.load(b, panel, 512 + 64, F32) if layout.has_minimum else None
    with cgutils.for_range(b, group.count) as loop:
        summary, total, sums = group.token(b, loop.index)
        dot = b.sitofp(simd.load(b, sums, 0, I32), vector(F32))
        scale = b.fmul(d, simd.load_splat(b, summary, 0, F32))
        value = simd.fma(b, dot, scale, simd.load(b, total, 0, F32))
        if minimum is not None:
            value = simd.fma(b, minimum, simd.load_splat(b, summary, SCALED_SUM_AT, F32), value)
        simd.store(b, value, total)
