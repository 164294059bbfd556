"""Runs a plan with a team of threads, and owns the working memory of both."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from tui_llama.engine.layouts.plan_row import BATCH, ENTRY
from tui_llama.engine.layouts.team import PROFILE_ALONE, PROFILE_STAGES, PROFILE_THREADS
from tui_llama.engine.layouts.wait_gate import CACHE_LINE_BYTES
from tui_llama.engine.machine.memory import zeroed_array
from tui_llama.engine.plan.plan import Plan, PlanStep
from tui_llama.engine.plan.schedule import Schedule, make_schedule, most_rows_of_a_stage, stage_ends
from tui_llama.engine.threads.team import ThreadTeam

_PROFILE_PARTS = (PROFILE_ALONE, PROFILE_STAGES, PROFILE_THREADS)
_FEW_TOKENS = 8  # a batch of so few tokens spends more time on reading weights than on computing, as decode does


class PlanRunner:
    """Runs a plan.

    Args:
        plan: A plan whose kernels are set.
        team: The threads that run it; nobody else may use the team.
    """

    def __init__(self, plan: Plan, team: ThreadTeam) -> None:
        self._plan = plan
        self._team = team
        self._scheduled = (0, 0)
        self._small_schedules: dict[tuple[int, int], Schedule] = {}
        self._large_schedule = np.zeros(len(plan.rows), ENTRY)
        self._batch = np.zeros((), BATCH)
        self._counters = zeroed_array((most_rows_of_a_stage(plan.rows), team.most_threads, CACHE_LINE_BYTES), np.uint8)
        self._scratch = zeroed_array((team.most_threads, plan.scratch_bytes), np.uint8)
        self._nanoseconds = np.zeros((3, len(plan.rows)), np.int64)
        team.set_fields(
            rows=int(plan.rows.ctypes.data), row_count=len(plan.rows), batch=int(self._batch.ctypes.data),
            scratch=int(self._scratch.ctypes.data), scratch_bytes=plan.scratch_bytes,
            counters=int(self._counters.ctypes.data), counters_stride=self._counters.strides[0],
        )  # fmt: skip

    def run(self, **fields: int) -> None:
        """Runs a batch and returns when it is done.

        Args:
            fields: The fields of the batch; see `BATCH` in layouts/plan_row.py.
        """
        for name, value in fields.items():
            self._batch[name] = value
        self._set_schedule(fields["token_count"], fields.get("first_output_token", 0))
        self._team.run()

    def _set_schedule(self, token_count: int, first_output_token: int) -> None:
        """Gives the threads the schedule of a batch; does nothing if the last batch had the same shape."""
        shape = (token_count, first_output_token)
        if shape == self._scheduled:
            return
        is_small = token_count <= _FEW_TOKENS
        thread_count = self._team.threads if is_small else self._team.batch_threads
        schedule = self._small_schedules.get(shape) or make_schedule(self._plan.rows, *shape, thread_count)
        # Late threads may still read the entries of the last batch, so their memory is never released.
        if is_small:
            entries = self._small_schedules.setdefault(shape, schedule).entries
        else:
            entries = self._large_schedule
            entries[:] = schedule.entries
        self._team.set_fields(
            schedule=int(entries.ctypes.data), first_row=schedule.first_row, thread_count=thread_count
        )
        self._scheduled = shape

    @contextmanager
    def profile(self) -> Iterator[list[tuple[PlanStep, float]]]:
        """Measures the batches that run inside the `with` block.

        Yields:
            A list that is empty until the block ends. It then has each step of the plan with its seconds in all
            batches, waiting for the last unit of its stage included. The seconds add up to the time in `run`, minus the
            cost of calling it. Steps that do not wait for each other share their common time in proportion to the
            threads' time on each.
        """
        times: list[tuple[PlanStep, float]] = []
        self._nanoseconds[:] = 0
        self._team.set_fields(profile=int(self._nanoseconds.ctypes.data))
        try:
            yield times
        finally:
            self._team.set_fields(profile=0)
            times += zip(self._plan.steps, self._seconds(), strict=True)

    def _seconds(self) -> list[float]:
        """Returns the profile as seconds for each row."""
        alone, of_stages, of_threads = (self._nanoseconds[part] for part in _PROFILE_PARTS)
        begins = np.concatenate([[0], stage_ends(self._plan.rows)[:-1] + 1])
        lengths = np.diff(begins, append=len(alone))
        stage = np.repeat(np.add.reduceat(of_stages, begins), lengths)
        threads = np.repeat(np.add.reduceat(of_threads, begins), lengths)
        seconds: list[float] = ((alone + stage * (of_threads / np.maximum(1, threads))) / 1e9).tolist()
        return seconds
