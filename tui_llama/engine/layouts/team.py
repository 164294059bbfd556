"""Memory shared by the threads of a team; kernels/plan_loop.py has the code that works on it."""

import numpy as np
import numpy.typing as npt

from tui_llama.engine.layouts.wait_gate import CACHE_LINE_BYTES, GATE_BYTES, prepare_gate
from tui_llama.engine.machine.memory import zeroed_array

TEAM_FIELDS = (
    "rows",  # address of the plan's rows
    "row_count",
    "batch",  # address of the batch
    "schedule",  # address of the batch's schedule, an entry for each row
    "first_row",  # first row of the first stage; one thread does the rows before it
    "thread_count",  # threads that share a row's units
    "regular_threads",  # threads that take part in every run; the others wait at a door of their own
    "scratch",  # address of working memory, `scratch_bytes` for each thread
    "scratch_bytes",
    "counters",  # address of an int64 for each row of a stage and each thread, each on a cache line of its own
    "counters_stride",  # bytes from one row's counters to the next row's
    "profile",  # address of int64 nanoseconds, three for each row; 0: no profile is made
    "profiled_until",  # while a profile is made: the time by `clock_nanoseconds` up to which all time is accounted for
    "door_nanoseconds",  # how long a helper polls for the next run before it sleeps
    "stage_nanoseconds",  # how long a thread polls for the next stage before it sleeps
    "is_closing",  # 1: helpers that pass their door return
)
"""Fields that the threads of a team share, int64 each; `threads.team` and `plan.runner` set them between runs.

All memory named here stays in place for the life of the team, because late threads may read it at any time.
"""

# After the fields come the count of finished units of the stage, and the gate of the stages with the row that begins
# the stage. That row has two places, for stages of even and of odd number, so that it can be written before the gate
# opens.
DONE_AT = 2 * CACHE_LINE_BYTES
STAGE_ROWS_AT = DONE_AT + CACHE_LINE_BYTES
STAGE_AT = STAGE_ROWS_AT + CACHE_LINE_BYTES
REGULAR_DOOR_AT = STAGE_AT + GATE_BYTES
EXTRA_DOOR_AT = REGULAR_DOOR_AT + GATE_BYTES
_TEAM_BYTES = EXTRA_DOOR_AT + GATE_BYTES
NO_ROW = -1  # the run is over

PROFILE_ALONE, PROFILE_STAGES, PROFILE_THREADS = range(3)
"""Parts of a profile: the time of a row that one thread did alone; the time of a stage, stored at its last row; and the
time that all threads together spent on each row of a stage.
"""


def new_team() -> npt.NDArray[np.int64]:
    """Makes the memory of a team, int64 (at least the number of fields,): all fields 0, then gates and counters."""
    memory = zeroed_array((_TEAM_BYTES // 8,), np.int64).view(np.int64)
    memory[STAGE_ROWS_AT // 8 : STAGE_ROWS_AT // 8 + 2] = NO_ROW
    for gate_at in (REGULAR_DOOR_AT, EXTRA_DOOR_AT, STAGE_AT):
        prepare_gate(int(memory.ctypes.data) + gate_at)
    return memory
