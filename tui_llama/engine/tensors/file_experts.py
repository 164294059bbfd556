"""Experts whose weights stay in the model file, and the records by which kernels read them.

The system keeps what was read lately in memory, as long as nobody needs the memory more. So a model may be larger than
memory: what is missing there takes the time of the disk. layouts/file_experts.py says what a kernel does with a record.
"""

import ctypes
import os
from typing import Final

import numpy as np
import numpy.typing as npt

from tui_llama.engine import ops
from tui_llama.engine.gguf.file import GgufFile
from tui_llama.engine.layouts.file_experts import FILE_EXPERTS, tile_rows_at_once
from tui_llama.engine.layouts.weight_tile import TileFormat
from tui_llama.engine.tensors.grid_tables import table_address
from tui_llama.engine.tensors.matrices import Matrix

CAN_ASK_AHEAD: Final = hasattr(os, "POSIX_FADV_WILLNEED")
"""Whether the system takes advice about what will be read from a file."""

_CLOSED: Final = -1  # no descriptor: to read from it is an error
_READING_HINT: Final = "Check the disk or the network that it is on, then try again."


class FileExperts:
    """The experts of a model that stay in its file.

    Args:
        file: The model. If there are any such experts, it must stay open until `close`.
    """

    def __init__(self, file: GgufFile) -> None:
        self._file = file
        self._matrices: list[tuple[Matrix, npt.NDArray[np.void]]] = []
        self._failure = np.zeros(1, np.int64)

    def __bool__(self) -> bool:
        """True if there are any."""
        return bool(self._matrices)

    @property
    def layouts(self) -> set[TileFormat]:
        """The formats of all matrices added so far."""
        return {matrix.layout for matrix, _ in self._matrices}

    def add(self, matrix: Matrix, first_row: int, total_rows: int) -> npt.NDArray[np.void]:
        """Returns the record of matrices, () FILE_EXPERTS, which a kernel can use after `connect`.

        Args:
            matrix: The first expert's; it needs no tiles.
            first_row: Its first row in the first expert's rows of the tensor.
            total_rows: Rows of each expert in the tensor.
        """
        layout, columns = matrix.layout, matrix.columns
        record = np.zeros((), FILE_EXPERTS)
        record["file"] = _CLOSED
        record["row_bytes"], record["rows"] = layout.row_bytes(columns), matrix.rows
        record["first_byte"] = self._file.descriptor_and_offset(matrix.name)[1] + first_row * layout.row_bytes(columns)
        record["expert_bytes"] = total_rows * layout.row_bytes(columns)
        record["step_bytes"], record["step_tile_bytes"] = layout.packed_at_once
        record["tile_rows_at_once"] = tile_rows_at_once(layout, columns)
        record["failure"] = int(self._failure.ctypes.data)
        self._matrices.append((matrix, record))
        return record

    def connect(self) -> None:
        """Gives the records the open file and the compiled packers."""
        for matrix, record in self._matrices:
            record["file"] = self._file.descriptor_and_offset(matrix.name)[0]
            record["packer"], record["table"] = ops.packing(matrix.layout).address, table_address(matrix.layout)
            record["read"] = address_in_c_library("pread")
            record["advise"] = address_in_c_library("posix_fadvise") if CAN_ASK_AHEAD else 0

    def check(self) -> None:
        """Checks that everything read so far was read, and came from the file as it was opened.

        Raises:
            ModelFileError: somebody has written to the file, or it cannot be read.
        """
        if not self._matrices:
            return
        self._file.check_unchanged()
        if self._failure[0]:
            self._failure[0] = 0
            raise self._file.refuse("weights of experts cannot be read from the file", _READING_HINT)

    def close(self) -> None:
        """Takes the file from the records, and closes it. May be called again."""
        for _, record in self._matrices:
            record["file"] = _CLOSED
        self._file.close()


def address_in_c_library(name: str) -> int:
    """Returns where a function of the C library is in this process."""
    return ctypes.cast(getattr(ctypes.CDLL(None), name), ctypes.c_void_p).value or 0
