"""Weight matrices in tiles, as kernels read them."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tui_llama.engine.layouts.weight_tile import ROWS, TileFormat
from tui_llama.engine.machine.memory import padded

ByteArray = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Matrix:
    """A matrix in tiles.

    Args:
        name: The tensor's name.
        layout: The format of its tiles.
        rows: Outputs.
        columns: Inputs.
        data: (bytes,) uint8, the tiles.
    """

    name: str
    layout: TileFormat
    rows: int
    columns: int
    data: ByteArray

    @property
    def tile_count(self) -> int:
        """Number of tile rows."""
        return padded(self.rows, ROWS) // ROWS

    @property
    def blocks(self) -> int:
        """Tiles in a tile row."""
        return self.columns // self.layout.columns

    @property
    def tile_row_bytes(self) -> int:
        """Bytes of a tile row."""
        return self.blocks * self.layout.tile_bytes


@dataclass(frozen=True, slots=True)
class ExpertMatrices:
    """Matrices of the same shape, one for each expert of a layer: in tiles, or in the model file.

    Args:
        name: The tensor's name.
        first: The first expert's matrix; the others follow it.
        count: Experts.
        data: (bytes,) uint8, the tiles of all; none where they are in the file.
        in_file: () FILE_EXPERTS, by which a kernel reads them from the file; None where they are in tiles.
    """

    name: str
    first: Matrix
    count: int
    data: ByteArray
    in_file: npt.NDArray[np.void] | None = None

    @property
    def expert_bytes(self) -> int:
        """Bytes of one expert's weights, as they are read: in tiles, or in the file."""
        first = self.first
        return len(first.data) if self.in_file is None else first.rows * first.layout.row_bytes(first.columns)
