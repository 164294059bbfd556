"""Layout of what a kernel needs to read matrices of experts from the model file, and of its scratch memory.

Such matrices have no tiles in memory. The kernel reads some rows of a chosen expert, packs them into tiles in scratch
memory, and multiplies with these. The bytes of the tiles are those that repacking makes, so that the bits of products
are the same.

Scratch memory: as of every kernel that calls another one (layouts/routing.py), then room for a packing step, then the
rows as the file has them, then their tiles.
"""

import numpy as np

from tui_llama.engine.layouts import amx_panel
from tui_llama.engine.layouts.repacking import STAGING_BYTES
from tui_llama.engine.layouts.routing import INNER_SCRATCH_AT
from tui_llama.engine.layouts.weight_tile import ROWS, TileFormat
from tui_llama.engine.machine.memory import padded

WILL_NEED = 3  # Linux's POSIX_FADV_WILLNEED

_MOST_TILE_ROWS = 4  # as many as share the loaded input of many tokens
_TILES_BYTES = 256 << 10  # of tiles that stay in a core's cache until they are multiplied

STAGING_AT = padded(INNER_SCRATCH_AT + amx_panel.SCRATCH_BYTES, 64)
ROWS_AT = STAGING_AT + STAGING_BYTES

FILE_EXPERTS = np.dtype(
    [
        ("read", np.int64),  # address of the C library's `pread`
        ("advise", np.int64),  # address of its `posix_fadvise`; 0 where there is none
        ("packer", np.int64),  # address of what packs 16 rows into tiles
        ("table", np.int64),  # of the packer; 0 where it needs none
        ("failure", np.int64),  # address of int64, which all matrices share: 1 after rows could not be read
        ("file", np.int64),  # descriptor
        ("first_byte", np.int64),  # where in the file the first expert's rows begin
        ("expert_bytes", np.int64),  # bytes from one expert's rows to the next in the file
        ("row_bytes", np.int64),
        ("rows", np.int64),  # of one expert's matrix
        ("step_bytes", np.int64),  # bytes of a row that one packing step reads
        ("step_tile_bytes", np.int64),  # bytes of tiles that it makes
        ("tile_rows_at_once", np.int64),
    ],
    align=True,
)
"""The matrices of one layer's experts."""


def tile_rows_at_once(layout: TileFormat, columns: int) -> int:
    """Returns how many tile rows are read, packed and multiplied at once."""
    return max(1, min(_MOST_TILE_ROWS, _TILES_BYTES // layout.matrix_bytes(ROWS, columns)))


def scratch_bytes(layout: TileFormat, columns: int) -> int:
    """Returns the bytes of scratch memory."""
    rows = tile_rows_at_once(layout, columns) * ROWS
    return ROWS_AT + padded(rows * layout.row_bytes(columns), 64) + layout.matrix_bytes(rows, columns)
