"""The compiled loop that runs a plan on every thread of a team.

The threads go through the rows together, as `schedule.py` has laid out for a batch. A row's units of work are dealt out
in equal, contiguous ranges, one for each thread; who has finished takes from what is left of the others', since
processors of a shared machine run at unequal speed. Threads meet after a row that asks for it, and the last to come
runs what needs only one of them before anybody goes on.

Between runs the helpers wait inside the compiled code, so that no Python runs from one token to the next but the
caller's. Few and flat functions, all numbers int64: what is called in several layers takes seconds to compile.
"""

import numpy as np
from numba import types

from tui_llama.engine.compilation import kernel
from tui_llama.engine.rows import ROW
from tui_llama.engine.schedule import ENTRY, MOST_UNITS
from tui_llama.engine.simd import atomic_add, atomic_load, atomic_replace, atomic_store, call_kernel, int64_at
from tui_llama.engine.waiting import (
    CACHE_LINE_BYTES,
    GATE_BYTES,
    clock_nanoseconds,
    open_gate,
    prepare_gate,
    times_opened,
    wait_at,
)

TEAM_FIELDS = (
    "rows",  # address of the plan's rows
    "row_count",
    "batch",  # address of the batch
    "schedule",  # address of the batch's schedule, an entry for each row
    "first_row",  # the first row that needs more than one thread
    "thread_count",  # threads that take part in this run
    "regular_threads",  # threads that take part in every run; the others have a door of their own
    "scratch",  # address of working memory, `scratch_bytes` for each thread
    "scratch_bytes",
    "counters",  # address of an int64 on a line of its own for each row between two meetings and each thread
    "counters_stride",  # bytes from one row's counters to the next row's
    "profile",  # address of int64 nanoseconds for each row, added to; 0: nobody wants to know
    "alone_nanoseconds",  # what the last to come to a meeting spent on rows, while a profile is made
    "door_nanoseconds",  # how long helpers poll for the next run before they sleep
    "meeting_nanoseconds",  # how long threads poll for each other before they sleep
    "is_closing",  # 1: helpers that are let in return
)
"""What the threads of a team share, int64 each; set by `thread_team` and `plan_runner` between runs."""

(
    _ROWS, _ROW_COUNT, _BATCH, _SCHEDULE, _FIRST_ROW, _THREAD_COUNT, _REGULAR_THREADS, _SCRATCH, _SCRATCH_BYTES,
    _COUNTERS, _COUNTERS_STRIDE, _PROFILE, _ALONE_NANOSECONDS, _DOOR_NANOSECONDS,
    _MEETING_NANOSECONDS, _IS_CLOSING,
) = range(len(TEAM_FIELDS))  # fmt: skip

_ARRIVED_AT = 8 * len(TEAM_FIELDS) // CACHE_LINE_BYTES * CACHE_LINE_BYTES + CACHE_LINE_BYTES
_REGULAR_DOOR_AT = _ARRIVED_AT + CACHE_LINE_BYTES
_EXTRA_DOOR_AT = _REGULAR_DOOR_AT + GATE_BYTES
_MEETING_AT = _EXTRA_DOOR_AT + GATE_BYTES
TEAM_BYTES = _MEETING_AT + GATE_BYTES

_ROW_BYTES = ROW.itemsize
_ENTRY_BYTES = ENTRY.itemsize
_KERNEL, _UNITS, _MEETS, _FOLLOWING = range(len(ENTRY.names or ()))
# A counter says how many units are taken of a thread's range, and below which meeting, so that nobody resets it.
_TAKEN_BITS = MOST_UNITS.bit_length()
_SHARE = 4  # a thread takes this part of what is left of a range, so that little is left for the end


def prepare_team(address: int) -> None:
    """Makes `TEAM_BYTES` zeroed bytes at `address` fit for a team."""
    for gate_at in (_REGULAR_DOOR_AT, _EXTRA_DOOR_AT, _MEETING_AT):
        prepare_gate(address + gate_at)


