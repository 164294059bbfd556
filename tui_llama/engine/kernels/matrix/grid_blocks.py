"""Reads blocks of the types whose weights come from a grid; layouts/grid_table.py says from what, and to what.

Eight codes are one number of 64 bits. All arguments are addresses: of a block in the file, of the block that is
written, and of the type's table.

Source of the block formats: ggml-quants (dequantize_row_iq2_xxs and those after it).
"""

import numpy as np

from tui_llama.engine.kernels.ir.simd import int8_at, int32_at, int64_at, uint8_at
from tui_llama.engine.layouts.grid_table import D_AT, GRID_AT, SCALES_AT
from tui_llama.engine.toolchain.numba_codegen import helper

_NEGATIVE_SHIFT = 0x0404040404040404  # joins the sign of the eighth to eight codes of IQ1


@helper
def _byte(source: int, at: int) -> int:
    return np.int64(uint8_at(np.uintp(source))[at])  # type: ignore[return-value]


@helper
def _word(source: int, at: int) -> int:
    return _byte(source, at) | _byte(source, at + 1) << 8


@helper
def _put_d(block: int, bits: int) -> None:
    target = uint8_at(np.uintp(block + D_AT))
    target[0], target[1] = bits & 255, bits >> 8


@helper
def _put_scale(block: int, number: int, scale: int) -> None:
    """Stores a sub-block scale, which is odd: twice a number, plus one."""
    int8_at(np.uintp(block + SCALES_AT))[number] = 2 * scale + 1


@helper
def _put_octet(block: int, number: int, codes: int) -> None:
    int64_at(np.uintp(block))[number] = codes


@helper
def _octet(table: int, index: int) -> int:
    return int64_at(np.uintp(table + GRID_AT))[index]  # type: ignore[no-any-return]


@helper
def _quads(table: int, first: int, second: int) -> int:
    quads = int32_at(np.uintp(table + GRID_AT))
    return np.int64(quads[first]) | np.int64(quads[second]) << 32  # type: ignore[return-value]


@helper
def _signs(table: int, index: int) -> int:
    return int64_at(np.uintp(table))[index]  # type: ignore[no-any-return]


@helper
def read_iq2_xxs(source: int, block: int, table: int) -> None:
    """Reads IQ2_XXS: d, then for each 32 columns four indices, four indices of signs of 7 bits each, and a scale."""
    _put_d(block, _word(source, 0))
    for group in range(8):
        at = 2 + 8 * group
        rest = _word(source, at + 4) | _word(source, at + 6) << 16
        _put_scale(block, group, rest >> 28)
        for octet in range(4):
            codes = _octet(table, _byte(source, at + octet)) | _signs(table, rest >> 7 * octet & 127)
            _put_octet(block, 4 * group + octet, codes)


@helper
def read_iq2_xs(source: int, block: int, table: int) -> None:
    """Reads IQ2_XS: d, words of an index of 9 bits and an index of signs, a scale of 4 bits for each 16 columns."""
    _put_d(block, _word(source, 0))
    for octet in range(32):
        word = _word(source, 2 + 2 * octet)
        _put_octet(block, octet, _octet(table, word & 511) | _signs(table, word >> 9))
    for number in range(16):
        _put_scale(block, number, _byte(source, 66 + number // 2) >> 4 * (number % 2) & 15)


@helper
def read_iq2_s(source: int, block: int, table: int) -> None:
    """Reads IQ2_S: d, lower 8 bits of indices, masks of signs, upper 2 bits, scales as those of IQ2_XS."""
    _put_d(block, _word(source, 0))
    for octet in range(32):
        upper = _byte(source, 66 + octet // 4) >> 2 * (octet % 4) & 3
        codes = _octet(table, _byte(source, 2 + octet) | upper << 8) | _signs(table, _byte(source, 34 + octet))
        _put_octet(block, octet, codes)
    for number in range(16):
        _put_scale(block, number, _byte(source, 74 + number // 2) >> 4 * (number % 2) & 15)


@helper
def read_iq3_xxs(source: int, block: int, table: int) -> None:
    """Reads IQ3_XXS: d, indices of quads, then for each 32 columns four indices of signs and a scale."""
    _put_d(block, _word(source, 0))
    for group in range(8):
        at = 66 + 4 * group
        rest = _word(source, at) | _word(source, at + 2) << 16
        _put_scale(block, group, rest >> 28)
        for octet in range(4 * group, 4 * group + 4):
            quads = _quads(table, _byte(source, 2 + 2 * octet), _byte(source, 3 + 2 * octet))
            _put_octet(block, octet, quads | _signs(table, rest >> 7 * (octet % 4) & 127))


@helper
def read_iq3_s(source: int, block: int, table: int) -> None:
    """Reads IQ3_S: d, lower 8 bits of indices of quads, their ninth bits, masks of signs, scales of 4 bits."""
    _put_d(block, _word(source, 0))
    for octet in range(32):
        upper = _byte(source, 66 + octet // 4) >> 2 * (octet % 4)
        first = _byte(source, 2 + 2 * octet) | (upper & 1) << 8
        second = _byte(source, 3 + 2 * octet) | (upper & 2) << 7
        _put_octet(block, octet, _quads(table, first, second) | _signs(table, _byte(source, 74 + octet)))
    for group in range(8):
        _put_scale(block, group, _byte(source, 106 + group // 2) >> 4 * (group % 2) & 15)


@helper
def read_iq1_s(source: int, block: int, table: int) -> None:
    """Reads IQ1_S: d, lower 8 bits of indices, then for each 32 columns their 3 upper bits, a scale and a shift."""
    _put_d(block, _word(source, 0))
    for group in range(8):
        rest = _word(source, 34 + 2 * group)
        _put_scale(block, group, rest >> 12 & 7)
        shift = _NEGATIVE_SHIFT if rest >> 15 else 0
        for octet in range(4):
            index = _byte(source, 2 + 4 * group + octet) | (rest >> 3 * octet & 7) << 8
            _put_octet(block, 4 * group + octet, _octet(table, index) | shift)


@helper
def read_iq1_m(source: int, block: int, table: int) -> None:
    """Reads IQ1_M: lower 8 bits of indices, nibbles of 3 upper bits and a shift, scales of 3 bits and d in 4 words."""
    bits = 0
    for number in range(4):
        word = _word(source, 48 + 2 * number)
        bits |= (word >> 12) << 4 * number
        for part in range(4):
            _put_scale(block, 4 * number + part, word >> 3 * part & 7)
    _put_d(block, bits)
    for octet in range(32):
        nibble = _byte(source, 32 + octet // 2) >> 4 * (octet % 2) & 15
        codes = _octet(table, _byte(source, octet) | (nibble & 7) << 8)
        _put_octet(block, octet, codes | _NEGATIVE_SHIFT if nibble & 8 else codes)
