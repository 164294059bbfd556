"""Weight formats as data: how a GGUF block of each type becomes a tile.

A tile holds 16 rows of one quantisation block (32 or 256 columns). Its bytes are arranged so that one 64-byte vector
holds four consecutive columns of all 16 rows: byte 4·r + i belongs to row r. In every 32 columns the eight groups of
four are numbered q = 0 … 7. In this order a tile holds

    d         f16[16]        scale of each row
    m         f16[16]        minimum (Q4_1, Q5_1) or its scale (Q4_K, Q5_K)
    scales    u8[4][16][2]   sub-block scales of Q4_K and Q5_K, unpacked from 6 bits, in pairs of neighbours;
                             i8[8][16][2] for Q6_K
    minima    u8[4][16][2]   sub-block minima of Q4_K and Q5_K, in pairs too
    codes     for each 32 columns: u8[8][64], or u8[4][64] where group q has the low nibbles of vector q, q < 4, and
              the high nibbles of vector q - 4 otherwise
    high      for each 32 columns: one bit more, u8[64] with the bit of group q at bit q; or two bits more, u8[2][64]
              with those of group q in vector q // 4 at bits 2·(q % 4)

Codes are unsigned; `code_offset` is subtracted when a value is made: d·(code - offset), or d·code + m, or
d·scale·(code - offset) - m·minimum. Float matrices have tiles of 16 rows × one column.

Source of the block formats: ggml-quants, by way of the type's public descriptions.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from tui_llama.engine.compilation import helper, kernel
from tui_llama.engine.simd import float32_at, int32_at, load_half, uint8_at

ROWS = 16


@dataclass(frozen=True, slots=True)
class TileFormat:
    """One weight type as a file block and as a tile.

    Args:
        name: The type's name in GGUF.
        type_id: The type's number in GGUF.
        columns: Columns of a block; 1 for floats.
        block_bytes: Bytes of one row's block in the file.
        code_bits: 4, 5, 6 or 8; 0 for floats.
        code_offset: What a code of 0 stands for, negated.
        has_minimum: Whether there is an additive part.
        scale_count: Sub-block scales in a block.
    """

    name: str
    type_id: int
    columns: int
    block_bytes: int
    code_bits: int = 0
    code_offset: int = 0
    has_minimum: bool = False
    scale_count: int = 0

    @property
    def is_float(self) -> bool:
        """Whether the weights are not quantised, so that activations stay float32."""
        return self.code_bits == 0

    @property
    def scales_at(self) -> int:
        """Offset of the sub-block scales in a tile, bytes."""
        return 2 * ROWS * (2 if self.has_minimum else 1)

    @property
    def minima_at(self) -> int:
        """Offset of the sub-block minima in a tile, bytes."""
        return self.scales_at + ROWS * self.scale_count

    @property
    def codes_at(self) -> int:
        """Offset of the codes in a tile, bytes."""
        return self.minima_at + (ROWS * self.scale_count if self.has_minimum else 0)

    @property
    def code_stride(self) -> int:
        """Bytes of the codes of 32 columns."""
        return 512 if self.code_bits == 8 else 256

    @property
    def high_at(self) -> int:
        """Offset of the codes' upper bits in a tile, bytes."""
        return self.codes_at + self.code_stride * self.columns // 32

    @property
    def high_stride(self) -> int:
        """Bytes of the upper bits of 32 columns."""
        return {5: 64, 6: 128}.get(self.code_bits, 0)

    @property
    def tile_bytes(self) -> int:
        """Bytes of one tile."""
        if self.is_float:
            return ROWS * self.block_bytes
        return self.high_at + self.high_stride * self.columns // 32

    def row_bytes(self, columns: int) -> int:
        """Bytes of one row of `columns` in the file."""
        return columns // self.columns * self.block_bytes

    def matrix_bytes(self, rows: int, columns: int) -> int:
        """Bytes of a matrix in tiles; the last tile is filled up with zeros."""
        return -(-rows // ROWS) * (columns // self.columns) * self.tile_bytes


F32_FORMAT = TileFormat("F32", 0, 1, 4)
F16_FORMAT = TileFormat("F16", 1, 1, 2)
BF16_FORMAT = TileFormat("BF16", 30, 1, 2)
Q4_0_FORMAT = TileFormat("Q4_0", 2, 32, 18, 4, code_offset=8)
Q4_1_FORMAT = TileFormat("Q4_1", 3, 32, 20, 4, has_minimum=True)
Q5_0_FORMAT = TileFormat("Q5_0", 6, 32, 22, 5, code_offset=16)
Q5_1_FORMAT = TileFormat("Q5_1", 7, 32, 24, 5, has_minimum=True)
Q8_0_FORMAT = TileFormat("Q8_0", 8, 32, 34, 8, code_offset=128)
Q4_K_FORMAT = TileFormat("Q4_K", 12, 256, 144, 4, has_minimum=True, scale_count=8)
Q5_K_FORMAT = TileFormat("Q5_K", 13, 256, 176, 5, has_minimum=True, scale_count=8)
Q6_K_FORMAT = TileFormat("Q6_K", 14, 256, 210, 6, code_offset=32, scale_count=16)

FORMATS = {
    tile_format.type_id: tile_format
    for tile_format in (
        F32_FORMAT, F16_FORMAT, BF16_FORMAT, Q4_0_FORMAT, Q4_1_FORMAT, Q5_0_FORMAT, Q5_1_FORMAT, Q8_0_FORMAT,
        Q4_K_FORMAT, Q5_K_FORMAT, Q6_K_FORMAT,
    )
}  # fmt: skip

# --- file rows → float32, for the embedding ---------------------------------------------------------------------------
# Column by column, without arrays in between: that is quick enough for a row, and compiles in a fraction of the time.

_F32, _F16, _BF16 = 0, 1, 30
_Q4_0, _Q4_1, _Q5_0, _Q5_1, _Q8_0, _Q4_K, _Q5_K, _Q6_K = 2, 3, 6, 7, 8, 12, 13, 14


@kernel
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
        _dequantize_32(source, out, columns, type_id)


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
        # Eight scales and minima of 6 bits: the upper four have their last two bits on top of the lower four.
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
