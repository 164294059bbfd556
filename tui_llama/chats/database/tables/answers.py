"""Answers while they are written: begun, fed, grown piece by piece, finished, opened again, found abandoned."""

import sqlite3
from collections.abc import Callable, Sequence

import msgspec

from tui_llama.chat import Role, StopReason, Usage
from tui_llama.chats.database.tables.chats import require_chat, touch
from tui_llama.chats.database.tables.fed_tokens import fed_count, kept_ids, read_ledger, write_tokens
from tui_llama.chats.database.tables.messages import fold_pieces, insert_message, message_row, piece_count, pieces_of
from tui_llama.chats.database.tables.rows import MessageRow, full_ids
from tui_llama.chats.stored import MessageState
from tui_llama.chats.stored_text import DAMAGED_CHARACTER, storable
from tui_llama.errors import CallerError, StoreConflictError


def begin_answer(database: sqlite3.Connection, chat_id: str, parent_id: int, text: str, made_at: int | None) -> int:
    """Makes a partial answer of this text below `parent_id`, moves the tip to it and returns its id."""
    require_chat(database, chat_id)
    message_id = insert_message(database, chat_id, parent_id, Role.ASSISTANT, text, made_at)
    # An answer that was made already may have been taken for abandoned.
    database.execute(
        "UPDATE messages SET state = ? WHERE message_id = ? AND state = ?",
        (MessageState.PARTIAL, message_id, MessageState.INTERRUPTED),
    )
    return message_id


def set_prompt(
    database: sqlite3.Connection, message_id: int, kept_tokens: int, token_ids: Sequence[int], vocabulary: str
) -> None:
    """Records what is fed to the model for an answer; see `Store.set_answer_prompt`."""
    message = _open_answer(database, message_id)
    if full_ids(message, pieces_of(database, message_id)):
        raise CallerError(f"The prompt of answer {message_id} was set after it had generated tokens.")
    length = fed_count(database, message.parent_id, vocabulary)
    if length is None:  # what can be kept then are tokens of a vocabulary that nobody wrote down
        before = read_ledger(database, message.parent_id).fed_in(vocabulary)
        kept_tokens, token_ids = 0, (*kept_ids(before, kept_tokens), *token_ids)
    elif not 0 <= kept_tokens <= length:
        raise CallerError(f"Cannot keep {kept_tokens} tokens of a ledger of {length}.")
    write_tokens(database, message_id, vocabulary, kept_tokens, token_ids, ())


def set_tokens(
    database: sqlite3.Connection,
    message_id: int,
    kept_tokens: int,
    token_ids: Sequence[int],
    vocabulary: str,
    answer_tokens: int,
) -> None:
    """Gives an answer tokens of another vocabulary; see `Store.set_answer_tokens`."""
    _open_answer(database, message_id)
    fold_pieces(database, message_id)
    all_ids = (*kept_ids(read_ledger(database, message_id).fed_in(vocabulary), kept_tokens), *token_ids)
    prompt_tokens = len(all_ids) - answer_tokens
    if not 0 <= prompt_tokens <= len(all_ids):
        raise CallerError(f"Of {len(all_ids)} tokens, {answer_tokens} cannot be the answer's.")
    write_tokens(database, message_id, vocabulary, 0, all_ids[:prompt_tokens], all_ids[prompt_tokens:])


def end_tokens(database: sqlite3.Connection, message_id: int) -> None:
    """Counts an answer's tokens to its prompt; see `Store.end_answer_tokens`."""
    _open_answer(database, message_id)
    fold_pieces(database, message_id)
    database.execute(
        "UPDATE messages SET prompt_ids = CAST(prompt_ids || generated_ids AS BLOB), generated_ids = x''"
        " WHERE message_id = ? AND kept_tokens IS NOT NULL",
        (message_id,),
    )


