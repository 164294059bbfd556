"""Decodes rows of types whose blocks have 32 to 128 columns; see dequantize.py."""

from typing import Any

import numpy as np

from tui_llama.engine.kernels.ir.simd import float32_at, int32_at, load_half, uint8_at
from tui_llama.engine.layouts.weight_tile import IQ4_NL_FORMAT, MXFP4_FORMAT
from tui_llama.engine.toolchain.numba_codegen import helper

_Q4_0, _Q4_1, _Q5_0, _Q5_1, _Q8_0 = 2, 3, 6, 7, 8
_IQ4_NL, _MXFP4, _NVFP4, _Q1_0, _Q2_0 = 20, 39, 40, 41, 42
_IQ4_VALUES, _FP4_VALUES = np.array(IQ4_NL_FORMAT.values, np.int8), np.array(MXFP4_FORMAT.values, np.int8)


@helper
def dequantize_small_blocks(source: int, target: int, columns: int, type_id: int) -> None:
    """Decodes one row; the arguments are those of `dequantize_row`."""
    out = float32_at(np.uintp(target))
    if type_id == _IQ4_NL:
        for column in range(columns):
            at = source + column // 32 * 18
            out[column] = load_half(np.uintp(at)) * np.float32(_IQ4_VALUES[_nibble(at + 2, column % 32)])
    elif type_id == _MXFP4:
        _dequantize_mxfp4(source, target, columns)
    elif type_id == _NVFP4:
        _dequantize_nvfp4(source, out, columns)
    elif type_id == _Q1_0:
        for column in range(columns):
            at, k = source + column // 128 * 18, column % 128
            bit = uint8_at(np.uintp(at))[2 + k // 8] >> k % 8 & 1
            out[column] = load_half(np.uintp(at)) * np.float32(2 * np.int32(bit) - 1)
    elif type_id == _Q2_0:
        for column in range(columns):
            at, k = source + column // 64 * 18, column % 64
            pair = uint8_at(np.uintp(at))[2 + k // 4] >> 2 * (k % 4) & 3
            out[column] = load_half(np.uintp(at)) * np.float32(np.int32(pair) - 1)
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
def _dequantize_nvfp4(source: int, out: Any, columns: int) -> None:
    for column in range(columns):
        block = uint8_at(np.uintp(source + column // 64 * 36))
        part, k = column // 16 % 4, column % 16
        stored, code = block[part], block[4 + 8 * part + k % 8] >> 4 * (k // 8) & 15
        exponent, fraction = stored >> 3 & 15, np.float32(stored & 7)
        scale = np.float32(2.0**-10) * fraction
        if exponent > 0:
            scale = np.float32(2.0**-11) * np.float32(1 << exponent) * (np.float32(8.0) + fraction)
        out[column] = (np.float32(0.0) if stored == 127 else scale) * np.float32(_FP4_VALUES[code])


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
