"""The messages of a chat, which are a tree: each names its parent, and versions of one are siblings.

An answer grows in `answer_pieces` and is folded into its message when it ends; a reader sees both together.
"""

import sqlite3
from collections import defaultdict
from collections.abc import Sequence

from tui_llama.chat import AnswerBounds, Attachment, Role, StopReason
from tui_llama.chats.database.moments import new_moment
from tui_llama.chats.database.tables import places
from tui_llama.chats.database.tables.chats import move_tip, require_chat, touch
from tui_llama.chats.database.tables.rows import (
    BranchRow,
    MessageRow,
    PieceRow,
    TreeRow,
    bounds_text,
    branch_from_row,
    checked,
    full_ids,
    full_text,
    full_thought,
    insert,
    message_from_row,
    tree_message_from_row,
)
from tui_llama.chats.stored import MessageState, StoredBranch, StoredMessage, TreeMessage
from tui_llama.chats.stored_text import attachments_json, storable
from tui_llama.errors import CallerError, StoreConflictError

# A parent is always older than its child, so the order of the ids is the order of the path; UNION ends a
# cycle that a damaged file may contain.
PATH_QUERY = """
    WITH RECURSIVE path (message_id, parent_id) AS (
        SELECT message_id, parent_id FROM messages WHERE message_id = ?
        UNION
        SELECT messages.message_id, messages.parent_id
        FROM messages JOIN path ON messages.message_id = path.parent_id
    )
"""

_BRANCH_QUERY = """
    SELECT last.message_id, last.role, last.text, before.text AS text_before, ? AS message_count, last.created_at
    FROM messages AS last LEFT JOIN messages AS before ON before.message_id = ?
    WHERE last.message_id = ?
"""

_PIECES = "(SELECT group_concat({}, '') FROM (SELECT * FROM answer_pieces WHERE message_id = ? ORDER BY piece_id))"

BEGINNING = 200
"""So many characters of a message tell it from others in the tree."""

# --- one message --------------------------------------------------------------------------------------------


def message_row(database: sqlite3.Connection, message_id: int) -> MessageRow:
    """Returns the row of a message, without the pieces that were not folded into it yet.

    Raises:
        StoreConflictError: there is no such message.
    """
    row = database.execute("SELECT * FROM messages WHERE message_id = ?", (message_id,)).fetchone()
    if row is None:
        raise StoreConflictError("This message no longer exists.", "Another running program may have deleted it.")
    return checked(row, MessageRow)


def require_message(database: sqlite3.Connection, chat_id: str, message_id: int) -> None:
    """Raises as `message_row`, and CallerError where the message is of another chat."""
    if message_row(database, message_id).chat_id != chat_id:
        raise CallerError(f"Message {message_id} belongs to another chat.")


def insert_message(
    database: sqlite3.Connection,
    chat_id: str,
    parent_id: int | None,
    role: Role,
    text: str,
    made_at: int | None,
    attachments: Sequence[Attachment] = (),
    bounds: AnswerBounds | None = None,
) -> int:
    """Adds a message, unless one that was made at that moment is there already; moves the tip to it.

    Returns:
        The message's id.
    """
    if parent_id is not None:
        require_message(database, chat_id, parent_id)
    message_id = None if made_at is None else _made_already(database, chat_id, role, made_at)
    if message_id is None:
        columns: dict[str, object] = {
            "chat_id": chat_id,
            "parent_id": parent_id,
            "role": role,
            "state": MessageState.PARTIAL if role is Role.ASSISTANT else MessageState.COMPLETE,
            "text": storable(text),
            "attachments": attachments_json(attachments),
            "bounds": bounds_text(bounds),
            "prompt_ids": b"",
            "generated_ids": b"",
            "created_at": made_at or new_moment(),
        }
        message_id = insert(database, "messages", columns)
    move_tip(database, chat_id, message_id)
    touch(database, chat_id)
    return message_id


