"""Compiled loop that runs a plan on every thread of a team.

A run goes stage by stage. A stage is the rows up to one that the next rows have to wait for; plan/schedule.py lays out
the stages of a batch. A row's units of work are divided into equal, contiguous ranges, one for each thread. A thread
that has finished its range takes units from the ranges of others. A stage is over when its units are done, not when
every thread has arrived. A thread that got no processor meanwhile therefore holds nobody up; it goes on later with
whatever stage is open. The thread that does a stage's last unit opens the next stage; before that it does the rows
that need one thread only.

Between runs the helpers wait inside the compiled code, so that from one token to the next only the caller runs Python.
The functions are few and flat and all numbers int64, because nested calls take seconds to compile.
"""

import numpy as np

from tui_llama.engine.kernels.ir.simd import (
    atomic_add,
    atomic_load,
    atomic_replace,
    atomic_store,
    call_kernel,
    int64_at,
    prefetch_line,
    read_fence,
)
from tui_llama.engine.kernels.waiting import clock_nanoseconds, open_gate, times_opened, wait_at
from tui_llama.engine.layouts.plan_row import ENTRY, MOST_UNITS, ROW
from tui_llama.engine.layouts.team import (
    DONE_AT,
    EXTRA_DOOR_AT,
    NO_ROW,
    PROFILE_ALONE,
    PROFILE_STAGES,
    PROFILE_THREADS,
    REGULAR_DOOR_AT,
    STAGE_AT,
    STAGE_ROWS_AT,
    TEAM_FIELDS,
)
from tui_llama.engine.layouts.wait_gate import CACHE_LINE_BYTES
from tui_llama.engine.toolchain.numba_codegen import helper

(
    _ROWS, _ROW_COUNT, _BATCH, _SCHEDULE, _FIRST_ROW, _THREAD_COUNT, _REGULAR_THREADS, _SCRATCH, _SCRATCH_BYTES,
    _COUNTERS, _COUNTERS_STRIDE, _PROFILE, _PROFILED_UNTIL, _DOOR_NANOSECONDS, _STAGE_NANOSECONDS, _IS_CLOSING,
) = range(len(TEAM_FIELDS))  # fmt: skip

