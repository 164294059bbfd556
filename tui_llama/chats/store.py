"""Chats in SQLite: the transcript with exact token ids, the one thing that must never be lost.

The messages of a chat are a tree: each names its parent, an edited or regenerated message is a sibling of
the old one, and the chat's tip says which path is on the screen. Everything committed here survives a kill
and, with `synchronous=FULL`, a power cut; keys and values can be computed again from it.

An answer grows in a journal of pieces (`answer_pieces`) and is folded into its message when it ends.
Whoever reads sees message and pieces together, so an answer that was cut off reads like any other. The
process that writes an answer holds a lock on one byte of a file beside the database, which the kernel lets
go when the process dies: a second program that starts meanwhile can tell an answer under way from an
abandoned one.

Knows nothing of engines, screens or state files.
"""

import contextlib
import re
import sqlite3
import struct
import threading
import uuid
from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Final, Self, TypeVar

import msgspec

from tui_llama import graphemes
from tui_llama.chat import Role, StopReason, Usage
from tui_llama.chats.chat_date import date_from, date_text, local_now
from tui_llama.chats.database import (
    BUSY_SECONDS,
    DAMAGED_HINT,
    IN_MEMORY,
    AnswerLocks,
    connect,
    explained,
    make_private_file,
)
from tui_llama.chats.ledger import UNKNOWN_VOCABULARY, FedTokens, Ledger
from tui_llama.errors import CallerError, StoreConflictError, StoreError
from tui_llama.paths import is_folder

TITLE_LENGTH: Final = 60  # characters as people see them

DAMAGED_CHARACTER: Final = "\ufffd"
"""What stands in a text for bytes that are no character, or not a whole one."""

# A parent is always older than its child, so the order of the ids is the order of the path; UNION ends a
# cycle that a damaged file may contain.
_PATH_QUERY = """
    WITH RECURSIVE path (message_id, parent_id) AS (
        SELECT message_id, parent_id FROM messages WHERE message_id = ?
        UNION
        SELECT messages.message_id, messages.parent_id
        FROM messages JOIN path ON messages.message_id = path.parent_id
    )
"""

_BRANCHES_QUERY = """
    WITH RECURSIVE tree (message_id, message_count) AS (
        SELECT message_id, 1 FROM messages WHERE chat_id = ? AND parent_id IS NULL
        UNION ALL
        SELECT messages.message_id, message_count + 1 FROM messages JOIN tree ON messages.parent_id = tree.message_id
    )
    SELECT last.message_id, last.role, last.text, before.text AS text_before, message_count, last.created_at
    FROM tree JOIN messages AS last USING (message_id)
    LEFT JOIN messages AS before ON before.message_id = last.parent_id
    WHERE NOT EXISTS (SELECT 1 FROM messages AS next WHERE next.parent_id = last.message_id)
    ORDER BY last.message_id DESC LIMIT ?
"""

_LONE_SURROGATES = re.compile("[\ud800-\udfff]")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

Row = TypeVar("Row")


class MessageState(StrEnum):
    """How far a message has come. What a user wrote is complete at once."""

    COMPLETE = "complete"
    PARTIAL = "partial"
    INTERRUPTED = "interrupted"


class ChatSummary(msgspec.Struct, frozen=True):
    """A chat as a line of the list. Neither `title` nor `model_name`, the file's name, is safe to print."""

    chat_id: str
    title: str
    model_name: str
    message_count: int
    updated_at: datetime


class Chat(msgspec.Struct, frozen=True):
    """A chat without its messages. `tip_message_id` ends the path that is shown; None: nothing was said.

    `begun_at` is what the model is told when it asks for the date: local time of then, with its offset from UTC.
    """

    chat_id: str
    title: str
    model_path: str
    system_prompt: str
    tip_message_id: int | None
    created_at: datetime
    updated_at: datetime
    begun_at: datetime


class StoredMessage(msgspec.Struct, frozen=True):
    """One message of the tree; an answer's `text` is all that was committed of it so far.

    Of an answer whose `prompt_is_known`, all tokens are in the ledger.
    """

    message_id: int
    parent_id: int | None
    role: Role
    text: str
    state: MessageState
    stop_reason: StopReason | None
    usage: Usage | None
    created_at: datetime
    prompt_is_known: bool = False


class StoredBranch(msgspec.Struct, frozen=True):
    """A way that a chat went: what the user said last, and how it was answered; `answer` is empty if it was not."""

    tip_message_id: int
    question: str
    answer: str
    message_count: int
    created_at: datetime


def new_chat_id() -> str:
    """An id that no chat has: 32 hexadecimal digits."""
    return uuid.uuid4().hex