def append_piece(
    database: sqlite3.Connection,
    message_id: int,
    text: str,
    piece_ids: bytes,
    piece_number: int | None,
    thought: str,
) -> None:
    """Adds a piece to an answer; see `Store.append_to_answer`.

    Args:
        database: Within a transaction.
        message_id: The answer.
        text: More of its text.
        piece_ids: More of its tokens, little-endian uint32.
        piece_number: Which piece it is; None for the next.
        thought: More of the thought before its text.
    """
    message = _open_answer(database, message_id)
    if piece_number is not None:
        count = piece_count(database, message_id)
        if count > piece_number:
            return
        if count < piece_number:
            raise StoreConflictError(
                "Parts of this answer are missing on the disk.", "Open the chat again to see what is stored."
            )
    if piece_ids and message.kept_tokens is None:
        raise CallerError(f"Tokens were appended to answer {message_id} before its prompt was set.")
    database.execute(
        "INSERT INTO answer_pieces (message_id, text, token_ids, thought) VALUES (?, ?, ?, ?)",
        (message_id, storable(text), piece_ids, storable(thought)),
    )


def finish_answer(database: sqlite3.Connection, message_id: int, stop_reason: StopReason, usage: Usage | None) -> None:
    """Seals an answer, unless it has ended in the same way already."""
    encoded_usage = None if usage is None else msgspec.json.encode(usage).decode()
    message = message_row(database, message_id)
    ending = MessageState.COMPLETE, stop_reason, encoded_usage
    if (message.state, message.stop_reason, message.usage) != ending:
        _open_answer(database, message_id)
        fold_pieces(database, message_id)
        database.execute(
            "UPDATE messages SET state = ?, stop_reason = ?, usage = ? WHERE message_id = ?",
            (*ending, message_id),
        )
        touch(database, message.chat_id)


def reopen_answer(
    database: sqlite3.Connection, message_id: int, shown: str | None, is_free: Callable[[int], bool]
) -> None:
    """Makes an answer partial again, without half a character at its end; see `Store.reopen_answer`.

    Args:
        database: Within a transaction.
        message_id: The answer.
        shown: Its text as the caller knows it, without such a half; None for whatever it is.
        is_free: Whether nobody is writing an answer.
    """
    message = message_row(database, message_id)
    if message.role is not Role.ASSISTANT:
        raise CallerError(f"Message {message_id} is not an answer.")
    if message.state is MessageState.PARTIAL and not is_free(message_id):
        raise StoreConflictError(
            "This answer is already being written.", "Another program may be writing it: wait, or close that program."
        )
    fold_pieces(database, message_id)
    text = message_row(database, message_id).text.rstrip(DAMAGED_CHARACTER)
    if not text:
        database.execute(
            "UPDATE messages SET thought = rtrim(thought, ?) WHERE message_id = ?", (DAMAGED_CHARACTER, message_id)
        )
    if shown is not None and text != storable(shown):
        raise StoreConflictError("The stored text of this answer is different.", "Open the chat again to see it.")
    database.execute(
        "UPDATE messages SET state = ?, stop_reason = NULL, text = rtrim(text, ?) WHERE message_id = ?",
        (MessageState.PARTIAL, DAMAGED_CHARACTER, message_id),
    )


def interrupt_abandoned(database: sqlite3.Connection, is_free: Callable[[int], bool]) -> list[int]:
    """Marks the partial answers that nobody is writing as interrupted, and returns their ids."""
    rows = database.execute("SELECT message_id FROM messages WHERE state = ?", (MessageState.PARTIAL,))
    abandoned = [row["message_id"] for row in rows if is_free(row["message_id"])]
    for message_id in abandoned:
        fold_pieces(database, message_id)
        database.execute(
            "UPDATE messages SET state = ? WHERE message_id = ?",
            (MessageState.INTERRUPTED, message_id),
        )
    return abandoned


def _open_answer(database: sqlite3.Connection, message_id: int) -> MessageRow:
    message = message_row(database, message_id)
    if message.role is not Role.ASSISTANT or message.state is MessageState.COMPLETE:
        raise CallerError(f"Message {message_id} is not an unfinished answer ({message.role}, {message.state}).")
    return message
