"""Fills the tiles of matrices on separate threads, while the caller keeps one core for Python.

The kernels in kernels/matrix/repack.py do the work on the bytes. This module decides which threads take part, when they
stop, and what progress is reported. Rows are read piece by piece into memory and packed from there.
"""

import itertools
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Self

import numpy as np
import numpy.typing as npt

from tui_llama.engine import ops
from tui_llama.engine.layouts.repacking import STAGING_BYTES, UNIT_FIELDS
from tui_llama.engine.layouts.weight_tile import ROWS, TileFormat
from tui_llama.engine.tensors.grid_tables import table_address
from tui_llama.engine.toolchain.loader import load_kernels

if TYPE_CHECKING:
    from tui_llama.engine.tensors.matrices import Matrix

ByteArray = npt.NDArray[np.uint8]
ReadPart = Callable[[int, ByteArray], None]
"""Fills an array of bytes from that byte on; any thread may call it."""

_PROGRESS_SECONDS = 0.02
_UNIT_BYTES = 1 << 20
_SOURCE_FIELD = 1


@dataclass(frozen=True, slots=True)
class Source:
    """Source of a matrix's rows.

    Args:
        matrix: The matrix whose tiles are filled.
        read: Reads a part of its rows, in its tiles' type.
    """

    matrix: "Matrix"
    read: ReadPart


class Repacking:
    """Repacking work that runs during a `with` block; `finish` waits for all of it.

    Leaving the block ends the threads, even if the work is not done.

    Args:
        sources: All matrices.
        threads: Most threads that work. While the caller does something else, one less, but at least one.
        bind_thread: Moves the calling thread to the processors of the team's thread of that number. With it, each
            thread fills the tiles that the team's thread will read first when it decodes, so that they lie in its
            memory node.
    """

    def __init__(
        self,
        sources: Iterable[Source],
        threads: int,
        bind_thread: Callable[[int], object] | None = None,
    ) -> None:
        self._sources = list(sources)
        self._thread_count = threads
        self._bind_thread = bind_thread
        self._work: _Work | None = None

    def __enter__(self) -> Self:
        parts = self._thread_count if self._bind_thread else 1
        self._work = _Work(self._sources, parts, self._bind_thread)
        self._work.start(self._thread_count if self._bind_thread else max(1, self._thread_count - 1))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._work is not None:
            self._work.stop()

    def finish(self, on_progress: Callable[[int, int], None]) -> None:
        """Waits until every tile is filled.

        Args:
            on_progress: Called with bytes done and bytes in all; may raise to stop.

        Raises:
            ModelFileError: a matrix cannot be read.
        """
        assert self._work is not None, "to be used inside of the with block"
        total = sum(len(source.matrix.data) for source in self._sources)
        self._work.start(self._thread_count)
        for share in self._work.progress():
            on_progress(int(share * total), total)


class _Work:
    """A list of reading and packing jobs, and the threads that do them.

    Args:
        sources: The matrices.
        parts: 1 if every thread may take every job, else the number of threads, each with a part of each matrix.
        bind_thread: As for `Repacking`.
    """

    def __init__(
        self,
        sources: Sequence[Source],
        parts: int,
        bind_thread: Callable[[int], object] | None,
    ) -> None:
        load_kernels([ops.REPACK_UNITS])
        self._jobs = [[job for source in sources for job in _jobs_of(source, part, parts)] for part in range(parts)]
        self._next_job = [itertools.count() for _ in range(parts)]  # taking the next one is atomic
        self._job_count = sum(map(len, self._jobs))
        self._done: list[None] = []  # one entry for each finished job: appending is atomic, too
        self._bind_thread = bind_thread
        self._threads: list[threading.Thread] = []
        self._stopped = False
        self._error: BaseException | None = None

    def start(self, thread_count: int) -> None:
        """Starts threads until `thread_count` are at work."""
        for number in range(len(self._threads), thread_count):
            thread = threading.Thread(target=self._take_part, args=(number,), name=f"repack {number}", daemon=True)
            self._threads.append(thread)
            thread.start()

    def progress(self) -> Iterator[float]:
        """Yields the share that is done, now and then, and 1.0 at the end."""
        yield self._share_done()
        for thread in self._threads:
            while thread.is_alive():
                thread.join(_PROGRESS_SECONDS)
                if thread.is_alive():
                    yield self._share_done()
        if self._error is not None:
            raise self._error
        yield 1.0

    def stop(self) -> None:
        """Ends all threads; each one finishes its current job."""
        self._stopped = True
        for thread in self._threads:
            thread.join()

    def _take_part(self, number: int) -> None:
        part = number % len(self._jobs)
        jobs, taken, room = self._jobs[part], self._next_job[part], np.empty(0, np.uint8)
        try:
            if self._bind_thread is not None:
                self._bind_thread(number)
            while not self._stopped and (index := next(taken)) < len(jobs):
                room = jobs[index].run(room)
                self._done.append(None)
        except BaseException as error:  # the waiting thread raises it again
            self._error = error
            self._stopped = True

    def _share_done(self) -> float:
        return len(self._done) / max(1, self._job_count)


