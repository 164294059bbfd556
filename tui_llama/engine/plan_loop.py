"""The compiled loop that runs a plan on every thread of a team.

The threads go through the rows together. A row's units of work are dealt out in equal, contiguous ranges, one for each
thread; who has finished takes from what is left of the others', since processors of a shared machine run at unequal
speed. Threads meet after a row that asks for it. The last to come to a meeting does the rows that follow as long as
they are a single unit of work, before anybody goes on: when one token is decoded, every other row is, and a meeting
for each would cost more than the row.

Between runs the helpers wait inside the compiled code, so that no Python runs from one token to the next but the
caller's.
"""

from typing import Any

import numba
import numpy as np
from numba import types

from tui_llama.engine.compilation import kernel
from tui_llama.engine.rows import PER_PLAN, PER_TOKEN, ROW
from tui_llama.engine.simd import (
    at_address,
    atomic_add,
    atomic_load,
    atomic_store,
    batch_at,
    call_kernel,
    first_token,
    row_at,
)
from tui_llama.engine.waiting import (
    CACHE_LINE_BYTES,
    GATE_BYTES,
    clock_nanoseconds,
    open_gate,
    prepare_gate,
    times_opened,
    wait_at,
)

# What the threads of a team share. `plan_runner` and `plan_team` fill it in between runs; addresses are absolute.
_TEAM_FIELDS = [
    ("rows", np.int64),
    ("row_count", np.int64),
    ("batch", np.int64),
    ("scratch", np.int64),  # working memory, `scratch_bytes` for each thread
    ("scratch_bytes", np.int64),
    ("counters", np.int64),  # two sets of `counter_rows` × `counter_threads` int64, a cache line apart, zero at first
    ("counter_rows", np.int64),  # the most rows between two meetings
    ("counter_threads", np.int64),
    ("thread_count", np.int64),  # threads that take part in this run
    ("regular_threads", np.int64),  # threads that take part in every run; the others have a door of their own
    ("first_row", np.int64),  # where the helpers begin
    ("profile", np.int64),  # int64 nanoseconds for each row, added to; 0: nobody wants to know
    ("serial_nanoseconds", np.int64),  # time that the last to come to a meeting spent on rows, while it is profiled
    ("door_nanoseconds", np.int64),  # how long helpers poll for the next run before they sleep
    ("meeting_nanoseconds", np.int64),  # how long threads poll for each other
    ("is_closing", np.int64),  # 1: helpers that are let in return
]
_FIELD_BYTES = 2 * CACHE_LINE_BYTES
_ARRIVED_AT = _FIELD_BYTES
_REGULAR_DOOR_AT = _ARRIVED_AT + CACHE_LINE_BYTES
_EXTRA_DOOR_AT = _REGULAR_DOOR_AT + GATE_BYTES
_MEETING_AT = _EXTRA_DOOR_AT + GATE_BYTES
TEAM = np.dtype(
    {
        "names": [name for name, _ in _TEAM_FIELDS],
        "formats": [kind for _, kind in _TEAM_FIELDS],
        "itemsize": _MEETING_AT + GATE_BYTES,
    }
)
_ROW_BYTES = ROW.itemsize
_SHARE = 4  # a thread takes this part of what is left of a range, so that little is left for the end

_team_at = at_address(numba.from_dtype(TEAM), "team_at")


def prepare_team(address: int) -> None:
    """Makes zeroed memory at `address` fit for a team."""
    for gate_at in (_REGULAR_DOOR_AT, _EXTRA_DOOR_AT, _MEETING_AT):
        prepare_gate(address + gate_at)


