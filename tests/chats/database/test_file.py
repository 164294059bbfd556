"""The file of the chats: its mode, its migrations, and what happens to a damaged, foreign or full one."""

import random
import shutil
import sqlite3
import stat
from contextlib import closing
from pathlib import Path

import pytest

from tests.fakes.clock import BERLIN, KATHMANDU, NEW_YORK, TOKYO, Clock
from tui_llama import paths
from tui_llama.chat import Attachment, Role, StopReason, Usage
from tui_llama.chats.chat_date import date_text
from tui_llama.chats.database import schema
from tui_llama.chats.ledger import Ledger
from tui_llama.chats.store import Store
from tui_llama.chats.stored import MessageState, StoredDraft
from tui_llama.errors import StoreError

FIXTURES = Path(__file__).parents[2] / "fixtures"


def test_files_and_folder_are_the_users_alone(store: Store, path: Path) -> None:
    store.create_chat()

    assert {file.name for file in path.parent.iterdir()} >= {"chats.sqlite3", "chats.sqlite3-wal"}
    assert {stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()} == {0o600}
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_a_database_that_others_could_read_is_closed_to_them(path: Path) -> None:
    Store(path).close()
    path.chmod(0o644)

    Store(path).close()

    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_database_of_another_program_keeps_its_mode(path: Path) -> None:
    paths.make_private_folder(path.parent)
    with closing(sqlite3.connect(path)) as theirs:
        theirs.execute("CREATE TABLE songs (title TEXT)")
    path.chmod(0o644)

    with pytest.raises(StoreError, match="another program"):
        Store(path)

    assert stat.S_IMODE(path.stat().st_mode) == 0o644


def test_every_commit_goes_through_to_the_disk(store: Store) -> None:
    with store._transaction() as connection:
        pragmas = {
            name: connection.execute(f"PRAGMA {name}").fetchone()[0]
            for name in ("journal_mode", "synchronous", "foreign_keys", "secure_delete")
        }

    assert pragmas == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "secure_delete": 1}


# --- older and newer versions ---


def test_a_database_of_version_1_is_read_as_it_was_written(path: Path) -> None:
    path.parent.mkdir()
    connection = sqlite3.connect(path)
    connection.executescript((FIXTURES / "chats-version-1.sql").read_text())
    connection.close()

    with Store(path) as store:
        (chat,) = store.list_chats()
        messages = store.messages(chat.chat_id)
        assert [(m.role, m.text, m.state, m.stop_reason) for m in messages] == [
            (Role.USER, "Hello", MessageState.COMPLETE, None),
            (Role.ASSISTANT, "Hi there", MessageState.COMPLETE, StopReason.END_OF_GENERATION),
            (Role.USER, "Tell me a story", MessageState.COMPLETE, None),
            (Role.ASSISTANT, "Once upon", MessageState.PARTIAL, None),
        ]
        assert messages[1].usage == Usage(0, 3, 2, 0.5, 0.25, 5, 64)
        assert store.ledger(messages[-1].message_id).newest_ids == [1, 2, 3, 10, 11, 4, 300, 128255]
        assert store.preference("last_model") == "/models/stories.gguf"


def test_a_database_of_version_4_keeps_its_chats_its_deletions_and_its_drafts(path: Path) -> None:
    path.parent.mkdir()
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript((FIXTURES / "chats-version-4.sql").read_text())

    with Store(path) as store:
        (summary,) = store.list_chats()
        chat = store.chat(summary.chat_id)
        assert (chat.title, chat.system_prompt, chat.choices.sampling) == ("Stories", "Be brief.", {"temperature": 0.5})
        asked, answer = store.messages(chat.chat_id)
        assert asked.attachments == (Attachment("a.txt", "alpha", "/tmp/a.txt", "d1"),)
        assert (answer.thought, answer.text, store.ledger(answer.message_id).newest_ids) == (
            "Hm",
            "Alpha",
            [1, 2, 3, 10, 11],
        )
        deletion = store.last_deletion(chat.chat_id)
        assert deletion is not None and deletion.message_count == 2
        attached = (Attachment("b.txt", "beta", "/tmp/b.txt", "d2"), Attachment("pasted text", "gamma"))
        assert store.left_draft(chat.chat_id).draft == StoredDraft("to be sent", attached)
        assert store.left_draft("").draft == StoredDraft("new chat's draft")
        assert store.unread_chats() == []
        store.keep_draft(chat.chat_id, "")  # sent: nothing of it stays behind
        with store._transaction() as database:
            assert database.execute("SELECT count(*) FROM draft_attachments").fetchone()[0] == 0


