"""Weight formats as data: how a GGUF block of each type becomes a tile.

A tile holds 16 rows of one quantisation block (32 or 256 columns), or of 32 columns of a block of 64 or 128. Its bytes
are arranged so that one 64-byte vector holds four consecutive columns of all 16 rows: byte 4·r + i belongs to row r. A
dot product then yields one sum per row and no sum runs across lanes. In every 32 columns the eight groups of four are
numbered q = 0 … 7. A tile holds, in this order:

    d         f16[16]        scale of each row; u8[16] for MXFP4; u8[2][16] for NVFP4, of 16 columns each
    m         f16[16]        minimum (Q4_1, Q5_1) or its scale (Q2_K, Q4_K, Q5_K)
    scales    u8[4][16][2]   sub-block scales of Q4_K and Q5_K, unpacked from 6 bits, in pairs of neighbours;
                             i8[4 or 8][16][2] where they have a sign; u8[8][16][2] for Q2_K: scales in the lower
                             nibbles, minima in the upper ones
    minima    u8[4][16][2]   sub-block minima of Q4_K and Q5_K, in pairs too
    codes     for each 32 columns a plane of the codes' lower bits: 8, 4, 2 bits or 1
    high      for each 32 columns a plane of the other bits: 2 bits or 1, or none

A plane holds some bits of every code: 8 bits as u8[8][64], group q in vector q; 4 bits as u8[4][64], groups q and
q + 4 in the low and high nibbles of vector q; 2 bits as u8[2][64], group q in vector q // 4 at bits 2·(q % 4); 1 bit as
u8[64], group q at bit q. Codes of 5 and 6 bits have their lower 4 in the first plane, codes of 3 bits their lower 2.

Codes are unsigned; `code_offset` is subtracted when a value is made: d·(code - offset), or d·code + m, or
d·scale·(code - offset) - m·minimum. Where a type has a table, each code stands for the whole number `values[code]`.
Kernels look up `values[code]` + offset, a byte without a sign, and go on with it as with a code. Float matrices have
tiles of 16 rows × one column.

Source of the block formats: ggml-quants, by way of the type's public descriptions.
"""

from dataclasses import dataclass
from enum import Enum, auto

ROWS = 16
GROUP_BYTES = 16  # of one row of floats: four words


class ScaleType(Enum):
    """How a tile holds the scales d."""

    FLOAT16 = auto()
    EXPONENT = auto()
    """An unsigned byte e for 2^(e - 128). These may be smaller and larger than any float16."""
    SMALL_FLOAT = auto()
    """Half of an unsigned float of 8 bits: 4 of exponent with bias 7, and 3 of fraction."""


