"""The few calls by which the prompt cache reaches a disk. Tests replace them by a disk that fails.

Names are relative to one folder and have at most two parts, `folder/file`. An open file is known by its descriptor.
Nothing is retried or hidden here: a write may be short, and every error is an `OSError`.
"""

import errno
import fcntl
import os
import stat
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple, Protocol

from tui_llama.paths import is_folder, make_private_folder


class FileStatus(NamedTuple):
    """The facts about a file that need no opening: its size, and the time at which it was used, as in `used_at`."""

    size_bytes: int
    used_at: float


class Storage(Protocol):
    """The protocol of a folder of files.

    Raises (every method):
        OSError: the system refuses.
    """

    def make_folder(self, name: str) -> None:
        """Makes the folder, for the user alone, if it is missing; "" is the root."""
        ...

    def list_folder(self, name: str) -> list[str]:
        """Returns the names in a folder, in any order, without links. A missing folder has none."""
        ...

    def files(self, name: str) -> dict[str, FileStatus]:
        """Returns the regular files in a folder by name. A missing folder has none."""
        ...

    def create(self, name: str) -> int:
        """Makes a file, mode 0600, that must not exist yet. Returns a descriptor for reading and writing."""
        ...

    def open(self, name: str, *, writable: bool = False) -> int:
        """Opens a regular file of this user. Raises `PermissionError` for links and for other people's files."""
        ...

    def close(self, descriptor: int) -> None:
        """Closes a file and releases its locks."""
        ...

    def size(self, descriptor: int) -> int:
        """Returns the size of a file in bytes."""
        ...

    def used_at(self, descriptor: int) -> float:
        """Returns the time of the last `touch` or write of a file, in seconds since 1970."""
        ...

    def is_linked(self, descriptor: int) -> bool:
        """Tells whether the file still has a name."""
        ...

    def read(self, descriptor: int, out: memoryview, offset: int) -> int:
        """Fills the beginning of `out` with bytes from `offset` on. Returns their number, 0 at the end of the file."""
        ...

    def write(self, descriptor: int, content: memoryview, offset: int) -> int:
        """Writes the beginning of `content` at `offset`, in bytes. Returns the number of bytes written."""
        ...

    def truncate(self, descriptor: int, size: int) -> None:
        """Truncates a file to `size` bytes."""
        ...

    def sync(self, descriptor: int) -> None:
        """Waits until the file's bytes and size are on the disk."""
        ...

    def rename(self, name: str, new_name: str) -> None:
        """Gives a file another name in one step, and replaces a file that has that name."""
        ...

    def unlink(self, name: str) -> None:
        """Removes a file's name."""
        ...

    def sync_folder(self, name: str) -> None:
        """Waits until all files that were made, renamed and removed in a folder are so on the disk."""
        ...

    def lock(self, descriptor: int, *, exclusive: bool) -> bool:
        """Locks a file for this descriptor, without waiting. Returns whether that worked.

        A lock of the other kind is released first. So if the call does not work, the descriptor has no lock.
        """
        ...

    def touch(self, descriptor: int, seconds: float | None = None) -> None:
        """Records that a file was used now, or at a time in seconds since 1970."""
        ...

    def free_bytes(self) -> tuple[int, int]:
        """Returns the free bytes and all bytes of the disk."""
        ...


class DiskStorage:
    """A `Storage` in a folder of the file system. The folder may be missing until `make_folder` is called."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def _folder(self, name: str) -> Path:
        """Returns the root, or a folder in it.

        Raises:
            NotADirectoryError: a link is in the folder's place, which might lead out of the root.
        """
        folder = self.root / name
        if name and folder.is_symlink():
            raise NotADirectoryError(errno.ENOTDIR, f"{name} is a link and not a folder")
        return folder

    def _path(self, name: str) -> Path:
        folder, _, file = name.rpartition("/")
        return self._folder(folder) / file

    def make_folder(self, name: str) -> None:  # noqa: D102 - see `Storage`, here and below
        make_private_folder(self._folder(name))

    def list_folder(self, name: str) -> list[str]:  # noqa: D102
        try:
            return [path.name for path in self._folder(name).iterdir() if not path.is_symlink()]
        except (FileNotFoundError, NotADirectoryError):
            return []

    def files(self, name: str) -> dict[str, FileStatus]:  # noqa: D102
        found = {}
        try:
            with os.scandir(self._folder(name)) as entries:
                for entry in entries:
                    with suppress(FileNotFoundError):  # removed since the folder was read
                        if entry.is_file(follow_symlinks=False):
                            status = entry.stat(follow_symlinks=False)
                            found[entry.name] = FileStatus(status.st_size, status.st_mtime)
        except (FileNotFoundError, NotADirectoryError):
            return {}
        return found

    def create(self, name: str) -> int:  # noqa: D102
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        return os.open(self._path(name), flags, 0o600)

    def open(self, name: str, *, writable: bool = False) -> int:  # noqa: D102
        # Without O_NONBLOCK, opening a named pipe would wait for a writer.
        flags = (os.O_RDWR if writable else os.O_RDONLY) | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
        try:
            descriptor = os.open(self._path(name), flags)
        except OSError as error:
            if error.errno == errno.ELOOP:  # the error of O_NOFOLLOW for a link
                raise PermissionError(f"{name} is a link") from error
            raise
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or status.st_uid != os.geteuid():
            os.close(descriptor)
            raise PermissionError(f"{name} is not a file of this user")
        return descriptor

    def close(self, descriptor: int) -> None:  # noqa: D102
        os.close(descriptor)

    def size(self, descriptor: int) -> int:  # noqa: D102
        return os.fstat(descriptor).st_size

    def used_at(self, descriptor: int) -> float:  # noqa: D102
        return os.fstat(descriptor).st_mtime

    def is_linked(self, descriptor: int) -> bool:  # noqa: D102
        return os.fstat(descriptor).st_nlink > 0

    def read(self, descriptor: int, out: memoryview, offset: int) -> int:  # noqa: D102
        return os.preadv(descriptor, [out], offset)

    def write(self, descriptor: int, content: memoryview, offset: int) -> int:  # noqa: D102
        return os.pwrite(descriptor, content, offset)

    def truncate(self, descriptor: int, size: int) -> None:  # noqa: D102
        os.ftruncate(descriptor, size)

    def sync(self, descriptor: int) -> None:  # noqa: D102
        if hasattr(os, "fdatasync"):
            os.fdatasync(descriptor)
        else:  # macOS
            os.fsync(descriptor)

    def rename(self, name: str, new_name: str) -> None:  # noqa: D102
        self._path(name).rename(self._path(new_name))

    def unlink(self, name: str) -> None:  # noqa: D102
        self._path(name).unlink()

    def sync_folder(self, name: str) -> None:  # noqa: D102
        descriptor = os.open(self._folder(name), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def lock(self, descriptor: int, *, exclusive: bool) -> bool:  # noqa: D102
        try:
            fcntl.flock(descriptor, (fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH) | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def touch(self, descriptor: int, seconds: float | None = None) -> None:  # noqa: D102
        os.utime(descriptor, None if seconds is None else (seconds, seconds))

    def free_bytes(self) -> tuple[int, int]:  # noqa: D102
        folder = self.root
        while not is_folder(folder) and folder != folder.parent:
            folder = folder.parent
        status = os.statvfs(folder)
        return status.f_bavail * status.f_frsize, status.f_blocks * status.f_frsize
