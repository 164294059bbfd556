"""Tells which folders and files below the prompt cache's folder are its own; it leaves all others alone.

The user may have chosen a folder that holds other things, too. A name alone is no proof, so the cache also looks at the
first bytes of a file before it removes it.
"""

import re
from typing import Final

from tui_llama.engine.state_file import MAGIC
from tui_llama.files.storage import FileStatus, Storage

SUFFIX: Final = ".tlk"
PART_SUFFIX: Final = ".part"
DAMAGED_SUFFIX: Final = ".damaged"

_FOLDER: Final = re.compile(r"[0-9a-f]{32}")
_SEGMENT: Final = re.compile(rf"[0-9a-f]{{32}}{re.escape(SUFFIX)}")
_LEFTOVER: Final = re.compile(
    rf"[0-9a-f]{{32}}{re.escape(SUFFIX)}(?:{re.escape(PART_SUFFIX)}|{re.escape(DAMAGED_SUFFIX)})+"
)


def own_folders(storage: Storage) -> list[str]:
    """Returns the folders of all models, by name.

    Raises:
        OSError: as the storage says.
    """
    return sorted(filter(_FOLDER.fullmatch, storage.list_folder("")))


def own_files(storage: Storage, folder: str) -> dict[str, FileStatus]:
    """Returns the files in a folder that have names of ours.

    Raises:
        OSError: as the storage says.
    """
    return {name: status for name, status in storage.files(folder).items() if is_segment(name) or is_leftover(name)}


def is_segment(name: str) -> bool:
    """Tells whether a name is that of a segment."""
    return _SEGMENT.fullmatch(name) is not None


def is_leftover(name: str) -> bool:
    """Tells whether a name is that of a file that was set aside, or left half written."""
    return _LEFTOVER.fullmatch(name) is not None


def carries_mark(storage: Storage, name: str) -> bool:
    """Tells whether a file, `folder/file`, begins with our magic, or with the zeros that a power cut leaves there."""
    try:
        descriptor = storage.open(name)
    except OSError:  # a link, or another user's
        return False
    try:
        beginning = bytearray(min(len(MAGIC), storage.size(descriptor)))
        storage.read(descriptor, memoryview(beginning), 0)
    finally:
        storage.close(descriptor)
    return MAGIC.startswith(beginning) or not any(beginning)
