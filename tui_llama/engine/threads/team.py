"""The threads that run a plan together.

The caller is one of them; the others wait inside compiled code, and sleep there soon after a run has ended: nothing
runs while the user thinks.
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
# Long enough for what a caller does between two tokens, and a short while for a processor to be busy in vain.
_LONGEST_POLL_NANOSECONDS = 4_000_000
# Threads that work poll for each other at least this long: going to sleep and waking up takes about as long.
_SHORTEST_STAGE_NANOSECONDS = 100_000


class ThreadTeam:
    """Threads that run one plan, which has to live as long as they do.

    Args:
        threads: How many run small batches, the caller among them; at least 1.
        batch_threads: How many run large batches; 0 for as many.
        placement: Where they run. A caller's thread is put there too, from its first run until it closes the team.

    `notices` says, one line each, what of the placement the system refused.
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
        """What of the placement could not be had."""
        return self._seating.notices

    def set_fields(self, **fields: int) -> None:
        """Sets what the threads share, see `team_memory.TEAM_FIELDS`; not while they run."""
        for name, value in fields.items():
            self._memory[_FIELD_INDEX[name]] = value

    def run(self) -> None:
        """Runs what was set, and returns when all have finished."""
        if not self._seating.is_anywhere and threading.get_ident() != self._seated_caller:
            self._seated_caller = threading.get_ident()
            self._left_by_caller = self._seating.sit_down(0)
        ops.TAKE_PART(self._address, 0)

    def close(self) -> None:
        """Ends the threads. May be repeated."""
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
        """Starts the helpers and waits until each has its seat."""
        seated: queue.SimpleQueue[int] = queue.SimpleQueue()
        for index in range(1, self.most_threads):
            helper = threading.Thread(target=self._help, args=(index, seated), name=f"engine-{index}", daemon=True)
            helper.start()
            self._helpers.append(helper)
        for _ in self._helpers:
            seated.get()

    def _help(self, index: int, seated: "queue.SimpleQueue[int]") -> None:
        self._seating.sit_down(index)
        seated.put(index)
        ops.TAKE_PART(self._address, index)
