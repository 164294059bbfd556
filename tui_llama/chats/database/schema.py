"""The schema of the chats: its migrations, one for each version, and how they are run.

Knows SQLite, and nothing of what the tables mean to the program.
"""

import sqlite3
from pathlib import Path
from typing import Any, Final

from tui_llama.errors import StoreError

APPLICATION_ID: Final = 0x74756C6C  # "tull": tells our database from any other SQLite file

# One step for each schema version, never changed once released: a database of version n has run the first n.
MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        """
        CREATE TABLE chats (
            chat_id TEXT PRIMARY KEY NOT NULL,
            title TEXT NOT NULL,
            model_path TEXT NOT NULL,
            system_prompt TEXT NOT NULL,
            tip_message_id INTEGER REFERENCES messages (message_id) DEFERRABLE INITIALLY DEFERRED,
            created_at INTEGER NOT NULL,  -- microseconds since 1970, UTC
            updated_at INTEGER NOT NULL
        )
        """,
        # Plain references, not ON DELETE CASCADE: a cascade along parents recurses once for each message of
        # a path, and SQLite ends it after a thousand.
        """
        CREATE TABLE messages (
            message_id INTEGER PRIMARY KEY AUTOINCREMENT,
            chat_id TEXT NOT NULL REFERENCES chats (chat_id) DEFERRABLE INITIALLY DEFERRED,
            parent_id INTEGER REFERENCES messages (message_id) DEFERRABLE INITIALLY DEFERRED,
            role TEXT NOT NULL CHECK (role IN ('system', 'user', 'assistant')),
            state TEXT NOT NULL CHECK (state IN ('complete', 'partial', 'interrupted')),
            text TEXT NOT NULL,
            kept_tokens INTEGER CHECK (kept_tokens >= 0),  -- of the ledger before; null: no prompt yet
            prompt_ids BLOB NOT NULL CHECK (length(prompt_ids) % 4 = 0),  -- little-endian uint32
            generated_ids BLOB NOT NULL CHECK (length(generated_ids) % 4 = 0),
            stop_reason TEXT,
            usage TEXT,  -- JSON
            created_at INTEGER NOT NULL,
            CHECK (parent_id < message_id)
        )
        """,
        """
        CREATE TABLE answer_pieces (
            piece_id INTEGER PRIMARY KEY AUTOINCREMENT,
            message_id INTEGER NOT NULL REFERENCES messages (message_id) ON DELETE CASCADE,
            text TEXT NOT NULL,
            token_ids BLOB NOT NULL CHECK (length(token_ids) % 4 = 0)
        )
        """,
        "CREATE TABLE preferences (key TEXT PRIMARY KEY NOT NULL, value TEXT NOT NULL)",
        "CREATE INDEX messages_by_chat ON messages (chat_id)",
        "CREATE INDEX messages_by_parent ON messages (parent_id)",
        "CREATE INDEX answer_pieces_by_message ON answer_pieces (message_id)",
        "CREATE INDEX chats_by_tip ON chats (tip_message_id)",
    ),
    (
        # When the chat began, in the local time of then, such as 2026-11-27T23:58:03+01:00: no zone can shift that.
        "ALTER TABLE chats ADD COLUMN begun_at TEXT NOT NULL DEFAULT ''",
        """
        WITH moments AS (
            SELECT chat_id, created_at / 1000000 AS seconds,
                strftime('%Y-%m-%dT%H:%M:%S', created_at / 1000000, 'unixepoch', 'localtime') AS local
            FROM chats
        ), offsets AS (SELECT chat_id, local, (strftime('%s', local) - seconds) / 60 AS minutes FROM moments)
        UPDATE chats SET begun_at = coalesce((
            SELECT local || CASE WHEN minutes < 0 THEN '-' ELSE '+' END
                || printf('%02d:%02d', abs(minutes) / 60, abs(minutes) % 60)
            FROM offsets WHERE offsets.chat_id = chats.chat_id
        ), '')
        """,
    ),
    (
        # Of prompt_ids and generated_ids: ids mean something in one vocabulary only; null: nobody knows which.
        "ALTER TABLE messages ADD COLUMN vocabulary TEXT",
    ),
    (
        # What was chosen for this chat alone: JSON of `chat.ChatChoices`.
        "ALTER TABLE chats ADD COLUMN choices TEXT NOT NULL DEFAULT '{}'",
        # What the model thought before the text of its answer.
        "ALTER TABLE messages ADD COLUMN thought TEXT NOT NULL DEFAULT ''",
        "ALTER TABLE answer_pieces ADD COLUMN thought TEXT NOT NULL DEFAULT ''",
        # JSON of `chat.Attachment`s.
        "ALTER TABLE messages ADD COLUMN attachments TEXT NOT NULL DEFAULT '[]'",
        # When the user took the message away, with all below it; null: it is there. Undo brings it back.
        "ALTER TABLE messages ADD COLUMN deleted_at INTEGER",
        # What is written in a chat and not sent. A chat that has no message yet is not among the chats.
        """
        CREATE TABLE drafts (
            chat_id TEXT PRIMARY KEY NOT NULL,
            text TEXT NOT NULL,
            attachments TEXT NOT NULL DEFAULT '[]',
            written_at INTEGER NOT NULL
        )
        """,
    ),
    (
        # Each running program has a draft of its own in each chat, so that none writes over another's; 0: none that
        # runs. What is attached is written once, and drafts name it: they are written at every pause in the typing.
        "CREATE TABLE draft_attachments (attachment_id TEXT PRIMARY KEY NOT NULL, content TEXT NOT NULL)",
        """
        CREATE TABLE drafts_of_programs (
            chat_id TEXT NOT NULL,
            program INTEGER NOT NULL,
            text TEXT NOT NULL,
            attachments TEXT NOT NULL DEFAULT '[]',  -- JSON: ids of draft_attachments
            written_at INTEGER NOT NULL,
            PRIMARY KEY (chat_id, program)
        )
        """,
        "UPDATE drafts SET attachments = '[]' WHERE NOT json_valid(attachments)",
        """
        INSERT INTO draft_attachments
        SELECT drafts.chat_id || '/' || each.key, each.value FROM drafts, json_each(drafts.attachments) AS each
        """,
        """
        INSERT INTO drafts_of_programs
        SELECT chat_id, 0, text, (
            SELECT json_group_array(drafts.chat_id || '/' || each.key) FROM json_each(drafts.attachments) AS each
        ), written_at FROM drafts
        """,
        "DROP TABLE drafts",
        "ALTER TABLE drafts_of_programs RENAME TO drafts",
    ),
    (
        # Whether an answer has ended in the chat while another one was on the screen, and nobody has seen it yet.
        "ALTER TABLE chats ADD COLUMN is_unread INTEGER NOT NULL DEFAULT 0 CHECK (is_unread IN (0, 1))",
    ),
    (
        # What binds the answers to a message of the user: JSON of `chat.AnswerBounds`; null: what binds the chat.
        "ALTER TABLE messages ADD COLUMN bounds TEXT",
    ),
)