def new_moment() -> int:
    """Now, in microseconds since 1970, UTC: later than any that this process had before, whatever the clock does."""
    with _moments_lock:
        _moments.append(max(_now(), _moments.pop() + 1))
        return _moments[-1]


_moments_lock = threading.Lock()
_moments = [0]


class Store:
    """All chats of one database file, or of `IN_MEMORY`. Made on first use, with mode 0600; for calls from any thread.

    Every method that changes something has committed it, through to the disk, when it returns.

    What failed may be tried again with the same arguments, and so may what perhaps did not fail: a disk can lose the
    word that something was written. Nothing happens twice where the caller says of a chat or message when it was
    made (`made_at`, of `new_moment`), and of a piece of an answer which one it is.

    Raises (every method):
        StoreConflictError: a chat or message is no longer there or another one than expected. Nothing was changed.
        StoreError: the database is damaged, not ours, newer than this program, in use or not writable, or the disk is
            full. As far as is known, nothing was changed.
        CallerError: the call makes no sense, such as appending to a message of the user.

    Attributes:
        file_count: How many files of that name have been opened: it grows when another one has taken its place.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.file_count = 0
        self._lock = threading.RLock()
        self._busy_seconds = BUSY_SECONDS
        with explained(path):
            self._open()

    def _open(self) -> None:
        if not self.is_in_memory:
            make_private_file(self.path)
        answer_locks = AnswerLocks(self.path)
        try:
            file = self._file_there()
            with answer_locks.opening():
                connection = connect(self.path, self._busy_seconds)
        except BaseException:
            answer_locks.close()
            raise
        self._connection, self._answer_locks, self._file = connection, answer_locks, file
        self.file_count += 1

    def _file_there(self) -> tuple[int, int] | None:
        """Which file has the name now. Raises FileNotFoundError for none."""
        if self.is_in_memory:
            return None
        status = self.path.stat()
        return status.st_dev, status.st_ino

    def follow_file(self) -> None:
        """Goes on in the file that has the name now: what is written to one without a name is lost.

        One that is gone is made again. A folder that is gone may come back, and is waited for. Every other call
        begins with this.
        """
        with self._lock, explained(self.path):
            self._follow_file()

    def _follow_file(self) -> None:
        try:
            if self._file_there() == self._file:
                return
        except FileNotFoundError:
            if not is_folder(self.path.parent):
                raise
        connection, answer_locks = self._connection, self._answer_locks
        self._open()  # first: where it fails, the file that was used may still come back
        connection.close()
        answer_locks.close()

    def wait_for_others(self, seconds: float) -> None:
        """For how long a call waits while another program uses the database, before it fails."""
        self._busy_seconds = seconds

    @property
    def is_in_memory(self) -> bool:
        """Whether nothing of it is ever on the disk."""
        return self.path == IN_MEMORY

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Lets the files go. May be called twice."""
        with self._lock, explained(self.path):
            self._connection.close()
            self._answer_locks.close()

    # --- chats ----------------------------------------------------------------------------------------------

    def list_chats(self, limit: int = 200) -> list[ChatSummary]:
        """The `limit` chats that were last spoken in, newest first. All branches count as messages."""
        with self._transaction("DEFERRED") as database:
            rows = database.execute(
                """
                SELECT *, (SELECT count(*) FROM messages WHERE messages.chat_id = chats.chat_id) AS count
                FROM chats ORDER BY updated_at DESC, rowid DESC LIMIT ?
                """,
                (limit,),
            ).fetchall()
            return [_summary_from_row(_checked(row, _ChatRow), row["count"]) for row in rows]

    def create_chat(
        self,
        *,
        title: str = "",
        model_path: str = "",
        system_prompt: str = "",
        chat_id: str | None = None,
        begun_at: datetime | None = None,
        made_at: int | None = None,
    ) -> str:
        """Makes a chat and returns its id: one of `new_chat_id`, by default a new one. A message may title it.

        It began at a moment with its offset from UTC, by default now.
        """
        chat_id = chat_id or new_chat_id()
        now, begun = made_at or new_moment(), date_text(begun_at or local_now())
        with self._transaction() as database:
            if made_at is not None and _is_made_already(database, chat_id, made_at):
                return chat_id
            database.execute(
                "INSERT INTO chats (chat_id, title, model_path, system_prompt, created_at, updated_at, begun_at)"
                " VALUES (?, ?, ?, ?, ?, ?, ?)",
                (chat_id, _storable(title), _storable(model_path), _storable(system_prompt), now, now, begun),
            )
        return chat_id

    def chat(self, chat_id: str) -> Chat:
        """The chat of that id."""
        with self._transaction("DEFERRED") as database:
            return _chat(database, chat_id)

    def has_chat(self, chat_id: str) -> bool:
        """Whether there is a chat of that id."""
        with self._transaction("DEFERRED") as database:
            return database.execute("SELECT 1 FROM chats WHERE chat_id = ?", (chat_id,)).fetchone() is not None

    def rename_chat(self, chat_id: str, title: str) -> None:
        """Gives the chat another title; its place in the list stays."""
        self._set_chat_column(chat_id, "title", _storable(title))

    def set_chat_model(self, chat_id: str, model_path: str) -> None:
        """Remembers which model file the chat is held with."""
        self._set_chat_column(chat_id, "model_path", _storable(model_path))

    def set_chat_beginning(self, chat_id: str, begun_at: datetime) -> None:
        """Lets the model believe that the chat began then: a moment with its offset from UTC."""
        self._set_chat_column(chat_id, "begun_at", date_text(begun_at))

    def set_tip(self, chat_id: str, message_id: int | None) -> None:
        """Shows the path that ends in `message_id`; None: the place before any first message."""
        with self._transaction() as database:
            _require_chat(database, chat_id)
            if message_id is not None:
                _require_message(database, chat_id, message_id)
            _move_tip(database, chat_id, message_id)

    def delete_chat(self, chat_id: str) -> None:
        """Removes the chat and all that was said in it, and overwrites what it took on disk."""
        with self._transaction() as database:
            _require_chat(database, chat_id)
            database.execute("DELETE FROM messages WHERE chat_id = ?", (chat_id,))
            database.execute("DELETE FROM chats WHERE chat_id = ?", (chat_id,))
        with self._lock, explained(self.path):
            self._connection.execute("PRAGMA wal_checkpoint (TRUNCATE)").fetchall()

    def copy_chat(self, chat_id: str, into: "Store") -> dict[int, int]:
        """Copies a chat as it is, with all its branches, into a store that does not have it.

        Returns:
            The id there of each message here.
        """
        with self._transaction("DEFERRED") as database:
            chat = _chat_row(database, chat_id)
            messages = database.execute(
                "SELECT * FROM messages WHERE chat_id = ? ORDER BY message_id", (chat_id,)
            ).fetchall()
            pieces = database.execute(
                "SELECT answer_pieces.* FROM answer_pieces JOIN messages USING (message_id) WHERE chat_id = ?"
                " ORDER BY piece_id",
                (chat_id,),
            ).fetchall()
        with into._transaction() as database:
            copies: dict[int | None, int | None] = {None: None}
            tip = chat["tip_message_id"]
            _insert(database, "chats", {**dict(chat), "tip_message_id": None})
            for message in messages:
                _checked(message, _MessageRow)
                columns = {**dict(message), "parent_id": _copied(copies, message["parent_id"])}
                copies[columns.pop("message_id")] = _insert(database, "messages", columns)
            for piece in pieces:
                _checked(piece, _PieceRow)
                columns = {**dict(piece), "message_id": copies[piece["message_id"]]}
                del columns["piece_id"]
                _insert(database, "answer_pieces", columns)
            _move_tip(database, chat_id, _copied(copies, tip))
        return {here: there for here, there in copies.items() if here is not None and there is not None}

    # --- messages -------------------------------------------------------------------------------------------

    def messages(self, chat_id: str, tip_message_id: int | None = None) -> list[StoredMessage]:
        """The path from the first message to `tip_message_id` (None: to the chat's tip), in order."""
        with self._transaction("DEFERRED") as database:
            tip = _chat(database, chat_id).tip_message_id
            if tip_message_id is not None:
                _require_message(database, chat_id, tip_message_id)
                tip = tip_message_id
            return [_message_from_row(message, pieces) for message, pieces in _path(database, tip)]

    def all_messages(self, chat_id: str) -> list[StoredMessage]:
        """Every message of the chat, on all branches, oldest first."""
        with self._transaction("DEFERRED") as database:
            _require_chat(database, chat_id)
            rows = database.execute(
                "SELECT * FROM messages WHERE chat_id = ? ORDER BY message_id", (chat_id,)
            ).fetchall()
            messages = [_checked(row, _MessageRow) for row in rows]
            return [_message_from_row(message, _pieces(database, message.message_id)) for message in messages]

    def versions(self, message_id: int) -> list[int]:
        """The messages with the same parent and role as this one, itself included, oldest first."""
        with self._transaction("DEFERRED") as database:
            message = _message(database, message_id)
            rows = database.execute(
                "SELECT message_id FROM messages WHERE chat_id = ? AND parent_id IS ? AND role = ? ORDER BY message_id",
                (message.chat_id, message.parent_id, message.role),
            )
            return [row["message_id"] for row in rows.fetchall()]

    def is_replied_to(self, message_id: int) -> bool:
        """Whether anything was said below this message, on whatever branch."""
        with self._transaction("DEFERRED") as database:
            _message(database, message_id)
            reply = database.execute("SELECT 1 FROM messages WHERE parent_id = ? LIMIT 1", (message_id,)).fetchone()
            return reply is not None

    def add_user_message(
        self, chat_id: str, text: str, parent_id: int | None = None, *, made_at: int | None = None
    ) -> int:
        """Commits what the user said below `parent_id` (None: below the tip) and moves the tip to it.

        To say something else instead of the very first message, `set_tip(chat_id, None)` first.

        Returns:
            The message's id. The first message also titles a chat that has no title.
        """
        with self._transaction() as database:
            chat = _chat(database, chat_id)
            parent = chat.tip_message_id if parent_id is None else parent_id
            message_id = _insert_message(database, chat_id, parent, Role.USER, text, made_at)
            if not chat.title:
                database.execute("UPDATE chats SET title = ? WHERE chat_id = ?", (title_of(text), chat_id))
            return message_id

    def replace_user_message(self, message_id: int, text: str, *, made_at: int | None = None) -> int:
        """Commits another version of what the user said, beside the one of that id, and moves the tip to it.

        Returns:
            The new message's id.
        """
        with self._transaction() as database:
            replaced = _message(database, message_id)
            if replaced.role is not Role.USER:
                raise CallerError(f"Message {message_id} is no message of the user.")
            return _insert_message(database, replaced.chat_id, replaced.parent_id, Role.USER, text, made_at)

    def branches(self, chat_id: str, limit: int = 200) -> list[StoredBranch]:
        """Every way that the chat went, by its last message: the `limit` newest, newest first."""
        with self._transaction("DEFERRED") as database:
            _require_chat(database, chat_id)
            rows = database.execute(_BRANCHES_QUERY, (chat_id, limit)).fetchall()
            return [_branch_from_row(_checked(row, _BranchRow)) for row in rows]

    def begin_answer(self, chat_id: str, parent_id: int, *, made_at: int | None = None) -> int:
        """Makes an empty partial answer below `parent_id`, moves the tip to it and returns its id."""
        with contextlib.ExitStack() as undo:
            with self._transaction() as database:
                _require_chat(database, chat_id)
                message_id = _insert_message(database, chat_id, parent_id, Role.ASSISTANT, "", made_at)
                # One that was made already may have been taken for abandoned.
                database.execute(
                    "UPDATE messages SET state = ? WHERE message_id = ? AND state = ?",
                    (MessageState.PARTIAL, message_id, MessageState.INTERRUPTED),
                )
                # Before the commit shows the answer to others, who would take it for abandoned.
                self._answer_locks.acquire(message_id)
                undo.callback(self._answer_locks.release, message_id)
            undo.pop_all()
        return message_id

    def set_answer_prompt(
        self, message_id: int, kept_tokens: int, token_ids: Sequence[int], vocabulary: str = UNKNOWN_VOCABULARY
    ) -> None:
        """Records what is fed to the model for this answer.

        That is the first `kept_tokens` of what the parent's ledger has for this vocabulary, then `token_ids`, and so
        are the tokens that are generated for it. May be repeated as long as nothing was generated.
        """
        with self._transaction() as database:
            message = _open_answer(database, message_id)
            if _full_ids(message, _pieces(database, message_id)):
                raise CallerError(f"The prompt of answer {message_id} was set after it had generated tokens.")
            length = _fed_count(database, message.parent_id, vocabulary)
            if length is None:  # what can be kept then are tokens of a vocabulary that nobody wrote down
                kept_ids = _kept(_ledger(database, message.parent_id).fed_in(vocabulary), kept_tokens)
                kept_tokens, token_ids = 0, (*kept_ids, *token_ids)
            elif not 0 <= kept_tokens <= length:
                raise CallerError(f"Cannot keep {kept_tokens} tokens of a ledger of {length}.")
            _set_tokens(database, message_id, vocabulary, kept_tokens, token_ids, ())

    def set_answer_tokens(
        self, message_id: int, kept_tokens: int, token_ids: Sequence[int], vocabulary: str, answer_tokens: int
    ) -> None:
        """Gives an answer that goes on tokens of another vocabulary, in place of those that it has.

        They are the first `kept_tokens` of what its own ledger has for this vocabulary, then `token_ids`; the last
        `answer_tokens` of them write the answer, the others the prompt.
        """
        with self._transaction() as database:
            _open_answer(database, message_id)
            _fold_pieces(database, message_id)
            all_ids = (*_kept(_ledger(database, message_id).fed_in(vocabulary), kept_tokens), *token_ids)
            prompt_tokens = len(all_ids) - answer_tokens
            if not 0 <= prompt_tokens <= len(all_ids):
                raise CallerError(f"Of {len(all_ids)} tokens, {answer_tokens} cannot be the answer's.")
            _set_tokens(database, message_id, vocabulary, 0, all_ids[:prompt_tokens], all_ids[prompt_tokens:])

    def append_to_answer(
        self, message_id: int, text: str, token_ids: Sequence[int], *, piece_number: int | None = None
    ) -> None:
        """Adds a piece to a partial or interrupted answer: one small row, however long the answer.

        Args:
            message_id: The answer.
            text: More of its text.
            token_ids: More of its tokens.
            piece_number: Counted from 0 since the answer was begun or opened again. One that is there is not added.
        """
        piece_ids = _blob_from_ids(token_ids)
        with self._transaction() as database:
            message = _open_answer(database, message_id)
            if piece_number is not None:
                piece_count = _piece_count(database, message_id)
                if piece_count > piece_number:
                    return
                if piece_count < piece_number:
                    raise StoreConflictError("Pieces of this answer are missing.", "Open the chat again to see it.")
            if piece_ids and message.kept_tokens is None:
                raise CallerError(f"Tokens were appended to answer {message_id} before its prompt was set.")
            database.execute(
                "INSERT INTO answer_pieces (message_id, text, token_ids) VALUES (?, ?, ?)",
                (message_id, _storable(text), piece_ids),
            )

    def finish_answer(self, message_id: int, stop_reason: StopReason, usage: Usage | None) -> None:
        """Seals an answer, however it ended: it is complete from now on."""
        encoded_usage = None if usage is None else msgspec.json.encode(usage).decode()
        with self._transaction() as database:
            message = _message(database, message_id)
            ending = MessageState.COMPLETE, stop_reason, encoded_usage
            if (message.state, message.stop_reason, message.usage) != ending:
                _open_answer(database, message_id)
                _fold_pieces(database, message_id)
                database.execute(
                    "UPDATE messages SET state = ?, stop_reason = ?, usage = ? WHERE message_id = ?",
                    (*ending, message_id),
                )
                _touch(database, message.chat_id)
        with self._lock, explained(self.path):
            self._answer_locks.release(message_id)

    def reopen_answer(self, message_id: int, shown: str | None = None) -> None:
        """Lets an answer that was cut off grow again: it is partial until it is finished once more.

        Of half a character at its end, which was shown as damaged, only the tokens stay; its text comes with the rest.

        Args:
            message_id: The answer.
            shown: Its text as whoever wants more of it knows it, without such a half; None for whatever it is.

        Raises:
            StoreError: another running program is writing it, or has written more of it than is shown.
        """
        with contextlib.ExitStack() as undo:
            with self._transaction() as database:
                message = _message(database, message_id)
                if message.role is not Role.ASSISTANT:
                    raise CallerError(f"Message {message_id} is no answer.")
                if message.state is MessageState.PARTIAL and not self._answer_locks.is_free(message_id):
                    raise StoreConflictError(
                        "This answer is being written already.", "Another running program may do so."
                    )
                _fold_pieces(database, message_id)
                text = _message(database, message_id).text.rstrip(DAMAGED_CHARACTER)
                if shown is not None and text != _storable(shown):
                    raise StoreConflictError(
                        "This answer is stored with another text.", "Open the chat again to see it."
                    )
                database.execute(
                    "UPDATE messages SET state = ?, stop_reason = NULL, text = rtrim(text, ?) WHERE message_id = ?",
                    (MessageState.PARTIAL, DAMAGED_CHARACTER, message_id),
                )
                self._answer_locks.acquire(message_id)
                undo.callback(self._answer_locks.release, message_id)
            undo.pop_all()

    def ledger(self, message_id: int) -> Ledger:
        """Every token fed to a model on the path to this message, as fed and as generated.

        Each answer whose prompt is known keeps the first `kept_tokens` of what was there in its vocabulary, then adds
        its prompt's tokens and those it generated.
        """
        with self._transaction("DEFERRED") as database:
            _message(database, message_id)
            return _ledger(database, message_id)

    def generated_token_count(self, message_id: int) -> int:
        """How many tokens at the end of an answer's ledger it has generated itself."""
        with self._transaction("DEFERRED") as database:
            message = _message(database, message_id)
            return len(_full_ids(message, _pieces(database, message_id))) // 4

    def recover(self) -> list[int]:
        """Marks the answers that nobody writes any more as interrupted; for the start of the program.

        Returns:
            The ids of the answers marked now. Those that another running program is writing stay partial.
        """
        with self._transaction() as database:
            rows = database.execute("SELECT message_id FROM messages WHERE state = ?", (MessageState.PARTIAL,))
            abandoned = [row["message_id"] for row in rows if self._answer_locks.is_free(row["message_id"])]
            for message_id in abandoned:
                _fold_pieces(database, message_id)
                database.execute(
                    "UPDATE messages SET state = ? WHERE message_id = ?",
                    (MessageState.INTERRUPTED, message_id),
                )
            return abandoned

    # --- preferences ----------------------------------------------------------------------------------------

    def preference(self, key: str) -> str | None:
        """What was last set for `key`, such as `last_model`."""
        with self._transaction("DEFERRED") as database:
            row = database.execute("SELECT value FROM preferences WHERE key = ?", (key,)).fetchone()
            return None if row is None else str(row["value"])

    def set_preference(self, key: str, value: str) -> None:
        """Remembers one string for the next start."""
        with self._transaction() as database:
            database.execute("INSERT OR REPLACE INTO preferences VALUES (?, ?)", (key, _storable(value)))

    # --- how it is done -------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _transaction(self, kind: str = "IMMEDIATE") -> Iterator[sqlite3.Connection]:
        """Commits at the end; on any exception nothing of it has happened."""
        with self._lock, explained(self.path):
            self._follow_file()
            self._connection.execute(f"PRAGMA busy_timeout = {round(self._busy_seconds * 1000)}").fetchall()
            self._connection.execute(f"BEGIN {kind}")
            try:
                yield self._connection
                self._connection.execute("COMMIT")
            except BaseException:
                # SQLite has rolled back by itself after some errors, a full disk among them.
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise

    def _set_chat_column(self, chat_id: str, column: str, value: str) -> None:
        with self._transaction() as database:
            _require_chat(database, chat_id)
            database.execute(f"UPDATE chats SET {column} = ? WHERE chat_id = ?", (value, chat_id))


