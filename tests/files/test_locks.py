"""Where a file system has no locks it is said which folder that is, and how to put it elsewhere."""

import errno
import fcntl
import os
import sqlite3
from pathlib import Path

import pytest

from tui_llama import paths
from tui_llama.chats.chat_prompt_cache import explained as prompts_explained
from tui_llama.chats.database.file import explained
from tui_llama.chats.store import Store
from tui_llama.errors import StateFileError, StoreError
from tui_llama.files.locks import cause_of, how_to_move, lacks_locks
from tui_llama.models.starter.working_folder import working_folder

NUMBERS = [errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS]
each_number = pytest.mark.parametrize("number", NUMBERS, ids=lambda number: errno.errorcode[number])


@pytest.fixture
def own_folders(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Folders as the platform has them, below a home that is nobody's."""
    monkeypatch.delenv(paths.HOME_VARIABLE, raising=False)
    for variable, name in (("XDG_DATA_HOME", "data"), ("XDG_CACHE_HOME", "cache"), ("XDG_CONFIG_HOME", "config")):
        monkeypatch.setenv(variable, str(tmp_path / name))
    return tmp_path


def no_locks(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets no file be locked."""

    def refuse(*_arguments: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", refuse)
    monkeypatch.setattr(fcntl, "lockf", refuse)


@each_number
def test_chats_on_such_a_file_system_name_their_file_and_the_variables(
    number: int, own_folders: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    no_locks(number, monkeypatch)
    paths.make_private_folder(paths.data_folder())
    with pytest.raises(StoreError) as caught:
        Store(paths.database_file()).close()
    assert "its file system has no file locks" in str(caught.value)
    assert str(paths.database_file()) in str(caught.value)
    assert caught.value.hint.startswith("Set XDG_DATA_HOME (this folder) or TUI_LLAMA_HOME (all folders")


@pytest.mark.parametrize(
    "code",
    [sqlite3.SQLITE_IOERR_LOCK, sqlite3.SQLITE_IOERR_RDLOCK, sqlite3.SQLITE_IOERR_SHMLOCK, sqlite3.SQLITE_PROTOCOL],
)
def test_what_the_database_says_of_locks_means_the_same(code: int) -> None:
    error = sqlite3.OperationalError("disk I/O error")
    error.sqlite_errorcode = code
    with pytest.raises(StoreError, match="no file locks") as caught, explained(Path("chats.sqlite3")):
        raise error
    assert "TUI_LLAMA_HOME" in caught.value.hint


def test_another_fault_of_the_disk_is_none_of_locks() -> None:
    error = sqlite3.OperationalError("disk I/O error")
    error.sqlite_errorcode = sqlite3.SQLITE_IOERR_READ
    assert not lacks_locks(error)
    assert not lacks_locks(OSError(errno.EACCES, "Permission denied"))
    assert not lacks_locks(BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable"))
    assert cause_of(OSError(errno.EACCES, "Permission denied")) == "Permission denied"


@each_number
def test_stored_prompts_say_which_variable_moves_them(number: int, own_folders: Path) -> None:
    with pytest.raises(StateFileError) as caught, prompts_explained("It could not be removed"):
        raise OSError(number, os.strerror(number))
    assert "set XDG_CACHE_HOME (this folder) or TUI_LLAMA_HOME" in str(caught.value)


def test_below_one_home_that_alone_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(paths.HOME_VARIABLE, str(tmp_path))
    assert "XDG" not in how_to_move(paths.database_file())
    assert "TUI_LLAMA_HOME" in how_to_move(paths.database_file())


@each_number
def test_a_download_does_without_locks(number: int, own_folders: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    no_locks(number, monkeypatch)
    with working_folder() as folder:
        assert folder.is_dir()
    assert not folder.exists()
