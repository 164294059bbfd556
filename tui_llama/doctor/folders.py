"""Examines the program's folders and files: their places, sizes and permissions, and the free space on the disk."""

import os
import shutil
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tui_llama import paths
from tui_llama.doctor.report import Problem, Row, Section
from tui_llama.engine.prompt_cache.eviction import KEPT_FREE_BYTES
from tui_llama.models.downloads import size_words

TITLE: Final = "Folders"

_MOST_ENTRIES: Final = 50_000
_FOR_OTHERS_TO_ENTER: Final = 0o011
_FOR_OTHERS: Final = 0o066


@dataclass(frozen=True, slots=True)
class Place:
    """A folder or a file of the program.

    Args:
        name: Its content, in words.
        path: Its path. It need not exist yet.
        is_private: Whether it shows what was said in chats.
        loss: What does not work if it is not writable; empty if the program does not write it.
    """

    name: str
    path: Path
    is_private: bool
    loss: str


@dataclass(frozen=True, slots=True)
class Sight:
    """The facts about a place.

    Args:
        mode: The permissions of the folder or file; None if it does not exist.
        is_ours: Whether it belongs to the user who runs the program.
        is_writable: Whether the program can write to it, or make it.
        is_readable: Whether the program can read it.
        is_open_to_others: Whether other users can read or change a file in it.
        size_bytes: The bytes of all its files.
        file_count: The number of its files.
        free_bytes: The free bytes on its disk; None if unknown.
        device: The number of its disk.
        obstacle: The path of something that is in the place of a folder; empty if there is none.
    """

    mode: int | None = None
    is_ours: bool = True
    is_writable: bool = True
    is_readable: bool = True
    is_open_to_others: bool = False
    size_bytes: int = 0
    file_count: int = 0
    free_bytes: int | None = None
    device: int = 0
    obstacle: str = ""


def our_places() -> list[Place]:
    """Returns all places, first those that must not be lost."""
    return [
        Place("models", paths.models_folder(), False, "models cannot be fetched"),
        Place("chats", paths.database_file(), True, "chats cannot be kept"),
        Place("settings", paths.settings_file(), False, ""),
        Place("stored prompts", paths.prompt_cache_folder(), True, "every chat is read again from its beginning"),
        Place("kernels", paths.kernel_cache_folder(), False, "every start compiles the kernels again"),
        Place("log", paths.log_file(), True, "messages of the engine are lost"),
    ]


def look_at_folders() -> Section:
    """Returns the section of all places. Makes and changes nothing."""
    return folders_section([(place, look_at(place.path)) for place in our_places()])


def look_at(path: Path) -> Sight:
    """Examines a folder with all its files, or a file with the files that belong to it."""
    nearest, status = _nearest_existing(path)
    is_folder = stat.S_ISDIR(status.st_mode)
    try:
        free_bytes = shutil.disk_usage(nearest).free
    except OSError:  # a dangling link, or a file system that does not report it
        free_bytes = None
    if nearest != path or stat.S_ISLNK(status.st_mode):
        obstacle = "" if is_folder else str(nearest)
        return Sight(is_writable=_is_writable(nearest), free_bytes=free_bytes, device=status.st_dev, obstacle=obstacle)
    files = list(_files(path))
    return Sight(
        mode=stat.S_IMODE(status.st_mode),
        is_ours=status.st_uid == os.geteuid(),
        is_writable=_is_writable(path) and (is_folder or _is_writable(path.parent)),
        is_readable=os.access(path, os.R_OK | os.X_OK if is_folder else os.R_OK),
        is_open_to_others=_is_open(path, status, files),
        size_bytes=sum(each.st_size for each in files),
        file_count=len(files),
        free_bytes=free_bytes,
        device=status.st_dev,
    )