# --- inside one transaction ---------------------------------------------------------------------------------


def _chat_row(database: sqlite3.Connection, chat_id: str) -> sqlite3.Row:
    row: sqlite3.Row | None = database.execute("SELECT * FROM chats WHERE chat_id = ?", (chat_id,)).fetchone()
    if row is None:
        raise StoreConflictError(
            "This chat is no longer there.", "It may have been deleted by another running program."
        )
    return row


def _chat(database: sqlite3.Connection, chat_id: str) -> Chat:
    return _chat_from_row(_checked(_chat_row(database, chat_id), _ChatRow))


def _is_made_already(database: sqlite3.Connection, chat_id: str, made_at: int) -> bool:
    query = "SELECT 1 FROM chats WHERE chat_id = ? AND created_at = ?"
    return database.execute(query, (chat_id, made_at)).fetchone() is not None


def _insert(database: sqlite3.Connection, table: str, columns: dict[str, object]) -> int:
    """Adds a row and returns its id."""
    names, places = ", ".join(columns), ", ".join("?" * len(columns))
    row_id = database.execute(f"INSERT INTO {table} ({names}) VALUES ({places})", tuple(columns.values())).lastrowid
    assert row_id is not None  # an INSERT into a table with a rowid always has one
    return row_id


def _copied(copies: dict[int | None, int | None], message_id: int | None) -> int | None:
    """The copy of a message, which a damaged chat may name without having it."""
    if message_id not in copies:
        raise StoreError("The chats on disk are damaged: a message is missing.", DAMAGED_HINT)
    return copies[message_id]