def old_database(path: Path, *created_at: int) -> None:
    """A database of version 1 whose chats were made at these microseconds since 1970."""
    path.parent.mkdir()
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript((FIXTURES / "chats-version-1.sql").read_text())
        for number, microseconds in enumerate(created_at):
            connection.execute("INSERT INTO chats VALUES (?, '', '', '', NULL, ?, 0)", (f"{number:032x}", microseconds))
        connection.commit()


@pytest.mark.parametrize(
    ("zone", "winter", "summer"),
    [
        (BERLIN, "2026-01-15T12:00:00+01:00", "2026-07-15T13:00:00+02:00"),
        (NEW_YORK, "2026-01-15T06:00:00-05:00", "2026-07-15T07:00:00-04:00"),
        (KATHMANDU, "2026-01-15T16:45:00+05:45", "2026-07-15T16:45:00+05:45"),
        ("NST3:30", "2026-01-15T07:30:00-03:30", "2026-07-15T07:30:00-03:30"),
    ],
)
def test_chats_of_version_1_began_when_they_were_made_in_local_time(
    path: Path, clock: Clock, zone: str, winter: str, summer: str
) -> None:
    old_database(path, 1_768_474_800_000_000, 1_784_113_200_999_999)
    clock.set("2026-11-27 12:00:00", zone)
    Store(path).close()
    clock.set("2026-11-27 12:00:00", TOKYO)  # it is fixed now
    with Store(path) as store:
        begun = [date_text(store.chat(f"{number:032x}").begun_at) for number in range(2)]
    assert begun == [winter, summer]


def test_a_beginning_that_cannot_be_read_is_when_the_chat_was_made(path: Path) -> None:
    old_database(path, 1_768_474_800_000_000, -(2**62))
    with Store(path) as store:
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.execute("UPDATE chats SET begun_at = 'long ago' WHERE chat_id = ?", (f"{0:032x}",))
        chat = store.chat(f"{0:032x}")
        assert chat.begun_at == chat.created_at
        assert len(store.list_chats()) == 3


def test_ids_of_version_1_are_of_a_vocabulary_that_nobody_knows(path: Path) -> None:
    old_database(path)
    with Store(path) as store:
        ledger = store.ledger(store.messages(store.list_chats()[0].chat_id)[-1].message_id)
        assert ledger == Ledger({"": (1, 2, 3, 10, 11, 4, 300, 128255)}, "")


