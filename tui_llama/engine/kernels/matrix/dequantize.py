"""Decodes rows as they lie in the file to float32, for the embedding; layouts/weight_tile.py describes the formats.

The code works column by column, without arrays in between: this is fast enough for a row, and compiles much faster.
"""

from typing import Any

import numpy as np

from tui_llama.engine.kernels.ir.simd import float32_at, int32_at, load_half, uint8_at
from tui_llama.engine.kernels.matrix.dequantize_small import dequantize_small_blocks
from tui_llama.engine.toolchain.numba_codegen import helper

_F32, _F16, _BF16 = 0, 1, 30
_Q4_K, _Q5_K, _Q6_K = 12, 13, 14


@helper
def dequantize_row(source: int, target: int, columns: int, type_id: int) -> None:
    """Decodes one row of a quantised or float matrix as it lies in the file.

    Args:
        source: Address of the row.
        target: Address of (columns,) float32, overwritten.
        columns: Length of the row.
        type_id: GGUF type, one of `FORMATS`.
    """
    out, stored = float32_at(np.uintp(target)), uint8_at(np.uintp(source))
    if type_id in (_Q4_K, _Q5_K):
        _dequantize_k(source, out, columns, type_id == _Q5_K)
    elif type_id == _Q6_K:
        _dequantize_q6(source, out, columns)
    elif type_id == _F32:
        for column in range(columns):
            out[column] = float32_at(np.uintp(source))[column]
    elif type_id == _F16:
        for column in range(columns):
            out[column] = load_half(np.uintp(source + 2 * column))
    elif type_id == _BF16:
        bits = int32_at(np.uintp(target))
        for column in range(columns):
            bits[column] = (np.int32(stored[2 * column]) | np.int32(stored[2 * column + 1]) << 8) << 16
    else:
        dequantize_small_blocks(source, target, columns, type_id)


@helper
def _dequantize_k(source: int, out: Any, columns: int, has_fifth_bit: bool) -> None:
    quants_at = 48 if has_fifth_bit else 16
    for column in range(columns):
        k, s = column % 32, column // 32 % 8
        at = source + column // 256 * (quants_at + 128)
        block = uint8_at(np.uintp(at))
        code = block[quants_at + 32 * (s // 2) + k] >> 4 * (s % 2) & 15
        if has_fifth_bit:
            code |= (block[16 + k] >> s & 1) << 4
        # Eight scales and minima of 6 bits: the two highest bits of the upper four lie above those of the lower four.
        scale, minimum = block[4 + s % 4] & 63, block[8 + s % 4] & 63
        if s >= 4:
            scale = block[8 + s] & 15 | (block[s] >> 6) << 4
            minimum = block[8 + s] >> 4 | (block[4 + s] >> 6) << 4
        d, d_minimum = load_half(np.uintp(at)), load_half(np.uintp(at + 2))
        out[column] = d * np.float32(scale) * np.float32(code) - d_minimum * np.float32(minimum)


@helper
def _dequantize_q6(source: int, out: Any, columns: int) -> None:
    for column in range(columns):
        at = source + column // 256 * 210
        block = uint8_at(np.uintp(at))
        half, quarter, k = column // 128 % 2, column // 32 % 4, column % 32
        code = block[64 * half + 32 * (quarter % 2) + k] >> 4 * (quarter // 2) & 15
        code |= (block[128 + 32 * half + k] >> 2 * quarter & 3) << 4
        scale = load_half(np.uintp(at + 208)) * np.float32(np.int8(block[192 + column // 16 % 16]))
        out[column] = scale * (np.float32(code) - np.float32(32.0))
