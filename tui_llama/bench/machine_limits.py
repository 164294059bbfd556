"""Measures the limits of this machine: how fast it reads memory, and how fast it multiplies bytes.

Both are measured with the threads and instructions that a model uses. Reading goes over a block that is too large for
the caches, in huge pages where the system has them, as reading weights does. Multiplying is the integer dot product of
the chosen instruction set on operands in the first-level cache. If the instruction set has a tile multiplier, that is
measured too, on its own registers. The speed of a shared machine changes from moment to moment. So a caller that
compares a model with the limits measures them right before and after the model.
"""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tui_llama.engine import ops
from tui_llama.engine.layouts.machine_limits import CHUNK_BYTES, GATE_AT, GROUPS, PASS_BYTES, SCRATCH_BYTES
from tui_llama.engine.layouts.wait_gate import CACHE_LINE_BYTES, prepare_gate
from tui_llama.engine.machine.instruction_sets import INSTRUCTION_SET
from tui_llama.engine.machine.memory import zeroed_array, zeroed_bytes
from tui_llama.engine.threads.placement import Placement, find_seats
from tui_llama.engine.toolchain.loader import load_kernels

_BUFFER_BYTES = 768 << 20
_PREFETCH_DISTANCES = (0, 2048, 6144)
_PASSES = 2
_PASS_SECONDS = 0.03

_ROUNDS = 200
_CHUNKS_OF_A_THREAD = 32
_MACS_OF_A_DOT = 64  # 16 lanes, four products each
_ANYWHERE = Placement()

HAS_TILE_MULTIPLIER = INSTRUCTION_SET == "amx_int8"

# The first suits processors with 32 vector registers and one instruction for the dot product, the second the others.
_DOT_PRODUCTS: tuple[tuple[ops.Operation, int], ...] = (
    (ops.MULTIPLY_PASS_4_BY_3, 4 * 3),
    (ops.MULTIPLY_PASS_2_BY_3, 2 * 3),
)
"""Operations, each with the number of vector dot products that it computes in a group of a round."""
_TILE_PRODUCTS: tuple[tuple[ops.Operation, int], ...] = (
    ((ops.MULTIPLY_PASS_TILES, 4 * 16 * 16),) if HAS_TILE_MULTIPLIER else ()
)
"""The same for the tile multiplier. Each of its 16 × 16 sums takes 64 products, as many as a vector dot product."""


@dataclass(frozen=True, slots=True)
class LimitSample:
    """The speed of the machine at one moment.

    Args:
        read_gb_s: Reading from memory, in 10⁹ bytes a second.
        dot_gmac_s: Vector instructions, in 10⁹ multiply-accumulates of u8 × i8 a second.
        tile_gmac_s: The tile multiplier, in the same unit; 0 if the instruction set has none.
    """

    read_gb_s: float
    dot_gmac_s: float
    tile_gmac_s: float = 0.0

    @property
    def multiply_gmac_s(self) -> float:
        """The faster of the two ways to multiply, in 10⁹ multiply-accumulates a second."""
        return max(self.dot_gmac_s, self.tile_gmac_s)


def best_of(samples: Sequence[LimitSample]) -> LimitSample:
    """Returns the best of each speed over all samples."""
    return LimitSample(
        max(sample.read_gb_s for sample in samples),
        max(sample.dot_gmac_s for sample in samples),
        max(sample.tile_gmac_s for sample in samples),
    )