def _require_chat(database: sqlite3.Connection, chat_id: str) -> None:
    _chat(database, chat_id)


def _message(database: sqlite3.Connection, message_id: int) -> "_MessageRow":
    row = database.execute("SELECT * FROM messages WHERE message_id = ?", (message_id,)).fetchone()
    if row is None:
        raise StoreConflictError(
            "This message is no longer there.", "It may have been deleted by another running program."
        )
    return _checked(row, _MessageRow)


def _require_message(database: sqlite3.Connection, chat_id: str, message_id: int) -> None:
    if _message(database, message_id).chat_id != chat_id:
        raise CallerError(f"Message {message_id} belongs to another chat.")


def _open_answer(database: sqlite3.Connection, message_id: int) -> "_MessageRow":
    message = _message(database, message_id)
    if message.role is not Role.ASSISTANT or message.state is MessageState.COMPLETE:
        raise CallerError(f"Message {message_id} is no answer under way ({message.role}, {message.state}).")
    return message


def _insert_message(
    database: sqlite3.Connection, chat_id: str, parent_id: int | None, role: Role, text: str, made_at: int | None
) -> int:
    """Adds a message, but for one that was made at that moment and is there already; moves the tip to it."""
    if parent_id is not None:
        _require_message(database, chat_id, parent_id)
    message_id = None if made_at is None else _made_already(database, chat_id, role, made_at)
    if message_id is None:
        columns: dict[str, object] = {
            "chat_id": chat_id,
            "parent_id": parent_id,
            "role": role,
            "state": MessageState.PARTIAL if role is Role.ASSISTANT else MessageState.COMPLETE,
            "text": _storable(text),
            "prompt_ids": b"",
            "generated_ids": b"",
            "created_at": made_at or new_moment(),
        }
        message_id = _insert(database, "messages", columns)
    _move_tip(database, chat_id, message_id)
    _touch(database, chat_id)
    return message_id