def require_ours(connection: sqlite3.Connection, path: Path) -> None:
    """Refuses other programs' databases before anything is written to them.

    Raises:
        StoreError: the database is another program's.
        sqlite3.Error: the database cannot be read.
    """
    if pragma(connection, "application_id") == APPLICATION_ID:
        return
    is_new = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0] == 0
    if not is_new or pragma(connection, "application_id") or pragma(connection, "user_version"):
        raise StoreError(
            f"{path} is a database of another program.", "Move it away, or set TUI_LLAMA_HOME to another folder."
        )


def migrate(connection: sqlite3.Connection, path: Path) -> None:
    """Brings the schema up to date in one transaction: a crash in the middle leaves the old one.

    One that is up to date needs no transaction, and so no other program to be done with its own.

    Raises:
        StoreError: a newer version wrote the database; nothing was written to it.
        sqlite3.Error: the database cannot be written.
    """
    if int(pragma(connection, "user_version")) == len(MIGRATIONS):
        return
    connection.execute("BEGIN IMMEDIATE")
    try:
        version = int(pragma(connection, "user_version"))
        if version > len(MIGRATIONS):
            raise StoreError(
                f"The chats in {path} were written by a newer version of tui_llama (schema {version}).",
                "Update tui_llama. The chats were not changed.",
            )
        for step in MIGRATIONS[version:]:
            for statement in step:
                connection.execute(statement)
        if version < len(MIGRATIONS):
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            connection.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def pragma(connection: sqlite3.Connection, name: str) -> Any:
    """Returns the value of one of SQLite's settings."""
    return connection.execute(f"PRAGMA {name}").fetchone()[0]
