"""Decodes rows of Q2_K, Q3_K, IQ4_XS, TQ1_0 and TQ2_0 as they lie in the file to float32, as dequantize.py does."""

from typing import Any

import numpy as np

from tui_llama.engine.kernels.ir.simd import float32_at, load_half, uint8_at
from tui_llama.engine.layouts.weight_tile import IQ4_XS_FORMAT
from tui_llama.engine.toolchain.numba_codegen import helper

_Q2_K, _Q3_K, _IQ4_XS, _TQ1_0, _TQ2_0 = 10, 11, 23, 34, 35
_VALUES = np.array(IQ4_XS_FORMAT.values, np.int8)


@helper
def dequantize_row_of_few_bits(source: int, target: int, columns: int, type_id: int) -> None:
    """Decodes one row; the arguments are those of `dequantize_row`."""
    out = float32_at(np.uintp(target))
    if type_id == _Q2_K:
        _dequantize_q2(source, out, columns)
    elif type_id == _Q3_K:
        _dequantize_q3(source, out, columns)
    elif type_id == _IQ4_XS:
        _dequantize_iq4_xs(source, out, columns)
    else:
        _dequantize_ternary(source, out, columns, type_id == _TQ1_0)


@helper
def _bit_pair(source: int, column: int) -> int:
    """Returns the code of one of 256 columns: each byte has those of four columns that lie 32 apart."""
    half, quarter, k = column // 128, column // 32 % 4, column % 32
    pair: int = uint8_at(np.uintp(source))[32 * half + k] >> 2 * quarter & 3
    return pair


@helper
def _dequantize_q2(source: int, out: Any, columns: int) -> None:
    for column in range(columns):
        at, k = source + column // 256 * 84, column % 256
        scales = uint8_at(np.uintp(at))[k // 16]
        d, d_minimum = load_half(np.uintp(at + 80)), load_half(np.uintp(at + 82))
        value = d * np.float32(scales & 15) * np.float32(_bit_pair(at + 16, k))
        out[column] = value - d_minimum * np.float32(scales >> 4)


@helper
def _dequantize_q3(source: int, out: Any, columns: int) -> None:
    for column in range(columns):
        at, k = source + column // 256 * 110, column % 256
        block, s = uint8_at(np.uintp(at)), k // 16
        code = _bit_pair(at + 32, k) | (block[k % 32] >> k // 32 & 1) << 2
        scale = block[96 + s % 8] >> 4 * (s // 8) & 15 | (block[104 + s % 4] >> 2 * (s // 4) & 3) << 4
        d = load_half(np.uintp(at + 108)) * (np.float32(scale) - np.float32(32.0))
        out[column] = d * (np.float32(code) - np.float32(4.0))


@helper
def _dequantize_iq4_xs(source: int, out: Any, columns: int) -> None:
    for column in range(columns):
        at, s, k = source + column // 256 * 136, column // 32 % 8, column % 32
        block = uint8_at(np.uintp(at))
        scale = block[4 + s // 2] >> 4 * (s % 2) & 15 | (block[2 + s // 4] >> 2 * (s % 4) & 3) << 4
        d = load_half(np.uintp(at)) * (np.float32(scale) - np.float32(32.0))
        out[column] = d * np.float32(_VALUES[block[8 + 16 * s + k % 16] >> 4 * (k // 16) & 15])


@helper
def _dequantize_ternary(source: int, out: Any, columns: int, has_digits: bool) -> None:
    block_bytes = 54 if has_digits else 66
    for column in range(columns):
        at, k = source + column // 256 * block_bytes, column % 256
        code = _digit(at, k) if has_digits else _bit_pair(at, k)
        d = load_half(np.uintp(at + block_bytes - 2))
        out[column] = d * (np.float32(code) - np.float32(1.0))


@helper
def _digit(source: int, column: int) -> int:
    """Returns the code of one of 256 columns of TQ1_0: a digit of one of 52 bytes, which are fractions of 256."""
    first, count, byte = (0, 32, 0) if column < 160 else (160, 16, 32) if column < 240 else (240, 4, 48)
    fraction = int(uint8_at(np.uintp(source))[byte + (column - first) % count])
    for _ in range((column - first) // count):
        fraction = fraction * 3 & 255
    return fraction * 3 >> 8