_ROW_BYTES = ROW.itemsize
_ENTRY_BYTES = ENTRY.itemsize
_WEIGHT, _WEIGHT_STRIDE = (dict(ROW.fields or {})[name][1] // 8 for name in ("weight", "weight_stride"))
_KERNEL, _UNITS, _LEAST_SHARE, _STAGE_UNITS, _FOLLOWING = range(len(ENTRY.names or ()))
# A counter holds how many units of a thread's range are taken, and in which stage, so that nobody has to reset it.
_TAKEN_BITS = MOST_UNITS.bit_length()
_AHEAD_BYTES = 256 << 10  # bytes of weights that a waiting thread prefetches: less than half of a core's L2 cache
_AHEAD_LINES = 8  # cache lines prefetched between two looks at the gate
_SHARE = 4  # a thread takes this part (1/4) of what is left of a range, so that shares get small towards the end


@helper
def _work(address: int, index: int, counters: int, stage: int, thread: int) -> int:
    """Does a thread's range of a row's units, then units left in other ranges; returns the number of units done.

    Args:
        address: Address of the team.
        index: Number of the row.
        counters: Address of the row's counters.
        stage: Number of the stage. Once it is over, everything read here may belong to another batch.
        thread: Number of the working thread.
    """
    team = int64_at(np.uintp(address))
    row, batch = np.uintp(team[_ROWS] + index * _ROW_BYTES), np.uintp(team[_BATCH])
    scratch = np.uintp(team[_SCRATCH] + thread * team[_SCRATCH_BYTES])
    entry = int64_at(np.uintp(team[_SCHEDULE] + index * _ENTRY_BYTES))
    code, units, least_share = np.uintp(entry[_KERNEL]), entry[_UNITS], entry[_LEAST_SHARE]
    thread_count = team[_THREAD_COUNT]
    done = 0
    for turn in range(thread_count):
        owner = (thread + turn) % thread_count
        begin = units * owner // thread_count
        size = units * (owner + 1) // thread_count - begin
        counter = np.uintp(counters + owner * CACHE_LINE_BYTES)
        while True:
            found = atomic_load(counter)
            taken = found & MOST_UNITS if found >> _TAKEN_BITS == stage else 0
            if taken >= size:
                break
            # If the gate still shows this stage, all of this was read while the stage was open. If the counter then
            # still has the value found, some units of the stage are not taken yet, and so the stage is still open.
            read_fence()
            if times_opened(address + STAGE_AT) != stage:
                return done
            share = (size - taken) // _SHARE
            share = min(size - taken, max(least_share, share - share % least_share))
            if atomic_replace(counter, found, (stage << _TAKEN_BITS) | (taken + share)) == found:
                call_kernel(code, row, batch, begin + taken, begin + taken + share, scratch)
                done += share
    return done


@helper
def _fetch_ahead(address: int, index: int, stage: int, thread: int) -> None:
    """Prefetches a thread's first weights of row `index`, until the next stage opens or the limit is reached.

    Without this, memory would be idle while one thread does a few rows alone.
    """
    team = int64_at(np.uintp(address))
    if index >= team[_ROW_COUNT]:
        return
    row = int64_at(np.uintp(team[_ROWS] + index * _ROW_BYTES))
    units = int64_at(np.uintp(team[_SCHEDULE] + index * _ENTRY_BYTES))[_UNITS]
    begin, end = units * thread // team[_THREAD_COUNT], units * (thread + 1) // team[_THREAD_COUNT]
    first, size = row[_WEIGHT] + begin * row[_WEIGHT_STRIDE], (end - begin) * row[_WEIGHT_STRIDE]
    for at in range(0, min(size, _AHEAD_BYTES), _AHEAD_LINES * CACHE_LINE_BYTES):
        if times_opened(address + STAGE_AT) != stage:
            return
        for line in range(_AHEAD_LINES):
            prefetch_line(np.uintp(first + at + line * CACHE_LINE_BYTES))


@helper
def _open_stage(address: int, first: int, last: int, thread: int) -> None:
    """Does the rows `first` … `last` - 1 alone while no stage is open; then opens the stage of row `last`."""
    team = int64_at(np.uintp(address))
    scratch = np.uintp(team[_SCRATCH] + thread * team[_SCRATCH_BYTES])
    for index in range(first, last):
        entry = int64_at(np.uintp(team[_SCHEDULE] + index * _ENTRY_BYTES))
        row = np.uintp(team[_ROWS] + index * _ROW_BYTES)
        call_kernel(np.uintp(entry[_KERNEL]), row, np.uintp(team[_BATCH]), 0, entry[_UNITS], scratch)
        if team[_PROFILE]:
            now = clock_nanoseconds()
            times = int64_at(np.uintp(team[_PROFILE]))
            times[PROFILE_ALONE * team[_ROW_COUNT] + index] += now - team[_PROFILED_UNTIL]
            team[_PROFILED_UNTIL] = now
    next_stage = times_opened(address + STAGE_AT) + 1
    begin = last if last < team[_ROW_COUNT] else NO_ROW
    atomic_store(np.uintp(address + STAGE_ROWS_AT + 8 * (next_stage & 1)), begin)
    open_gate(address + STAGE_AT)


@helper
def _join(address: int, thread: int) -> None:
    """Takes part in the stages, from the open one until the run is over."""
    team = int64_at(np.uintp(address))
    while True:
        stage = times_opened(address + STAGE_AT)
        index = atomic_load(np.uintp(address + STAGE_ROWS_AT + 8 * (stage & 1)))
        if times_opened(address + STAGE_AT) != stage:
            continue
        if index == NO_ROW:
            return
        counters, done = team[_COUNTERS], 0
        while True:
            start = clock_nanoseconds() if team[_PROFILE] else 0
            did = _work(address, index, counters, stage, thread)
            done += did
            if did > 0 and team[_PROFILE]:
                place = team[_PROFILE] + 8 * (PROFILE_THREADS * team[_ROW_COUNT] + index)
                atomic_add(np.uintp(place), clock_nanoseconds() - start)
            entry = int64_at(np.uintp(team[_SCHEDULE] + index * _ENTRY_BYTES))
            stage_units, following = entry[_STAGE_UNITS], entry[_FOLLOWING]
            read_fence()
            if stage_units > 0 or times_opened(address + STAGE_AT) != stage:
                break
            index += 1
            counters += team[_COUNTERS_STRIDE]
        # A thread reports its finished units only now. The stage cannot be over before that, so all that the thread has
        # read belongs to this stage.
        if done > 0 and atomic_add(np.uintp(address + DONE_AT), done) + done == stage_units:
            atomic_store(np.uintp(address + DONE_AT), 0)
            if team[_PROFILE]:
                now = clock_nanoseconds()
                times = int64_at(np.uintp(team[_PROFILE]))
                times[PROFILE_STAGES * team[_ROW_COUNT] + index] += now - team[_PROFILED_UNTIL]
                team[_PROFILED_UNTIL] = now
            _open_stage(address, index + 1, following, thread)
        else:
            if done > 0:
                _fetch_ahead(address, following, stage, thread)
            wait_at(address + STAGE_AT, stage, team[_STAGE_NANOSECONDS])


def take_part(address: int, thread: int) -> None:
    """Runs a thread's part of a plan: thread 0 calls it for each run, every other thread calls it once.

    Args:
        address: Address of memory from `new_team`, with fields set. Thread 0 runs the plan once, and returns when all
            work is done; with `is_closing` it tells the helpers to return instead.
        thread: 0 for the caller; 1 and up for helpers, which return only when the team closes.
    """
    team = int64_at(np.uintp(address))
    if thread > 0:
        door = address + (REGULAR_DOOR_AT if thread < team[_REGULAR_THREADS] else EXTRA_DOOR_AT)
        passed = 0
        while True:
            wait_at(door, passed, team[_DOOR_NANOSECONDS])
            passed = times_opened(door)
            if team[_IS_CLOSING]:
                return
            _join(address, thread)
    if not team[_IS_CLOSING]:
        if team[_PROFILE]:
            team[_PROFILED_UNTIL] = clock_nanoseconds()
        _open_stage(address, 0, team[_FIRST_ROW], 0)
        if team[_FIRST_ROW] == team[_ROW_COUNT]:
            return
    open_gate(address + REGULAR_DOOR_AT)
    if team[_IS_CLOSING] or team[_THREAD_COUNT] > team[_REGULAR_THREADS]:
        open_gate(address + EXTRA_DOOR_AT)
    if not team[_IS_CLOSING]:
        _join(address, 0)
