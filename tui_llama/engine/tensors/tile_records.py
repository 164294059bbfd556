"""Tile formats in memory, as the kernel that decodes single rows reads them; see layouts/tile_record.py."""

from functools import cache
from typing import Final

import numpy as np
import numpy.typing as npt

from tui_llama.engine.layouts.tile_record import (
    EXPONENT,
    FLOAT16,
    SMALL_FLOAT,
    TILE,
    VALUE_COUNT,
    VALUES_AT,
)
from tui_llama.engine.layouts.weight_tile import ScaleType, TileFormat

_SCALE_KINDS: Final = {
    ScaleType.FLOAT16: FLOAT16,
    ScaleType.EXPONENT: EXPONENT,
    ScaleType.SMALL_FLOAT: SMALL_FLOAT,
}


def record_address(layout: TileFormat) -> int:
    """Returns the address of a format's record, which stays there."""
    return int(_record(layout).ctypes.data)


@cache
def _record(layout: TileFormat) -> npt.NDArray[np.uint8]:
    """Returns the record and the values behind it, (bytes,) uint8."""
    computed = {"has_values": bool(layout.values), "scale_kind": _SCALE_KINDS[layout.scale_type]}
    memory = np.zeros(VALUES_AT + 4 * VALUE_COUNT, np.uint8)
    record = memory[:VALUES_AT].view(TILE)
    for name in TILE.names or ():
        record[name] = computed[name] if name in computed else getattr(layout, name)
    memory[VALUES_AT:].view(np.int32)[: len(layout.values)] = layout.values
    return memory
