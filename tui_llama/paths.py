"""Where things lie: models, chats, stored prompts, settings, compiled kernels, style sheets.

`TUI_LLAMA_HOME` puts everything below one folder (tests, portable installs); else the platform's own places
are used.
`TUI_LLAMA_KERNEL_CACHE` moves the compiled kernels alone, so that homes which come and go can share them.
Folders that hold what was said are made with mode 0700.
"""

import errno
import os
import stat
from collections.abc import Callable
from pathlib import Path

import platformdirs

HOME_VARIABLE = "TUI_LLAMA_HOME"
KERNEL_CACHE_VARIABLE = "TUI_LLAMA_KERNEL_CACHE"

_NAME = "tui_llama"
_NOTHING_THERE = {errno.ENOENT, errno.ENOTDIR, errno.ELOOP}
_NOWHERE = Path(os.devnull)
"""Nothing can be made below it."""


def data_folder() -> Path:
    """Chats: what must not be lost."""
    return _below_home("data") or _of_platform(platformdirs.user_data_dir)


def cache_folder() -> Path:
    """What can be made again."""
    return _below_home("cache") or _of_platform(platformdirs.user_cache_dir)


def config_folder() -> Path:
    """The user's settings."""
    return _below_home("config") or _of_platform(platformdirs.user_config_dir)


def database_file() -> Path:
    """The transcripts, in SQLite."""
    return data_folder() / "chats.sqlite3"


def prompt_cache_folder() -> Path:
    """Stored keys and values of all chats, which can be computed again."""
    return cache_folder() / "prompts"


def models_folder() -> Path:
    """Model files that belong to this program."""
    return data_folder() / "models"


def settings_file() -> Path:
    """The user's settings, in TOML."""
    return config_folder() / "settings.toml"


def log_file() -> Path:
    """What the engine's process says on standard error."""
    return cache_folder() / "engine.log"


def kernel_cache_folder() -> Path:
    """Compiled kernels; each version of their sources has a folder of its own below."""
    chosen = os.environ.get(KERNEL_CACHE_VARIABLE)
    return Path(chosen) if chosen else cache_folder() / "kernels"


def style_folder() -> Path:
    """The style sheets: inside the package when installed from a wheel, beside it in a checkout."""
    package = Path(__file__).resolve().parent
    installed = package / "styles"
    return installed if installed.is_dir() else package.parent / "styles"


def typed_path(text: str) -> Path | None:
    """The path that somebody typed, with ~ for a home folder; None where no system could have it."""
    try:
        path = Path(text).expanduser()
        path.absolute()
        _stat_or_nothing(path)
    except (OSError, RuntimeError, ValueError):  # too long, nobody's home, a zero byte, below a folder that is gone
        return None
    return path


def _stat_or_nothing(path: Path) -> None:
    """Raises what the system says of a path, unless that is only that nothing is there."""
    try:
        path.stat()
    except OSError as error:
        if error.errno not in _NOTHING_THERE:
            raise


def typed_file(text: str) -> Path | None:
    """The regular file of the path that somebody typed, absolute; None where there is none."""
    path = typed_path(text)
    return path.absolute() if text and path is not None and is_file(path) else None


def is_there(path: Path) -> bool:
    """Whether a path leads to something that can be reached; see `_status`."""
    return _status(path) is not None


def is_file(path: Path) -> bool:
    """The same for a regular file."""
    return file_bytes(path) is not None


def file_bytes(path: Path) -> int | None:
    """How large the regular file is that a path leads to; None where there is none that can be reached."""
    status = _status(path)
    return status.st_size if status is not None and stat.S_ISREG(status.st_mode) else None


def is_folder(path: Path) -> bool:
    """Whether a path leads to a folder that can be reached."""
    status = _status(path)
    return status is not None and stat.S_ISDIR(status.st_mode)


def is_link(path: Path) -> bool:
    """Whether a link that can be reached has this path, wherever it leads."""
    status = _status(path, follow_symlinks=False)
    return status is not None and stat.S_ISLNK(status.st_mode)


def _status(path: Path, *, follow_symlinks: bool = True) -> os.stat_result | None:
    """What the system says of a path; None where there is nothing.

    That counts for a closed folder, a name that is too long and one that no system could have. The methods of `Path`
    raise then, and not all of them in all versions of Python.
    """
    try:
        return path.stat(follow_symlinks=follow_symlinks)
    except (OSError, ValueError):
        return None


def make_private_folder(path: Path) -> Path:
    """Makes `path` and what is missing above it; only the user may enter what was made.

    Raises:
        OSError: as the system says.
    """
    if not path.parent.is_dir():
        # Not mkdir(parents=True): it gives `mode` to the last folder alone, and chats lie above models.
        make_private_folder(path.parent)
    try:
        path.mkdir(mode=0o700, exist_ok=True)
    except FileExistsError as error:  # says of it no more than that
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(path)) from error
    return path


def _of_platform(find: Callable[..., str]) -> Path:
    """A folder where the platform has it. For a user without a home it has none."""
    try:
        path = Path(find(_NAME, appauthor=False))
    except RuntimeError:
        return _NOWHERE / _NAME
    return path if path.is_absolute() else _NOWHERE / _NAME


def has_home() -> bool:
    """Whether everything lies below one folder that the user has named."""
    return bool(os.environ.get(HOME_VARIABLE))


def _below_home(name: str) -> Path | None:
    home = os.environ.get(HOME_VARIABLE)
    return Path(home) / name if home else None
