"""What paths a text may mean: typed after a command, or pasted by a terminal on which files were dropped.

Terminals paste a dropped file as its path: as it is, in quotes, with backslashes, or as a file:// address; several
beside or below each other. Which of these a text is can only be told by what is there, so this returns candidates.
Asks no disk.
"""

import os
import re
import shlex
from collections.abc import Iterable
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

_LONGEST: Final = 16_384  # characters; more are no paths, but a text
_DROPPED: Final = re.compile(r"""\s*["']?(/|~/|file://)""")
_LOCAL: Final = ("", "localhost")


def typed_paths(text: str) -> tuple[Path, ...]:
    """Returns the paths that somebody may mean who types this after a command, the likeliest first."""
    text = text.strip()
    words = _quoted(text)
    if address := _addressed(text):
        return (_expanded(address),)
    readings = (text, words[0] if len(words) == 1 else "")
    return tuple(dict.fromkeys(_expanded(reading) for reading in readings if reading))


def typed_words(text: str) -> tuple[Path, ...]:
    """Returns the paths that somebody may mean who types several of them, as a shell would part them."""
    return tuple(_expanded(_addressed(word) or word) for word in _quoted(text))


def dropped_paths(text: str) -> tuple[tuple[Path, ...], ...]:
    """Returns the ways in which a pasted text may be a row of absolute paths; none if it cannot be one."""
    if len(text) > _LONGEST or not _DROPPED.match(text):
        return ()
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    readings = (lines, _quoted(text))
    rows = (tuple(_expanded(_addressed(each) or each) for each in reading) for reading in readings)
    return tuple(dict.fromkeys(row for row in rows if row and _are_absolute(row)))


def _addressed(text: str) -> str:
    """Returns the path of a file:// address on this machine; empty for anything else."""
    if not text.startswith("file://"):
        return ""
    try:
        address = urlsplit(text)
    except ValueError:
        return ""
    # A dropped address has its special characters escaped, so a "?" or "#" in it is somebody's typing.
    return unquote(address.path, errors="surrogateescape") if address.netloc in _LOCAL else ""


def _quoted(text: str) -> list[str]:
    """Returns the words of a text as a shell would part them; none where a quote does not end."""
    try:
        return shlex.split(text)
    except ValueError:
        return []


def _expanded(text: str) -> Path:
    try:
        return Path(os.path.expanduser(text))  # noqa: PTH111 - `Path.expanduser` raises where no user is called so
    except ValueError:  # after the ~ is what no user's name can have
        return Path(text)


def _are_absolute(paths: Iterable[Path]) -> bool:
    return all(path.is_absolute() for path in paths)