def insert_answer_version(database: sqlite3.Connection, message_id: int, text: str, made_at: int | None) -> int:
    """Adds another version of an answer; see `MessageTree.add_answer_version`."""
    old = message_row(database, message_id)
    if old.role is not Role.ASSISTANT:
        raise CallerError(f"Message {message_id} is not an answer.")
    pieces = pieces_of(database, message_id)
    new_id = insert_message(database, old.chat_id, old.parent_id, Role.ASSISTANT, text, made_at)
    is_same, generated = storable(text) == full_text(old, pieces), full_ids(old, pieces)
    columns: dict[str, object] = {
        "state": MessageState.COMPLETE,
        "stop_reason": (old.stop_reason or StopReason.STOPPED) if is_same else StopReason.EDITED,
        "usage": old.usage if is_same else None,
        "kept_tokens": old.kept_tokens,
        "prompt_ids": old.prompt_ids if is_same else old.prompt_ids + generated,
        "generated_ids": generated if is_same else b"",
        "vocabulary": old.vocabulary,
    }
    places = ", ".join(f"{name} = ?" for name in columns)
    thought = f"(SELECT thought FROM messages WHERE message_id = ?) || coalesce({_PIECES.format('thought')}, '')"
    database.execute(
        f"UPDATE messages SET {places}, thought = {thought} WHERE message_id = ?",
        (*columns.values(), message_id, message_id, new_id),
    )
    return new_id


def set_bounds(database: sqlite3.Connection, message_id: int, bounds: AnswerBounds | None) -> None:
    """Sets what binds the answers to a message of the user."""
    message_row(database, message_id)
    database.execute("UPDATE messages SET bounds = ? WHERE message_id = ?", (bounds_text(bounds), message_id))


def _made_already(database: sqlite3.Connection, chat_id: str, role: Role, made_at: int) -> int | None:
    row = database.execute(
        "SELECT message_id FROM messages WHERE chat_id = ? AND role = ? AND created_at = ?", (chat_id, role, made_at)
    ).fetchone()
    return None if row is None else int(row["message_id"])


# --- the pieces of an answer --------------------------------------------------------------------------------


def pieces_of(database: sqlite3.Connection, message_id: int) -> list[PieceRow]:
    """Returns the pieces of an answer that were not folded into its message yet, in order."""
    rows = database.execute(
        "SELECT message_id, text, token_ids, thought FROM answer_pieces WHERE message_id = ? ORDER BY piece_id",
        (message_id,),
    )
    return [checked(row, PieceRow) for row in rows.fetchall()]


def piece_count(database: sqlite3.Connection, message_id: int) -> int:
    """Returns how many pieces of an answer were not folded into its message yet."""
    row = database.execute("SELECT count(*) FROM answer_pieces WHERE message_id = ?", (message_id,)).fetchone()
    return int(row[0])


def fold_pieces(database: sqlite3.Connection, message_id: int) -> None:
    """Moves the pieces of an answer into its message."""
    message = message_row(database, message_id)
    pieces = pieces_of(database, message_id)
    database.execute(
        "UPDATE messages SET text = ?, thought = ?, generated_ids = ? WHERE message_id = ?",
        (full_text(message, pieces), full_thought(message, pieces), full_ids(message, pieces), message_id),
    )
    database.execute("DELETE FROM answer_pieces WHERE message_id = ?", (message_id,))


# --- the tree -----------------------------------------------------------------------------------------------


def path_to(database: sqlite3.Connection, tip: int | None) -> list[tuple[MessageRow, list[PieceRow]]]:
    """Returns the messages from the first to `tip`, deleted ones too, each with the pieces not folded into it yet."""
    messages = database.execute(
        f"{PATH_QUERY} SELECT messages.* FROM messages JOIN path USING (message_id) ORDER BY message_id", (tip,)
    ).fetchall()
    pieces: defaultdict[int, list[PieceRow]] = defaultdict(list)
    for row in database.execute(
        f"{PATH_QUERY} SELECT message_id, text, token_ids, thought FROM answer_pieces JOIN path USING (message_id)"
        " ORDER BY piece_id",
        (tip,),
    ):
        piece = checked(row, PieceRow)
        pieces[piece.message_id].append(piece)
    return [(message, pieces[message.message_id]) for message in (checked(row, MessageRow) for row in messages)]


