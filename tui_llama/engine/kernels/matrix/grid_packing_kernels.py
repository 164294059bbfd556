"""The kernels that pack blocks of types whose weights come from a grid, 16 rows at a time; see grid_blocks.py.

Their arguments: address of the first block, bytes from one row to the next, address of the tiles, number of blocks,
address of the type's table.
"""

from tui_llama.engine.kernels.matrix.grid_blocks import (
    read_iq1_m,
    read_iq1_s,
    read_iq2_s,
    read_iq2_xs,
    read_iq2_xxs,
    read_iq3_s,
    read_iq3_xxs,
)
from tui_llama.engine.kernels.matrix.pack_grid import room_for_blocks, tile_filler
from tui_llama.engine.layouts import weight_tile
from tui_llama.engine.layouts.grid_table import READ_BLOCK_BYTES
from tui_llama.engine.layouts.weight_tile import ROWS

# Written out one by one, because the compiler finds a kernel by its name in the module, and knows no format in it.
_iq2_xxs = tile_filler(weight_tile.IQ2_XXS_FORMAT, "iq2_xxs")
_iq2_xs = tile_filler(weight_tile.IQ2_XS_FORMAT, "iq2_xs")
_iq2_s = tile_filler(weight_tile.IQ2_S_FORMAT, "iq2_s")
_iq3_xxs = tile_filler(weight_tile.IQ3_XXS_FORMAT, "iq3_xxs")
_iq3_s = tile_filler(weight_tile.IQ3_S_FORMAT, "iq3_s")
_iq1_s = tile_filler(weight_tile.IQ1_S_FORMAT, "iq1_s")
_iq1_m = tile_filler(weight_tile.IQ1_M_FORMAT, "iq1_m")
_SIZES_IQ2_XXS = weight_tile.IQ2_XXS_FORMAT.packed_at_once
_SIZES_IQ2_XS = weight_tile.IQ2_XS_FORMAT.packed_at_once
_SIZES_IQ2_S = weight_tile.IQ2_S_FORMAT.packed_at_once
_SIZES_IQ3_XXS = weight_tile.IQ3_XXS_FORMAT.packed_at_once
_SIZES_IQ3_S = weight_tile.IQ3_S_FORMAT.packed_at_once
_SIZES_IQ1_S = weight_tile.IQ1_S_FORMAT.packed_at_once
_SIZES_IQ1_M = weight_tile.IQ1_M_FORMAT.packed_at_once


def pack_iq2_xxs(source: int, row_bytes: int, target: int, blocks: int, table: int) -> None:
    """Packs blocks of IQ2_XXS."""
    (block_bytes, tile_bytes), room = _SIZES_IQ2_XXS, room_for_blocks(ROWS)
    for block in range(blocks):
        for row in range(ROWS):
            read_iq2_xxs(source + row * row_bytes + block * block_bytes, room + row * READ_BLOCK_BYTES, table)
        _iq2_xxs(room, target + block * tile_bytes)


def pack_iq2_xs(source: int, row_bytes: int, target: int, blocks: int, table: int) -> None:
    """Packs blocks of IQ2_XS."""
    (block_bytes, tile_bytes), room = _SIZES_IQ2_XS, room_for_blocks(ROWS)
    for block in range(blocks):
        for row in range(ROWS):
            read_iq2_xs(source + row * row_bytes + block * block_bytes, room + row * READ_BLOCK_BYTES, table)
        _iq2_xs(room, target + block * tile_bytes)


def pack_iq2_s(source: int, row_bytes: int, target: int, blocks: int, table: int) -> None:
    """Packs blocks of IQ2_S."""
    (block_bytes, tile_bytes), room = _SIZES_IQ2_S, room_for_blocks(ROWS)
    for block in range(blocks):
        for row in range(ROWS):
            read_iq2_s(source + row * row_bytes + block * block_bytes, room + row * READ_BLOCK_BYTES, table)
        _iq2_s(room, target + block * tile_bytes)


def pack_iq3_xxs(source: int, row_bytes: int, target: int, blocks: int, table: int) -> None:
    """Packs blocks of IQ3_XXS."""
    (block_bytes, tile_bytes), room = _SIZES_IQ3_XXS, room_for_blocks(ROWS)
    for block in range(blocks):
        for row in range(ROWS):
            read_iq3_xxs(source + row * row_bytes + block * block_bytes, room + row * READ_BLOCK_BYTES, table)
        _iq3_xxs(room, target + block * tile_bytes)


def pack_iq3_s(source: int, row_bytes: int, target: int, blocks: int, table: int) -> None:
    """Packs blocks of IQ3_S."""
    (block_bytes, tile_bytes), room = _SIZES_IQ3_S, room_for_blocks(ROWS)
    for block in range(blocks):
        for row in range(ROWS):
            read_iq3_s(source + row * row_bytes + block * block_bytes, room + row * READ_BLOCK_BYTES, table)
        _iq3_s(room, target + block * tile_bytes)


def pack_iq1_s(source: int, row_bytes: int, target: int, blocks: int, table: int) -> None:
    """Packs blocks of IQ1_S."""
    (block_bytes, tile_bytes), room = _SIZES_IQ1_S, room_for_blocks(ROWS)
    for block in range(blocks):
        for row in range(ROWS):
            read_iq1_s(source + row * row_bytes + block * block_bytes, room + row * READ_BLOCK_BYTES, table)
        _iq1_s(room, target + block * tile_bytes)


def pack_iq1_m(source: int, row_bytes: int, target: int, blocks: int, table: int) -> None:
    """Packs blocks of IQ1_M."""
    (block_bytes, tile_bytes), room = _SIZES_IQ1_M, room_for_blocks(ROWS)
    for block in range(blocks):
        for row in range(ROWS):
            read_iq1_m(source + row * row_bytes + block * block_bytes, room + row * READ_BLOCK_BYTES, table)
        _iq1_m(room, target + block * tile_bytes)