def folders_section(sights: Iterable[tuple[Place, Sight]]) -> Section:
    """Returns the section of the examined places."""
    rows: list[Row] = []
    problems: list[Problem] = []
    full_disks = set()
    for place, sight in sights:
        rows.append(Row(place.name, _words(place, sight), sight.size_bytes))
        problems += _problems(place, sight)
        is_full = sight.free_bytes is not None and sight.free_bytes < KEPT_FREE_BYTES
        if is_full and sight.device not in full_disks:
            full_disks.add(sight.device)
            text = f"The disk of {place.path} is nearly full: {size_words(sight.free_bytes or 0)} free."
            problems.append(Problem(text, "Remove files. To remove stored prompts: tui-llama cache clear"))
    return Section(TITLE, tuple(rows), tuple(problems))


def _problems(place: Place, sight: Sight) -> Iterator[Problem]:
    path = place.path
    if sight.obstacle:
        yield Problem(f"{sight.obstacle} is not a folder, so nothing can be created in it.", "Move it away.")
        return
    if not sight.is_readable:
        yield Problem(f"{path} cannot be read.", "Change its owner or its mode.")
    if place.loss and not sight.is_writable:
        variable = paths.HOME_VARIABLE
        remedy = f"Change its owner or its mode, or set {variable} to a folder that can be written to."
        yield Problem(f"{path} cannot be written to: {place.loss}.", remedy)
    if place.is_private and sight.is_open_to_others:
        yield Problem(f"Other users of this machine can read {path}.", f"To change that: chmod -R go= {path.parent}")
    if place.is_private and not sight.is_ours:
        yield Problem(f"{path} belongs to another user.", "Change its owner.", is_advice=True)


def _words(place: Place, sight: Sight) -> str:
    parts = [str(place.path)]
    if sight.mode is None:
        parts.append("not created yet")
    else:
        files = "1 file" if sight.file_count == 1 else f"{sight.file_count} files"
        parts += [f"{size_words(sight.size_bytes)} in {files}", f"mode {sight.mode:03o}"]
        parts += [] if sight.is_ours else ["another user's"]
    parts += [] if sight.is_writable else ["not writable"]
    parts += [] if sight.free_bytes is None else [f"{size_words(sight.free_bytes)} free"]
    return ", ".join(parts)


def _nearest_existing(path: Path) -> tuple[Path, os.stat_result]:
    """Returns the path, or its nearest existing parent, and the status. A dangling link counts as existing."""
    for each in (path, *path.parents):
        status = _status(each)
        if status is not None:
            return each, status
    return Path("/"), Path("/").stat()


def _is_writable(path: Path) -> bool:
    return os.access(path, os.W_OK | os.X_OK if paths.is_folder(path) else os.W_OK)


def _files(path: Path) -> Iterator[os.stat_result]:
    """Yields the status of each regular file of a place. Does not follow links."""
    if not paths.is_folder(path):
        # SQLite's journals lie beside the database and hold text of the chats as well.
        for name in (path.name, f"{path.name}-wal", f"{path.name}-shm"):
            status = _own_status(path.with_name(name))
            if status is not None and stat.S_ISREG(status.st_mode):
                yield status
        return
    waiting, entries_left = [path], _MOST_ENTRIES
    while waiting and entries_left > 0:
        try:
            with os.scandir(waiting.pop()) as entries:
                found = list(entries)
        except OSError:  # no permission to read it
            continue
        entries_left -= len(found)
        for entry in found:
            status = _own_status(Path(entry.path))
            if status is not None and stat.S_ISDIR(status.st_mode):
                waiting.append(Path(entry.path))
            elif status is not None and stat.S_ISREG(status.st_mode):
                yield status


def _status(path: Path) -> os.stat_result | None:
    """Returns the status of the target of a path, else of the dangling link; None if there is nothing accessible."""
    try:
        return path.stat()
    except (OSError, ValueError):
        return _own_status(path)


def _own_status(path: Path) -> os.stat_result | None:
    try:
        return path.lstat()
    except (OSError, ValueError):
        return None


def _is_open(path: Path, status: os.stat_result, files: Iterable[os.stat_result]) -> bool:
    """Tells whether other users can reach any of the files, through its folder and the folder above."""
    folders = [path.parent.stat().st_mode]
    folders += [status.st_mode] if stat.S_ISDIR(status.st_mode) else []
    can_enter = all(mode & _FOR_OTHERS_TO_ENTER for mode in folders)
    return can_enter and any(each.st_mode & _FOR_OTHERS for each in files)
