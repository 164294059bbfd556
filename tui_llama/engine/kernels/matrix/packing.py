"""Packs blocks as the file has them into tiles (see layouts/weight_tile.py): the bytes of 16 rows move together.

Four columns of one row are one 32-bit word in the file as in the tile. The code loads four words of 16 rows and
transposes them into vectors that hold the same word of all rows (file_words.py). It then masks nibbles, bits and scales
of 16 words at a time (pack_32.py, pack_256.py). packing_kernels.py has the kernels.
"""

from collections.abc import Callable, Sequence
from typing import Any

from numba import types
from numba.core import cgutils

from tui_llama.engine.kernels.ir import simd
from tui_llama.engine.kernels.ir.simd import Builder, Value
from tui_llama.engine.kernels.matrix.file_words import four_words, halves
from tui_llama.engine.kernels.matrix.pack_32 import pack_32, pack_few_bits, pack_nvfp4
from tui_llama.engine.kernels.matrix.pack_256 import pack_iq4_xs, pack_k, pack_q2, pack_q3, pack_q6, pack_tq1, pack_tq2
from tui_llama.engine.layouts import weight_tile
from tui_llama.engine.layouts.weight_tile import ROWS, TileFormat
from tui_llama.engine.toolchain.numba_codegen import intrinsic


def _pack_floats(b: Builder, layout: TileFormat, rows: Sequence[Value], tile: Value) -> None:
    """Packs 16 bytes of each row: four or eight columns."""
    words = four_words(b, rows, 0)
    columns = words if layout.block_bytes == 4 else [halves(b, word, bits) for word in words for bits in (0, 16)]
    for number, column in enumerate(columns):
        simd.store(b, column, tile, number * ROWS * layout.block_bytes)


_PACKS_32 = {
    weight_tile.NVFP4_FORMAT: pack_nvfp4,
    weight_tile.Q1_0_FORMAT: pack_few_bits,
    weight_tile.Q2_0_FORMAT: pack_few_bits,
}
_PACKS_256 = {
    weight_tile.Q2_K_FORMAT: pack_q2,
    weight_tile.Q3_K_FORMAT: pack_q3,
    weight_tile.Q4_K_FORMAT: pack_k,
    weight_tile.Q5_K_FORMAT: pack_k,
    weight_tile.Q6_K_FORMAT: pack_q6,
    weight_tile.IQ4_XS_FORMAT: pack_iq4_xs,
    weight_tile.TQ1_0_FORMAT: pack_tq1,
    weight_tile.TQ2_0_FORMAT: pack_tq2,
}


def packer(layout: TileFormat, name: str) -> Callable[..., Any]:
    """Makes the intrinsic that packs blocks one after the other: (source, row bytes, target, blocks)."""
    if layout.is_float:
        pack = _pack_floats
    else:
        pack = _PACKS_32.get(layout, pack_32) if layout.columns == 32 else _PACKS_256[layout]
    step_bytes, tile_bytes = layout.packed_at_once

    def pack_blocks(_: Any, source: Any, row_bytes: Any, target: Any, blocks: Any) -> Any:
        def generate(context: Any, b: Builder, signature: Any, arguments: Any) -> Value:
            first, stride, to, count = arguments
            starts = [b.add(first, b.mul(stride, simd.integer(row))) for row in range(ROWS)]
            with cgutils.for_range(b, count) as loop:
                at = b.mul(loop.index, simd.integer(step_bytes))
                rows = [simd.pointer(b, start, at) for start in starts]
                pack(b, layout, rows, simd.pointer(b, to, b.mul(loop.index, simd.integer(tile_bytes))))
            return context.get_dummy_value()

        return types.void(types.int64, types.int64, types.int64, types.int64), generate

    pack_blocks.__name__ = f"pack_{name}"
    return intrinsic(pack_blocks)
