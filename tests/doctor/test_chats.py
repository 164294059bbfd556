"""The database of the chats: read and checked, never changed."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tests.doctor.sections import rows
from tui_llama.chats.database.schema import MIGRATIONS
from tui_llama.chats.store import Store
from tui_llama.doctor.chats import look_at_chats
from tui_llama.doctor.report import Section


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A database with two chats."""
    path = tmp_path / "chats 100%?.sqlite3"
    with Store(path) as store:
        store.create_chat(title="a secret")
        store.create_chat(title="another")
    return path


def texts(section: Section) -> list[str]:
    return [problem.text for problem in section.problems]


def test_chats_are_counted_and_nothing_of_them_is_told(file: Path) -> None:
    section = look_at_chats(file)

    assert rows(section) == {"database": "sound", "version": str(len(MIGRATIONS)), "chats": "2", "messages": "0"}
    assert section.problems == ()
    assert "secret" not in str(section)


def test_looking_changes_nothing(file: Path) -> None:
    before = {path: path.read_bytes() for path in file.parent.iterdir()}

    look_at_chats(file)

    assert {path: path.read_bytes() for path in file.parent.iterdir()} == before


def test_while_the_program_runs_its_last_chat_counts_too(file: Path) -> None:
    with Store(file) as store:
        store.create_chat(title="just now")
        assert rows(look_at_chats(file))["chats"] == "3"


def test_without_a_database_there_is_nothing_wrong_and_none_is_made(tmp_path: Path) -> None:
    section = look_at_chats(tmp_path / "none.sqlite3")

    assert rows(section) == {"database": "not created yet"}
    assert section.problems == () and list(tmp_path.iterdir()) == []


def test_an_empty_file_is_no_database_of_ours(tmp_path: Path) -> None:
    (tmp_path / "empty").write_bytes(b"")

    assert "is not a database of this program" in texts(look_at_chats(tmp_path / "empty"))[0]


def test_a_file_that_is_no_database_is_wrong(tmp_path: Path) -> None:
    file = tmp_path / "text"
    file.write_text("no database " * 200)
    (problem,) = look_at_chats(file).problems

    assert "is damaged or not a database" in problem.text and problem.remedy


def test_damage_inside_is_wrong(file: Path) -> None:
    with closing(sqlite3.connect(file)) as connection:
        page_size = connection.execute("PRAGMA page_size").fetchone()[0]
        page = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'messages_by_chat'").fetchone()[0]
    content = bytearray(file.read_bytes())
    content[page_size * (page - 1) : page_size * page] = b"\xa5" * page_size
    file.write_bytes(content)

    assert any("is damaged" in text for text in texts(look_at_chats(file)))


@pytest.mark.parametrize(
    ("pragma", "message"),
    [("application_id = 7", "is not a database of this program"), ("user_version = 99", "a newer version")],
)
def test_a_database_that_is_not_ours_is_wrong(file: Path, pragma: str, message: str) -> None:
    with closing(sqlite3.connect(file)) as connection:
        connection.execute(f"PRAGMA {pragma}")
        connection.commit()

    assert message in texts(look_at_chats(file))[0]


def test_a_folder_in_its_place_is_wrong(tmp_path: Path) -> None:
    assert texts(look_at_chats(tmp_path))
