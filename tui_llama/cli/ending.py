"""How the program ends: the exit status of what it did, and what is left to be done for it."""

import os
import sys
from collections.abc import Callable

from tui_llama.errors import UserError
from tui_llama.system import standard_streams
from tui_llama.system.endings import ENDING_STATUSES, endings_as_exits


def ended(work: Callable[[], object]) -> int:
    """Does the work of the program; returns the exit status. The standard streams must have been prepared."""
    try:
        with standard_streams.interruptible():
            status = _status_of(work)
    except KeyboardInterrupt:
        status = standard_streams.INTERRUPTED
    try:
        status = standard_streams.finish(status)
    except UserError as error:
        status = _told(error)
    silent = (standard_streams.INTERRUPTED, standard_streams.READER_GONE, *ENDING_STATUSES)
    if status in silent or (status == 0 and "llvmlite" in sys.modules):
        # After an answer there is nothing left to do, and to take the compiler and a model apart is a tenth of it all.
        # A thread that is inside the compiler would disturb the interpreter's farewells, too.
        os._exit(status)
    return status


def _status_of(work: Callable[[], object]) -> int:
    try:
        with endings_as_exits():
            work()
    except UserError as error:
        return _told(error)
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 0
    return 0


def _told(error: UserError) -> int:
    """Tells the user of an error; returns its exit status."""
    from tui_llama.cli.errors import ShownError

    ShownError(error).show()
    return ShownError.exit_code
