"""The tables of types whose weights come from a grid, made from the gguf package's grids; see layouts/grid_table.py."""

from functools import cache

import numpy as np
import numpy.typing as npt

from tui_llama.engine.layouts.grid_table import GRID_AT, SIGN_ENTRIES
from tui_llama.engine.layouts.weight_tile import TileFormat

_SIGNS_BY_INDEX = ("IQ2_XXS", "IQ2_XS", "IQ3_XXS")  # an index of 7 bits; the eighth makes the number of signs even


def table_address(layout: TileFormat) -> int:
    """Returns the address of a type's table, which stays there; 0 for types without a grid."""
    return int(_table(layout).ctypes.data) if layout.grid_width else 0


@cache
def _table(layout: TileFormat) -> npt.NDArray[np.uint8]:
    """Returns the table, (bytes,) uint8. It takes some milliseconds, so only models of the type pay for it."""
    from gguf import quants  # late, because only these types need it

    kind = getattr(quants, layout.name)
    kind.init_grid()
    magnitudes = kind.grid.reshape(-1, layout.grid_width).astype(int)
    if layout.name.startswith("IQ1"):
        magnitudes = 8 * magnitudes + 1  # the table of values has eighths, with a shift of one or minus one
    codes = np.argmax(magnitudes[..., None] == np.array(layout.values), axis=-1)
    table = np.zeros(GRID_AT + codes.size, np.uint8)
    table[:GRID_AT] = _signs(layout).reshape(-1)
    table[GRID_AT:] = codes.reshape(-1)
    return table


def _signs(layout: TileFormat) -> npt.NDArray[np.uint8]:
    """Returns the bits of negative codes for each index of signs: (entries, 8) uint8."""
    masks = np.arange(SIGN_ENTRIES, dtype=np.uint8)
    if layout.name in _SIGNS_BY_INDEX:
        bits = np.unpackbits(masks[:, None] & np.uint8(127), axis=1, bitorder="little")
        bits[:, 7] = bits.sum(axis=1) % 2
    else:
        bits = np.unpackbits(masks[:, None], axis=1, bitorder="little")
    return bits * np.uint8(1 << (layout.code_bits - 1))