def shown_path_to(database: sqlite3.Connection, tip: int | None) -> list[StoredMessage]:
    """Returns the messages from the first to `tip` that are not deleted."""
    shown: list[StoredMessage] = []
    for message, pieces in path_to(database, tip):
        if message.deleted_at is None:
            shown.append(message_from_row(message, pieces, shown[-1].message_id if shown else None))
    return shown


def all_messages(database: sqlite3.Connection, chat_id: str) -> list[StoredMessage]:
    """Returns every message of a chat, on all branches, oldest first."""
    require_chat(database, chat_id)
    rows = database.execute(
        "SELECT * FROM messages WHERE chat_id = ? AND deleted_at IS NULL ORDER BY message_id", (chat_id,)
    ).fetchall()
    parents = places.shown_parents(database, chat_id)
    messages = [checked(row, MessageRow) for row in rows]
    return [
        message_from_row(message, pieces_of(database, message.message_id), parents[message.message_id])
        for message in messages
    ]


def versions_of(database: sqlite3.Connection, message_id: int) -> list[int]:
    """Returns the messages in the same place as this one, itself included, oldest first; see `places.versions_of`."""
    message = message_row(database, message_id)
    return all_versions(database, message.chat_id).get(message_id, [])


def all_versions(database: sqlite3.Connection, chat_id: str) -> dict[int, list[int]]:
    """Returns the same for each message of a chat."""
    return places.versions_of(places.shown_parents(database, chat_id))


def is_replied_to(database: sqlite3.Connection, message_id: int) -> bool:
    """Tells whether anything was said below this message, on whatever branch, deleted or not."""
    message_row(database, message_id)
    reply = database.execute("SELECT 1 FROM messages WHERE parent_id = ? LIMIT 1", (message_id,)).fetchone()
    return reply is not None


def tree_of(database: sqlite3.Connection, chat_id: str) -> list[TreeMessage]:
    """Returns every message of a chat with the beginning of its text, oldest first."""
    require_chat(database, chat_id)
    rows = database.execute(
        f"""
        SELECT message_id, role, created_at, substr(text, 1, {BEGINNING}) AS beginning
        FROM messages WHERE chat_id = ? AND deleted_at IS NULL ORDER BY message_id
        """,
        (chat_id,),
    ).fetchall()
    parents = places.shown_parents(database, chat_id)
    versions = places.versions_of(parents)
    messages = [checked(row, TreeRow) for row in rows]
    return [tree_message_from_row(row, parents[row.message_id], versions[row.message_id]) for row in messages]


def newest_tip_below(database: sqlite3.Connection, message_id: int) -> int:
    """Returns the newest message below this one: ids grow along every path, so nothing is below it."""
    message_row(database, message_id)
    row = database.execute(
        """
        WITH RECURSIVE below (message_id) AS (
            SELECT ?
            UNION
            SELECT messages.message_id FROM messages JOIN below ON messages.parent_id = below.message_id
        )
        SELECT max(message_id) FROM messages JOIN below USING (message_id) WHERE deleted_at IS NULL
        """,
        (message_id,),
    ).fetchone()
    return message_id if row[0] is None else int(row[0])


def branches_of(database: sqlite3.Connection, chat_id: str, limit: int) -> list[StoredBranch]:
    """Returns the branches of a chat: the `limit` newest, newest first."""
    require_chat(database, chat_id)
    parents = places.shown_parents(database, chat_id)
    depths: dict[int | None, int] = {None: 0}
    for message_id, parent_id in parents.items():  # parents come first
        depths[message_id] = depths[parent_id] + 1
    followed = set(parents.values())
    tips = [message_id for message_id in parents if message_id not in followed]
    rows = (
        database.execute(_BRANCH_QUERY, (depths[tip], parents[tip], tip)).fetchone() for tip in tips[: -limit - 1 : -1]
    )
    return [branch_from_row(checked(row, BranchRow)) for row in rows]
