"""Threads that call a function side by side, and sleep between calls; the caller is one of them.

For measuring. The threads that run a plan wait inside compiled code instead; see plan_team.py.
"""

import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self

from tui_llama.engine.placement import physical_core_count

__all__ = ["ThreadTeam", "physical_core_count"]


class ThreadTeam:
    """A fixed number of threads that call one function together.

    Args:
        thread_count: Threads, the caller among them; at least 1.
    """

    def __init__(self, thread_count: int) -> None:
        self.thread_count = thread_count
        self._work: Callable[[int], None] | None = None
        self._wake = [threading.Semaphore(0) for _ in range(thread_count - 1)]
        self._done = threading.Semaphore(0)
        self._members = [
            threading.Thread(target=self._serve, args=(index,), name=f"engine-{index}", daemon=True)
            for index in range(1, thread_count)
        ]
        for member in self._members:
            member.start()

    def run(self, work: Callable[[int], None]) -> None:
        """Calls `work(thread_index)` on every thread at once and returns when all are back.

        `work` must release the GIL while it waits for the others, and must not raise.
        """
        self._work = work
        for wake in self._wake:
            wake.release()
        work(0)
        for _ in self._members:
            self._done.acquire()

    def close(self) -> None:
        """Ends the threads."""
        self._work = None
        for wake in self._wake:
            wake.release()
        for member in self._members:
            member.join()
        self._members, self._wake = [], []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _serve(self, index: int) -> None:
        wake = self._wake[index - 1]
        while True:
            wake.acquire()
            if self._work is None:
                return
            self._work(index)
            self._done.release()