def _made_already(database: sqlite3.Connection, chat_id: str, role: Role, made_at: int) -> int | None:
    row = database.execute(
        "SELECT message_id FROM messages WHERE chat_id = ? AND role = ? AND created_at = ?", (chat_id, role, made_at)
    ).fetchone()
    return None if row is None else int(row["message_id"])


def _piece_count(database: sqlite3.Connection, message_id: int) -> int:
    row = database.execute("SELECT count(*) FROM answer_pieces WHERE message_id = ?", (message_id,)).fetchone()
    return int(row[0])


def _move_tip(database: sqlite3.Connection, chat_id: str, message_id: int | None) -> None:
    database.execute("UPDATE chats SET tip_message_id = ? WHERE chat_id = ?", (message_id, chat_id))


def _touch(database: sqlite3.Connection, chat_id: str) -> None:
    database.execute("UPDATE chats SET updated_at = ? WHERE chat_id = ?", (_now(), chat_id))


def _fold_pieces(database: sqlite3.Connection, message_id: int) -> None:
    """Moves the journal of an answer into its message."""
    message = _message(database, message_id)
    pieces = _pieces(database, message_id)
    database.execute(
        "UPDATE messages SET text = ?, generated_ids = ? WHERE message_id = ?",
        (_full_text(message, pieces), _full_ids(message, pieces), message_id),
    )
    database.execute("DELETE FROM answer_pieces WHERE message_id = ?", (message_id,))


