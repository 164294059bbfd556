"""What lets a program that is told to end tidy up first, and end with the status that says so: 128 and the signal."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final

_ENDINGS: Final = (signal.SIGTERM, signal.SIGHUP)
ENDING_STATUSES: Final = tuple(128 + number for number in _ENDINGS)
TERMINAL_GONE_STATUS: Final = 128 + signal.SIGHUP
"""Also of a program that ignores the signal, but cannot go on without a terminal."""


def endings() -> Iterator[tuple[int, int]]:
    """The signals that end the program, but for those that are ignored, as with nohup; each with its exit status."""
    for number, status in zip(_ENDINGS, ENDING_STATUSES, strict=True):
        if signal.getsignal(number) is not signal.SIG_IGN:
            yield number, status


@contextmanager
def endings_as_exits() -> Iterator[None]:
    """Lets the signals that would end the program unwind it first, in the main thread, which alone may say so."""

    def leave(number: int, _frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    # Not those that are ignored, as with nohup.
    ending = [each for each in _ENDINGS if signal.getsignal(each) is signal.SIG_DFL]
    try:
        for each in ending:
            signal.signal(each, leave)
        yield
    finally:
        for each in ending:
            signal.signal(each, signal.SIG_DFL)
