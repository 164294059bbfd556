"""Rows of the tables, checked, and the values that a store makes of them."""

import sqlite3
import struct
from collections.abc import Iterable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Final, TypeVar

import msgspec

from tui_llama.chat import AnswerBounds, Attachment, ChatChoices, Role, StopReason, Usage
from tui_llama.chats.chat_date import date_from
from tui_llama.chats.database.moments import time_from
from tui_llama.chats.stored import Chat, ChatSummary, MessageState, StoredBranch, StoredMessage, TreeMessage
from tui_llama.chats.stored_text import storable
from tui_llama.errors import CallerError

Row = TypeVar("Row")

ID_BYTES = 4
_USAGE: Final = msgspec.json.Decoder(Usage)
_BOUNDS: Final = msgspec.json.Decoder(AnswerBounds)
_ATTACHMENTS: Final = msgspec.json.Decoder(tuple[Attachment, ...])


class ChatRow(msgspec.Struct, frozen=True):
    """A row of `chats`."""

    chat_id: str
    title: str
    model_path: str
    system_prompt: str
    choices: str
    tip_message_id: int | None
    created_at: int
    updated_at: int
    begun_at: str
    is_unread: int


class MessageRow(msgspec.Struct, frozen=True):
    """A row of `messages`."""

    message_id: int
    chat_id: str
    parent_id: int | None
    role: Role
    state: MessageState
    text: str
    kept_tokens: int | None
    prompt_ids: bytes
    generated_ids: bytes
    stop_reason: StopReason | None
    usage: str | None
    created_at: int
    vocabulary: str | None
    attachments: str
    thought: str
    deleted_at: int | None
    bounds: str | None


class BranchRow(msgspec.Struct, frozen=True):
    """The last message of a branch, the text of the one before it, and how many messages the branch has."""

    message_id: int
    role: Role
    text: str
    text_before: str | None
    message_count: int
    created_at: int


class TreeRow(msgspec.Struct, frozen=True):
    """A message of the tree, with the beginning of its text."""

    message_id: int
    role: Role
    beginning: str
    created_at: int


class PieceRow(msgspec.Struct, frozen=True):
    """A row of `answer_pieces`, without the piece's own id."""

    message_id: int
    text: str
    token_ids: bytes
    thought: str


def checked(row: sqlite3.Row, kind: type[Row]) -> Row:
    """Returns the row with every column of the type that it must have, which SQLite does not insist on.

    Raises:
        msgspec.ValidationError: a column is of another type.
    """
    return msgspec.convert(dict(row), kind)


def insert(database: sqlite3.Connection, table: str, columns: dict[str, object]) -> int:
    """Adds a row and returns its id."""
    names, places = ", ".join(columns), ", ".join("?" * len(columns))
    row_id = database.execute(f"INSERT INTO {table} ({names}) VALUES ({places})", tuple(columns.values())).lastrowid
    assert row_id is not None  # an INSERT into a table with a rowid always has one
    return row_id


def insert_all(
    database: sqlite3.Connection, table: str, names: Sequence[str], rows: Iterable[tuple[object, ...]]
) -> None:
    """Adds many rows, of which each has a value for every name; much faster than one after the other."""
    columns, places = ", ".join(names), ", ".join("?" * len(names))
    database.executemany(f"INSERT INTO {table} ({columns}) VALUES ({places})", rows)


def last_id(database: sqlite3.Connection, table: str) -> int:
    """Returns the highest id that a row of a table has, or had; such ids are never given again."""
    row = database.execute("SELECT seq FROM sqlite_sequence WHERE name = ?", (table,)).fetchone()
    return 0 if row is None else int(row[0])


# --- rows as values -----------------------------------------------------------------------------------------


def chat_from_row(row: ChatRow) -> Chat:
    """Returns the chat of a row."""
    return Chat(
        chat_id=row.chat_id,
        title=row.title,
        model_path=row.model_path,
        system_prompt=row.system_prompt,
        choices=msgspec.json.decode(row.choices, type=ChatChoices),
        tip_message_id=row.tip_message_id,
        created_at=time_from(row.created_at),
        updated_at=time_from(row.updated_at),
        begun_at=_begun_at(row),
        is_unread=bool(row.is_unread),
    )


