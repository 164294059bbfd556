"""Folders that hold a download of the starter until it is whole: locked while in use, removed in the end."""

import contextlib
import fcntl
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Final

from tui_llama import paths
from tui_llama.files import own_folders
from tui_llama.files.locks import lacks_locks
from tui_llama.models.downloads import DownloadError
from tui_llama.models.starter.file import REQUIREMENT, WORKING_FOLDER_PREFIX

_LOCK_FILE: Final = "lock"
_FORGOTTEN_SECONDS: Final = 24 * 3600


@contextlib.contextmanager
def working_folder() -> Iterator[Path]:
    """Makes a folder beside the models, locked while it is in use and removed in the end; removes forgotten ones.

    Raises:
        DownloadError: the models folder cannot be written to.
    """
    try:
        parent = paths.make_private_folder(paths.models_folder())
        _remove_forgotten(parent)
        folder = Path(tempfile.mkdtemp(prefix=WORKING_FOLDER_PREFIX, dir=parent))
    except OSError as error:
        raise DownloadError(
            f"the models folder cannot be written to: {error.strerror or error}", f"Check {paths.models_folder()}."
        ) from error
    try:
        own_folders.make_marked_folder(folder)
        unlocked = folder / f"{_LOCK_FILE}.new"
        with unlocked.open("wb") as lock:
            _lock_if_possible(lock)
            unlocked.rename(folder / _LOCK_FILE)  # nobody sees it before it is locked
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _lock_if_possible(file: IO[bytes]) -> None:
    """Locks a file; where there are no locks, a forgotten folder is known by its age."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX)
    except OSError as error:
        if not lacks_locks(error):
            raise


def _remove_forgotten(parent: Path) -> None:
    """Removes the folders of downloads whose process was killed: they have our mark, and nobody has a lock on them."""
    for folder in parent.glob(f"{WORKING_FOLDER_PREFIX}*"):
        is_ours = own_folders.is_marked_folder(folder) or _is_of_old_kind(folder)
        if is_ours and _is_forgotten(folder):
            shutil.rmtree(folder, ignore_errors=True)


def _is_of_old_kind(folder: Path) -> bool:
    """Tells whether a folder is of a version that left no mark: its requirements name the wheel."""
    wanted = folder / "requirements.txt"
    if paths.is_link(folder) or not _is_regular(wanted) or not _is_regular(folder / _LOCK_FILE):
        return False
    return wanted.read_bytes().startswith(REQUIREMENT.encode())


def _is_forgotten(folder: Path) -> bool:
    try:
        with (folder / _LOCK_FILE).open("rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
    except BlockingIOError:
        return False
    except OSError:  # one that was made a moment ago has no lock yet
        return time.time() - folder.lstat().st_mtime > _FORGOTTEN_SECONDS


def _is_regular(path: Path) -> bool:
    return paths.is_file(path) and not paths.is_link(path)
