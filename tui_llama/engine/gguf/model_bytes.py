"""The bytes of a model file that other programs may write, cut or replace while they are read.

The file is not mapped, because reading the map of a file that was cut short kills the process. Whatever happens to the
file, the only exception is a `ModelFileError`. This module does not know formats.
"""

import os
import stat
from pathlib import Path
from types import TracebackType
from typing import Final, NamedTuple, Self

import numpy as np
import numpy.typing as npt

from tui_llama.errors import CallerError, ModelFileError
from tui_llama.files.model_parts import all_parts

_PATH_HINT: Final = "Check the path of the model."
_CHANGED_HINT: Final = "Wait until the file is complete, then load it again."
_READING_HINT: Final = "Check the disk or the network that it is on, then try again."


class FileIdentity(NamedTuple):
    """Identity of a file: distinguishes it from other files, and from itself before somebody wrote to it."""

    device: int
    inode: int
    size_bytes: int
    modified_nanoseconds: int


def file_identity(path: str | Path) -> FileIdentity | None:
    """Returns the identity of the file that `path` leads to now; None if it cannot be found out."""
    try:
        return _identity(Path(path).stat())
    except (OSError, ValueError):
        return None


class WatchedFile:
    """A model that is about to be read whole; reports what happens to its file, or to those of a split one, later.

    Args:
        path: The file, or a part; of what is not there, no change is ever reported.
    """

    def __init__(self, path: str | Path) -> None:
        identities = {part: file_identity(part) for part in all_parts(Path(path))}
        self._known: dict[Path, FileIdentity | None] = {
            part: identity for part, identity in identities.items() if identity is not None
        }

    def change(self) -> str:
        """Returns in words what has happened to a file since the last call; empty if nothing has."""
        words = ""
        for path, known in self._known.items():
            self._known[path] = now = file_identity(path)
            if now != known and not words:
                what = "no longer exists" if now is None else "has changed since it was loaded"
                words = f"{path.name} {what}; the loaded model is still in use. Load a model again to change that."
        return words


class ModelBytes:
    """An open file; a context manager.

    Attributes:
        size_bytes: Its length when it was opened.

    Raises:
        ModelFileError: the file does not exist, is not a regular one, is empty, or cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        self._name = path.name
        self._descriptor: int | None = None  # for `__del__`, if opening fails
        self._descriptor = _open(path)
        self._identity = _identity(os.fstat(self._descriptor))
        self.size_bytes = self._identity.size_bytes

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def descriptor(self) -> int:
        """The number by which the system knows the open file.

        Raises:
            CallerError: it is closed.
        """
        return self._opened

    def close(self) -> None:
        """Closes the file. May be called again."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)

    def __del__(self) -> None:
        self.close()

    def read(self, offset_bytes: int, count: int) -> bytes:
        """Returns the `count` bytes from an offset on.

        Raises:
            ModelFileError: the file ends before that, or cannot be read.
        """
        parts: list[bytes] = []
        while count:
            try:
                parts.append(os.pread(self._opened, count, offset_bytes))
            except OSError as error:
                raise self._unreadable(error) from error
            if not parts[-1]:
                raise self._cut_short()
            offset_bytes, count = offset_bytes + len(parts[-1]), count - len(parts[-1])
        return b"".join(parts)

    def read_into(self, offset_bytes: int, out: npt.NDArray[np.uint8]) -> None:
        """Fills `out`, (bytes,) uint8, from an offset on. Any thread may call it.

        Raises:
            ModelFileError: the file ends before that, or cannot be read.
        """
        rest = out.data
        while rest:
            try:
                count = os.preadv(self._opened, [rest], offset_bytes)
            except OSError as error:
                raise self._unreadable(error) from error
            if count == 0:
                raise self._cut_short()
            rest, offset_bytes = rest[count:], offset_bytes + count

    def check_unchanged(self) -> None:
        """Checks that everything read so far came from one and the same file.

        Raises:
            ModelFileError: somebody has written to it since it was opened.
        """
        try:
            identity = _identity(os.fstat(self._opened))
        except OSError as error:
            raise self._unreadable(error) from error
        if identity != self._identity:
            raise ModelFileError(f"{self._name} was written to while it was read", _CHANGED_HINT)

    @property
    def _opened(self) -> int:
        if self._descriptor is None:
            raise CallerError(f"{self._name} is closed")
        return self._descriptor

    def _unreadable(self, error: OSError) -> ModelFileError:
        return ModelFileError(f"{self._name} cannot be read: {error.strerror}", _READING_HINT)

    def _cut_short(self) -> ModelFileError:
        return ModelFileError(f"{self._name} was cut short while it was read", _CHANGED_HINT)


def _identity(status: os.stat_result) -> FileIdentity:
    return FileIdentity(status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)


def _open(path: Path) -> int:
    try:
        # Without O_NONBLOCK, opening a pipe would wait for its other end; for a regular file the flag changes nothing.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError as error:
        raise ModelFileError(f"there is no file {path}", _PATH_HINT) from error
    except PermissionError as error:
        raise ModelFileError(
            f"there is no permission to read {path.name}", "Check its owner and permissions."
        ) from error
    except OSError as error:
        raise ModelFileError(f"{path.name[:80]} cannot be opened: {error.strerror}", _PATH_HINT) from error
    except ValueError as error:  # a zero byte in the path
        raise ModelFileError(f"{ascii(str(path))[:80]} is not a valid path", _PATH_HINT) from error
    try:
        _check_kind(path, os.fstat(descriptor))
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _check_kind(path: Path, status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        what = "a folder" if stat.S_ISDIR(status.st_mode) else "not a regular file"
        raise ModelFileError(f"{path} is {what}", "Give the path of a file whose name ends in .gguf.")
    if status.st_size == 0:
        raise ModelFileError(f"{path.name} is empty", "The file is damaged or incomplete; download it again.")