def _pieces(database: sqlite3.Connection, message_id: int) -> "list[_PieceRow]":
    rows = database.execute(
        "SELECT message_id, text, token_ids FROM answer_pieces WHERE message_id = ? ORDER BY piece_id", (message_id,)
    )
    return [_checked(row, _PieceRow) for row in rows.fetchall()]


def _path(database: sqlite3.Connection, tip: int | None) -> "list[tuple[_MessageRow, list[_PieceRow]]]":
    """The messages from the first to `tip`, each with the journal that was not folded into it yet."""
    messages = database.execute(
        f"{_PATH_QUERY} SELECT messages.* FROM messages JOIN path USING (message_id) ORDER BY message_id", (tip,)
    ).fetchall()
    pieces: defaultdict[int, list[_PieceRow]] = defaultdict(list)
    for row in database.execute(
        f"{_PATH_QUERY} SELECT message_id, text, token_ids FROM answer_pieces JOIN path USING (message_id)"
        " ORDER BY piece_id",
        (tip,),
    ):
        piece = _checked(row, _PieceRow)
        pieces[piece.message_id].append(piece)
    return [(message, pieces[message.message_id]) for message in (_checked(row, _MessageRow) for row in messages)]


def _ledger(database: sqlite3.Connection, tip: int | None) -> Ledger:
    fed: defaultdict[str, list[int]] = defaultdict(list)
    newest = UNKNOWN_VOCABULARY
    for message, pieces in _path(database, tip):
        if message.kept_tokens is None:
            continue
        newest = message.vocabulary or UNKNOWN_VOCABULARY
        ids = fed[newest]
        if message.kept_tokens > len(ids):
            raise StoreError("The chats on disk are damaged: tokens of an answer are missing.", DAMAGED_HINT)
        del ids[message.kept_tokens :]
        ids += _ids_from_blob(message.prompt_ids + _full_ids(message, pieces))
    return Ledger({vocabulary: tuple(ids) for vocabulary, ids in fed.items()}, newest)


