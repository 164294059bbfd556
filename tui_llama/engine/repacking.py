"""Fills the tiles of matrices on threads of its own, while the caller does something else: Python needs one core only.

What is done to the bytes stands in repack_kernels.py; which threads take part, when they stop, and what is said of
their progress is decided here.
"""

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Self

import numpy as np
import numpy.typing as npt

from tui_llama.engine.kernel_code import Kernel, load_kernels
from tui_llama.engine.tiles import ROWS, TileFormat

if TYPE_CHECKING:
    from tui_llama.engine.matrices import Matrix

ByteArray = npt.NDArray[np.uint8]
_PROGRESS_SECONDS = 0.02
_UNIT_BYTES = 1 << 20
_STAGING_BYTES = 2 * ROWS * 256  # a block of 16 rows and what comes of it
UNIT_FIELDS = 9
_NO_UNITS = np.empty((0, UNIT_FIELDS), np.int64)

_REPACK_UNITS = Kernel("repack_kernels", "repack_units", "iiii")
_PACKED_AS = {"BF16": "F16"}  # what is packed as another type is


@dataclass(frozen=True, slots=True)
class Source:
    """Where the rows of a matrix come from.

    Args:
        matrix: Whose tiles are to be filled.
        read: Returns its rows, in its tiles' type.
        waits: Whether reading takes long, so that it is done by the caller's thread, matrix by matrix.
        release: Called when the rows are not needed any more.
    """

    matrix: "Matrix"
    read: Callable[[], ByteArray]
    waits: bool
    release: Callable[[], None]


