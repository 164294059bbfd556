"""The threads that run a plan together.

They enter the compiled loop side by side, meet at its barriers, and sleep between calls: nothing runs while the user
thinks. The caller is one of them.
"""

import os
import threading
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

_TOPOLOGY = Path("/sys/devices/system/cpu")


def physical_core_count() -> int:
    """Cores that this process may use, counting those that share one core's units once."""
    usable = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else range(os.cpu_count() or 1)
    cores = set()
    for processor in usable:
        siblings = _TOPOLOGY / f"cpu{processor}" / "topology" / "thread_siblings_list"
        try:
            cores.add(siblings.read_text())
        except OSError:  # not Linux, or a container that hides it: every processor counts
            cores.add(str(processor))
    return max(1, len(cores))


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
