"""The table of drafts, and the texts that were sent."""

import sqlite3
from collections.abc import Sequence

import msgspec

from tui_llama.chat import Attachment
from tui_llama.chats.database.moments import time_from
from tui_llama.chats.stored import StoredDraft, StoredText
from tui_llama.chats.stored_text import attachments_json, storable

_LOOKED_AT = 4
"""So many messages are looked at for each text that is wanted: the same text may have been sent often."""


def read_draft(database: sqlite3.Connection, chat_id: str) -> StoredDraft:
    """Returns the draft of a chat; an empty one if it has none, or one that cannot be read."""
    row = database.execute("SELECT text, attachments FROM drafts WHERE chat_id = ?", (chat_id,)).fetchone()
    if row is None:
        return StoredDraft()
    try:
        attachments = msgspec.json.decode(row["attachments"], type=tuple[Attachment, ...])
    except (msgspec.DecodeError, TypeError):
        attachments = ()
    return StoredDraft(str(row["text"]), attachments)


def write_draft(
    database: sqlite3.Connection, chat_id: str, text: str, attachments: Sequence[Attachment], written_at: int
) -> None:
    """Writes the draft of a chat in place of the one before; `written_at` is in microseconds since 1970.

    An empty draft leaves nothing behind.
    """
    if not text and not attachments:
        database.execute("DELETE FROM drafts WHERE chat_id = ?", (chat_id,))
        return
    database.execute(
        "INSERT OR REPLACE INTO drafts (chat_id, text, attachments, written_at) VALUES (?, ?, ?, ?)",
        (chat_id, storable(text), attachments_json(attachments), written_at),
    )


def sent_texts(database: sqlite3.Connection, limit: int) -> list[StoredText]:
    """Returns the `limit` texts that the user sent last, newest first, each once and with its newest moment."""
    rows = database.execute(
        """
        SELECT messages.text AS text, messages.created_at AS created_at, chats.chat_id AS chat_id, chats.title AS title
        FROM messages JOIN chats USING (chat_id)
        WHERE messages.role = 'user' AND messages.deleted_at IS NULL
        ORDER BY messages.message_id DESC LIMIT ?
        """,
        (_LOOKED_AT * limit,),
    ).fetchall()
    texts: dict[str, StoredText] = {}
    for row in rows:
        text = str(row["text"])
        if text.strip() and text not in texts:
            texts[text] = StoredText(text, str(row["chat_id"]), str(row["title"]), time_from(row["created_at"]))
    return list(texts.values())[:limit]
