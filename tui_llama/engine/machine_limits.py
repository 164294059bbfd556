"""What this machine can do at most: how fast it reads memory, and how fast it multiplies bytes.

Both are measured with the threads and instructions that a model runs with. Reading goes over a block that no cache
holds, in huge pages where the system has them, as weights do. Multiplying is the integer dot product of the chosen
instruction set on operands from the first-level cache, and the tile multiplier on its own registers where the
instruction set has one. Shared machines are faster at one moment than at the next, so whoever compares with these
limits measures them again beside what is compared.
"""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from llvmlite import ir
from numba import types
from numba.core import cgutils

from tui_llama.engine import simd
from tui_llama.engine.compilation import compile_now, intrinsic, kernel
from tui_llama.engine.instruction_sets import INSTRUCTION_SET
from tui_llama.engine.memory import zeroed_array, zeroed_bytes
from tui_llama.engine.placement import Placement, find_seats
from tui_llama.engine.simd import I8, I32, I64, Builder, at_address, atomic_add, constant
from tui_llama.engine.waiting import (
    CACHE_LINE_BYTES,
    GATE_BYTES,
    clock_nanoseconds,
    open_gate,
    prepare_gate,
    times_opened,
    wait_at,
)

_BUFFER_BYTES = 768 << 20
_CHUNK_BYTES = 1 << 20
_PREFETCH_DISTANCES = (0, 2048, 6144)
_PASSES = 2
_PASS_SECONDS = 0.03

_ROUNDS = 200
_CHUNKS_OF_A_THREAD = 32
_SCRATCH_BYTES = 4096
_GROUPS = 4
_CODE_BITS = 4  # the kind of weights that all instruction sets are fastest with
_MACS_OF_A_DOT = 64  # 16 lanes, four products each
_ANYWHERE = Placement()

HAS_TILE_MULTIPLIER = INSTRUCTION_SET == "amx_int8"


@dataclass(frozen=True, slots=True)
class LimitSample:
    """What the machine did at one moment.

    Args:
        read_gb_s: 10⁹ bytes read from memory a second.
        dot_gmac_s: 10⁹ multiply-accumulates of u8 × i8 a second, by vector instructions.
        tile_gmac_s: The same by the tile multiplier; 0 where the instruction set has none.
    """

    read_gb_s: float
    dot_gmac_s: float
    tile_gmac_s: float = 0.0

    @property
    def multiply_gmac_s(self) -> float:
        """10⁹ multiply-accumulates a second of what is fastest at it."""
        return max(self.dot_gmac_s, self.tile_gmac_s)


def best_of(samples: Sequence[LimitSample]) -> LimitSample:
    """The best that the machine has shown of each."""
    return LimitSample(
        max(sample.read_gb_s for sample in samples),
        max(sample.dot_gmac_s for sample in samples),
        max(sample.tile_gmac_s for sample in samples),
    )


# --- kernels --------------------------------------------------------------------------------------------------------


@intrinsic
def _read_lines(_: Any, address: Any, byte_count: Any, prefetch_distance: Any) -> Any:
    """Reads `byte_count` bytes, a multiple of 512, and returns a sum that depends on all of them."""

    def generate(context: Any, b: Builder, signature: Any, arguments: Any) -> Any:
        address, byte_count, distance = arguments
        sums = [simd.lane_variable(b, constant(I64, 0, 8)) for _ in range(8)]
        for place in sums:
            b.store(constant(I64, 0, 8), place)
        with cgutils.for_range(b, b.udiv(byte_count, simd.integer(512))) as loop:
            lines = simd.pointer(b, address, b.mul(loop.index, simd.integer(512)))
            ahead = b.gep(lines, [distance])
            for index, place in enumerate(sums):
                simd.prefetch(b, ahead, 64 * index)
                b.store(b.add(b.load(place), simd.load(b, lines, 64 * index, I64, 8)), place)
        total = b.load(sums[0])
        for place in sums[1:]:
            total = b.add(total, b.load(place))
        return b.extract_element(total, ir.Constant(I32, 0))

    return types.int64(types.uintp, types.int64, types.int64), generate