@kernel
def _work(address: int, index: int, counters: int, meeting: int, thread: int) -> None:
    """Does a thread's range of a row's units, then what is left of the others'.

    Args:
        address: The team's.
        index: The row's.
        counters: Address of the row's counters.
        meeting: How many meetings the team has had.
        thread: Who works.
    """
    team = int64_at(np.uintp(address))
    row, batch = np.uintp(team[_ROWS] + index * _ROW_BYTES), np.uintp(team[_BATCH])
    scratch = np.uintp(team[_SCRATCH] + thread * team[_SCRATCH_BYTES])
    entry = int64_at(np.uintp(team[_SCHEDULE] + index * _ENTRY_BYTES))
    code, units, thread_count = np.uintp(entry[_KERNEL]), entry[_UNITS], team[_THREAD_COUNT]
    for turn in range(thread_count):
        owner = (thread + turn) % thread_count
        begin = units * owner // thread_count
        size = units * (owner + 1) // thread_count - begin
        counter = np.uintp(counters + owner * CACHE_LINE_BYTES)
        found = atomic_load(counter)
        while True:
            taken = found & MOST_UNITS if found >> _TAKEN_BITS == meeting else 0
            if taken == size:
                break
            share = max(1, (size - taken) // _SHARE)
            before = atomic_replace(counter, found, (meeting << _TAKEN_BITS) | (taken + share))
            if before == found:
                call_kernel(code, row, batch, begin + taken, begin + taken + share, scratch)
                before = atomic_load(counter)
            found = before


@kernel
def _work_alone(address: int, first: int, last: int, thread: int) -> None:
    """Does the rows `first` … `last` - 1 while the others wait."""
    team = int64_at(np.uintp(address))
    scratch = np.uintp(team[_SCRATCH] + thread * team[_SCRATCH_BYTES])
    times = int64_at(np.uintp(team[_PROFILE]))
    begun = start = clock_nanoseconds() if team[_PROFILE] else 0
    for index in range(first, last):
        entry = int64_at(np.uintp(team[_SCHEDULE] + index * _ENTRY_BYTES))
        row = np.uintp(team[_ROWS] + index * _ROW_BYTES)
        call_kernel(np.uintp(entry[_KERNEL]), row, np.uintp(team[_BATCH]), 0, entry[_UNITS], scratch)
        if team[_PROFILE]:
            now = clock_nanoseconds()
            times[index] += now - start
            start = now
    if team[_PROFILE]:
        team[_ALONE_NANOSECONDS] = start - begun


@kernel
def _work_together(address: int, index: int, thread: int) -> None:
    """Goes through the rows from `index` on with the other threads.

    After the last meeting nothing is read any more: the caller may be preparing the next run.
    """
    team = int64_at(np.uintp(address))
    row_count, is_timed = team[_ROW_COUNT], team[_PROFILE] != 0 and thread == 0
    meeting = times_opened(address + _MEETING_AT)
    counters = team[_COUNTERS]
    start = clock_nanoseconds() if is_timed else 0
    while index < row_count:
        entry = int64_at(np.uintp(team[_SCHEDULE] + index * _ENTRY_BYTES))
        meets, following = entry[_MEETS], entry[_FOLLOWING]
        _work(address, index, counters, meeting, thread)
        counters += team[_COUNTERS_STRIDE]
        if meets:
            counters = team[_COUNTERS]
            arrived = np.uintp(address + _ARRIVED_AT)
            if atomic_add(arrived, 1) == team[_THREAD_COUNT] - 1:
                atomic_store(arrived, 0)
                _work_alone(address, index + 1, following, thread)
                open_gate(address + _MEETING_AT)
            else:
                wait_at(address + _MEETING_AT, meeting, team[_MEETING_NANOSECONDS])
        if is_timed:
            now = clock_nanoseconds()
            times = int64_at(np.uintp(team[_PROFILE]))
            times[index] += now - start - (team[_ALONE_NANOSECONDS] if meets else 0)
            start = now
        if meets:
            meeting += 1
        index = following


TAKE_PART = types.void(types.int64, types.int64)


@kernel
def take_part(address: int, thread: int) -> None:
    """What every thread of a team calls: thread 0 for each run, the others once.

    Args:
        address: Of a team that `prepare_team` has prepared, and whose fields are set. Thread 0 runs the plan once, and
            returns when all are done; with `is_closing` it sends the helpers home instead.
        thread: 0 for the caller; 1 and up for helpers, which return only when they are sent home.
    """
    team = int64_at(np.uintp(address))
    door = address + (_REGULAR_DOOR_AT if thread < team[_REGULAR_THREADS] else _EXTRA_DOOR_AT)
    runs = 0
    while True:
        if thread > 0:
            wait_at(door, runs, team[_DOOR_NANOSECONDS])
            runs += 1
            if team[_IS_CLOSING]:
                return
        else:
            if not team[_IS_CLOSING]:
                _work_alone(address, 0, team[_FIRST_ROW], 0)
                if team[_FIRST_ROW] == team[_ROW_COUNT]:
                    return
            open_gate(address + _REGULAR_DOOR_AT)
            if team[_IS_CLOSING] or team[_THREAD_COUNT] > team[_REGULAR_THREADS]:
                open_gate(address + _EXTRA_DOOR_AT)
            if team[_IS_CLOSING]:
                return
        _work_together(address, team[_FIRST_ROW], thread)
        if thread == 0:
            return
