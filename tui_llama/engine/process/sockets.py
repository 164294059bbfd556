"""The Unix sockets at which the screens of a user find the programs of the same user that serve a model.

Each served model has a socket of its own, named by the model's file and by the version of this program, so that two
versions never meet. The folder belongs to the user alone, and the system tells whose process is at the other end.
"""

import errno
import hashlib
import os
import socket
import stat
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, TypeAlias

from tui_llama import __version__, paths
from tui_llama.errors import EngineError

UserOf: TypeAlias = Callable[[socket.socket], int | None]
"""Tells the id of the user whose process is at the other end; None where the system does not tell."""

_NAME_CHARACTERS: Final = 16
_MOST_ADDRESS_BYTES: Final = 103
"""The shortest limit of the systems that we know: macOS takes 104 bytes with the zero at the end."""
_OPEN_FILES: Final = Path("/proc/self/fd")
_CREDENTIALS: Final = struct.Struct("iII")
"""Linux' `struct ucred`: the ids of the process, the user and the group."""
_NOBODY: Final = 0xFFFF_FFFF
"""What Linux says for a user where nobody is connected."""


def socket_path(folder: Path, model_path: str) -> Path:
    """Returns the path of the socket at which a model file is served.

    Args:
        folder: The folder of the sockets.
        model_path: Path of the file, by whatever links it leads there.
    """
    name = f"{__version__}\0{real_path(model_path)}".encode("utf-8", "surrogatepass")
    return folder / f"{hashlib.sha256(name).hexdigest()[:_NAME_CHARACTERS]}.sock"


def real_path(path: str) -> str:
    """Returns the path of a file without links; a path that cannot be followed as it is."""
    try:
        return os.path.realpath(path)
    except (OSError, ValueError):  # a current folder that is gone, a zero byte, stray bytes
        return path


def is_socket(path: Path) -> bool:
    """Tells whether there is a socket at a path, whether or not a process listens to it."""
    try:
        return stat.S_ISSOCK(path.lstat().st_mode)
    except (OSError, ValueError):
        return False


def check_folder(folder: Path) -> None:
    """Makes sure that a folder is one of this user, which nobody else may enter.

    Raises:
        EngineError: it is not.
        OSError: it cannot be looked at.
    """
    status = folder.lstat()
    if not stat.S_ISDIR(status.st_mode):
        raise EngineError(f"{folder} is no folder", "Remove it.")
    if status.st_uid != os.geteuid():
        raise EngineError(f"{folder} belongs to another user", f"Set {paths.HOME_VARIABLE} to a folder of your own.")
    if stat.S_IMODE(status.st_mode) & 0o077:
        raise EngineError(f"other users may enter {folder}", f"Run: chmod 700 {folder}")


@contextmanager
def address(path: Path) -> Iterator[str]:
    """Gives an address for a socket's path. An address may be much shorter than a path.

    Raises:
        EngineError: the path is too long, and this system has no shorter name for it.
        OSError: the folder cannot be opened.
    """
    if len(os.fsencode(path)) <= _MOST_ADDRESS_BYTES:
        yield str(path)
        return
    if not _OPEN_FILES.is_dir():
        raise EngineError(f"{path}: the path is too long for a socket", "Choose a shorter home folder.")
    descriptor = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"{_OPEN_FILES}/{descriptor}/{path.name}"
    finally:
        os.close(descriptor)


def check_user(connection: socket.socket, user_of: UserOf) -> None:
    """Makes sure that the process at the other end is one of this user, as far as the system tells.

    Raises:
        EngineError: it is another user's.
        OSError: the system does not say.
    """
    user = user_of(connection)
    if user is not None and user != os.geteuid():
        raise EngineError(f"the process at the other end belongs to another user ({user})")


def peer_user(connection: socket.socket) -> int | None:
    """Returns the id of the user whose process is at the other end; None where the system does not tell.

    Where it does not, the modes of the folder and the socket are what keeps other users away.

    Raises:
        OSError: the connection is broken.
    """
    option: int | None = getattr(socket, "SO_PEERCRED", None)
    if option is None:
        return _user_by_library(connection)
    _, user, _ = _CREDENTIALS.unpack(connection.getsockopt(socket.SOL_SOCKET, option, _CREDENTIALS.size))
    if user == _NOBODY:
        raise OSError(errno.ENOTCONN, os.strerror(errno.ENOTCONN))
    return int(user)


def _user_by_library(connection: socket.socket) -> int | None:
    """Asks `getpeereid` of the C library, which macOS and the BSDs have."""
    import ctypes

    library = ctypes.CDLL(None, use_errno=True)
    try:
        ask = library.getpeereid
    except AttributeError:
        return None
    user, group = ctypes.c_uint32(), ctypes.c_uint32()
    if ask(connection.fileno(), ctypes.byref(user), ctypes.byref(group)) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return user.value
