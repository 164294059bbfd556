"""A child process for tests: the child of `pull_beside`, with another hub behind it that does what a name says."""

import os
import signal
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

from tui_llama.models import pull
from tui_llama.models.downloads import Downloaded, DownloadError, Progress, ReportProgress


def _fetch(name: str, report: ReportProgress) -> Downloaded:
    kind, _, rest = name.partition(":")
    report(Progress("downloading", 1, 2))
    if kind == "fetch":
        print("a library's chatter", file=sys.stderr)
        return Downloaded(rest, was_there=True)
    if kind == "refuse":
        raise DownloadError("there is no such model", rest)
    if kind == "mistake":
        raise ZeroDivisionError(rest)
    if kind == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    if kind == "chatter":
        print(rest)
        return Downloaded(rest, was_there=True)
    assert kind == "wait"
    return _wait(Path(rest), report)


def _wait(signs_of_life: Path, report: ReportProgress) -> Downloaded:
    """Goes on for ever, and holds a pipe open as long as it lives."""
    with signs_of_life.open("wb", buffering=0) as pipe:
        pipe.write(b"!")
        pause = threading.Event()
        while not pause.wait(0.01):
            report(Progress("downloading", 1, 2))
    raise AssertionError


def main(arguments: Sequence[str]) -> None:
    """Fetches as `tui_llama.models.pull.main` does."""
    pull._fetch = _fetch
    pull.main(arguments)
