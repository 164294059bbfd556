"""Messages that the user has deleted: they keep the moment of it, and with it they can be brought back."""

import sqlite3

from tui_llama.chats.stored import Deletion

_BELOW_QUERY = """
    WITH RECURSIVE below (message_id) AS (
        SELECT message_id FROM messages WHERE message_id = ?
        UNION
        SELECT messages.message_id FROM messages JOIN below ON messages.parent_id = below.message_id
    )
"""


def delete_below(database: sqlite3.Connection, message_id: int, deleted_at: int) -> int:
    """Deletes a message and all below it; what was deleted before keeps its moment.

    Returns:
        How many messages were deleted at that moment.
    """
    database.execute(
        f"{_BELOW_QUERY} UPDATE messages SET deleted_at = ?"
        " WHERE deleted_at IS NULL AND message_id IN (SELECT message_id FROM below)",
        (message_id, deleted_at),
    )
    row = database.execute(
        f"{_BELOW_QUERY} SELECT count(*) FROM messages JOIN below USING (message_id) WHERE deleted_at = ?",
        (message_id, deleted_at),
    ).fetchone()
    return int(row[0])


def delete_alone(database: sqlite3.Connection, message_id: int, deleted_at: int) -> None:
    """Deletes a message and nothing that follows it, unless it is deleted already."""
    database.execute(
        "UPDATE messages SET deleted_at = ? WHERE message_id = ? AND deleted_at IS NULL", (deleted_at, message_id)
    )


def bring_back(database: sqlite3.Connection, chat_id: str, deleted_at: int) -> None:
    """Takes back the deletion of that moment."""
    database.execute(
        "UPDATE messages SET deleted_at = NULL WHERE chat_id = ? AND deleted_at = ?", (chat_id, deleted_at)
    )


def last_deletion(database: sqlite3.Connection, chat_id: str) -> Deletion | None:
    """Returns the last deletion that was not taken back: the oldest of its messages is the one that was deleted."""
    row = database.execute(
        """
        SELECT min(message_id) AS message_id, count(*) AS message_count, deleted_at FROM messages
        WHERE chat_id = ? AND deleted_at IS NOT NULL GROUP BY deleted_at ORDER BY deleted_at DESC LIMIT 1
        """,
        (chat_id,),
    ).fetchone()
    return None if row is None else Deletion(row["message_id"], row["deleted_at"], row["message_count"])


def remove_childless(database: sqlite3.Connection, message_id: int) -> None:
    """Removes a message from the table, unless something hangs below it."""
    database.execute(
        "DELETE FROM messages WHERE message_id = ? AND NOT EXISTS (SELECT 1 FROM messages WHERE parent_id = ?)",
        (message_id, message_id),
    )