@dataclass(frozen=True, slots=True)
class _PackJob:
    """A job that packs some tile rows of a matrix.

    Args:
        read: Reads the matrix's rows.
        first_byte: Where among all rows those of the job begin.
        size_bytes: Bytes of the job's rows.
        unit: (1, 10) int64, one of `units_of` a matrix whose rows are at address 0.
    """

    read: ReadPart
    first_byte: int
    size_bytes: int
    unit: npt.NDArray[np.int64]

    def run(self, room: ByteArray) -> ByteArray:
        """Does the job in the scratch memory `room`; returns this memory, or a larger one if it was too small."""
        if len(room) < self.size_bytes:
            room = np.empty(self.size_bytes, np.uint8)
        self.read(self.first_byte, room[: self.size_bytes])
        unit = self.unit.copy()
        unit[0, _SOURCE_FIELD] = int(room.ctypes.data) - self.first_byte
        repack_units(unit, np.zeros(2, np.int64))
        return room


def _jobs_of(source: Source, part: int, parts: int) -> Iterator[_PackJob]:
    """Yields the jobs for one part of a matrix; the parts are those that plan_loop.py gives to each thread."""
    matrix = source.matrix
    row_bytes = matrix.layout.row_bytes(matrix.columns)
    first, last = matrix.tile_count * part // parts, matrix.tile_count * (part + 1) // parts
    address = int(matrix.data.ctypes.data)
    for unit in units_of(matrix.layout, 0, address, matrix.rows, matrix.columns, first, last):
        first_row, end_row = int(unit[-2]) * ROWS, min(int(unit[-1]) * ROWS, matrix.rows)
        yield _PackJob(source.read, first_row * row_bytes, (end_row - first_row) * row_bytes, unit.reshape(1, -1))


def repack_units(units: npt.NDArray[np.int64], progress: npt.NDArray[np.int64]) -> None:
    """Fills tiles, unit after unit, together with all other threads that get the same arrays; without the GIL.

    Args:
        units: (units, 10) int64 from `units_of`.
        progress: (2,) int64: the next unit that nobody has taken, and the number of units done. To make all threads
            stop, set the first to `len(units)`.
    """
    staging = np.empty(STAGING_BYTES, np.uint8)
    ops.REPACK_UNITS(units.ctypes.data, len(units), progress.ctypes.data, staging.ctypes.data)


def units_of(
    layout: TileFormat, source: int, target: int, rows: int, columns: int, first_tile: int, last_tile: int
) -> npt.NDArray[np.int64]:
    """Makes the units of repacking for some tile rows of one matrix.

    Args:
        layout: The format of its tiles.
        source: Address of its rows, one after the other as in a file.
        target: Address of its tiles.
        rows: Number of its rows; after the last row, the last tile holds zeros.
        columns: Number of its columns, a multiple of a block.
        first_tile: First tile row to fill.
        last_tile: One past the last.

    Returns:
        (units, 10) int64, in the order of the tiles.
    """
    row_bytes = layout.row_bytes(columns)
    step_bytes, tile_bytes = layout.packed_at_once
    step = max(1, _UNIT_BYTES // max(1, ROWS * row_bytes))
    packer, table = ops.packing(layout).address, table_address(layout)
    units = [
        (packer, source, row_bytes, target, rows, step_bytes, tile_bytes, table, first, min(first + step, last_tile))
        for first in range(first_tile, last_tile, step)
    ]
    return np.array(units, np.int64).reshape(-1, UNIT_FIELDS)