def _kept(before: FedTokens, kept_tokens: int) -> tuple[int, ...]:
    if not 0 <= kept_tokens <= len(before.token_ids):
        raise CallerError(f"Cannot keep {kept_tokens} tokens of a ledger of {len(before.token_ids)}.")
    return before.token_ids[:kept_tokens]


def _set_tokens(
    database: sqlite3.Connection,
    message_id: int,
    vocabulary: str,
    kept_tokens: int,
    prompt_ids: Sequence[int],
    generated_ids: Sequence[int],
) -> None:
    database.execute(
        "UPDATE messages SET kept_tokens = ?, prompt_ids = ?, generated_ids = ?, vocabulary = ? WHERE message_id = ?",
        (kept_tokens, _blob_from_ids(prompt_ids), _blob_from_ids(generated_ids), vocabulary or None, message_id),
    )


def _fed_count(database: sqlite3.Connection, tip: int | None, vocabulary: str) -> int | None:
    """How many tokens of a vocabulary the ledger has; None where no answer has any.

    The ledger is not read: the last answer of that vocabulary says how many it kept of those before.
    """
    row = database.execute(
        f"{_PATH_QUERY} SELECT messages.* FROM messages JOIN path USING (message_id)"
        " WHERE kept_tokens IS NOT NULL AND coalesce(vocabulary, ?) = ? ORDER BY message_id DESC LIMIT 1",
        (tip, UNKNOWN_VOCABULARY, vocabulary),
    ).fetchone()
    if row is None:
        return None
    last = _checked(row, _MessageRow)
    ids = last.prompt_ids + _full_ids(last, _pieces(database, last.message_id))
    return (last.kept_tokens or 0) + len(ids) // 4


