"""What the threads of a team share, in memory; plan_loop.py has the code that works on it."""

import numpy as np
import numpy.typing as npt

from tui_llama.engine.layouts.wait_gate import CACHE_LINE_BYTES, GATE_BYTES, prepare_gate
from tui_llama.engine.machine.memory import zeroed_array

TEAM_FIELDS = (
    "rows",  # address of the plan's rows
    "row_count",
    "batch",  # address of the batch
    "schedule",  # address of the batch's schedule, an entry for each row
    "first_row",  # the first row of the first stage; those before need one thread only
    "thread_count",  # threads that a row's units are dealt out to
    "regular_threads",  # threads that take part in every run; the others have a door of their own
    "scratch",  # address of working memory, `scratch_bytes` for each thread
    "scratch_bytes",
    "counters",  # address of an int64 on a line of its own for each row of a stage and each thread
    "counters_stride",  # bytes from one row's counters to the next row's
    "profile",  # address of three times as many int64 nanoseconds as there are rows; 0: nobody wants to know
    "profiled_until",  # while a profile is made: to when time is accounted for, by `clock_nanoseconds`
    "door_nanoseconds",  # how long helpers poll for the next run before they sleep
    "stage_nanoseconds",  # how long threads poll for the next stage before they sleep
    "is_closing",  # 1: helpers that are let in return
)
"""What the threads of a team share, int64 each; set by `thread_team` and `plan_runner` between runs.

All memory that is named here stays where it is as long as the team lives: late threads may look at it any time.
"""

# After the fields: how many units of the stage are done, and the stages' gate with the row that begins the stage. For
# that row there are two places, for stages of even and odd number, so that it can be written before the gate is opened.
DONE_AT = 2 * CACHE_LINE_BYTES
STAGE_ROWS_AT = DONE_AT + CACHE_LINE_BYTES
STAGE_AT = STAGE_ROWS_AT + CACHE_LINE_BYTES
REGULAR_DOOR_AT = STAGE_AT + GATE_BYTES
EXTRA_DOOR_AT = REGULAR_DOOR_AT + GATE_BYTES
_TEAM_BYTES = EXTRA_DOOR_AT + GATE_BYTES
NO_ROW = -1  # the run is over

PROFILE_ALONE, PROFILE_STAGES, PROFILE_THREADS = range(3)
"""The parts of a profile: what a row took that was done alone; what stages took, at their last row; and what the
threads together spent on each row of the stages."""


def new_team() -> npt.NDArray[np.int64]:
    """Memory that a team shares, (at least the number of fields,) int64: the fields, all 0, and what only it uses."""
    memory = zeroed_array((_TEAM_BYTES // 8,), np.int64).view(np.int64)
    memory[STAGE_ROWS_AT // 8 : STAGE_ROWS_AT // 8 + 2] = NO_ROW
    for gate_at in (REGULAR_DOOR_AT, EXTRA_DOOR_AT, STAGE_AT):
        prepare_gate(int(memory.ctypes.data) + gate_at)
    return memory
