"""Packs blocks that grid_blocks.py has read into tiles: codes of three or four bits into planes, scales into pairs."""

from collections.abc import Callable
from typing import Any

from numba import types

from tui_llama.engine.kernels.ir import simd
from tui_llama.engine.kernels.ir.simd import Builder, Value
from tui_llama.engine.kernels.matrix.file_words import (
    BIT_PAIRS,
    BITS,
    four_words,
    gathered,
    halves,
    joined_nibbles,
    many_words,
)
from tui_llama.engine.kernels.matrix.pack_256 import store_pairs
from tui_llama.engine.layouts.grid_table import D_AT, READ_BLOCK_BYTES, SCALES_AT
from tui_llama.engine.layouts.weight_tile import ROWS, TileFormat
from tui_llama.engine.toolchain.numba_codegen import intrinsic


@intrinsic
def room_for_blocks(_: Any, count: Any) -> Any:
    """Returns the address of memory on the stack for the blocks of 16 rows. The argument is ignored."""

    def generate(context: Any, b: Builder, signature: Any, arguments: Any) -> Value:
        return b.ptrtoint(simd.stack_memory(b, ROWS * READ_BLOCK_BYTES), simd.I64)

    return types.int64(types.int64), generate


def tile_filler(layout: TileFormat, name: str) -> Callable[..., Any]:
    """Makes the intrinsic that fills a tile: (address of the read blocks of 16 rows, address of the tile)."""

    def fill(_: Any, blocks: Any, tile: Any) -> Any:
        def generate(context: Any, b: Builder, signature: Any, arguments: Any) -> Value:
            rows = [simd.pointer(b, arguments[0], READ_BLOCK_BYTES * row) for row in range(ROWS)]
            _fill_tile(b, layout, rows, simd.pointer(b, arguments[1]))
            return context.get_dummy_value()

        return types.void(types.int64, types.int64), generate

    fill.__name__ = f"fill_{name}"
    return intrinsic(fill)


def _fill_tile(b: Builder, layout: TileFormat, rows: list[Value], tile: Value) -> None:
    simd.store(b, halves(b, four_words(b, rows, D_AT)[0], 0), tile)
    store_pairs(b, four_words(b, rows, SCALES_AT)[: layout.scale_count // 4], tile, layout.scales_at)
    for part in range(8):
        words = many_words(b, rows, 32 * part, 8)
        low_at = layout.codes_at + layout.code_stride * part
        if layout.code_bits == 4:
            for q in range(4):
                simd.store(b, joined_nibbles(b, words[q], words[q + 4], 0), tile, low_at + 64 * q)
            continue
        for half in range(2):
            pairs = gathered(b, words[4 * half : 4 * half + 4], 0, BIT_PAIRS, 2)
            simd.store(b, pairs, tile, low_at + 64 * half)
        simd.store(b, gathered(b, words, 2, BITS, 1), tile, layout.high_at + layout.high_stride * part)
