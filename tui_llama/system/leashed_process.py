"""A child process that runs somebody else's program, which ends when the process that asked for it does.

It is the first of a process group; the program and whatever that starts are in it too. When standard input ends, of
which only its parent has the other side, the whole group is killed. No signal does that on every system: the parent
may be killed itself.
"""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence


def main(arguments: Sequence[str]) -> None:
    """Runs the command, with nothing to read, and ends as it does."""
    if os.getpgrp() != os.getpid():
        os.setpgid(0, 0)  # else the group is somebody else's
    threading.Thread(target=_end_with_standard_input, daemon=True).start()
    try:
        status = subprocess.run(arguments, stdin=subprocess.DEVNULL, check=False).returncode
    except OSError as error:
        sys.exit(f"error: {error}")
    sys.exit(status)


def _end_with_standard_input() -> None:
    # Not through `sys.stdin`: at the end of the process a thread that reads from it would be in the way.
    while os.read(0, 1024):
        pass
    os.killpg(0, signal.SIGKILL)