def test_an_older_schema_is_brought_up_to_date(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Store(path) as store:
        chat_id = store.create_chat(title="Old")
    steps = ("ALTER TABLE chats ADD COLUMN color TEXT", "UPDATE chats SET color = 'blue'")
    monkeypatch.setattr(schema, "MIGRATIONS", (*schema.MIGRATIONS, steps))

    Store(path).close()
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA user_version").fetchone()[0] == len(schema.MIGRATIONS)
        assert connection.execute("SELECT chat_id, color FROM chats").fetchone() == (chat_id, "blue")


def test_a_migration_that_fails_changes_nothing(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Store(path) as store:
        chat_id = store.create_chat(title="Old")
    steps = ("ALTER TABLE chats ADD COLUMN color TEXT", "SELECT * FROM nowhere")
    with monkeypatch.context() as patch:
        patch.setattr(schema, "MIGRATIONS", (*schema.MIGRATIONS, steps))
        with pytest.raises(StoreError, match="nowhere"):
            Store(path)

    with Store(path) as store:
        assert store.chat(chat_id).title == "Old"


def test_a_newer_database_is_refused_and_left_alone(path: Path) -> None:
    Store(path).close()
    connection = sqlite3.connect(path)
    connection.execute(f"PRAGMA user_version = {len(schema.MIGRATIONS) + 1}")
    connection.close()

    with pytest.raises(StoreError, match="newer version") as caught:
        Store(path)

    assert "Update" in caught.value.hint


# --- files that cannot be used ---


@pytest.mark.parametrize("statement", ["CREATE TABLE notes (text)", "PRAGMA application_id = 7"])
def test_a_database_of_another_program_is_refused_and_left_alone(path: Path, statement: str) -> None:
    path.parent.mkdir()
    connection = sqlite3.connect(path)
    connection.execute(statement)
    connection.close()
    before = path.read_bytes()

    with pytest.raises(StoreError, match="another program"):
        Store(path)

    assert path.read_bytes() == before


def test_a_file_that_is_no_database_is_refused_with_a_hint(path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(b"not a database, but a text of some length" * 100)

    with pytest.raises(StoreError, match="damaged or not a database") as caught:
        Store(path)

    assert "move the file away" in caught.value.hint


def test_a_folder_in_the_place_of_the_file_is_named(path: Path) -> None:
    path.mkdir(parents=True)

    with pytest.raises(StoreError, match="cannot be opened"):
        Store(path)


def test_a_file_in_the_place_of_the_folder_is_named(path: Path) -> None:
    path.parent.write_text("")

    with pytest.raises(StoreError, match="Not a directory"):
        Store(path)


def test_a_full_disk_loses_only_what_was_not_written(store: Store) -> None:
    chat_id = store.create_chat()
    store.add_user_message(chat_id, "Hello")
    with store._transaction() as connection:
        connection.execute("PRAGMA max_page_count = 1")

    with pytest.raises(StoreError, match="the disk is full") as caught:
        store.add_user_message(chat_id, "long " * 20000)

    assert "Free some space" in caught.value.hint
    assert [message.text for message in store.messages(chat_id)] == ["Hello"]


def test_a_database_that_cannot_be_written_is_named(store: Store) -> None:
    with store._transaction("DEFERRED") as connection:
        connection.execute("PRAGMA query_only = ON")

    with pytest.raises(StoreError, match="cannot be written"):
        store.create_chat()


def test_a_database_that_stays_locked_is_named(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tui_llama.chats.database.connection.BUSY_SECONDS", 0.05)
    with Store(path) as store:
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")

        with pytest.raises(StoreError, match="in use by another program"):
            store.create_chat()

        other.close()
        assert store.create_chat()


def test_damage_anywhere_is_an_error_and_never_a_crash(path: Path, tmp_path: Path) -> None:
    with Store(path) as store:
        for number in range(8):
            chat_id = store.create_chat()
            answer_id = store.begin_answer(chat_id, store.add_user_message(chat_id, "Hello " * 200))
            store.set_answer_prompt(answer_id, 0, range(200))
            store.append_to_answer(answer_id, "Hi", [number])
    whole = path.read_bytes()
    chance = random.Random(7)
    refused = 0
    for number in range(150):
        damaged = tmp_path / f"{number}" / "chats.sqlite3"
        damaged.parent.mkdir()
        content = bytearray(whole)
        place, length = chance.randrange(len(whole)), chance.choice((1, 8, 300))
        content[place : place + length] = chance.randbytes(min(length, len(whole) - place))
        damaged.write_bytes(content)
        refused += not everything_reads(damaged)
        shutil.rmtree(damaged.parent)

    assert refused > 10


def everything_reads(path: Path) -> bool:
    try:
        with Store(path) as store:
            store.recover()
            for chat in store.list_chats():
                for message in store.messages(chat.chat_id):
                    store.ledger(message.message_id)
    except StoreError as error:
        assert "\n" not in str(error)
        return False
    return True
