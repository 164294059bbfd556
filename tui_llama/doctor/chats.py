"""Examines the database of the chats. Opens it read-only, checks it and counts its rows, but reads no title or text."""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Final
from urllib.parse import quote

from tui_llama.chats.database.file import BUSY_SECONDS, DAMAGED_HINT, explained
from tui_llama.chats.database.schema import APPLICATION_ID, MIGRATIONS
from tui_llama.doctor.report import Problem, Row, Section
from tui_llama.errors import StoreError

TITLE: Final = "Chats"

_SOUND: Final = ["ok"]


def look_at_chats(file: Path) -> Section:
    """Returns the section of a database. Does not change its content."""
    try:
        if not file.exists():
            return Section(TITLE, (Row("database", "not created yet"),))
        with explained(file), closing(_open(file)) as connection:
            return _section(connection, file)
    except PermissionError:
        return _failed(f"{file} cannot be reached.", "Change the owner or the mode of the folders above it.")
    except OSError as error:
        reason = error.strerror or type(error).__name__
        return _failed(f"{file} cannot be reached ({reason}).", "Check the folders above it and the disk.")
    except StoreError as error:
        return _failed(str(error), error.hint)


def _open(file: Path) -> sqlite3.Connection:
    # Without a journal nobody has the database open. SQLite would make a journal even to read, unless it is told that
    # nobody writes.
    has_journal = file.with_name(f"{file.name}-wal").exists()
    mode = "mode=ro" if has_journal else "mode=ro&immutable=1"
    return sqlite3.connect(f"file:{quote(bytes(file))}?{mode}", uri=True, timeout=BUSY_SECONDS)


def _section(connection: sqlite3.Connection, file: Path) -> Section:
    application_id, version = _number(connection, "PRAGMA application_id"), _number(connection, "PRAGMA user_version")
    if application_id != APPLICATION_ID:
        return _failed(
            f"{file} is not a database of this program.", "Move it away, or set TUI_LLAMA_HOME to another folder."
        )
    if version > len(MIGRATIONS):
        return _failed(f"{file} was written by a newer version of this program.", "Install that version.")
    findings = [str(row[0]) for row in connection.execute("PRAGMA quick_check(5)")]
    rows = [Row("database", "sound" if findings == _SOUND else "damaged"), Row("version", str(version), version)]
    problems = [] if findings == _SOUND else [Problem(f"{file} is damaged: {findings[0]}", DAMAGED_HINT)]
    if version:  # a database of version 0 has no tables yet
        for table in ("chats", "messages"):
            count = _number(connection, f"SELECT count(*) FROM {table}")
            rows.append(Row(table, str(count), count))
    return Section(TITLE, tuple(rows), tuple(problems))


def _number(connection: sqlite3.Connection, query: str) -> int:
    return int(connection.execute(query).fetchone()[0])


def _failed(text: str, remedy: str) -> Section:
    return Section(TITLE, (Row("database", "cannot be used"),), (Problem(text, remedy),))
