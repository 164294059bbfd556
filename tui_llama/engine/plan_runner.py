"""Runs a plan with a team of threads; the working memory of both lives here."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from tui_llama.engine.memory import zeroed_array
from tui_llama.engine.plan import Plan, Step
from tui_llama.engine.rows import BATCH
from tui_llama.engine.schedule import Schedule, make_schedule, most_rows_between_meetings
from tui_llama.engine.thread_team import ThreadTeam
from tui_llama.engine.waiting import CACHE_LINE_BYTES

_FEW_TOKENS = 8  # a batch of so many reads weights more than it computes, as decoding does


class PlanRunner:
    """Runs a plan.

    Args:
        plan: A plan whose kernels are set.
        team: Who runs it; nobody else may use the team.
    """

    def __init__(self, plan: Plan, team: ThreadTeam) -> None:
        self._plan = plan
        self._team = team
        self._schedule: Schedule | None = None
        self._scheduled = (0, 0)
        self._batch = np.zeros((), BATCH)
        self._counters = zeroed_array(
            (most_rows_between_meetings(plan.rows), team.most_threads, CACHE_LINE_BYTES), np.uint8
        )
        self._scratch = zeroed_array((team.most_threads, plan.scratch_bytes), np.uint8)
        self._nanoseconds = np.zeros(len(plan.rows), np.int64)
        team.set_fields(
            rows=int(plan.rows.ctypes.data), row_count=len(plan.rows), batch=int(self._batch.ctypes.data),
            scratch=int(self._scratch.ctypes.data), scratch_bytes=plan.scratch_bytes,
            counters=int(self._counters.ctypes.data), counters_stride=self._counters.strides[0],
        )  # fmt: skip

    def run(self, **fields: int) -> None:
        """Runs a batch and returns when it is done.

        Args:
            fields: The fields of the batch; see rows.py.
        """
        for name, value in fields.items():
            self._batch[name] = value
        self._set_schedule(fields["token_count"], fields.get("first_output_token", 0))
        self._team.run()

    def _set_schedule(self, token_count: int, first_output_token: int) -> None:
        """Tells the threads how a batch is laid out; nothing to do for one like the last."""
        if (token_count, first_output_token) == self._scheduled:
            return
        team = self._team
        thread_count = team.threads if token_count <= _FEW_TOKENS else team.batch_threads
        schedule = make_schedule(
            self._plan.rows,
            token_count=token_count,
            first_output_token=first_output_token,
            thread_count=thread_count,
        )
        team.set_fields(
            schedule=int(schedule.entries.ctypes.data), first_row=schedule.first_row, thread_count=thread_count
        )
        self._schedule, self._scheduled = schedule, (token_count, first_output_token)

    @contextmanager
    def profile(self) -> Iterator[list[tuple[Step, float]]]:
        """Measures the batches that are run inside of the `with` block.

        Yields:
            A list that is empty until the block ends, and then has each step of the plan with the seconds that all
            batches have spent on it, waiting for the last thread included. They add up to the time that passed in
            `run`, less what it costs to call it.
        """
        times: list[tuple[Step, float]] = []
        self._nanoseconds[:] = 0
        self._team.set_fields(profile=int(self._nanoseconds.ctypes.data))
        try:
            yield times
        finally:
            self._team.set_fields(profile=0)
            seconds = (self._nanoseconds / 1e9).tolist()
            times += zip(self._plan.steps, seconds, strict=True)
