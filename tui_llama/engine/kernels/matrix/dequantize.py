"""Decodes rows as they lie in the file to float32, for the embedding; layouts/weight_tile.py describes the formats.

The code works column by column, without arrays in between: this is fast enough for a row, and compiles much faster.
"""

from typing import Any

import numpy as np

from tui_llama.engine.kernels.ir.simd import float32_at, int32_at, load_half, uint8_at
from tui_llama.engine.layouts.weight_tile import IQ4_NL_FORMAT, MXFP4_FORMAT
from tui_llama.engine.toolchain.numba_codegen import helper

_F32, _F16, _BF16 = 0, 1, 30
_Q4_0, _Q4_1, _Q5_0, _Q5_1, _Q8_0, _Q4_K, _Q5_K, _Q6_K = 2, 3, 6, 7, 8, 12, 13, 14
_IQ4_NL, _MXFP4 = 20, 39
_IQ4_VALUES, _FP4_VALUES = np.array(IQ4_NL_FORMAT.values, np.int8), np.array(MXFP4_FORMAT.values, np.int8)


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
    elif type_id == _IQ4_NL:
        for column in range(columns):
            at = source + column // 32 * 18
            out[column] = load_half(np.uintp(at)) * np.float32(_IQ4_VALUES[_nibble(at + 2, column % 32)])
    elif type_id == _MXFP4:
        _dequantize_mxfp4(source, target, columns)
    else:
        _dequantize_32(source, out, columns, type_id)


@helper
def _nibble(source: int, column: int) -> int:
    """Returns the code of one of 32 columns: lower nibbles are the first 16."""
    code: int = uint8_at(np.uintp(source))[column % 16] >> 4 * (column // 16) & 15
    return code


@helper
def _dequantize_mxfp4(source: int, target: int, columns: int) -> None:
    out, bits = float32_at(np.uintp(target)), int32_at(np.uintp(target))
    for column in range(columns):
        at = source + column // 32 * 17
        exponent = np.int32(uint8_at(np.uintp(at))[0])
        # The bits of 2^(exponent - 128); the two smallest are no normal numbers.
        bits[column] = (exponent - 1) << 23 if exponent >= 2 else 1 << 21 + exponent
        out[column] *= np.float32(_FP4_VALUES[_nibble(at + 1, column % 32)])


@helper
def _dequantize_32(source: int, out: Any, columns: int, type_id: int) -> None:
    has_minimum = type_id in (_Q4_1, _Q5_1)
    has_fifth_bit = type_id in (_Q5_0, _Q5_1)
    head_bytes = 4 if has_minimum else 2
    quants_at = head_bytes + 4 if has_fifth_bit else head_bytes
    block_bytes = 34 if type_id == _Q8_0 else quants_at + 16
    offset = np.float32(0.0)
    if type_id == _Q8_0:
        offset = np.float32(128.0)
    elif not has_minimum:
        offset = np.float32(16.0) if has_fifth_bit else np.float32(8.0)
    for column in range(columns):
        at, k = source + column // 32 * block_bytes, column % 32
        block = uint8_at(np.uintp(at))
        nibble = block[quants_at + k % 16] >> 4 * (k // 16) & 15
        code = block[quants_at + k] ^ 0x80 if type_id == _Q8_0 else nibble
        if has_fifth_bit:
            code |= (block[head_bytes + k // 8] >> (k % 8) & 1) << 4
        minimum = load_half(np.uintp(at + 2)) if has_minimum else np.float32(0.0)
        out[column] = load_half(np.uintp(at)) * (np.float32(code) - offset) + minimum


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
