"""The common parts of every download of a model: progress, errors, and the words for both.

A download runs in the process of its caller. It reports `Progress` to a function, which may raise
`DownloadStoppedError` to stop the download.
"""

from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeAlias

import msgspec

from tui_llama.errors import UserError


class Progress(msgspec.Struct, frozen=True, tag=True):
    """The progress of a download.

    Attributes:
        step: The step in a word or two for the user, such as "downloading" or "checking".
        done_bytes: Bytes that this step has done; those of an earlier, broken download count.
        total_bytes: Bytes of the whole step; 0 while unknown.
    """

    step: str
    done_bytes: int = 0
    total_bytes: int = 0


class Downloaded(msgspec.Struct, frozen=True, tag=True):
    """A download has ended well.

    Attributes:
        path: The model file, absolute; of a split model the first part.
        was_there: Whether that file was on this machine already, so that this program did not put it there.
        companions: Files that were put on the machine together with it: its licence, or the other parts.
    """

    path: str
    was_there: bool = False
    companions: tuple[str, ...] = ()


class DownloadFailed(msgspec.Struct, frozen=True, tag=True):
    """A download has failed.

    Attributes:
        message: One line, what went wrong.
        hint: One line, what to do about it; may be empty.
    """

    message: str
    hint: str = ""


DownloadEvent: TypeAlias = Progress | Downloaded | DownloadFailed

FIRST_STEP: Final = "downloading"
"""The step of every download that takes long."""

RATE_SECONDS: Final = 5.0
"""Over how many of the last seconds a rate is taken."""

LEAST_SECONDS: Final = 0.5
"""A rate over less would jump about."""

_LEAST_MARKS: Final = 2

ReportProgress: TypeAlias = Callable[[Progress], None]


class DownloadMeter:
    """Says how fast a download is and how long it will take. Times are seconds on any clock that only goes up."""

    def __init__(self) -> None:
        self._step = ""
        self._marks: deque[tuple[float, int]] = deque()
        self._progress = Progress("")

    def note(self, progress: Progress, now: float) -> None:
        """Notes how far the download is at this time."""
        if progress.step != self._step or (self._marks and progress.done_bytes < self._marks[-1][1]):
            self._step = progress.step
            self._marks.clear()
        self._progress = progress
        self._marks.append((now, progress.done_bytes))
        while now - self._marks[0][0] > RATE_SECONDS and len(self._marks) > _LEAST_MARKS:
            self._marks.popleft()

    @property
    def step(self) -> str:
        """The step, as `Progress` names it; empty at first."""
        return self._step

    @property
    def fraction(self) -> float:
        """The share of the step that is done, from 0 to 1; 0 while unknown."""
        progress = self._progress
        return min(1.0, progress.done_bytes / progress.total_bytes) if progress.total_bytes else 0.0

    @property
    def bytes_per_second(self) -> float:
        """The speed of the last seconds; 0 while unknown."""
        if not self._marks:
            return 0.0
        (first_at, first_bytes), (last_at, last_bytes) = self._marks[0], self._marks[-1]
        seconds = last_at - first_at
        return (last_bytes - first_bytes) / seconds if seconds >= LEAST_SECONDS else 0.0

    def words(self) -> str:
        """Returns how far it is in words, such as "downloading 34 % of 98 MB · 12 MB/s · 5 s left"."""
        progress, rate = self._progress, self.bytes_per_second
        if not progress.total_bytes:
            return f"{progress.step} {size_words(progress.done_bytes)}" if progress.done_bytes else progress.step
        percent = min(100, 100 * progress.done_bytes // progress.total_bytes)
        words = f"{progress.step} {percent} % of {size_words(progress.total_bytes)}"
        left_bytes = progress.total_bytes - progress.done_bytes
        if rate <= 0 or left_bytes <= 0:
            return words
        return f"{words} · {size_words(round(rate))}/s · {duration_words(left_bytes / rate)} left"


class DownloadError(UserError):
    """A model could not be fetched; nothing half-made has its name, but what came may be kept for the next try."""


class DownloadStoppedError(Exception):
    """The caller has stopped the download."""


def no_space(folder: Path, wanted_bytes: int, free_bytes: int) -> DownloadError:
    """Says that a disk has no room for a file.

    Args:
        folder: A folder on that disk.
        wanted_bytes: What the file takes.
        free_bytes: What is free.
    """
    return DownloadError(
        f"the disk of {folder} is too full: {size_words(wanted_bytes)} are needed, {size_words(free_bytes)} are free",
        "Remove files, or choose a smaller model.",
    )


def size_words(size_bytes: int) -> str:
    """Returns a size as people write it, such as "98 MB" or "4.7 GB" (powers of ten)."""
    if size_bytes >= 999.5e6:  # what would be rounded to 1000 MB
        return f"{size_bytes / 1e9:.1f} GB"
    return f"{size_bytes / 1e6:.0f} MB" if size_bytes >= 999.5e3 else f"{size_bytes / 1e3:.0f} kB"


def duration_words(seconds: float) -> str:
    """Returns a time to wait as people say it, such as "5 s", "3 min" or "2 h"."""
    whole = max(1, round(seconds))
    if whole < 100:
        return f"{whole} s"
    minutes = round(whole / 60)
    return f"{minutes} min" if minutes < 100 else f"{round(minutes / 60)} h"
