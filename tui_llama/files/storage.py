"""The few calls by which the prompt cache reaches a disk, so that tests can put a failing one in its place.

Names are relative to one folder and have at most two parts, `folder/file`. Files are known by the descriptor that
opening them gave. Nothing is retried and nothing is hidden here: writing may be short, and every error is an `OSError`.
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
    """What can be seen of a file without opening it: its size, and when it was used, as `used_at` says."""

    size_bytes: int
    used_at: float


class Storage(Protocol):
    """A folder of files.

    Raises (every method):
        OSError: as the system says.
    """

    def make_folder(self, name: str) -> None:
        """Makes the folder, for the user alone, if it is not there; "" is the root."""
        ...

    def list_folder(self, name: str) -> list[str]:
        """What lies in a folder, in any order, without links; nothing if it is not there."""
        ...

    def files(self, name: str) -> dict[str, FileStatus]:
        """The regular files in a folder by name; nothing if it is not there."""
        ...

    def create(self, name: str) -> int:
        """Makes a file, mode 0600, that must not be there yet; returns a descriptor to read and write it."""
        ...

    def open(self, name: str, *, writable: bool = False) -> int:
        """Opens a regular file of our own; links and other people's files are refused with `PermissionError`."""
        ...

    def close(self, descriptor: int) -> None:
        """Lets a file and its locks go."""
        ...

    def size(self, descriptor: int) -> int:
        """Bytes of a file."""
        ...

    def used_at(self, descriptor: int) -> float:
        """When `touch` was last called for a file or it was written, in seconds since 1970."""
        ...

    def is_linked(self, descriptor: int) -> bool:
        """Whether the file still has a name."""
        ...

    def read(self, descriptor: int, out: memoryview, offset: int) -> int:
        """Fills the beginning of `out` from `offset` bytes on; returns how many bytes came, 0 at the end."""
        ...

    def write(self, descriptor: int, content: memoryview, offset: int) -> int:
        """Writes the beginning of `content` at `offset`; returns how many bytes went."""
        ...

    def truncate(self, descriptor: int, size: int) -> None:
        """Cuts a file off."""
        ...

    def sync(self, descriptor: int) -> None:
        """Returns when the file's bytes and size are on the disk."""
        ...

    def rename(self, name: str, new_name: str) -> None:
        """Gives a file another name in one step; a file of that name is gone."""
        ...

    def unlink(self, name: str) -> None:
        """Removes a file's name."""
        ...

    def sync_folder(self, name: str) -> None:
        """Returns when what was made, renamed and removed in a folder is on the disk."""
        ...

    def lock(self, descriptor: int, *, exclusive: bool) -> bool:
        """Locks a file for this descriptor, without waiting; returns whether that worked.

        A lock of the other kind is let go first: if that did not work, the descriptor has none.
        """
        ...

    def touch(self, descriptor: int, seconds: float | None = None) -> None:
        """Notes that a file was used now, or at a time in seconds since 1970."""
        ...

    def free_bytes(self) -> tuple[int, int]:
        """Bytes of the disk that are free, and all of them."""
        ...


class DiskStorage:
    """A `Storage` in a folder of the file system. Makes the folder when something is put into it."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def _folder(self, name: str) -> Path:
        """The root, or a folder in it; a link in its place would lead out of the root."""
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
                    with suppress(FileNotFoundError):  # gone since the folder was read
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
        # Without O_NONBLOCK, opening a named pipe would wait for whoever writes to it.
        flags = (os.O_RDWR if writable else os.O_RDONLY) | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
        try:
            descriptor = os.open(self._path(name), flags)
        except OSError as error:
            if error.errno == errno.ELOOP:  # what O_NOFOLLOW says of a link
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
