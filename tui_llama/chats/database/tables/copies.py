"""Copies of whole chats, from one database into another, where messages have other ids."""

import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tui_llama.chats.database.file import DAMAGED_HINT
from tui_llama.chats.database.tables.chats import chat_row, move_tip
from tui_llama.chats.database.tables.rows import MessageRow, PieceRow, checked, insert, insert_all, last_id
from tui_llama.errors import StoreError


@dataclass(frozen=True, slots=True)
class ChatRows:
    """All rows of a chat, unchecked and in order: messages on all its branches, and pieces not folded into them yet."""

    chat: sqlite3.Row
    messages: list[sqlite3.Row]
    pieces: list[sqlite3.Row]


def read_rows(database: sqlite3.Connection, chat_id: str) -> ChatRows:
    """Returns all rows of a chat.

    Raises:
        StoreConflictError: there is no such chat.
    """
    chat = chat_row(database, chat_id)
    messages = database.execute("SELECT * FROM messages WHERE chat_id = ? ORDER BY message_id", (chat_id,)).fetchall()
    pieces = database.execute(
        "SELECT answer_pieces.* FROM answer_pieces JOIN messages USING (message_id) WHERE chat_id = ?"
        " ORDER BY piece_id",
        (chat_id,),
    ).fetchall()
    return ChatRows(chat, messages, pieces)


def write_rows(database: sqlite3.Connection, rows: ChatRows) -> dict[int, int]:
    """Adds a chat of another database to one that does not have it.

    Returns:
        The id here of each message there.

    Raises:
        StoreError: a message names one that the chat does not have.
    """
    copies: dict[int | None, int | None] = {None: None}
    insert(database, "chats", {**dict(rows.chat), "tip_message_id": None})
    if rows.messages:
        names = [*rows.messages[0].keys()]
        insert_all(database, "messages", names, _copied_messages(rows.messages, last_id(database, "messages"), copies))
    for piece in rows.pieces:
        checked(piece, PieceRow)
        columns = {**dict(piece), "message_id": copies[piece["message_id"]]}
        del columns["piece_id"]
        insert(database, "answer_pieces", columns)
    move_tip(database, rows.chat["chat_id"], _copied(copies, rows.chat["tip_message_id"]))
    return {before: after for before, after in copies.items() if before is not None and after is not None}


def _copied_messages(
    messages: Sequence[sqlite3.Row], last: int, copies: dict[int | None, int | None]
) -> Iterator[tuple[object, ...]]:
    """Yields the values of each row, with ids that follow on `last`, and enters them into `copies`."""
    names = [*messages[0].keys()]
    own, parent = names.index("message_id"), names.index("parent_id")
    for message_id, message in enumerate(messages, last + 1):
        checked(message, MessageRow)
        values = [*message]
        values[own], values[parent] = message_id, _copied(copies, message[parent])
        copies[message[own]] = message_id
        yield tuple(values)


def _copied(copies: dict[int | None, int | None], message_id: int | None) -> int | None:
    """Returns the copy of a message, which a damaged chat may name without having it."""
    if message_id not in copies:
        raise StoreError("The chats on disk are damaged: a message is missing.", DAMAGED_HINT)
    return copies[message_id]
