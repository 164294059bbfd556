"""What every download of a model has in common: progress, errors, and the words for both.

A download runs in the process of whoever asks for it. It reports `Progress`; whoever is told may raise
`DownloadStoppedError` to stop it.
"""

from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import msgspec

from tui_llama.errors import UserError


class Progress(msgspec.Struct, frozen=True, tag=True):
    """How far a download is.

    Attributes:
        step: What is being done, in a word or two for the user, such as "downloading" or "checking".
        done_bytes: How many bytes this step has behind it; those of an earlier, broken download count.
        total_bytes: How many bytes the step has in all; 0 while nobody knows.
    """

    step: str
    done_bytes: int = 0
    total_bytes: int = 0


class Downloaded(msgspec.Struct, frozen=True, tag=True):
    """A download has ended well.

    Attributes:
        path: The model file, absolute.
        was_there: Whether the file was on this machine already, so that nothing was fetched.
    """

    path: str
    was_there: bool = False


class DownloadFailed(msgspec.Struct, frozen=True, tag=True):
    """A download has failed.

    Attributes:
        message: One line, what went wrong.
        hint: One line, what to do about it; may be empty.
    """

    message: str
    hint: str = ""


DownloadEvent: TypeAlias = Progress | Downloaded | DownloadFailed

ReportProgress: TypeAlias = Callable[[Progress], None]


class DownloadError(UserError):
    """A model could not be fetched; nothing half-made is left behind."""


class DownloadStoppedError(Exception):
    """Whoever asked for the download has stopped it."""


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
    """A size as people write it, such as "98 MB" or "4.7 GB" (powers of ten)."""
    if size_bytes >= 1e9:
        return f"{size_bytes / 1e9:.1f} GB"
    return f"{size_bytes / 1e6:.0f} MB" if size_bytes >= 1e6 else f"{size_bytes / 1e3:.0f} kB"