def choices_text(choices: ChatChoices) -> str:
    """Returns the choices of a chat as its column holds them."""
    kept = msgspec.structs.replace(
        choices,
        reply_start=storable(choices.reply_start),
        persona=storable(choices.persona),
        bounds=choices.bounds and _storable_bounds(choices.bounds),
    )
    return msgspec.json.encode(kept).decode()


def bounds_text(bounds: AnswerBounds | None) -> str | None:
    """Returns what binds the answers to a message as its column holds it; None for nothing."""
    return msgspec.json.encode(_storable_bounds(bounds)).decode() if bounds else None


def _storable_bounds(bounds: AnswerBounds) -> AnswerBounds:
    return AnswerBounds(storable(bounds.json_schema), storable(bounds.grammar))


def summary_from_row(row: ChatRow, message_count: int) -> ChatSummary:
    """Returns the line of the list for a row."""
    return ChatSummary(
        chat_id=row.chat_id,
        title=row.title,
        model_name=Path(row.model_path).name,
        message_count=message_count,
        updated_at=time_from(row.updated_at),
    )


def message_from_row(row: MessageRow, pieces: list[PieceRow], parent_id: int | None) -> StoredMessage:
    """Returns the message of a row and of the pieces that were not folded into it yet, below the message of that id."""
    return StoredMessage(
        message_id=row.message_id,
        parent_id=parent_id,
        role=row.role,
        text=full_text(row, pieces),
        thought=full_thought(row, pieces),
        state=row.state,
        stop_reason=row.stop_reason,
        usage=None if row.usage is None else _USAGE.decode(row.usage),
        created_at=time_from(row.created_at),
        attachments=_ATTACHMENTS.decode(row.attachments),
        bounds=None if row.bounds is None else _BOUNDS.decode(row.bounds),
        prompt_is_known=row.kept_tokens is not None
        and (not (full_text(row, pieces) or full_thought(row, pieces)) or bool(full_ids(row, pieces))),
    )


def branch_from_row(row: BranchRow) -> StoredBranch:
    """Returns the branch of a row."""
    is_answer = row.role is Role.ASSISTANT
    return StoredBranch(
        tip_message_id=row.message_id,
        question=(row.text_before or "") if is_answer else row.text,
        answer=row.text if is_answer else "",
        message_count=row.message_count,
        created_at=time_from(row.created_at),
    )


def tree_message_from_row(row: TreeRow, parent_id: int | None, versions: Sequence[int]) -> TreeMessage:
    """Returns the message of the tree that a row stands for, in its place."""
    version = versions.index(row.message_id) + 1
    return TreeMessage(
        row.message_id, parent_id, row.role, row.beginning, time_from(row.created_at), version, len(versions)
    )


def _begun_at(row: ChatRow) -> datetime:
    """Returns when the chat began; where that cannot be read, when it was made."""
    return date_from(row.begun_at) or time_from(row.created_at).astimezone()


# --- parts of an answer -------------------------------------------------------------------------------------


def full_text(message: MessageRow, pieces: list[PieceRow]) -> str:
    """Returns the text of a message and of the pieces after it."""
    return message.text + "".join(piece.text for piece in pieces)


def full_thought(message: MessageRow, pieces: list[PieceRow]) -> str:
    """Returns the thought of a message and of the pieces after it."""
    return message.thought + "".join(piece.thought for piece in pieces)


def full_ids(message: MessageRow, pieces: list[PieceRow]) -> bytes:
    """Returns the generated ids of a message and of the pieces after it, little-endian uint32."""
    return message.generated_ids + b"".join(piece.token_ids for piece in pieces)


def blob_from_ids(token_ids: Sequence[int]) -> bytes:
    """Returns token ids as little-endian uint32.

    Raises:
        CallerError: one does not fit.
    """
    try:
        return struct.pack(f"<{len(token_ids)}I", *token_ids)
    except struct.error as error:
        raise CallerError(f"A token id does not fit 32 bits: {error}") from error


def ids_from_blob(blob: bytes) -> list[int]:
    """Returns the token ids of little-endian uint32."""
    return list(struct.unpack(f"<{len(blob) // ID_BYTES}I", blob))