@kernel
def _units(row: Any, batch: Any) -> Any:
    """How many units of work a row has in this batch."""
    if row.per_token == PER_PLAN:
        return row.units
    tokens = batch.token_count - first_token(row, batch)
    if row.per_token == PER_TOKEN:
        return row.units * tokens
    return row.units * ((tokens + row.tokens_per_unit - 1) // row.tokens_per_unit)


@kernel
def _row_address(team: Any, index: int) -> Any:
    return team.rows + index * _ROW_BYTES


@kernel
def _units_at(team: Any, index: int) -> Any:
    return _units(row_at(np.uintp(_row_address(team, index))), batch_at(np.uintp(team.batch)))


@kernel
def _call(team: Any, index: int, first: int, last: int, thread: int) -> None:
    """Does some units of a row."""
    address = np.uintp(_row_address(team, index))
    scratch = np.uintp(team.scratch + thread * team.scratch_bytes)
    call_kernel(np.uintp(row_at(address).kernel), address, np.uintp(team.batch), first, last, scratch)


@kernel
def _note(team: Any, index: int, nanoseconds: int) -> None:
    atomic_add(np.uintp(team.profile + 8 * index), nanoseconds)


@kernel
def _end_of_serial_rows(team: Any, index: int) -> Any:
    """The first row from `index` on that more than one thread can work on."""
    while index < team.row_count and (team.thread_count == 1 or _units_at(team, index) <= 1):
        index += 1
    return index


@kernel
def _run_serial_rows(team: Any, first: int, last: int, thread: int) -> None:
    """Runs the rows `first` … `last` - 1, alone."""
    if not team.profile:
        for index in range(first, last):
            _call(team, index, 0, _units_at(team, index), thread)
        return
    begun = start = clock_nanoseconds()
    for index in range(first, last):
        _call(team, index, 0, _units_at(team, index), thread)
        now = clock_nanoseconds()
        _note(team, index, now - start)
        start = now
    team.serial_nanoseconds = start - begun


@kernel
def _work(team: Any, index: int, counters: int, thread: int) -> None:
    """Does a thread's range of a row's units, then what is left of the others'."""
    units = _units_at(team, index)
    for turn in range(team.thread_count):
        owner = (thread + turn) % team.thread_count
        begin = units * owner // team.thread_count
        size = units * (owner + 1) // team.thread_count - begin
        counter = np.uintp(counters + owner * CACHE_LINE_BYTES)
        left = size - atomic_load(counter)
        while left > 0:
            share = max(1, left // _SHARE)
            first = atomic_add(counter, share)
            if first < size:
                _call(team, index, begin + first, begin + min(size, first + share), thread)
            left = size - first - share


@kernel
def _meet(address: int, meeting: int, first: int, last: int, thread: int) -> None:
    """Waits until every thread has come here, and until the last of them has run the rows `first` … `last` - 1.

    Args:
        address: The team's.
        meeting: How many meetings the team has had before.
        first: The row after the meeting.
        last: The first row that more than one thread can work on.
        thread: Who comes.
    """
    team = _team_at(np.uintp(address))
    arrived = np.uintp(address + _ARRIVED_AT)
    if atomic_add(arrived, 1) == team.thread_count - 1:
        atomic_store(arrived, 0)
        _run_serial_rows(team, first, last, thread)
        open_gate(address + _MEETING_AT)
    else:
        wait_at(address + _MEETING_AT, meeting, team.meeting_nanoseconds)


@kernel
def _counters(team: Any, meeting: int) -> Any:
    """Where the counters of the rows before a meeting are: two sets take turns."""
    return team.counters + (meeting & 1) * team.counter_rows * team.counter_threads * CACHE_LINE_BYTES


@kernel
def _run_rows(address: int, index: int, thread: int) -> None:
    """Goes through the rows from `index` on together with the other threads.

    After the last meeting nothing of the team is read any more: the caller may be preparing the next run.
    """
    team = _team_at(np.uintp(address))
    row_count, is_timed = team.row_count, team.profile != 0 and thread == 0
    line = team.counter_threads * CACHE_LINE_BYTES
    meeting = times_opened(address + _MEETING_AT)
    counters, used = _counters(team, meeting), 0
    start = clock_nanoseconds() if is_timed else 0
    while index < row_count:
        _work(team, index, counters + used * line, thread)
        used += 1
        meets = row_at(np.uintp(_row_address(team, index))).barrier or index + 1 == row_count
        following = index + 1
        if meets:
            following = _end_of_serial_rows(team, index + 1)
            next_counters = _counters(team, meeting + 1)
            _meet(address, meeting, index + 1, following, thread)
        if is_timed:
            now = clock_nanoseconds()
            _note(team, index, now - start - (team.serial_nanoseconds if meets else 0))
            start = now
        if meets:
            # Nobody looks at these any more before the meeting after the next.
            for row in range(used):
                atomic_store(np.uintp(counters + row * line + thread * CACHE_LINE_BYTES), 0)
            counters, used = next_counters, 0
            meeting += 1
        index = following


@kernel
def _lead(address: int) -> None:
    """The caller's part: lets the helpers in, and takes part itself."""
    team = _team_at(np.uintp(address))
    first = _end_of_serial_rows(team, 0)
    _run_serial_rows(team, 0, first, 0)
    if first == team.row_count:
        return
    team.first_row = first
    open_gate(address + _REGULAR_DOOR_AT)
    if team.thread_count > team.regular_threads:
        open_gate(address + _EXTRA_DOOR_AT)
    _run_rows(address, first, 0)


TAKE_PART = types.void(types.int64, types.int64)


@kernel
def take_part(address: int, thread: int) -> None:
    """What every thread of a team calls: thread 0 for each run, the others once.

    Args:
        address: Of a `TEAM` that `prepare_team` has prepared, and whose fields are set. Thread 0 runs the plan once,
            and returns when all are done; with `is_closing` it sends the helpers home instead.
        thread: 0 for the caller; 1 and up for helpers, which return only when they are sent home.
    """
    team = _team_at(np.uintp(address))
    if thread == 0:
        if team.is_closing:
            open_gate(address + _REGULAR_DOOR_AT)
            open_gate(address + _EXTRA_DOOR_AT)
        else:
            _lead(address)
        return
    door = address + (_REGULAR_DOOR_AT if thread < team.regular_threads else _EXTRA_DOOR_AT)
    runs = 0
    while True:
        wait_at(door, runs, team.door_nanoseconds)
        runs += 1
        if team.is_closing:
            return
        _run_rows(address, team.first_row, thread)