class MachineLimits:
    """Measures the limits, any number of times, in the same memory.

    Args:
        placement: The processors on which the threads run.
        buffer_bytes: The size of the block that is read, a multiple of a megabyte. It must be far larger than the
            caches, because reading from a cache would count as reading from memory.
    """

    def __init__(self, placement: Placement = _ANYWHERE, buffer_bytes: int = _BUFFER_BYTES) -> None:
        self._seating = find_seats(placement)
        self._buffer = zeroed_bytes(buffer_bytes)
        self._buffer[:] = 1  # gives every page memory of its own

    def sample(self, thread_count: int) -> LimitSample:
        """Measures all limits with `thread_count` threads, each as the best of a few passes, in about half a second."""
        load_kernels([ops.READ_PASS, *(multiply for multiply, _ in (*_DOT_PRODUCTS, *_TILE_PRODUCTS))])
        dots = [self._multiply_rate(thread_count, multiply, count) for multiply, count in _DOT_PRODUCTS]
        tiles = [self._multiply_rate(thread_count, multiply, count) for multiply, count in _TILE_PRODUCTS]
        return LimitSample(
            self.read_bytes_per_second(thread_count) / 1e9, max(dots) / 1e9, max(tiles, default=0.0) / 1e9
        )

    def read_bytes_per_second(self, thread_count: int) -> float:
        """Measures how fast `thread_count` threads read memory, in bytes a second, as the best of a few passes."""
        load_kernels([ops.READ_PASS])
        return max(self._read_rate(thread_count, distance) for distance in _PREFETCH_DISTANCES)

    def _read_rate(self, thread_count: int, distance: int) -> float:
        """Returns the reading speed in bytes a second."""
        address, chunks = int(self._buffer.ctypes.data), len(self._buffer) // CHUNK_BYTES

        def read(laps: int) -> float:
            return self._seconds(
                thread_count,
                lambda index, shared, times: ops.READ_PASS(
                    shared, thread_count, times, address, chunks, distance, laps
                ),
            )

        return _best_rate(read, chunks * CHUNK_BYTES)

    def _multiply_rate(self, thread_count: int, multiply: ops.Operation, dots: int) -> float:
        """Returns the multiplying speed in multiply-accumulates a second."""
        scratch, chunks = _random_bytes((thread_count, SCRATCH_BYTES)), thread_count * _CHUNKS_OF_A_THREAD

        def work(rounds: int) -> float:
            return self._seconds(
                thread_count,
                lambda index, shared, times: multiply(
                    shared, thread_count, times, int(scratch[index].ctypes.data), chunks, _ROUNDS * rounds
                ),
            )

        return _best_rate(work, chunks * _ROUNDS * GROUPS * dots * _MACS_OF_A_DOT)

    def _seconds(self, thread_count: int, work: Callable[[int, int, int], object]) -> float:
        """Runs `work` on `thread_count` threads and returns the seconds that they took.

        Args:
            thread_count: The number of threads.
            work: Is called with a thread's number, the address of shared memory and the address of the thread's times.
        """
        shared = zeroed_array((PASS_BYTES,), np.uint8)
        times = zeroed_array((thread_count, CACHE_LINE_BYTES), np.uint8)
        prepare_gate(int(shared.ctypes.data) + GATE_AT)

        def take_part(index: int) -> None:
            self._seating.bind_thread(index)
            work(index, int(shared.ctypes.data), int(times[index].ctypes.data))

        threads = [threading.Thread(target=take_part, args=(index,)) for index in range(thread_count)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        moments = times.view(np.int64)[:, :2]
        return float(moments[:, 1].max() - moments[:, 0].min()) / 1e9


def _best_rate(work: Callable[[int], float], amount: int) -> float:
    """Returns the best rate of some work, as an amount a second.

    Args:
        work: Does the work a given number of times and returns the seconds that it took.
        amount: The amount that is done each time.
    """
    seconds = work(1)
    times = max(1, round(_PASS_SECONDS / max(seconds, 1e-9)))
    return max(amount / seconds, *(amount * times / work(times) for _ in range(_PASSES)))


def _random_bytes(shape: tuple[int, ...]) -> npt.NDArray[np.uint8]:
    """Returns random operands. They have as many set bits as real ones, because more set bits slow a processor down."""
    return np.random.default_rng(0).integers(0, 256, shape, np.uint8)
