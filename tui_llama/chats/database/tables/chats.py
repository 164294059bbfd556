"""The table of chats."""

import sqlite3

from tui_llama.chat import ChatChoices
from tui_llama.chats.database.moments import present
from tui_llama.chats.database.tables.drafts import delete_drafts
from tui_llama.chats.database.tables.rows import ChatRow, chat_from_row, checked, choices_text, summary_from_row
from tui_llama.chats.stored import Chat, ChatSummary
from tui_llama.chats.stored_text import storable
from tui_llama.errors import StoreConflictError


def newest_chats(database: sqlite3.Connection, limit: int) -> list[ChatSummary]:
    """Returns the `limit` chats that were last spoken in, newest first. All branches count as messages."""
    rows = database.execute(
        """
        SELECT *, (
            SELECT count(*) FROM messages WHERE messages.chat_id = chats.chat_id AND deleted_at IS NULL
        ) AS count
        FROM chats ORDER BY updated_at DESC, rowid DESC LIMIT ?
        """,
        (limit,),
    ).fetchall()
    return [summary_from_row(checked(row, ChatRow), row["count"]) for row in rows]


def chat_row(database: sqlite3.Connection, chat_id: str) -> sqlite3.Row:
    """Returns the row of a chat, unchecked.

    Raises:
        StoreConflictError: there is no such chat.
    """
    row: sqlite3.Row | None = database.execute("SELECT * FROM chats WHERE chat_id = ?", (chat_id,)).fetchone()
    if row is None:
        raise StoreConflictError("This chat no longer exists.", "Another running program may have deleted it.")
    return row


def read_chat(database: sqlite3.Connection, chat_id: str) -> Chat:
    """Returns a chat; raises as `chat_row`."""
    return chat_from_row(checked(chat_row(database, chat_id), ChatRow))


def require_chat(database: sqlite3.Connection, chat_id: str) -> None:
    """Raises as `chat_row` where there is no such chat, or its row cannot be read."""
    read_chat(database, chat_id)


def has_chat(database: sqlite3.Connection, chat_id: str) -> bool:
    """Tells whether there is a chat of that id."""
    return database.execute("SELECT 1 FROM chats WHERE chat_id = ?", (chat_id,)).fetchone() is not None


def is_made_already(database: sqlite3.Connection, chat_id: str, made_at: int) -> bool:
    """Tells whether there is a chat of that id which was made at that moment."""
    query = "SELECT 1 FROM chats WHERE chat_id = ? AND created_at = ?"
    return database.execute(query, (chat_id, made_at)).fetchone() is not None


def insert_chat(
    database: sqlite3.Connection,
    chat_id: str,
    title: str,
    model_path: str,
    system_prompt: str,
    choices: ChatChoices,
    made_at: int,
    begun: str,
) -> None:
    """Adds a chat without messages; `made_at` is in microseconds since 1970, `begun` is of `chat_date.date_text`."""
    database.execute(
        "INSERT INTO chats (chat_id, title, model_path, system_prompt, choices, created_at, updated_at, begun_at)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (
            chat_id,
            storable(title),
            storable(model_path),
            storable(system_prompt),
            choices_text(choices),
            made_at,
            made_at,
            begun,
        ),
    )


def unread_chats(database: sqlite3.Connection) -> list[str]:
    """Returns the ids of the chats in which an answer has ended that nobody has seen."""
    return [row["chat_id"] for row in database.execute("SELECT chat_id FROM chats WHERE is_unread").fetchall()]


def set_column(database: sqlite3.Connection, chat_id: str, column: str, value: str | int) -> None:
    """Changes one column of a chat; raises as `chat_row`."""
    require_chat(database, chat_id)
    database.execute(f"UPDATE chats SET {column} = ? WHERE chat_id = ?", (value, chat_id))


def move_tip(database: sqlite3.Connection, chat_id: str, message_id: int | None) -> None:
    """Lets the path that is shown end in this message; None: before any first message."""
    database.execute("UPDATE chats SET tip_message_id = ? WHERE chat_id = ?", (message_id, chat_id))


def touch(database: sqlite3.Connection, chat_id: str) -> None:
    """Notes that the chat was spoken in now."""
    database.execute("UPDATE chats SET updated_at = ? WHERE chat_id = ?", (present(), chat_id))


def delete_chat(database: sqlite3.Connection, chat_id: str) -> None:
    """Removes a chat with its messages and its draft; raises as `chat_row`."""
    require_chat(database, chat_id)
    delete_drafts(database, chat_id)
    database.execute("DELETE FROM messages WHERE chat_id = ?", (chat_id,))
    database.execute("DELETE FROM chats WHERE chat_id = ?", (chat_id,))
