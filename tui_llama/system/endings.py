"""Signals that end the program. It tidies up first, and then ends with status 128 plus the signal's number."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final

_ENDINGS: Final = (signal.SIGTERM, signal.SIGHUP)
ENDING_STATUSES: Final = tuple(128 + number for number in _ENDINGS)
TERMINAL_GONE_STATUS: Final = 128 + signal.SIGHUP
"""Also the status of a program that ignores SIGHUP but cannot go on without a terminal."""


def endings() -> Iterator[tuple[int, int]]:
    """Yields each signal that ends the screen, with its exit status. Skips ignored signals, as under nohup.

    An interrupt is among them: Ctrl+C is a key on the screen, so it comes from elsewhere.
    """
    for number in (signal.SIGINT, *_ENDINGS):
        if signal.getsignal(number) is not signal.SIG_IGN:
            yield number, 128 + number


@contextmanager
def endings_as_exits() -> Iterator[None]:
    """Turns the signals that end the program into `SystemExit`, so that it tidies up first.

    If code in the block turns such an exit into another exception, the block raises the exit from that one.
    Does nothing outside the main thread, because only that thread may set signal handlers.
    """
    exits: list[SystemExit] = []

    def leave(number: int, _frame: FrameType | None) -> None:
        exits.append(SystemExit(128 + number))
        raise exits[-1]

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    # Ignored signals stay ignored, as under nohup.
    ending = [each for each in _ENDINGS if signal.getsignal(each) is signal.SIG_DFL]
    try:
        for each in ending:
            signal.signal(each, leave)
        yield
    except Exception as error:
        if exits:
            raise exits[0] from error
        raise
    finally:
        for each in ending:
            signal.signal(each, signal.SIG_DFL)
