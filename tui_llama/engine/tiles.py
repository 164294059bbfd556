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

from tui_llama.engine.compilation import kernel
from tui_llama.engine.simd import float32_at, load_half, uint8_at

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

# --- file block → codes, scales, minima ------------------------------------------------------------------------------

_Q4_0, _Q4_1, _Q5_0, _Q5_1, _Q8_0, _Q4_K, _Q5_K, _Q6_K = 2, 3, 6, 7, 8, 12, 13, 14


@kernel
def _unpack_32(type_id: int, block: Any, codes: Any) -> None:
    """Codes of one block of 32 columns, in column order."""
    if type_id == _Q8_0:
        for k in range(32):
            codes[k] = block[2 + k] ^ 0x80
        return
    has_fifth_bit = type_id in (_Q5_0, _Q5_1)
    at = 4 if type_id in (_Q4_1, _Q5_1) else 2
    nibbles = at + 4 if has_fifth_bit else at
    for k in range(16):
        codes[k] = block[nibbles + k] & 15
        codes[k + 16] = block[nibbles + k] >> 4
    if has_fifth_bit:
        for k in range(32):
            codes[k] |= (block[at + k // 8] >> (k % 8) & 1) << 4


@kernel
def _unpack_k_scales(packed: Any, at: int, scales: Any, minima: Any) -> None:
    """Eight 6-bit scales and minima from the 12 bytes of Q4_K and Q5_K."""
    for j in range(4):
        scales[j] = packed[at + j] & 63
        minima[j] = packed[at + 4 + j] & 63
        scales[j + 4] = (packed[at + 8 + j] & 15) | (packed[at + j] >> 6) << 4
        minima[j + 4] = packed[at + 8 + j] >> 4 | (packed[at + 4 + j] >> 6) << 4


@kernel
def _unpack_256(type_id: int, block: Any, codes: Any, scales: Any, minima: Any) -> None:
    """Codes, scales and minima of one block of 256 columns, codes in column order; Q6_K's scales are i8 bits."""
    if type_id == _Q6_K:
        for half in range(2):
            for k in range(32):
                low, high = block[64 * half + k], block[128 + 32 * half + k]
                next_low = block[64 * half + 32 + k]
                codes[128 * half + k] = (low & 15) | (high & 3) << 4
                codes[128 * half + 32 + k] = (next_low & 15) | (high >> 2 & 3) << 4
                codes[128 * half + 64 + k] = low >> 4 | (high >> 4 & 3) << 4
                codes[128 * half + 96 + k] = next_low >> 4 | high >> 6 << 4
        for s in range(16):
            scales[s] = block[192 + s]
        return
    _unpack_k_scales(block, 4, scales, minima)
    quants = 16 if type_id == _Q4_K else 48
    for group in range(4):
        for k in range(32):
            codes[64 * group + k] = block[quants + 32 * group + k] & 15
            codes[64 * group + 32 + k] = block[quants + 32 * group + k] >> 4
    if type_id == _Q5_K:
        for column in range(256):
            codes[column] |= (block[16 + column % 32] >> (column // 32) & 1) << 4


# --- file rows → float32, for the embedding ---------------------------------------------------------------------------


@kernel
def dequantize_row(source: int, out: Any, columns: int, type_id: int) -> None:
    """Decodes one row of a quantised or float matrix as it lies in the file.

    Args:
        source: Address of the row.
        out: (columns,) float32, overwritten.
        columns: Length of the row.
        type_id: GGUF type, one of `FORMATS`.
    """
    if type_id == 0:
        for column in range(columns):
            out[column] = float32_at(np.uintp(source))[column]
    elif type_id == 1:
        for column in range(columns):
            out[column] = load_half(np.uintp(source + 2 * column))
    elif type_id == 30:
        words = out.view(np.uint32)
        for column in range(columns):
            low, high = uint8_at(np.uintp(source))[2 * column], uint8_at(np.uintp(source))[2 * column + 1]
            words[column] = (np.uint32(low) | np.uint32(high) << np.uint32(8)) << np.uint32(16)
    elif type_id in (_Q4_K, _Q5_K, _Q6_K):
        _dequantize_row_256(source, out, columns, type_id)
    else:
        _dequantize_row_32(source, out, columns, type_id)


@kernel
def _dequantize_row_32(source: int, out: Any, columns: int, type_id: int) -> None:
    codes = np.empty(32, np.uint8)
    has_minimum = type_id in (_Q4_1, _Q5_1)
    block_bytes = 34
    offset = np.float32(128.0)
    if type_id == _Q4_0:
        block_bytes, offset = 18, np.float32(8.0)
    elif type_id == _Q4_1:
        block_bytes, offset = 20, np.float32(0.0)
    elif type_id == _Q5_0:
        block_bytes, offset = 22, np.float32(16.0)
    elif type_id == _Q5_1:
        block_bytes, offset = 24, np.float32(0.0)
    for block_index in range(columns // 32):
        at = source + block_index * block_bytes
        _unpack_32(type_id, uint8_at(np.uintp(at)), codes)
        d = load_half(np.uintp(at))
        minimum = load_half(np.uintp(at + 2)) if has_minimum else np.float32(0.0)
        for k in range(32):
            out[32 * block_index + k] = d * (np.float32(codes[k]) - offset) + minimum


@kernel
def _dequantize_row_256(source: int, out: Any, columns: int, type_id: int) -> None:
    codes, scales, minima = np.empty(256, np.uint8), np.empty(16, np.uint8), np.empty(16, np.uint8)
    block_bytes = 210
    if type_id == _Q4_K:
        block_bytes = 144
    elif type_id == _Q5_K:
        block_bytes = 176
    for block_index in range(columns // 256):
        at = source + block_index * block_bytes
        _unpack_256(type_id, uint8_at(np.uintp(at)), codes, scales, minima)
        base = 256 * block_index
        if type_id == _Q6_K:
            d = load_half(np.uintp(at + 208))
            for column in range(256):
                scale = d * np.float32(np.int8(scales[column // 16]))
                out[base + column] = scale * (np.float32(codes[column]) - np.float32(32.0))
        else:
            d, dmin = load_half(np.uintp(at)), load_half(np.uintp(at + 2))
            for column in range(256):
                scale, minimum = d * np.float32(scales[column // 32]), dmin * np.float32(minima[column // 32])
                out[base + column] = scale * np.float32(codes[column]) - minimum
