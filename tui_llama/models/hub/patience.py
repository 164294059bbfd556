"""How often a request to the hub is tried, and how long is waited between; knows nothing of what is asked."""

import math
import time
from typing import Final

from tui_llama.models.downloads import DownloadError, Progress, ReportProgress

MOST_FAILURES: Final = 4
"""How many failures one after the other are borne; the waits between them are 0.5, 1, 2 and 4 seconds."""

MOST_RATE_LIMIT_SECONDS: Final = 30.0
"""How long a download waits, in all, where the hub says when to come again."""

PAUSE_STEP_SECONDS: Final = 0.25
"""How soon a wait can be stopped."""


class HubUnreachableError(DownloadError):
    """The hub cannot be asked now; what is on this machine already is as good as before."""


class PassingFailure(Exception):  # noqa: N818  # no error yet: it becomes one once it has not passed
    """A request has failed in a way that passes.

    Args:
        error: What to say where it does not pass.
        wait_seconds: How long the hub asks to wait; None where it asks for nothing.
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
        """Bears as many failures as at first again; to be called when there was progress."""
        self._failures = 0

    def bear(self, failure: PassingFailure, done_bytes: int = 0, total_bytes: int = 0) -> None:
        """Waits before the next try; raises what the failure says where it has not passed for too long."""
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
    """Sleeps; a name of its own, so that tests need not."""
    time.sleep(seconds)