# --- rows and values ----------------------------------------------------------------------------------------


class _ChatRow(msgspec.Struct, frozen=True):
    chat_id: str
    title: str
    model_path: str
    system_prompt: str
    tip_message_id: int | None
    created_at: int
    updated_at: int
    begun_at: str


class _MessageRow(msgspec.Struct, frozen=True):
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


class _BranchRow(msgspec.Struct, frozen=True):
    message_id: int
    role: Role
    text: str
    text_before: str | None
    message_count: int
    created_at: int


class _PieceRow(msgspec.Struct, frozen=True):
    message_id: int
    text: str
    token_ids: bytes


def _checked(row: sqlite3.Row, kind: type[Row]) -> Row:
    """The row with every column of the type that it must have, which SQLite does not insist on."""
    return msgspec.convert(dict(row), kind)


def _chat_from_row(row: _ChatRow) -> Chat:
    return Chat(
        chat_id=row.chat_id,
        title=row.title,
        model_path=row.model_path,
        system_prompt=row.system_prompt,
        tip_message_id=row.tip_message_id,
        created_at=_time_from(row.created_at),
        updated_at=_time_from(row.updated_at),
        begun_at=_begun_at(row),
    )


def _summary_from_row(row: _ChatRow, message_count: int) -> ChatSummary:
    return ChatSummary(
        chat_id=row.chat_id,
        title=row.title,
        model_name=Path(row.model_path).name,
        message_count=message_count,
        updated_at=_time_from(row.updated_at),
    )


def _message_from_row(row: _MessageRow, pieces: list[_PieceRow]) -> StoredMessage:
    return StoredMessage(
        message_id=row.message_id,
        parent_id=row.parent_id,
        role=row.role,
        text=_full_text(row, pieces),
        state=row.state,
        stop_reason=row.stop_reason,
        usage=None if row.usage is None else msgspec.json.decode(row.usage, type=Usage),
        created_at=_time_from(row.created_at),
        prompt_is_known=row.kept_tokens is not None,
    )


def _branch_from_row(row: _BranchRow) -> StoredBranch:
    is_answer = row.role is Role.ASSISTANT
    return StoredBranch(
        tip_message_id=row.message_id,
        question=(row.text_before or "") if is_answer else row.text,
        answer=row.text if is_answer else "",
        message_count=row.message_count,
        created_at=_time_from(row.created_at),
    )


def _full_text(message: _MessageRow, pieces: list[_PieceRow]) -> str:
    return message.text + "".join(piece.text for piece in pieces)


def _full_ids(message: _MessageRow, pieces: list[_PieceRow]) -> bytes:
    return message.generated_ids + b"".join(piece.token_ids for piece in pieces)


def _now() -> int:
    return (datetime.now(UTC) - _EPOCH) // timedelta(microseconds=1)


def _time_from(microseconds: int) -> datetime:
    return _EPOCH + timedelta(microseconds=microseconds)


def _begun_at(row: _ChatRow) -> datetime:
    """When the chat began; where that cannot be read, when it was made."""
    return date_from(row.begun_at) or _time_from(row.created_at).astimezone()


def title_of(text: str) -> str:
    """The beginning of a chat's first message, on one line, as the title of the chat."""
    line = " ".join(_storable(text[: 20 * TITLE_LENGTH]).split())
    shown = graphemes.beginning(line, TITLE_LENGTH)
    return line if shown == line else graphemes.beginning(line, TITLE_LENGTH - 1).rstrip() + "…"


def _storable(text: str) -> str:
    """Half a surrogate pair, which a paste or a bad decoder can leave, is no text that SQLite could hold."""
    return _LONE_SURROGATES.sub(DAMAGED_CHARACTER, text)


def _blob_from_ids(token_ids: Sequence[int]) -> bytes:
    try:
        return struct.pack(f"<{len(token_ids)}I", *token_ids)
    except struct.error as error:
        raise CallerError(f"A token id does not fit 32 bits: {error}") from error


def _ids_from_blob(blob: bytes) -> list[int]:
    return list(struct.unpack(f"<{len(blob) // 4}I", blob))
