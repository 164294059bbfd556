"""Kernels that measure how fast this machine can read memory and multiply; bench/machine_limits.py runs them."""

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils

from tui_llama.engine.kernels.ir import simd
from tui_llama.engine.kernels.ir.simd import I8, I32, I64, Builder, atomic_add, constant, int64_at
from tui_llama.engine.kernels.waiting import clock_nanoseconds, open_gate, times_opened, wait_at
from tui_llama.engine.layouts.machine_limits import CHUNK_AT, CHUNK_BYTES, GATE_AT, GROUPS, SCRATCH_BYTES
from tui_llama.engine.toolchain.numba_codegen import helper, intrinsic

_CODE_BITS = 4  # of a weight type that is fast with all instruction sets
_POLL_NANOSECONDS = 10_000_000


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

    Every product has an accumulator of its own, so that none waits for another. Operands are loaded again in every
    round: the compiler would compute parts of a dot product that stay the same only once.

    Args:
        unsigned_count: Vectors of unsigned bytes.
        signed_count: Vectors of signed bytes.
        together: True: an accumulator takes the vectors of all groups at once, which suits instruction sets that first
            sum up in 16 bits. False: it takes the groups one after the other.
        name: Name of the intrinsic.
    """

    def dots(_: Any, scratch: Any, rounds: Any) -> Any:
        def generate(context: Any, b: Builder, signature: Any, arguments: Any) -> Any:
            scratch, rounds = arguments
            grid = [(u, s) for u in range(unsigned_count) for s in range(signed_count)]
            sums = [simd.lane_variable(b, constant(I32, 0)) for _ in grid]
            for place in sums:
                b.store(constant(I32, 0), place)
            with cgutils.for_range(b, rounds):
                bases = [simd.pointer(b, _unknown(b, scratch)) for _ in range(GROUPS)]
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
                simd.store(b, b.load(place), out, SCRATCH_BYTES // 2 + 64 * index)
            return context.get_dummy_value()

        return types.void(types.uintp, types.int64), generate

    dots.__name__ = name
    return intrinsic(dots)


def _unknown(b: Builder, value: Any) -> Any:
    """Returns the same integer through an empty piece of assembly, so that the compiler cannot know its value."""
    return b.call(ir.InlineAsm(ir.FunctionType(I64, [I64]), "", "=r,0", side_effect=True), [value])


@intrinsic
def _tiles(_: Any, scratch: Any, rounds: Any) -> Any:
    """Multiplies 2 × 2 AMX tiles of 16 × 64 bytes, into four sums of 16 × 16."""

    def generate(context: Any, b: Builder, signature: Any, arguments: Any) -> Any:
        scratch, rounds = arguments
        base = simd.pointer(b, scratch)
        # Palette 1; every tile register has 16 rows of 64 bytes.
        shape = [1] + [0] * 15 + [64, 0] * 8 + [0] * 16 + [16] * 8 + [0] * 8
        simd.store(b, ir.Constant(ir.VectorType(I8, 64), shape), base, SCRATCH_BYTES - 64)
        _tile_instruction(b, "ldtilecfg", b.gep(base, [simd.integer(SCRATCH_BYTES - 64)]))
        for register in range(4):
            _tile_instruction(b, "tilezero", register)
            _tile_instruction(b, "tileloadd64", 4 + register, base, simd.integer(64))
        with cgutils.for_range(b, rounds):
            for _group in range(GROUPS):
                for register in range(4):
                    _tile_instruction(b, "tdpbusd", register, 4 + register // 2, 6 + register % 2)
        out = b.gep(base, [simd.integer(SCRATCH_BYTES // 2)])
        _tile_instruction(b, "tilestored64", 0, out, simd.integer(64))
        _tile_instruction(b, "tilerelease")
        return context.get_dummy_value()

    return types.void(types.uintp, types.int64), generate


def _tile_instruction(b: Builder, name: str, *arguments: Any) -> None:
    """Calls an AMX instruction; plain numbers are tile registers."""
    values = [ir.Constant(I8, value) if isinstance(value, int) else value for value in arguments]
    simd.call(b, f"llvm.x86.{name}", ir.VoidType(), values)


# 4 × 3 suits processors with 32 vector registers and a dot product instruction; 2 × 3 suits all others.
_dots_4_by_3 = _dot_grid(4, 3, False, "dots_4_by_3")
_dots_2_by_3 = _dot_grid(2, 3, True, "dots_2_by_3")


@helper
def _start_together(shared: int, thread_count: int) -> Any:
    """Waits until all threads have arrived; returns the time of that moment."""
    openings = times_opened(shared + GATE_AT)
    if atomic_add(np.uintp(shared), 1) == thread_count - 1:
        open_gate(shared + GATE_AT)
    else:
        wait_at(shared + GATE_AT, openings, _POLL_NANOSECONDS)
    return clock_nanoseconds()


def read_pass(shared: int, thread_count: int, times: int, address: int, chunks: int, distance: int, laps: int) -> int:
    """Reads memory chunk by chunk for some laps, as one thread of several, prefetching `distance` bytes ahead.

    Writes the times at which it began and ended to two int64 at `times`, nanoseconds. It returns a sum so that the
    compiler cannot optimise the reading away.
    """
    total, time = 0, int64_at(np.uintp(times))
    time[0] = _start_together(shared, thread_count)
    while True:
        chunk = atomic_add(np.uintp(shared + CHUNK_AT), 1)
        if chunk >= chunks * laps:
            break
        total += _read_lines(np.uintp(address + chunk % chunks * CHUNK_BYTES), CHUNK_BYTES, distance)
    time[1] = clock_nanoseconds()
    return total


def multiply_pass_4_by_3(shared: int, thread_count: int, times: int, scratch: int, chunks: int, rounds: int) -> None:
    """Multiplies for `rounds` rounds a chunk, as one thread of several; `times` as for `read_pass`."""
    time = int64_at(np.uintp(times))
    time[0] = _start_together(shared, thread_count)
    while atomic_add(np.uintp(shared + CHUNK_AT), 1) < chunks:
        _dots_4_by_3(np.uintp(scratch), rounds)
    time[1] = clock_nanoseconds()


def multiply_pass_2_by_3(shared: int, thread_count: int, times: int, scratch: int, chunks: int, rounds: int) -> None:
    """Does the same as `multiply_pass_4_by_3` with fewer accumulators."""
    time = int64_at(np.uintp(times))
    time[0] = _start_together(shared, thread_count)
    while atomic_add(np.uintp(shared + CHUNK_AT), 1) < chunks:
        _dots_2_by_3(np.uintp(scratch), rounds)
    time[1] = clock_nanoseconds()


def multiply_pass_tiles(shared: int, thread_count: int, times: int, scratch: int, chunks: int, rounds: int) -> None:
    """Does the same as `multiply_pass_4_by_3` with AMX."""
    time = int64_at(np.uintp(times))
    time[0] = _start_together(shared, thread_count)
    while atomic_add(np.uintp(shared + CHUNK_AT), 1) < chunks:
        _tiles(np.uintp(scratch), rounds)
    time[1] = clock_nanoseconds()