class Repacking:
    """Work that begins with the `with` block and goes on in it; `finish` waits for all of it.

    Leaving the block ends the threads, even if the work is not done.

    Args:
        sources: All matrices.
        threads: How many may work. While the caller does something else, one less, but at least one.
        sit_down: Puts the calling thread where the team's thread of that number runs. With it, each thread fills
            the tiles that its fellow will read first when it decodes, so that they lie in that one's memory node.
    """

    def __init__(
        self, sources: Iterable[Source], threads: int, sit_down: Callable[[int], object] | None = None
    ) -> None:
        self._sources = list(sources)
        self._thread_count = threads
        self._sit_down = sit_down
        self._work: _Work | None = None

    def __enter__(self) -> Self:
        self._work = self._work_on([source for source in self._sources if not source.waits])
        self._work.start(self._thread_count if self._sit_down else max(1, self._thread_count - 1))
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
            ModelFileError: a matrix cannot be decoded.
        """
        total = sum(len(source.matrix.data) for source in self._sources)
        done = 0
        for work in self._all_work():
            work.start(self._thread_count)
            for share in work.progress():
                on_progress(done + int(share * work.tile_bytes), total)
            done += work.tile_bytes

    def _all_work(self) -> Iterator["_Work"]:
        assert self._work is not None, "to be used inside of the with block"
        yield self._work
        for source in self._sources:
            if source.waits:
                self._work = self._work_on([source])
                yield self._work

    def _work_on(self, sources: Sequence[Source]) -> "_Work":
        return _Work(sources, self._thread_count if self._sit_down else 1, self._sit_down)


class _Work:
    """Matrices whose rows are at hand, and the threads that fill their tiles.

    Args:
        sources: The matrices.
        parts: 1 where every thread may take everything, else the number of threads, each with a part of each matrix.
        sit_down: As for `Repacking`.
    """

    def __init__(self, sources: Sequence[Source], parts: int, sit_down: Callable[[int], object] | None) -> None:
        load_kernels([_REPACK_UNITS])
        self.tile_bytes = sum(len(source.matrix.data) for source in sources)
        self._sources = sources
        self._rows = [source.read() for source in sources]
        by_matrix = [self._units_of_part(part, parts) for part in range(parts)]
        self._units = [np.concatenate([_NO_UNITS, *units]) for units in by_matrix]
        self._taken_and_done = np.zeros((parts, 2), np.int64)
        self._unreleased = list(zip(sources, _ends(by_matrix), strict=True))
        self._sit_down = sit_down
        self._threads: list[threading.Thread] = []
        self._error: BaseException | None = None

    def start(self, thread_count: int) -> None:
        """Has that many threads at work."""
        for number in range(len(self._threads), thread_count):
            thread = threading.Thread(target=self._take_part, args=(number,), name=f"repack {number}", daemon=True)
            self._threads.append(thread)
            thread.start()

    def progress(self) -> Iterator[float]:
        """Yields which share is done, now and then, and 1.0 at the end."""
        yield self._share_done()
        for thread in self._threads:
            while thread.is_alive():
                thread.join(_PROGRESS_SECONDS)
                if thread.is_alive():
                    self._release_sources(in_flight=len(self._threads))
                    yield self._share_done()
        if self._error is not None:
            raise self._error
        self._release_sources(in_flight=0)
        yield 1.0

    def stop(self) -> None:
        """Ends all threads; each finishes the unit that it has begun."""
        self._taken_and_done[:, 0] = [len(units) for units in self._units]
        for thread in self._threads:
            thread.join()

    def _take_part(self, number: int) -> None:
        part = number % len(self._units)
        try:
            if self._sit_down is not None:
                self._sit_down(number)
            repack_units(self._units[part], self._taken_and_done[part])
        except BaseException as error:  # raised again by who waits
            self._error = error

    def _share_done(self) -> float:
        return float(self._taken_and_done[:, 1].sum() / max(1, sum(map(len, self._units))))

    def _release_sources(self, in_flight: int) -> None:
        """Releases what nobody reads any more: units are taken in order, so only the last ones can be unfinished."""
        finished = self._taken_and_done[:, 0] - in_flight
        while self._unreleased and np.all(self._unreleased[0][1] <= finished):
            self._unreleased.pop(0)[0].release()

    def _units_of_part(self, part: int, parts: int) -> list[npt.NDArray[np.int64]]:
        """What there is to do for each matrix; it is cut into parts as `plan_loop` does."""
        return [
            units_of(
                source.matrix.layout, int(rows.ctypes.data), int(source.matrix.data.ctypes.data), source.matrix.rows,
                source.matrix.columns, source.matrix.tile_count * part // parts,
                source.matrix.tile_count * (part + 1) // parts,
            )
            for source, rows in zip(self._sources, self._rows, strict=True)
        ]  # fmt: skip


def _ends(units: Sequence[Sequence[npt.NDArray[np.int64]]]) -> npt.NDArray[np.int64]:
    """(matrices, parts): up to which unit of each part a matrix reaches.

    Args:
        units: Of each part, of each matrix.
    """
    counts = [[len(of_matrix) for of_matrix in of_part] for of_part in units]
    return np.cumsum(np.array(counts, np.int64), axis=1).T


def repack_units(units: npt.NDArray[np.int64], progress: npt.NDArray[np.int64]) -> None:
    """Fills tiles, unit after unit, together with all other threads that are given the same arrays; without the GIL.

    Args:
        units: (units, 9) int64 from `units_of`.
        progress: (2,) int64: the next unit that nobody has taken, which may be set to `len(units)` to make everybody
            stop, and how many are done.
    """
    staging = np.empty(_STAGING_BYTES, np.uint8)
    _REPACK_UNITS(units.ctypes.data, len(units), progress.ctypes.data, staging.ctypes.data)


def units_of(
    layout: TileFormat, source: int, target: int, rows: int, columns: int, first_tile: int, last_tile: int
) -> npt.NDArray[np.int64]:
    """What there is to do for some rows of tiles of one matrix.

    Args:
        layout: The format of its tiles.
        source: Address of its rows, one after the other as in a file.
        target: Address of its tiles.
        rows: Its rows; what is beyond the last one in the last tile stands for zeros.
        columns: Its columns, a multiple of a block.
        first_tile: First row of tiles to fill.
        last_tile: One past the last.

    Returns:
        (units, 9) int64, in the order of the tiles.
    """
    row_bytes = layout.row_bytes(columns)
    step_bytes, tile_bytes = layout.packed_at_once
    step = max(1, _UNIT_BYTES // max(1, ROWS * row_bytes))
    packer = packer_of(layout).address
    units = [
        (packer, source, row_bytes, target, rows, step_bytes, tile_bytes, first, min(first + step, last_tile))
        for first in range(first_tile, last_tile, step)
    ]
    return np.array(units, np.int64).reshape(-1, UNIT_FIELDS)


def packer_of(layout: TileFormat) -> Kernel:
    """The kernel that packs blocks of a format."""
    return Kernel("repack_kernels", f"pack_{_PACKED_AS.get(layout.name, layout.name).lower()}", "iiii")


def repack_kernels(layouts: Iterable[TileFormat]) -> list[Kernel]:
    """All that it takes to fill tiles of some formats."""
    return [_REPACK_UNITS, *map(packer_of, layouts)]
