"""The tokens that were fed to models: each answer says how many it kept of those before, then which it added."""

import sqlite3
from collections import defaultdict
from collections.abc import Sequence

from tui_llama.chat import Role
from tui_llama.chats.database.file import DAMAGED_HINT
from tui_llama.chats.database.tables.messages import PATH_QUERY, path_to, pieces_of
from tui_llama.chats.database.tables.rows import (
    ID_BYTES,
    MessageRow,
    blob_from_ids,
    checked,
    full_ids,
    full_text,
    full_thought,
    ids_from_blob,
)
from tui_llama.chats.ledger import UNKNOWN_VOCABULARY, FedTokens, Ledger
from tui_llama.engine.prompt_cache.stored_tree import FedNode
from tui_llama.errors import CallerError, StoreError


def read_ledger(database: sqlite3.Connection, tip: int | None) -> Ledger:
    """Returns every token that was fed to a model on the path to `tip`, as fed and as generated.

    Messages that were deleted since then are among them.
    """
    fed: defaultdict[str, list[int]] = defaultdict(list)
    newest, lacks_end, last_deletion = UNKNOWN_VOCABULARY, False, 0
    for message, pieces in path_to(database, tip):
        last_deletion = max(last_deletion, message.deleted_at or 0)
        says_something = bool(full_text(message, pieces) or full_thought(message, pieces))
        has_own_ids = bool(full_ids(message, pieces)) and message.created_at > last_deletion
        lacks_end = message.role is Role.ASSISTANT and says_something and not has_own_ids
        if message.kept_tokens is None:
            continue
        newest = message.vocabulary or UNKNOWN_VOCABULARY
        ids = fed[newest]
        if message.kept_tokens > len(ids):
            raise StoreError("The chats on disk are damaged: tokens of an answer are missing.", DAMAGED_HINT)
        del ids[message.kept_tokens :]
        ids += ids_from_blob(message.prompt_ids + full_ids(message, pieces))
    return Ledger({vocabulary: tuple(ids) for vocabulary, ids in fed.items()}, newest, lacks_end)


def fed_tree(database: sqlite3.Connection, chat_id: str, vocabulary: str) -> tuple[list[FedNode], set[int]]:
    """Returns the tokens of one vocabulary that were fed for each message of a chat, parents first; see `read_ledger`.

    Deleted messages are among them.

    Returns:
        The messages, and the ids of those whose tokens follow a message that was deleted since then.
    """
    rows = database.execute("SELECT * FROM messages WHERE chat_id = ? ORDER BY message_id", (chat_id,)).fetchall()
    messages = [checked(row, MessageRow) for row in rows]
    known = {message.vocabulary or UNKNOWN_VOCABULARY for message in messages if message.kept_tokens is not None}
    wanted = vocabulary if vocabulary in known else UNKNOWN_VOCABULARY
    last_deletions: dict[int | None, int] = {}
    outdated: set[int] = set()
    for message in messages:
        last = last_deletions.get(message.parent_id, 0)
        last_deletions[message.message_id] = max(last, message.deleted_at or 0)
        if message.created_at <= last:
            outdated.add(message.message_id)
    return [_fed_node(database, message, wanted) for message in messages], outdated


def _fed_node(database: sqlite3.Connection, message: MessageRow, vocabulary: str) -> FedNode:
    if message.kept_tokens is None or (message.vocabulary or UNKNOWN_VOCABULARY) != vocabulary:
        return FedNode(message.message_id, message.parent_id)
    generated = full_ids(message, pieces_of(database, message.message_id))
    return FedNode(message.message_id, message.parent_id, message.kept_tokens, message.prompt_ids, generated)


def fed_count(database: sqlite3.Connection, tip: int | None, vocabulary: str) -> int | None:
    """Returns how many tokens of a vocabulary the ledger has; None where no answer has any.

    The ledger is not read: the last answer of that vocabulary says how many it kept of those before.
    """
    row = database.execute(
        f"{PATH_QUERY} SELECT messages.* FROM messages JOIN path USING (message_id)"
        " WHERE kept_tokens IS NOT NULL AND coalesce(vocabulary, ?) = ? ORDER BY message_id DESC LIMIT 1",
        (tip, UNKNOWN_VOCABULARY, vocabulary),
    ).fetchone()
    if row is None:
        return None
    last = checked(row, MessageRow)
    ids = last.prompt_ids + full_ids(last, pieces_of(database, last.message_id))
    return (last.kept_tokens or 0) + len(ids) // ID_BYTES


def kept_ids(before: FedTokens, kept_tokens: int) -> tuple[int, ...]:
    """Returns the first `kept_tokens` of what was fed before.

    Raises:
        CallerError: there are fewer.
    """
    if not 0 <= kept_tokens <= len(before.token_ids):
        raise CallerError(f"Cannot keep {kept_tokens} tokens of a ledger of {len(before.token_ids)}.")
    return before.token_ids[:kept_tokens]


def write_tokens(
    database: sqlite3.Connection,
    message_id: int,
    vocabulary: str,
    kept_tokens: int,
    prompt_ids: Sequence[int],
    generated_ids: Sequence[int],
) -> None:
    """Replaces the tokens of an answer: those of its prompt after the kept ones, and those that were generated."""
    database.execute(
        "UPDATE messages SET kept_tokens = ?, prompt_ids = ?, generated_ids = ?, vocabulary = ? WHERE message_id = ?",
        (kept_tokens, blob_from_ids(prompt_ids), blob_from_ids(generated_ids), vocabulary or None, message_id),
    )
