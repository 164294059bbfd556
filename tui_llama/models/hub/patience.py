"""Decides how often a request to the hub is tried, and how long to wait between two tries, whatever the request."""

import math
import time
from typing import Final

from tui_llama.models.downloads import DownloadError, Progress, ReportProgress

MOST_FAILURES: Final = 4
"""The number of failures in a row after which a download goes on; the waits after them are 0.5, 1, 2 and 4 seconds."""

MOST_RATE_LIMIT_SECONDS: Final = 30.0
"""The longest time that a download waits in all, if the hub says when to come again."""

PAUSE_STEP_SECONDS: Final = 0.25
"""The time within which a wait can be stopped."""


class HubUnreachableError(DownloadError):
    """The hub cannot be reached now; files that are on this machine already can still be used."""


class PassingFailure(Exception):  # noqa: N818  # no error yet: it becomes one once it has not passed
    """A request has failed in a way that passes.

    Args:
        error: The error to raise if the failure does not pass.
        wait_seconds: The time that the hub asks to wait; None if it asks for none.
    """

    def __init__(self, error: DownloadError, wait_seconds: float | None = None) -> None:
        super().__init__(str(error))
        self.error = error
        self.wait_seconds = wait_seconds


class Patience:
    """Decides whether a failed request is tried again, and waits until then.

    Args:
        report: Told of the wait; may raise to stop it.
    """

    def __init__(self, report: ReportProgress) -> None:
        self._report = report
        self._failures = 0
        self._rate_limit_seconds = 0.0

    def renew(self) -> None:
        """Allows as many failures as at first again; called after progress."""
        self._failures = 0

    def bear(self, failure: PassingFailure, done_bytes: int = 0, total_bytes: int = 0) -> None:
        """Waits before the next try; raises the failure's error if there were too many failures or waits."""
        if failure.wait_seconds is not None:
            # At least a second, or a hub that asks for none would be asked for ever.
            seconds = max(failure.wait_seconds, 1.0)
            self._rate_limit_seconds += seconds
            if self._rate_limit_seconds > MOST_RATE_LIMIT_SECONDS:
                raise failure.error from failure
        else:
            self._failures += 1
            if self._failures > MOST_FAILURES:
                raise failure.error from failure
            seconds = 2.0 ** (self._failures - 2)
        self._pause(seconds, done_bytes, total_bytes)

    def _pause(self, seconds: float, done_bytes: int, total_bytes: int) -> None:
        left = seconds
        while left > 0:
            self._report(Progress(f"waiting {math.ceil(left)} s for the hub", done_bytes, total_bytes))
            pause(min(left, PAUSE_STEP_SECONDS))
            left -= PAUSE_STEP_SECONDS


def pause(seconds: float) -> None:
    """Sleeps. It has a name of its own, so that tests can replace it."""
    time.sleep(seconds)
