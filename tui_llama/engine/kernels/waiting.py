"""Waiting of compiled threads for each other: they spin, then yield, then sleep; and the clock that they wait by.

layouts/wait_gate.py describes a gate. Its first word counts openings in the upper bits and sleepers in the lower 16, so
that one atomic addition both opens the gate and tells whether a thread has to be woken. This module does not know what
threads wait for.
"""

import time
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils

from tui_llama.engine.kernels.ir import simd
from tui_llama.engine.kernels.ir.simd import I32, I64, Builder, Value, atomic_add, atomic_load
from tui_llama.engine.layouts.wait_gate import CONDITION_AT, MUTEX_AT
from tui_llama.engine.toolchain.numba_codegen import helper, intrinsic

_SLEEPER_BITS = 16
_ONE_OPENING = 1 << _SLEEPER_BITS
_SLEEPERS = _ONE_OPENING - 1
_SPINS = 100  # a few microseconds: longer than other threads usually take, shorter than a sleep
_YIELD_HINT = 1  # the number of ARM's hint instruction for spinning


# --- the system ---------------------------------------------------------------------------------------------------


def _function_of_addresses(name: str, count: int) -> Any:
    """Makes the intrinsic for a C function that takes `count` addresses and returns a status, which is dropped."""

    def call(b: Builder, context: Any, arguments: Any) -> Value:
        simd.call(b, name, I32, [b.inttoptr(argument, simd.I8.as_pointer()) for argument in arguments])
        return context.get_dummy_value()

    def of_one(_: Any, first: Any) -> Any:
        return types.void(types.uintp), lambda context, b, signature, arguments: call(b, context, arguments)

    def of_two(_: Any, first: Any, second: Any) -> Any:
        return types.void(types.uintp, types.uintp), lambda context, b, signature, arguments: call(
            b, context, arguments
        )

    function = (of_one, of_two)[count - 1]
    function.__name__ = name
    return intrinsic(function)


_lock = _function_of_addresses("pthread_mutex_lock", 1)
_unlock = _function_of_addresses("pthread_mutex_unlock", 1)
_sleep = _function_of_addresses("pthread_cond_wait", 2)
_wake_all = _function_of_addresses("pthread_cond_broadcast", 1)


@intrinsic
def _pause(_: Any) -> Any:
    """Tells the processor that this thread is spinning; does nothing where there is no such instruction."""

    def generate(context: Any, b: Builder, signature: Any, arguments: Any) -> Value:
        if b.module.triple.startswith(("x86_64", "i686")):
            simd.call(b, "llvm.x86.sse2.pause", ir.VoidType(), [])
        elif b.module.triple.startswith(("aarch64", "arm64")):
            simd.call(b, "llvm.aarch64.hint", ir.VoidType(), [ir.Constant(I32, _YIELD_HINT)])
        return context.get_dummy_value()

    return types.void(), generate


@intrinsic
def _yield_processor(_: Any) -> Any:
    """Lets another runnable thread have the processor."""

    def generate(context: Any, b: Builder, signature: Any, arguments: Any) -> Value:
        simd.call(b, "sched_yield", I32, [])
        return context.get_dummy_value()

    return types.void(), generate


@intrinsic
def clock_nanoseconds(_: Any) -> Any:
    """Returns the system's monotonic clock, in nanoseconds."""

    def generate(context: Any, b: Builder, signature: Any, arguments: Any) -> Value:
        moment = cgutils.alloca_once(b, ir.ArrayType(I64, 2))  # struct timespec of a 64-bit system
        place = b.bitcast(moment, simd.I8.as_pointer())
        simd.call(b, "clock_gettime", I32, [ir.Constant(I32, time.CLOCK_MONOTONIC), place])
        seconds, nanoseconds = (simd.load_scalar(b, place, offset, I64) for offset in (0, 8))
        return b.add(b.mul(seconds, simd.integer(10**9)), nanoseconds)

    return types.int64(), generate


# --- gates --------------------------------------------------------------------------------------------------------


@helper
def times_opened(gate: int) -> Any:
    """Returns how often the gate was opened."""
    return atomic_load(np.uintp(gate)) >> _SLEEPER_BITS


@helper
def open_gate(gate: int) -> None:
    """Opens the gate for all threads that wait at it."""
    if atomic_add(np.uintp(gate), _ONE_OPENING) & _SLEEPERS:
        # A thread counts itself and falls asleep under the mutex, so every thread that was counted gets this wake-up.
        _lock(np.uintp(gate + MUTEX_AT))
        _wake_all(np.uintp(gate + CONDITION_AT))
        _unlock(np.uintp(gate + MUTEX_AT))


@helper
def wait_at(gate: int, openings: int, poll_nanoseconds: int) -> None:
    """Waits until the gate was opened more often than `openings` times.

    The thread spins for some microseconds, then polls for `poll_nanoseconds` and yields the processor each time, then
    sleeps. It notices an opening at once where processors are free, and leaves its processor to others where they are
    not.
    """
    if poll_nanoseconds > 0:
        for _ in range(_SPINS):
            if times_opened(gate) != openings:
                return
            _pause()
        end = clock_nanoseconds() + poll_nanoseconds
        while clock_nanoseconds() < end:
            if times_opened(gate) != openings:
                return
            _yield_processor()
    _lock(np.uintp(gate + MUTEX_AT))
    still_closed = atomic_add(np.uintp(gate), 1) >> _SLEEPER_BITS == openings
    while still_closed:
        _sleep(np.uintp(gate + CONDITION_AT), np.uintp(gate + MUTEX_AT))
        still_closed = times_opened(gate) == openings
    atomic_add(np.uintp(gate), -1)
    _unlock(np.uintp(gate + MUTEX_AT))
