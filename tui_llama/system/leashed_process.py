"""A child process that runs another program and ends together with its parent.

The child leads a process group, to which the program and the processes that it starts belong. Only the parent holds
the other end of the child's standard input. When that input ends, the child kills the whole group. No signal would do
this on every system, because the parent may itself be killed.
"""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence


def main(arguments: Sequence[str]) -> None:
    """Runs the command with an empty standard input, and ends with its status."""
    if os.getpgrp() != os.getpid():
        os.setpgid(0, 0)  # else the child would kill the group of its parent
    threading.Thread(target=_end_with_standard_input, daemon=True).start()
    try:
        status = subprocess.run(arguments, stdin=subprocess.DEVNULL, check=False).returncode
    except OSError as error:
        sys.exit(f"error: {error}")
    sys.exit(status)


def _end_with_standard_input() -> None:
    # Not through `sys.stdin`: a thread that reads from it would hold a lock that the end of the process needs.
    while os.read(0, 1024):
        pass
    os.killpg(0, signal.SIGKILL)
