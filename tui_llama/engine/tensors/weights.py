"""A model's weights as kernels read them: matrices in tiles, vectors in float32.

This module checks shapes against the architecture before a kernel gets an address. After repacking, nothing is read
from the file any more, except experts that stay there.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from operator import attrgetter

import numpy as np
import numpy.typing as npt

from tui_llama.engine import ops
from tui_llama.engine.gguf.file import GgufFile, TensorInfo
from tui_llama.engine.layouts import weight_tile
from tui_llama.engine.layouts.weight_tile import FORMATS, TileFormat
from tui_llama.engine.machine.memory import ZeroedRegions, padded, zeroed_array
from tui_llama.engine.tensors.file_experts import FileExperts
from tui_llama.engine.tensors.matrices import ByteArray, ExpertMatrices, Matrix
from tui_llama.engine.tensors.repacking import Repacking, Source

FloatArray = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class _Part:
    """A matrix, and the row of its tensor that it begins with."""

    matrix: Matrix
    first_row: int


@dataclass
class Weights:
    """Takes tensors from a file on demand, each one once, and counts the bytes to repack.

    A matrix is filled with zeros until `repacking` fills them all.

    Args:
        file: The model.
        names_in_file: Tensors of experts that stay in the file.
    """

    file: GgufFile
    names_in_file: frozenset[str] = frozenset()
    file_experts: FileExperts = field(init=False)
    _matrices: dict[tuple[str, int, int], _Part] = field(default_factory=dict)
    _memory: ZeroedRegions = field(default_factory=ZeroedRegions)

    def __post_init__(self) -> None:
        self.file_experts = FileExperts(self.file)

    def has(self, name: str) -> bool:
        """Tells whether the file has a tensor of that name."""
        return name in self.file.tensors

    def matrix(self, name: str, rows: int, columns: int) -> Matrix:
        """Returns the matrix of that name; its tiles are zeros until `repacking`.

        Raises:
            ModelFileError: it is missing, of another shape, or of a type that is none of weights.
        """
        return self.matrix_rows(name, (0, rows, rows), columns)

    def matrix_rows(self, name: str, first_count_total: tuple[int, int, int], columns: int, slabs: int = 1) -> Matrix:
        """Returns a range of rows of a matrix as a matrix of its own; its tiles are zeros until `repacking`.

        Args:
            name: The tensor.
            first_count_total: The first row, the number of rows, and the rows of the whole tensor.
            columns: Elements of a row.
            slabs: Matrices of the tensor that lie in a third dimension, whose rows are counted on.

        Raises:
            ModelFileError: the tensor is missing, of another shape, or of a type that is none of weights.
        """
        first, rows, total = first_count_total
        key = (name, first, rows)
        if key not in self._matrices:
            layout = FORMATS[matrix_info(self.file, name, (columns, total // slabs, slabs)).type_id]
            data = self._memory.take(layout.matrix_bytes(rows, columns))
            self._matrices[key] = _Part(Matrix(name, layout, rows, columns, data), first)
        return self._matrices[key].matrix

    def expert_matrices(
        self, name: str, count: int, first_count_total: tuple[int, int, int], columns: int
    ) -> ExpertMatrices:
        """Returns a range of rows of each expert's matrix; tiles are zeros until `repacking`.

        Args:
            name: The tensor, which holds the experts' matrices one below the other.
            count: Experts.
            first_count_total: The first row, the number of rows, and the rows of one expert's whole matrix.
            columns: Elements of a row.

        Raises:
            ModelFileError: the tensor is missing, of another shape, or of a type that is none of weights.
        """
        first, rows, total = first_count_total
        layout = FORMATS[matrix_info(self.file, name, (columns, total, count)).type_id]
        if name in self.names_in_file:
            matrix = Matrix(name, layout, rows, columns, np.empty(0, np.uint8))
            return ExpertMatrices(name, matrix, count, matrix.data, self.file_experts.add(matrix, first, total))
        size = layout.matrix_bytes(rows, columns)
        data = self._memory.take(count * size)
        for expert in range(count):
            matrix = Matrix(name, layout, rows, columns, data[expert * size : (expert + 1) * size])
            self._matrices[name, expert * total + first, rows] = _Part(matrix, expert * total + first)
        return ExpertMatrices(name, self._matrices[name, first, rows].matrix, count, data)

    def vector(self, name: str, count: int) -> FloatArray:
        """Returns a vector as float32, padded with zeros to a multiple of 16: (padded count,).

        Raises:
            ModelFileError: it is missing, of another length, or not of a float type.
        """
        info = float_vector_info(self.file, name, count)
        out = zeroed_array((padded(count),), np.float32).view(np.float32)
        out[:count] = _floats(self.file.tensor_bytes(name), FORMATS[info.type_id])
        return out

    def vectors(self, name: str, count: int, length: int) -> FloatArray:
        """Returns vectors as float32, each padded with zeros to a multiple of 16: (count, padded length).

        Raises:
            ModelFileError: they are missing, of another shape, or not of a float type.
        """
        info = float_info(self.file, name, (length, count))
        out = zeroed_array((count, padded(length)), np.float32).view(np.float32)
        out[:, :length] = _floats(self.file.tensor_bytes(name), FORMATS[info.type_id]).reshape(count, length)
        return out

    def vector_part(self, name: str, first_count_total: tuple[int, int, int]) -> FloatArray:
        """Returns a range of a vector, as `vector` returns a whole one: its beginning, its length, the whole length."""
        first, count, total = first_count_total
        out = zeroed_array((padded(count),), np.float32).view(np.float32)
        out[:count] = self.vector(name, total)[first : first + count]
        return out

    @property
    def matrix_bytes(self) -> int:
        """Bytes of all matrices in tiles in memory."""
        return sum(len(part.matrix.data) for part in self._matrices.values())

    def kernels(self) -> list[ops.Operation]:
        """Returns the kernels that fill tiles: of every matrix requested so far, and of experts in the file."""
        layouts = {part.matrix.layout for part in self._matrices.values()} | self.file_experts.layouts
        return ops.repacking(sorted(layouts, key=attrgetter("type_id")))

    def repacking(self, threads: int, bind_thread: Callable[[int], object] | None = None) -> Repacking:
        """Makes the work that fills everything requested so far; the arguments are those of `Repacking`."""
        return Repacking(map(self._source, self._matrices.values()), threads, bind_thread)

    def _source(self, part: _Part) -> Source:
        matrix = part.matrix
        first_byte = part.first_row * matrix.layout.row_bytes(matrix.columns)

        def read(offset: int, out: ByteArray) -> None:
            self.file.read_tensor(matrix.name, first_byte + offset, out)

        return Source(matrix, read)


def matrix_info(file: GgufFile, name: str, shape: tuple[int, ...]) -> TensorInfo:
    """Returns the entry in the file of a matrix, or of several that lie in a third dimension.

    Raises:
        ModelFileError: it is missing, of another shape, or of a type that is none of weights.
    """
    info = file.tensor_of_shape(name, shape)
    if info.type_id not in FORMATS:
        raise file.refuse(
            f"tensor {name!r} has type {info.type_name}, with which no kernel of this program multiplies",
            "Choose a file with another quantization, such as Q4_K_M or Q8_0.",
        )
    return info


def has_number(file: GgufFile, name: str) -> bool:
    """Tells whether the file has a tensor of that name that holds one number."""
    return name in file.tensors and file.tensors[name].shape == ()


def float_vector_info(file: GgufFile, name: str, count: int) -> TensorInfo:
    """Returns a vector's entry in the file.

    Raises:
        ModelFileError: it is missing, of another length, or not of a float type.
    """
    return float_info(file, name, (count,))


def float_info(file: GgufFile, name: str, shape: tuple[int, ...]) -> TensorInfo:
    """Returns the entry in the file of a tensor of floats; for the errors see `float_vector_info`."""
    info = file.tensor_of_shape(name, shape)
    if info.type_id not in FORMATS or not FORMATS[info.type_id].is_float:
        raise file.refuse(f"tensor {name!r} has type {info.type_name}, but a vector must hold floats")
    return info


def _floats(data: ByteArray, layout: TileFormat) -> FloatArray:
    """Returns numbers of a float type as float32. Kernels could do this, but would have to be compiled first."""
    if layout is weight_tile.BF16_FORMAT:
        return (data.view(np.uint16).astype(np.uint32) << 16).view(np.float32)
    return data.view(np.float16 if layout is weight_tile.F16_FORMAT else np.float32).astype(np.float32)
