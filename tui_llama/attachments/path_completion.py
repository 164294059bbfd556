"""Finds the paths that somebody may mean who begins to type one: what `@` offers in the composer.

The part up to the last slash names a folder; what follows is looked for in it and in all folders below, the nearest
first. Hidden files are offered only to those who type a dot, and what .gitignore leaves out only to those who name its
folder. A walk has limits, because a tree can be of any size: entries, and seconds. It is work for a thread, and ends
soon after it is told to.
"""

import os
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from time import monotonic
from typing import Final

import msgspec

from tui_llama.attachments.ignored_paths import IgnoredPaths

MOST_ENTRIES: Final = 50_000
LONGEST_SECONDS: Final = 1.0

_NEVER_WALKED: Final = ("/proc", "/sys", "/dev")


class FoundPath(msgspec.Struct, frozen=True):
    """A path as it is typed; a folder ends in a slash. Not safe to print."""

    text: str
    is_folder: bool


def find_paths(
    typed: str, *, limit: int, is_cancelled: Callable[[], bool] = lambda: False, current_folder: str | None = None
) -> list[FoundPath]:
    """Returns the paths that `typed` may become, the best first, at most `limit`.

    Args:
        typed: What is typed so far; it may begin with ~ or /.
        limit: How many are wanted.
        is_cancelled: Asked between two entries; an answer that nobody waits for may have anything in it.
        current_folder: Where relative paths begin; None: the current folder.
    """
    stem, _, wanted = typed.rpartition("/")
    stem = f"{stem}/" if "/" in typed else ""
    try:
        home = os.path.expanduser(stem)  # noqa: PTH111 - never raises
        folder = os.path.abspath(Path(current_folder or Path.cwd(), home))  # noqa: PTH100 - follows no links
    except OSError:  # the current folder is gone
        return []
    ranked = []
    for count, (relative, is_folder) in enumerate(_below(folder, shows_hidden=wanted.startswith("."))):
        if is_cancelled() or count == MOST_ENTRIES:
            break
        fit = rank(relative, wanted)
        if fit is not None:
            ranked.append((fit, count, FoundPath(stem + relative + ("/" if is_folder else ""), is_folder)))
            if not wanted and len(ranked) == limit:  # they come nearest first
                break
    return [found for _, _, found in sorted(ranked, key=lambda each: each[:2])[:limit]]


def rank(relative: str, wanted: str) -> tuple[int, int] | None:
    """Returns how well a path fits what is wanted, smaller is better; None if it does not.

    Capitals count only where some are typed. A name that begins so comes first, then one with it inside, then a path
    with these letters in this order.
    """
    if wanted == wanted.lower():
        relative = relative.lower()
    depth, name = relative.count("/"), relative.rpartition("/")[2]
    if name.startswith(wanted):
        return 0, depth
    if wanted in name:
        return 1, depth
    letters = iter(relative)
    return (2, len(relative)) if all(letter in letters for letter in wanted) else None


def _below(folder: str, *, shows_hidden: bool) -> Iterator[tuple[str, bool]]:
    """Yields what is in a folder and below, the nearest first, with whether it is a folder; follows no links."""
    ends_at = monotonic() + LONGEST_SECONDS
    ignored = IgnoredPaths.of(folder)
    # Whoever names a folder that is left out wants to see what is in it.
    ignored = IgnoredPaths() if ignored.has(folder, is_folder=True) else ignored
    waiting = deque(
        [] if f"{folder}/".startswith(tuple(f"{each}/" for each in _NEVER_WALKED)) else [("", folder, ignored)]
    )
    while waiting and monotonic() < ends_at:
        stem, place, ignored = waiting.popleft()
        for entry in _entries(place):
            if monotonic() >= ends_at:
                return
            is_hidden = entry.name.startswith(".")
            if entry.name == ".git" or (is_hidden and not shows_hidden) or entry.path in _NEVER_WALKED:
                continue
            is_folder = _is(entry.is_dir)
            if ignored.has(entry.path, is_folder=is_folder) or not (is_folder or _is(entry.is_file)):
                continue
            yield stem + entry.name, is_folder
            if is_folder and not entry.is_symlink() and not is_hidden:
                waiting.append((f"{stem}{entry.name}/", entry.path, ignored.within(entry.path)))


def _entries(folder: str) -> "list[os.DirEntry[str]]":
    """Returns what is in a folder, by name; nothing where it cannot be read."""
    try:
        with os.scandir(folder) as entries:
            return sorted(entries, key=lambda entry: entry.name.lower())
    except OSError:
        return []


def _is(kind: Callable[[], bool]) -> bool:
    try:
        return kind()
    except OSError:  # it is gone, or its link has a loop
        return False
