"""Reads files that the user attaches, and tells whether they have changed since. Waits for nothing but the disk.

Whatever stands at a path is looked at before it is opened, and again afterwards: pipes, sockets and devices are never
opened, and what the system makes up, such as /proc, is no file. Paths come from the user; contents are not trusted.
"""

import hashlib
import os
import stat
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Final

from tui_llama.attachments.decoding import text_of
from tui_llama.chat import Attachment
from tui_llama.errors import AttachmentError

LONGEST_BYTES: Final = 8_000_000
"""The longest file that is attached. It has some million tokens, which is more than any context."""

_LONGEST: Final = f"{LONGEST_BYTES / 1e6:.0f} MB"
_MADE_UP: Final = tuple(map(Path, ("/proc", "/sys", "/dev")))
_KINDS: Final = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)
_CHUNK_BYTES: Final = 1 << 20


class FileState(StrEnum):
    """How the file of an attachment compares with what was attached. The value is its name on the screen."""

    SAME = ""
    CHANGED = "file changed"
    GONE = "file gone"
    UNREADABLE = "file unreadable"


def read_attachment(path: Path) -> Attachment:
    """Returns the file at a path as an attachment; relative paths begin in the current folder.

    Raises:
        AttachmentError: there is no such file, it cannot be read, or it is no text.
    """
    name = shown_name(path)
    content = _content(path, name)
    try:
        text = text_of(content)
    except AttachmentError as error:
        raise AttachmentError(f"{name} {error}.", "Only texts can be attached.") from error
    return Attachment(name, text, str(_absolute(path)), hashlib.sha256(content).hexdigest())


def read_dropped(rows: Sequence[Sequence[Path]]) -> list[Attachment] | None:
    """Returns the files of the first of these rows of paths at all of which there is something; None if none is one.

    Raises:
        AttachmentError: as `read_attachment`.
    """
    there = next((row for row in rows if all(os.path.lexists(path) for path in row)), None)
    return None if there is None else [read_attachment(path) for path in there]


def shown_name(path: Path) -> str:
    """Returns what a file is called, here and for the model: its way from the current folder, if that leads down."""
    absolute = _absolute(path)
    try:
        return str(absolute.relative_to(Path.cwd()))
    except (OSError, ValueError):  # the current folder may be gone
        return absolute.name or str(absolute)


def file_state(attachment: Attachment) -> FileState:
    """Returns how the file of an attachment is now; what was pasted has none and stays the same."""
    if not attachment.path:
        return FileState.SAME
    path = Path(attachment.path)
    try:
        content = _content(path, attachment.name)
    except AttachmentError:
        return FileState.UNREADABLE if os.path.lexists(path) else FileState.GONE
    return FileState.SAME if hashlib.sha256(content).hexdigest() == attachment.digest else FileState.CHANGED


def _content(path: Path, name: str) -> bytes:
    """Returns the bytes of a regular file.

    Raises:
        AttachmentError: it is none, is too long, or cannot be read.
    """
    try:
        _require_file(path.stat(), name)
        _require_real_place(path, name)
        # O_NONBLOCK: what was a file a moment ago may be a pipe now, which would wait for a writer.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
        try:
            _require_file(os.fstat(descriptor), name)
            return _read(descriptor, name)
        finally:
            os.close(descriptor)
    except (FileNotFoundError, NotADirectoryError):
        raise AttachmentError(f"There is no file {name}.", "Check the path.") from None
    except (OSError, ValueError) as error:  # a path may hold a zero byte
        cause = getattr(error, "strerror", None) or str(error)
        raise AttachmentError(f"{name} cannot be read: {cause}.") from error


def _require_file(status: os.stat_result, name: str) -> None:
    if not stat.S_ISREG(status.st_mode):
        kind = next((words for is_kind, words in _KINDS if is_kind(status.st_mode)), "no file")
        hint = f"{name}/* attaches the files in it." if kind == "a folder" else "Only files can be attached."
        raise AttachmentError(f"{name} is {kind}.", hint)
    if status.st_size > LONGEST_BYTES:
        raise _too_long(name, f"{status.st_size / 1e6:,.0f} MB")


def _require_real_place(path: Path, name: str) -> None:
    for place in (_absolute(path), Path(os.path.realpath(path))):
        if any(place.is_relative_to(folder) for folder in _MADE_UP):
            raise AttachmentError(f"{name} is made up by the system.", "Only files on a disk can be attached.")


def _read(descriptor: int, name: str) -> bytes:
    """Returns all bytes of an open file, which may grow meanwhile."""
    content = bytearray()
    while chunk := os.read(descriptor, _CHUNK_BYTES):
        content += chunk
        if len(content) > LONGEST_BYTES:
            raise _too_long(name, f"more than {_LONGEST}")
    return bytes(content)


def _too_long(name: str, size: str) -> AttachmentError:
    return AttachmentError(f"{name} has {size}; at most {_LONGEST} can be attached.", "Attach a part of it.")


def _absolute(path: Path) -> Path:
    """Returns the absolute path, with no links followed."""
    return Path(os.path.abspath(path))  # noqa: PTH100 - `Path.resolve` follows them