def _dot_grid(unsigned_count: int, signed_count: int, together: bool, name: str) -> Any:
    """Makes the intrinsic that multiplies each of some vectors with each of some others, over and over.

    Every product has an accumulator of its own, so that none waits for another. Operands are loaded anew for every
    round: what stays the same would be computed once, where a dot product is several instructions.

    Args:
        unsigned_count: Vectors of unsigned bytes.
        signed_count: Vectors of signed bytes.
        together: Whether an accumulator takes the vectors of all groups at once, as suits instruction sets that sum up
            in 16 bits first, or those of one group after the other.
        name: Of the intrinsic.
    """

    def dots(_: Any, scratch: Any, rounds: Any) -> Any:
        def generate(context: Any, b: Builder, signature: Any, arguments: Any) -> Any:
            scratch, rounds = arguments
            grid = [(u, s) for u in range(unsigned_count) for s in range(signed_count)]
            sums = [simd.lane_variable(b, constant(I32, 0)) for _ in grid]
            for place in sums:
                b.store(constant(I32, 0), place)
            with cgutils.for_range(b, rounds):
                bases = [simd.pointer(b, _unknown(b, scratch)) for _ in range(_GROUPS)]
                for part in [bases] if together else [[base] for base in bases]:
                    unsigned = [[simd.load(b, base, 64 * u, I8, 64) for base in part] for u in range(unsigned_count)]
                    signed = [
                        [simd.load(b, base, 64 * (unsigned_count + s), I8, 64) for base in part]
                        for s in range(signed_count)
                    ]
                    for (u, s), place in zip(grid, sums, strict=True):
                        b.store(simd.dot4_sum(b, b.load(place), unsigned[u], signed[s], _CODE_BITS), place)
            out = simd.pointer(b, scratch)
            for index, place in enumerate(sums):
                simd.store(b, b.load(place), out, _SCRATCH_BYTES // 2 + 64 * index)
            return context.get_dummy_value()

        return types.void(types.uintp, types.int64), generate

    dots.__name__ = name
    return intrinsic(dots)


def _unknown(b: Builder, value: Any) -> Any:
    """The same integer, but the compiler does not know: an empty piece of assembly may have changed it."""
    return b.call(ir.InlineAsm(ir.FunctionType(I64, [I64]), "", "=r,0", side_effect=True), [value])


@intrinsic
def _tiles(_: Any, scratch: Any, rounds: Any) -> Any:
    """Multiplies tiles of 16 × 64 bytes on the tile multiplier: two by two of them, into four sums of 16 × 16."""

    def generate(context: Any, b: Builder, signature: Any, arguments: Any) -> Any:
        scratch, rounds = arguments
        base = simd.pointer(b, scratch)
        # Palette 1; every tile register has 16 rows of 64 bytes.
        shape = [1] + [0] * 15 + [64, 0] * 8 + [0] * 16 + [16] * 8 + [0] * 8
        simd.store(b, ir.Constant(ir.VectorType(I8, 64), shape), base, _SCRATCH_BYTES - 64)
        _tile_instruction(b, "ldtilecfg", b.gep(base, [simd.integer(_SCRATCH_BYTES - 64)]))
        for register in range(4):
            _tile_instruction(b, "tilezero", register)
            _tile_instruction(b, "tileloadd64", 4 + register, base, simd.integer(64))
        with cgutils.for_range(b, rounds):
            for _group in range(_GROUPS):
                for register in range(4):
                    _tile_instruction(b, "tdpbusd", register, 4 + register // 2, 6 + register % 2)
        out = b.gep(base, [simd.integer(_SCRATCH_BYTES // 2)])
        _tile_instruction(b, "tilestored64", 0, out, simd.integer(64))
        _tile_instruction(b, "tilerelease")
        return context.get_dummy_value()

    return types.void(types.uintp, types.int64), generate


def _tile_instruction(b: Builder, name: str, *arguments: Any) -> None:
    """Plain numbers are tile registers."""
    values = [ir.Constant(I8, value) if isinstance(value, int) else value for value in arguments]
    simd.call(b, f"llvm.x86.{name}", ir.VoidType(), values)


# The first suits processors with 32 vector registers and an instruction for all of it, the second the others.
_dots_4_by_3 = _dot_grid(4, 3, False, "dots_4_by_3")
_dots_2_by_3 = _dot_grid(2, 3, True, "dots_2_by_3")


int64_at = at_address(types.CPointer(types.int64), "int64_at")

# What the threads of a pass share: how many have come, the next chunk, and a gate that opens when all are there.
_CHUNK_AT = CACHE_LINE_BYTES
_GATE_AT = 2 * CACHE_LINE_BYTES
_PASS_BYTES = _GATE_AT + GATE_BYTES
_POLL_NANOSECONDS = 10_000_000


@kernel
def _start_together(shared: int, thread_count: int) -> Any:
    """Returns the time at which all threads have come."""
    openings = times_opened(shared + _GATE_AT)
    if atomic_add(np.uintp(shared), 1) == thread_count - 1:
        open_gate(shared + _GATE_AT)
    else:
        wait_at(shared + _GATE_AT, openings, _POLL_NANOSECONDS)
    return clock_nanoseconds()


@kernel
def _read_pass(shared: int, thread_count: int, times: int, address: int, chunks: int, distance: int, laps: int) -> int:
    """One thread's part of reading memory chunk by chunk for some laps, prefetching `distance` bytes ahead.

    Writes when it began and ended to two int64 at `times`, nanoseconds; what it returns keeps the reading from being
    optimised away.
    """
    total, time = 0, int64_at(np.uintp(times))
    time[0] = _start_together(shared, thread_count)
    while True:
        chunk = atomic_add(np.uintp(shared + _CHUNK_AT), 1)
        if chunk >= chunks * laps:
            break
        total += _read_lines(np.uintp(address + chunk % chunks * _CHUNK_BYTES), _CHUNK_BYTES, distance)
    time[1] = clock_nanoseconds()
    return total


@kernel
def _multiply_pass_4_by_3(shared: int, thread_count: int, times: int, scratch: int, chunks: int, rounds: int) -> None:
    """One thread's part of multiplying for `rounds` rounds a chunk; times as above."""
    time = int64_at(np.uintp(times))
    time[0] = _start_together(shared, thread_count)
    while atomic_add(np.uintp(shared + _CHUNK_AT), 1) < chunks:
        _dots_4_by_3(np.uintp(scratch), rounds)
    time[1] = clock_nanoseconds()


@kernel
def _multiply_pass_2_by_3(shared: int, thread_count: int, times: int, scratch: int, chunks: int, rounds: int) -> None:
    """The same with fewer accumulators."""
    time = int64_at(np.uintp(times))
    time[0] = _start_together(shared, thread_count)
    while atomic_add(np.uintp(shared + _CHUNK_AT), 1) < chunks:
        _dots_2_by_3(np.uintp(scratch), rounds)
    time[1] = clock_nanoseconds()


@kernel
def _multiply_pass_tiles(shared: int, thread_count: int, times: int, scratch: int, chunks: int, rounds: int) -> None:
    """The same on the tile multiplier."""
    time = int64_at(np.uintp(times))
    time[0] = _start_together(shared, thread_count)
    while atomic_add(np.uintp(shared + _CHUNK_AT), 1) < chunks:
        _tiles(np.uintp(scratch), rounds)
    time[1] = clock_nanoseconds()


_SHARED = (types.uintp, types.int64, types.uintp)
_READ = types.int64(*_SHARED, types.uintp, types.int64, types.int64, types.int64)
_MULTIPLY = types.void(*_SHARED, types.uintp, types.int64, types.int64)
_DOT_PRODUCTS = ((_multiply_pass_4_by_3, 4 * 3), (_multiply_pass_2_by_3, 2 * 3))
"""Kernels, and how many vector dot products each does in a group of a round."""
_TILE_PRODUCTS = ((_multiply_pass_tiles, 4 * 16 * 16),) if HAS_TILE_MULTIPLIER else ()
"""The same for the tile multiplier: each of 16 × 16 sums takes 64 products, as many as a vector dot product has."""


# --- measuring ------------------------------------------------------------------------------------------------------


class MachineLimits:
    """Measures the limits again and again in the same memory.

    Args:
        placement: Where threads run.
        buffer_bytes: Size of what is read, a multiple of a megabyte; what caches hold of it would count as memory.
    """

    def __init__(self, placement: Placement = _ANYWHERE, buffer_bytes: int = _BUFFER_BYTES) -> None:
        compile_now(_read_pass, _READ)
        for multiply, _ in (*_DOT_PRODUCTS, *_TILE_PRODUCTS):
            compile_now(multiply, _MULTIPLY)
        self._seating = find_seats(placement)
        self._buffer = zeroed_bytes(buffer_bytes)
        self._buffer[:] = 1  # every page needs memory of its own

    def sample(self, thread_count: int) -> LimitSample:
        """Measures everything with so many threads, each as the best of a few passes: about half a second."""
        reads = [self._read_rate(thread_count, distance) for distance in _PREFETCH_DISTANCES]
        dots = [self._multiply_rate(thread_count, multiply, count) for multiply, count in _DOT_PRODUCTS]
        tiles = [self._multiply_rate(thread_count, multiply, count) for multiply, count in _TILE_PRODUCTS]
        return LimitSample(max(reads) / 1e9, max(dots) / 1e9, max(tiles, default=0.0) / 1e9)

    def _read_rate(self, thread_count: int, distance: int) -> float:
        """Bytes a second."""
        address, chunks = int(self._buffer.ctypes.data), len(self._buffer) // _CHUNK_BYTES

        def read(laps: int) -> float:
            return self._seconds(
                thread_count,
                lambda index, shared, times: _read_pass(shared, thread_count, times, address, chunks, distance, laps),
            )

        return _best_rate(read, chunks * _CHUNK_BYTES)

    def _multiply_rate(self, thread_count: int, multiply: Any, dots: int) -> float:
        """Multiply-accumulates a second."""
        scratch, chunks = _random_bytes((thread_count, _SCRATCH_BYTES)), thread_count * _CHUNKS_OF_A_THREAD

        def work(rounds: int) -> float:
            return self._seconds(
                thread_count,
                lambda index, shared, times: multiply(
                    shared, thread_count, times, int(scratch[index].ctypes.data), chunks, _ROUNDS * rounds
                ),
            )

        return _best_rate(work, chunks * _ROUNDS * _GROUPS * dots * _MACS_OF_A_DOT)

    def _seconds(self, thread_count: int, work: Callable[[int, int, int], object]) -> float:
        """Calls `work` with a thread's number and two addresses on so many threads, and returns how long they took."""
        shared = zeroed_array((_PASS_BYTES,), np.uint8)
        times = zeroed_array((thread_count, CACHE_LINE_BYTES), np.uint8)
        prepare_gate(int(shared.ctypes.data) + _GATE_AT)

        def take_part(index: int) -> None:
            self._seating.sit_down(index)
            work(index, int(shared.ctypes.data), int(times[index].ctypes.data))

        threads = [threading.Thread(target=take_part, args=(index,)) for index in range(thread_count)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        moments = times.view(np.int64)[:, :2]
        return float(moments[:, 1].max() - moments[:, 0].min()) / 1e9


def _best_rate(work: Callable[[int], float], amount: int) -> float:
    """Something a second, at its best.

    Args:
        work: Does the amount so many times and returns the seconds that it took.
        amount: How much of it is done each time.
    """
    seconds = work(1)
    times = max(1, round(_PASS_SECONDS / max(seconds, 1e-9)))
    return max(amount / seconds, *(amount * times / work(times) for _ in range(_PASSES)))


def _random_bytes(shape: tuple[int, ...]) -> npt.NDArray[np.uint8]:
    """Operands with as many bits set as real ones: processors slow down under what uses more power."""
    return np.random.default_rng(0).integers(0, 256, shape, np.uint8)
