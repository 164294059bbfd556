"""The table of drafts, and the texts that were sent."""

import hashlib
import sqlite3
from collections.abc import Sequence
from contextlib import suppress
from functools import lru_cache

import msgspec

from tui_llama.chat import Attachment
from tui_llama.chats.database.moments import time_from
from tui_llama.chats.stored import StoredDraft, StoredText
from tui_llama.chats.stored_text import attachments_json, storable, storable_attachments

_LOOKED_AT = 4
"""So many messages are looked at for each text that is wanted: the same text may have been sent often."""


def read_drafts(database: sqlite3.Connection, chat_id: str) -> dict[int, StoredDraft]:
    """Returns the drafts of a chat by the numbers of their programs, the oldest first.

    An attachment that cannot be read is left out.
    """
    rows = database.execute(
        "SELECT program, text, attachments FROM drafts WHERE chat_id = ? ORDER BY written_at, rowid", (chat_id,)
    ).fetchall()
    return {
        row["program"]: StoredDraft(str(row["text"]), _attachments(database, _ids(row["attachments"]))) for row in rows
    }


def _ids(column: str) -> list[str]:
    try:
        return msgspec.json.decode(column, type=list[str])
    except (msgspec.DecodeError, TypeError):
        return []


def _attachments(database: sqlite3.Connection, ids: Sequence[str]) -> tuple[Attachment, ...]:
    found = []
    for each in ids:
        row = database.execute("SELECT content FROM draft_attachments WHERE attachment_id = ?", (each,)).fetchone()
        with suppress(msgspec.DecodeError, TypeError):
            found.append(msgspec.json.decode(row["content"], type=Attachment))
    return tuple(found)


def write_draft(database: sqlite3.Connection, chat_id: str, program: int, draft: StoredDraft, written_at: int) -> None:
    """Writes the draft of a program in place of the one before; `written_at` is in microseconds since 1970.

    An empty draft leaves nothing behind. What is attached is written only if it is not there already.
    """
    row = database.execute(
        "SELECT attachments FROM drafts WHERE chat_id = ? AND program = ?", (chat_id, program)
    ).fetchone()
    before, ids = _ids(row["attachments"]) if row is not None else [], [_id_of(each) for each in draft.attachments]
    if not draft.text and not ids:
        database.execute("DELETE FROM drafts WHERE chat_id = ? AND program = ?", (chat_id, program))
    else:
        database.execute(
            "INSERT OR REPLACE INTO drafts (chat_id, program, text, attachments, written_at) VALUES (?, ?, ?, ?, ?)",
            (chat_id, program, storable(draft.text), msgspec.json.encode(ids).decode(), written_at),
        )
    for attachment_id, attachment in zip(ids, draft.attachments, strict=True):
        if not _has(database, attachment_id):
            content = msgspec.json.encode(storable_attachments([attachment])[0]).decode()
            database.execute("INSERT INTO draft_attachments VALUES (?, ?)", (attachment_id, content))
    if not set(before) <= set(ids):
        remove_unused(database)


def _has(database: sqlite3.Connection, attachment_id: str) -> bool:
    found = database.execute("SELECT 1 FROM draft_attachments WHERE attachment_id = ?", (attachment_id,))
    return found.fetchone() is not None


def delete_drafts(database: sqlite3.Connection, chat_id: str) -> None:
    """Removes the drafts of a chat, of all programs, with what is attached to them."""
    database.execute("DELETE FROM drafts WHERE chat_id = ?", (chat_id,))
    remove_unused(database)


def remove_unused(database: sqlite3.Connection) -> None:
    """Removes what is attached to no draft any more."""
    database.execute(
        """
        DELETE FROM draft_attachments WHERE attachment_id NOT IN
        (SELECT each.value FROM drafts, json_each(drafts.attachments) AS each)
        """
    )


@lru_cache(maxsize=16)
def _id_of(attachment: Attachment) -> str:
    """Returns what names an attachment: a digest of all of it, which may be long, and is asked for at every write."""
    return hashlib.sha256(attachments_json([attachment]).encode()).hexdigest()


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
