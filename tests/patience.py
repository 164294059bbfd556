"""Waits in tests for the event itself, however long the machine takes.

No test may depend on being scheduled soon. A test waits for an event (a line on a pipe, the end of a process, a
condition), and only a hang ends that wait: the limits here are for hangs alone, and the only ones there are.
"""

import asyncio
import os
import select
from typing import Any, Final

import pytest

HANG_SECONDS: Final = float(os.environ.get("TEST_HANG_SECONDS") or 600)
"""Whoever waits longer than this hangs, on a machine that compiles kernels beside eight busy processes as well.

Whoever writes a test and sees it wait for what never happens sets the variable to a few seconds.
"""

DRAWING_SECONDS: Final = 1 / 50
"""Textual draws what has changed 60 times a second."""


needs_descriptors_of_processes = pytest.mark.skipif(
    not hasattr(os, "pidfd_open"), reason="waits for a stranger's end by a Linux descriptor"
)


def has_ended(process_id: int) -> bool:
    """Waits for the end of a process that is no child of ours. Returns False if it hangs."""
    try:
        descriptor = os.pidfd_open(process_id)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([descriptor], [], [], HANG_SECONDS)[0])
    finally:
        os.close(descriptor)


async def until_at_rest(_least_seconds: float = 0.0) -> None:
    """Returns once the event loop has nothing to do but to wait; stands in for Textual's `wait_for_idle`.

    Textual takes a process that uses no processor for one that is at rest. On a busy machine it may just not have
    had one. Here the loop itself is asked: what was due before us has run, and no task can go on.
    """
    loop: Any = asyncio.get_running_loop()
    # Timers run in the order in which they are due, so what is to be drawn has been, however late it is.
    await asyncio.sleep(DRAWING_SECONDS)
    while loop._ready:  # all but this task, which is under way
        await asyncio.sleep(0)


def let_pilots_wait() -> None:
    """Gives Textual's pilots our patience: pauses end at rest, and only a hang is a failure."""
    from textual import app, pilot

    for module in (app, pilot):
        module.wait_for_idle = until_at_rest  # type: ignore[attr-defined]
    pilot.Pilot._wait_for_screen.__defaults__ = (HANG_SECONDS,)
