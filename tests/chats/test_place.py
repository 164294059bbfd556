"""Where there is no place for chats they are in memory, which is said; what else is wrong with them is an error."""

import errno
import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tests.fakes.chat_app import opened, spoken
from tests.fakes.stored_prompts import cache_on, store
from tui_llama import paths
from tui_llama.chats import chat_prompt_cache
from tui_llama.chats import place as chats_place
from tui_llama.chats.database.file import IN_MEMORY
from tui_llama.chats.place import open_chats
from tui_llama.chats.store import Store
from tui_llama.errors import StoreError


def test_chats_are_kept_where_they_can_be() -> None:
    chats, notice = open_chats()
    with chats:
        assert (chats.path, notice) == (paths.database_file(), "")


@pytest.mark.parametrize("obstacle", ["file", "dangling link", "device", "folder"])
def test_without_a_folder_for_them_they_are_in_memory(obstacle: str, home_folder: Path) -> None:
    place = home_folder / "data"
    if obstacle == "file":
        place.write_text("mine")
    elif obstacle == "dangling link":
        place.symlink_to("nowhere/data")
    elif obstacle == "device":
        place.symlink_to(os.devnull)
    else:
        paths.make_private_folder(paths.database_file())
    before = sorted(home_folder.rglob("*"))
    chats, notice = open_chats()
    with chats:
        assert chats.is_in_memory
        assert chats.create_chat(title="Mine")
        assert "lost when you quit" in notice and str(paths.database_file()) in notice
    assert [path for path in sorted(home_folder.rglob("*")) if path.suffix != ".lock"] == before


@pytest.mark.parametrize("code", [errno.EROFS, errno.ENOSPC, errno.EACCES])
def test_a_folder_that_cannot_be_written_is_no_place(code: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr("tui_llama.chats.database.connection.make_private_file", refuse)
    chats, notice = open_chats()
    with chats:
        assert chats.is_in_memory and os.strerror(code) in notice


@pytest.mark.parametrize(
    "name", ["SQLITE_FULL", "SQLITE_READONLY", "SQLITE_READONLY_DIRECTORY", "SQLITE_CANTOPEN", "SQLITE_IOERR_SHMSIZE"]
)
def test_a_database_that_cannot_be_written_is_no_place(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path, busy_seconds: float) -> sqlite3.Connection:
        if path == IN_MEMORY:
            return connect(path, busy_seconds)
        error = sqlite3.OperationalError(name)
        error.sqlite_errorcode = getattr(sqlite3, name)
        raise error

    from tui_llama.chats.database.file import connect

    monkeypatch.setattr("tui_llama.chats.database.connection.connect", refuse)
    chats, notice = open_chats()
    with chats:
        assert chats.is_in_memory and notice


@pytest.mark.parametrize("content", [b"SQLite format 3\0 and then nothing", b"x" * 5000])
def test_damaged_chats_are_an_error_and_no_reason_to_begin_anew(content: bytes) -> None:
    paths.make_private_folder(paths.data_folder())
    paths.database_file().write_bytes(content)
    with pytest.raises(StoreError, match=r"damaged|not a database"):
        open_chats()
    assert paths.database_file().read_bytes() == content


def test_chats_that_somebody_else_holds_are_those_on_disk() -> None:
    Store(paths.database_file()).close()
    with closing(sqlite3.connect(paths.database_file(), isolation_level=None)) as holder:
        holder.execute("BEGIN EXCLUSIVE")
        chats, notice = chats_place.open_chats()
        with chats:
            assert (chats.is_in_memory, notice) == (False, "")


def test_a_file_without_chats_that_somebody_else_holds_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tui_llama.chats.database.connection.BUSY_SECONDS", 0)
    paths.make_private_folder(paths.data_folder())
    with closing(sqlite3.connect(paths.database_file(), isolation_level=None)) as holder:
        holder.execute("BEGIN EXCLUSIVE")
        with pytest.raises(StoreError, match="in use"):
            chats_place.open_chats()


async def test_the_screen_says_so_and_has_all_chats_of_this_run() -> None:
    chats = Store(IN_MEMORY)
    replies = [spoken("one"), spoken("two")]
    async with opened(store=chats, replies=replies, notice="Nothing is kept today.") as driver:
        assert driver.remarks == ["Nothing is kept today."]
        await driver.ask("first")
        await driver.pilot.press("ctrl+n")
        await driver.until(lambda: "New chat" in driver.screen_text())
        await driver.ask("second")
        await driver.pilot.press("ctrl+pagedown")
        await driver.until(lambda: driver.questions == ["first"])
        await driver.app.journal.settle()
        assert [chat.title for chat in chats.list_chats()] == ["second", "first"]
    chats.close()


def test_stored_prompts_of_chats_that_nobody_knows_now_are_kept() -> None:
    store(cache_on(paths.prompt_cache_folder()), range(100), bytes(15) + b"x")
    with Store(IN_MEMORY) as chats:
        chat_prompt_cache.forget_orphans(chats)
    assert len(list(paths.prompt_cache_folder().rglob("*.tlk"))) == 1
