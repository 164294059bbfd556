"""Decodes rows of types whose weights come from a grid, as they lie in the file, to float32; see dequantize.py."""

import numpy as np
import numpy.typing as npt

from tui_llama.engine.kernels.ir.simd import float32_at, int8_at, load_half, uint8_at
from tui_llama.engine.kernels.matrix.grid_blocks import (
    read_iq1_m,
    read_iq1_s,
    read_iq2_s,
    read_iq2_xs,
    read_iq2_xxs,
    read_iq3_s,
    read_iq3_xxs,
)
from tui_llama.engine.kernels.matrix.pack_grid import room_for_blocks
from tui_llama.engine.layouts import weight_tile
from tui_llama.engine.layouts.grid_table import D_AT, SCALES_AT
from tui_llama.engine.toolchain.numba_codegen import helper

_IQ1_S, _IQ1_M, _IQ2_XXS, _IQ2_XS, _IQ2_S, _IQ3_XXS = 19, 29, 16, 17, 22, 18
_IQ1_VALUES, _IQ2_VALUES, _IQ3_XXS_VALUES, _IQ3_S_VALUES = (
    np.array(layout.values, np.int8)
    for layout in (
        weight_tile.IQ1_S_FORMAT,
        weight_tile.IQ2_S_FORMAT,
        weight_tile.IQ3_XXS_FORMAT,
        weight_tile.IQ3_S_FORMAT,
    )
)


@helper
def dequantize_row_of_grid(source: int, target: int, columns: int, type_id: int, table: int) -> None:
    """Decodes one row; the arguments are those of `dequantize_row`, and the address of the type's table."""
    block = room_for_blocks(1)
    for number in range(columns // 256):
        out = target + 1024 * number
        if type_id == _IQ1_S:
            read_iq1_s(source + 50 * number, block, table)
            _decode(block, out, _IQ1_VALUES, 32, 0.125)
        elif type_id == _IQ1_M:
            read_iq1_m(source + 56 * number, block, table)
            _decode(block, out, _IQ1_VALUES, 16, 0.125)
        elif type_id == _IQ2_XXS:
            read_iq2_xxs(source + 66 * number, block, table)
            _decode(block, out, _IQ2_VALUES, 32, 0.125)
        elif type_id == _IQ2_XS:
            read_iq2_xs(source + 74 * number, block, table)
            _decode(block, out, _IQ2_VALUES, 16, 0.125)
        elif type_id == _IQ2_S:
            read_iq2_s(source + 82 * number, block, table)
            _decode(block, out, _IQ2_VALUES, 16, 0.125)
        elif type_id == _IQ3_XXS:
            read_iq3_xxs(source + 98 * number, block, table)
            _decode(block, out, _IQ3_XXS_VALUES, 32, 0.25)
        else:
            read_iq3_s(source + 110 * number, block, table)
            _decode(block, out, _IQ3_S_VALUES, 32, 1.0)


@helper
def _decode(block: int, target: int, values: npt.NDArray[np.int8], columns_of_scale: int, d_factor: float) -> None:
    """Decodes a block that was read to 256 float32."""
    out, codes, scales = float32_at(np.uintp(target)), uint8_at(np.uintp(block)), int8_at(np.uintp(block + SCALES_AT))
    d = load_half(np.uintp(block + D_AT)) * np.float32(d_factor)
    for column in range(256):
        scale = d * np.float32(scales[column // columns_of_scale])
        out[column] = scale * np.float32(values[codes[column]])
