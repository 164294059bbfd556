"""The threads that run a plan together.

The caller is one of them. The others wait inside compiled code, and sleep there soon after a run has ended, so that
nothing runs while the user thinks.
"""

import os
import queue
import threading
from types import TracebackType
from typing import Self

from tui_llama.engine import ops
from tui_llama.engine.layouts.team import TEAM_FIELDS, new_team
from tui_llama.engine.threads.placement import Placement, find_seats

_ANYWHERE = Placement()
_FIELD_INDEX = {name: index for index, name in enumerate(TEAM_FIELDS)}
# Long enough for the caller's work between two tokens; short enough that a processor polling in vain does little harm.
_LONGEST_POLL_NANOSECONDS = 4_000_000
# Threads of a stage poll for each other at least this long: sleeping and waking up takes about as long.
_SHORTEST_STAGE_NANOSECONDS = 100_000


class ThreadTeam:
    """Threads that run one plan; the plan must live as long as they do.

    Args:
        threads: Threads for small batches, the caller included; at least 1.
        batch_threads: Threads for large batches; 0 for the same number.
        placement: Where they run. The caller's thread is placed too, from its first run until it closes the team.

    `notices` lists what the system refused of the placement, one line each.
    """

    def __init__(self, threads: int, batch_threads: int = 0, placement: Placement = _ANYWHERE) -> None:
        self.threads = threads
        self.batch_threads = batch_threads or threads
        self.most_threads = max(self.threads, self.batch_threads)
        self._seating = find_seats(placement)
        self._seated_caller = 0
        self._left_by_caller: frozenset[int] = frozenset()
        self._memory = new_team()
        self._address = int(self._memory.ctypes.data)
        poll = placement.poll * _LONGEST_POLL_NANOSECONDS // 100
        self.set_fields(
            regular_threads=min(self.threads, self.batch_threads),
            door_nanoseconds=poll,
            stage_nanoseconds=max(poll, _SHORTEST_STAGE_NANOSECONDS),
        )
        self._helpers: list[threading.Thread] = []
        try:
            self._start_helpers()
        except BaseException:
            self.close()
            raise

    @property
    def notices(self) -> tuple[str, ...]:
        """Settings of the placement that the system refused, one line each."""
        return self._seating.notices

    def set_fields(self, **fields: int) -> None:
        """Sets shared fields, see `TEAM_FIELDS` in layouts/team.py; must not be called during a run."""
        for name, value in fields.items():
            self._memory[_FIELD_INDEX[name]] = value

    def run(self) -> None:
        """Runs the plan with the fields set, and returns when all work is done."""
        if not self._seating.is_anywhere and threading.get_ident() != self._seated_caller:
            self._seated_caller = threading.get_ident()
            self._left_by_caller = self._seating.bind_thread(0)
        ops.TAKE_PART(self._address, 0)

    def close(self) -> None:
        """Ends the threads. May be called again."""
        self.set_fields(is_closing=1)
        ops.TAKE_PART(self._address, 0)
        for helper in self._helpers:
            helper.join()
        self._helpers = []
        if self._left_by_caller and threading.get_ident() == self._seated_caller:
            os.sched_setaffinity(0, self._left_by_caller)
            self._left_by_caller = frozenset()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _start_helpers(self) -> None:
        """Starts the helpers and waits until each one has its processors and its priority."""
        seated: queue.SimpleQueue[int] = queue.SimpleQueue()
        for index in range(1, self.most_threads):
            helper = threading.Thread(target=self._help, args=(index, seated), name=f"engine-{index}", daemon=True)
            helper.start()
            self._helpers.append(helper)
        for _ in self._helpers:
            seated.get()

    def _help(self, index: int, seated: "queue.SimpleQueue[int]") -> None:
        self._seating.bind_thread(index)
        seated.put(index)
        ops.TAKE_PART(self._address, index)
