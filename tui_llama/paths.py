"""The paths of everything on the disk: models, chats, stored prompts, settings, compiled kernels, style sheets.

`TUI_LLAMA_HOME` puts everything below one folder, for tests and portable installations. Without it, the folders are
those of the platform. `TUI_LLAMA_KERNEL_CACHE` moves only the compiled kernels, so that temporary homes can share them.
The program makes its folders with mode 0700, because they hold what was said in chats.
"""

import errno
import os
import stat
import warnings
from pathlib import Path

HOME_VARIABLE = "TUI_LLAMA_HOME"
KERNEL_CACHE_VARIABLE = "TUI_LLAMA_KERNEL_CACHE"

_NAME = "tui_llama"
_NOTHING_THERE = {errno.ENOENT, errno.ENOTDIR, errno.ELOOP}
_NOWHERE = Path(os.devnull)
"""A path below which nothing can be made."""


def data_folder() -> Path:
    """Returns the folder of data that must not be lost, such as chats."""
    return _below_home("data") or _of_platform("user_data_dir")


def cache_folder() -> Path:
    """Returns the folder of data that can be made again."""
    return _below_home("cache") or _of_platform("user_cache_dir")


def config_folder() -> Path:
    """Returns the folder of the user's settings."""
    return _below_home("config") or _of_platform("user_config_dir")


def runtime_folder() -> Path:
    """Returns the folder of what is of use only while a program runs, such as a socket."""
    if (folder := _below_home("runtime")) is not None:
        return folder
    with warnings.catch_warnings():  # of a folder that is not the best one, which concerns nobody
        warnings.simplefilter("ignore")
        return _of_platform("user_runtime_dir")


def database_file() -> Path:
    """Returns the database of the chats, in SQLite."""
    return data_folder() / "chats.sqlite3"


def prompt_cache_folder() -> Path:
    """Returns the folder of the stored keys and values of all chats, which can be computed again."""
    return cache_folder() / "prompts"


def models_folder() -> Path:
    """Returns the folder of the model files that belong to this program."""
    return data_folder() / "models"


def personas_folder() -> Path:
    """Returns the folder of the user's personas, which are files in TOML."""
    return config_folder() / "personas"


def settings_file() -> Path:
    """Returns the file of the user's settings, in TOML."""
    return config_folder() / "settings.toml"


def themes_folder() -> Path:
    """Returns the folder of the user's colour themes, each a file in TOML."""
    return config_folder() / "themes"


def keymap_file() -> Path:
    """Returns the file of the user's keys, in TOML."""
    return config_folder() / "keymap.toml"


def log_file() -> Path:
    """Returns the file that gets the standard error of the engine's process."""
    return cache_folder() / "engine.log"


def kernel_cache_folder() -> Path:
    """Returns the folder of the compiled kernels. Each version of their sources has a folder of its own in it."""
    chosen = os.environ.get(KERNEL_CACHE_VARIABLE)
    return Path(chosen) if chosen else cache_folder() / "kernels"


def style_folder() -> Path:
    """Returns the folder of the style sheets: inside an installed package, beside the package in a checkout."""
    package = Path(__file__).resolve().parent
    installed = package / "styles"
    return installed if installed.is_dir() else package.parent / "styles"


def typed_path(text: str) -> Path | None:
    """Returns the path that a user typed, with ~ replaced by the home folder; None if no such path can exist."""
    try:
        path = Path(text).expanduser()
        path.absolute()
        _stat_or_nothing(path)
    except (OSError, RuntimeError, ValueError):  # too long, unknown user, a zero byte, a current folder that is gone
        return None
    return path


def _stat_or_nothing(path: Path) -> None:
    """Raises the system's error for a path, unless the error only says that nothing is there."""
    try:
        path.stat()
    except OSError as error:
        if error.errno not in _NOTHING_THERE:
            raise


def typed_file(text: str) -> Path | None:
    """Returns the absolute path of the regular file at a typed path, or None if there is none."""
    path = typed_path(text)
    return path.absolute() if text and path is not None and is_file(path) else None


def is_there(path: Path) -> bool:
    """Tells whether a path leads to something that can be reached; see `_status`."""
    return _status(path) is not None


def is_file(path: Path) -> bool:
    """Tells whether a path leads to a regular file that can be reached."""
    return file_bytes(path) is not None


def file_bytes(path: Path) -> int | None:
    """Returns the bytes of the regular file to which a path leads, or None if there is none that can be reached."""
    status = _status(path)
    return status.st_size if status is not None and stat.S_ISREG(status.st_mode) else None


def is_folder(path: Path) -> bool:
    """Tells whether a path leads to a folder that can be reached."""
    status = _status(path)
    return status is not None and stat.S_ISDIR(status.st_mode)


def is_link(path: Path) -> bool:
    """Tells whether a path is that of a link that can be reached, wherever the link leads."""
    status = _status(path, follow_symlinks=False)
    return status is not None and stat.S_ISLNK(status.st_mode)


def _status(path: Path, *, follow_symlinks: bool = True) -> os.stat_result | None:
    """Returns the status of a path, or None if there is nothing or it cannot be reached.

    A folder without permission, a name that is too long and an impossible name also give None. Some methods of `Path`
    raise errors for these, which ones depends on the version of Python.
    """
    try:
        return path.stat(follow_symlinks=follow_symlinks)
    except (OSError, ValueError):
        return None


def make_private_folder(path: Path) -> Path:
    """Makes the folder `path` and the missing folders above it. Only the user may enter the new folders.

    Raises:
        OSError: the system refuses.
    """
    if not path.parent.is_dir():
        # Not mkdir(parents=True), which gives `mode` to the last folder only, and chats lie above models.
        make_private_folder(path.parent)
    try:
        path.mkdir(mode=0o700, exist_ok=True)
    except FileExistsError as error:  # the error does not say that it is no folder
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(path)) from error
    return path


def _of_platform(function: str) -> Path:
    """Returns a folder of the platform. Where there is none, the path leads nowhere: the user has no home, or the
    folder of the running programs belongs to somebody else.

    Args:
        function: Names the function of platformdirs, which is imported only here: `--help` needs no folder.
    """
    import platformdirs

    try:
        path = Path(getattr(platformdirs, function)(_NAME, appauthor=False))
    except (RuntimeError, OSError):
        return _NOWHERE / _NAME
    return path if path.is_absolute() else _NOWHERE / _NAME


def has_home() -> bool:
    """Tells whether everything lies below one folder that the user has named."""
    return bool(os.environ.get(HOME_VARIABLE))


def _below_home(name: str) -> Path | None:
    home = os.environ.get(HOME_VARIABLE)
    return Path(home) / name if home else None