@dataclass(frozen=True, slots=True)
class TileFormat:
    """Layout of one weight type: its block in the file and its tile.

    Args:
        name: The type's name in GGUF.
        type_id: The type's number in GGUF.
        columns: Columns of a tile, which are those of a block of the input: 32 or 256; 1 for floats.
        block_bytes: Bytes of one row's block in the file.
        code_bits: 1, 2, 3, 4, 5, 6 or 8; 0 for floats.
        code_offset: Number subtracted from a code.
        has_minimum: True if a minimum is added to each value.
        scale_count: Sub-block scales in a block.
        scales_are_nibbles: True if a sub-block's scale and minimum share a byte.
        values: The whole number that each code stands for; empty where that is the code minus the offset.
        scale_type: How d is held.
        scales_of_columns: Scales d of a row in a tile: 2 if the first and the last 16 columns have their own.
        tiles_of_block: Tiles, side by side, that a block of the file fills.
        d_factor: What d is multiplied by when it is read, a power of two.
        grid_width: Weights that the file names together, by an index into a grid; see layouts/grid_table.py.
        byte_offset: Number that makes a byte without a sign of each (code - offset) × scale of a sub-block, or of each
            code - offset where there is no such scale; none if these numbers need more bits.
    """

    name: str
    type_id: int
    columns: int
    block_bytes: int
    code_bits: int = 0
    code_offset: int = 0
    has_minimum: bool = False
    scale_count: int = 0
    scales_are_nibbles: bool = False
    values: tuple[int, ...] = ()
    scale_type: ScaleType = ScaleType.FLOAT16
    scales_of_columns: int = 1
    tiles_of_block: int = 1
    d_factor: float = 1.0
    grid_width: int = 0
    byte_offset: int | None = None

    @property
    def is_float(self) -> bool:
        """True if the weights are not quantised; activations then stay float32."""
        return self.code_bits == 0

    @property
    def table(self) -> tuple[int, ...]:
        """What is looked up for each code: its value plus the offset, from 0 to 255; empty without a table."""
        return tuple(value + self.code_offset for value in self.values)

    @property
    def value_bits(self) -> int:
        """Bits of a code, or of what is looked up for it."""
        return max(self.table).bit_length() if self.values else self.code_bits

    @property
    def largest_code(self) -> int:
        """The largest code, or the largest number that is looked up for one."""
        return max(self.table, default=(1 << self.code_bits) - 1)

    @property
    def minimum_at(self) -> int:
        """Offset of m in a tile, bytes."""
        return ROWS * self.scales_of_columns * (2 if self.scale_type is ScaleType.FLOAT16 else 1)

    @property
    def scales_are_halved(self) -> bool:
        """True if AMX multiplies with the lower and the upper three bits of a sub-block's scale; see amx.py."""
        return self.has_minimum and self.scale_count == 8

    @property
    def scales_at(self) -> int:
        """Offset of the sub-block scales in a tile, bytes."""
        return self.minimum_at + (2 * ROWS if self.has_minimum else 0)

    @property
    def minima_at(self) -> int:
        """Offset of the sub-block minima in a tile, bytes."""
        return self.scales_at + ROWS * self.scale_count

    @property
    def codes_at(self) -> int:
        """Offset of the first planes in a tile, bytes."""
        return self.minima_at + (ROWS * self.scale_count if self.has_minimum and not self.scales_are_nibbles else 0)

    @property
    def low_bits(self) -> int:
        """Bits of a code in the first plane."""
        return {3: 2, 5: 4, 6: 4}.get(self.code_bits, self.code_bits)

    @property
    def high_bits(self) -> int:
        """Bits of a code in the second plane."""
        return self.code_bits - self.low_bits

    @property
    def code_stride(self) -> int:
        """Bytes of the first plane of 32 columns."""
        return 64 * self.low_bits

    @property
    def high_at(self) -> int:
        """Offset of the second planes in a tile, bytes."""
        return self.codes_at + self.code_stride * self.columns // 32

    @property
    def high_stride(self) -> int:
        """Bytes of the second plane of 32 columns."""
        return 64 * self.high_bits

    @property
    def tile_bytes(self) -> int:
        """Bytes of one tile."""
        if self.is_float:
            return ROWS * self.block_bytes
        return self.high_at + self.high_stride * self.columns // 32

    @property
    def block_columns(self) -> int:
        """Columns of a block in the file."""
        return self.columns * self.tiles_of_block

    @property
    def packed_at_once(self) -> tuple[int, int]:
        """Bytes of each row that one packing step reads, and bytes of tiles that it makes from 16 rows."""
        if self.is_float:
            return GROUP_BYTES, ROWS * GROUP_BYTES
        return self.block_bytes, self.tiles_of_block * self.tile_bytes

    def row_bytes(self, columns: int) -> int:
        """Returns the bytes of one row of `columns` in the file."""
        return columns // self.block_columns * self.block_bytes

    def bytes_in_tiles(self, stored_bytes: int) -> int:
        """Returns the bytes that so many bytes of the file take in tiles, without what fills the last tile row up."""
        return stored_bytes // self.block_bytes * self.tiles_of_block * self.tile_bytes // ROWS

    def matrix_bytes(self, rows: int, columns: int) -> int:
        """Returns the bytes of a matrix in tiles; the last tile row is filled up with zeros."""
        return -(-rows // ROWS) * (columns // self.columns) * self.tile_bytes


_IQ4_VALUES = (-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113)
_FP4_VALUES = (0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12)  # twice those of E2M1

F32_FORMAT = TileFormat("F32", 0, 1, 4)
F16_FORMAT = TileFormat("F16", 1, 1, 2)
BF16_FORMAT = TileFormat("BF16", 30, 1, 2)
Q4_0_FORMAT = TileFormat("Q4_0", 2, 32, 18, 4, code_offset=8)
Q4_1_FORMAT = TileFormat("Q4_1", 3, 32, 20, 4, has_minimum=True)
Q5_0_FORMAT = TileFormat("Q5_0", 6, 32, 22, 5, code_offset=16)
Q5_1_FORMAT = TileFormat("Q5_1", 7, 32, 24, 5, has_minimum=True)
Q8_0_FORMAT = TileFormat("Q8_0", 8, 32, 34, 8, code_offset=128)
IQ4_NL_FORMAT = TileFormat("IQ4_NL", 20, 32, 18, 4, code_offset=128, values=_IQ4_VALUES)
MXFP4_FORMAT = TileFormat("MXFP4", 39, 32, 17, 4, code_offset=16, values=_FP4_VALUES, scale_type=ScaleType.EXPONENT)
NVFP4_FORMAT = TileFormat(
    "NVFP4", 40, 32, 36, 4, code_offset=16, values=_FP4_VALUES, scale_type=ScaleType.SMALL_FLOAT, scales_of_columns=2,
    tiles_of_block=2,
)  # fmt: skip
Q1_0_FORMAT = TileFormat("Q1_0", 41, 32, 18, 1, code_offset=8, values=(-1, 1), tiles_of_block=4)
Q2_0_FORMAT = TileFormat("Q2_0", 42, 32, 18, 2, code_offset=8, values=(-1, 0, 1, 2), tiles_of_block=2)
Q2_K_FORMAT = TileFormat(
    "Q2_K", 10, 256, 84, 2, has_minimum=True, scale_count=16, scales_are_nibbles=True, byte_offset=0
)  # fmt: skip
Q3_K_FORMAT = TileFormat("Q3_K", 11, 256, 110, 3, code_offset=4, scale_count=16, byte_offset=127)
Q4_K_FORMAT = TileFormat("Q4_K", 12, 256, 144, 4, has_minimum=True, scale_count=8)
Q5_K_FORMAT = TileFormat("Q5_K", 13, 256, 176, 5, has_minimum=True, scale_count=8)
Q6_K_FORMAT = TileFormat("Q6_K", 14, 256, 210, 6, code_offset=32, scale_count=16)
IQ4_XS_FORMAT = TileFormat("IQ4_XS", 23, 256, 136, 4, code_offset=128, scale_count=8, values=_IQ4_VALUES)
TQ1_0_FORMAT = TileFormat("TQ1_0", 34, 256, 54, 2, code_offset=1, byte_offset=1)
TQ2_0_FORMAT = TileFormat("TQ2_0", 35, 256, 66, 2, code_offset=1, byte_offset=1)

# Codes of magnitudes, and then those of the same below zero; IQ1 has shifts up and down instead. Scales are odd.
_IQ2_VALUES = (8, 25, 43, 0, -8, -25, -43, 0)
_IQ3_XXS_VALUES = (4, 12, 20, 28, 36, 44, 52, 62, -4, -12, -20, -28, -36, -44, -52, -62)
_IQ3_S_VALUES = (1, 3, 5, 7, 9, 11, 13, 15, -1, -3, -5, -7, -9, -11, -13, -15)
_IQ1_VALUES = (-7, 1, 9, 0, -9, -1, 7, 0)


def _grid_format(
    name: str, type_id: int, block_bytes: int, values: tuple[int, ...], scale_count: int, d_factor: float, width: int
) -> TileFormat:
    bits, offset = (4 if len(values) == 16 else 3), 1 << max(map(abs, values)).bit_length()
    return TileFormat(
        name, type_id, 256, block_bytes, bits, offset, scale_count=scale_count, values=values, d_factor=d_factor,
        grid_width=width,
    )  # fmt: skip


IQ2_XXS_FORMAT = _grid_format("IQ2_XXS", 16, 66, _IQ2_VALUES, 8, 1 / 8, 8)
IQ2_XS_FORMAT = _grid_format("IQ2_XS", 17, 74, _IQ2_VALUES, 16, 1 / 8, 8)
IQ2_S_FORMAT = _grid_format("IQ2_S", 22, 82, _IQ2_VALUES, 16, 1 / 8, 8)
IQ3_XXS_FORMAT = _grid_format("IQ3_XXS", 18, 98, _IQ3_XXS_VALUES, 8, 1 / 4, 4)
IQ3_S_FORMAT = _grid_format("IQ3_S", 21, 110, _IQ3_S_VALUES, 8, 1.0, 4)
IQ1_S_FORMAT = _grid_format("IQ1_S", 19, 50, _IQ1_VALUES, 8, 1 / 8, 8)
IQ1_M_FORMAT = _grid_format("IQ1_M", 29, 56, _IQ1_VALUES, 16, 1 / 8, 8)

FORMATS = {
    tile_format.type_id: tile_format
    for tile_format in (
        IQ1_S_FORMAT, IQ1_M_FORMAT, IQ2_XXS_FORMAT, IQ2_XS_FORMAT, IQ2_S_FORMAT, IQ3_XXS_FORMAT, IQ3_S_FORMAT,
        F32_FORMAT, F16_FORMAT, BF16_FORMAT, Q4_0_FORMAT, Q4_1_FORMAT, Q5_0_FORMAT, Q5_1_FORMAT, Q8_0_FORMAT,
        IQ4_NL_FORMAT, MXFP4_FORMAT, NVFP4_FORMAT, Q1_0_FORMAT, Q2_0_FORMAT, Q2_K_FORMAT, Q3_K_FORMAT, Q4_K_FORMAT,
        Q5_K_FORMAT, Q6_K_FORMAT, IQ4_XS_FORMAT, TQ1_0_FORMAT, TQ2_0_FORMAT,
    )
}  # fmt: skip
