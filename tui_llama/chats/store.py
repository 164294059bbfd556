"""Chats in SQLite: the transcript with exact token ids, the one thing that must never be lost.

The messages of a chat are a tree: each names its parent, an edited or regenerated message is a sibling of
the old one, and the chat's tip says which path is on the screen. Everything committed here survives a kill
and, with `synchronous=FULL`, a power cut; keys and values can be computed again from it.

An answer grows in a journal of pieces (`answer_pieces`) and is folded into its message when it ends.
Whoever reads sees message and pieces together, so an answer that was cut off reads like any other. The
process that writes an answer holds a lock on one byte of a file beside the database, which the kernel lets
go when the process dies: a second program that starts meanwhile can tell an answer under way from an
abandoned one.

`Store` opens the transactions and takes the locks; `database/tables/` has the statements. Knows nothing of engines,
screens or state files.
"""

import contextlib
from collections.abc import Sequence
from datetime import datetime

from tui_llama.chat import ChatChoices, StopReason, Usage
from tui_llama.chats.chat_date import date_text, local_now
from tui_llama.chats.database.message_tree import MessageTree
from tui_llama.chats.database.moments import new_moment
from tui_llama.chats.database.tables import answers, chats, copies, fed_tokens, messages, preferences
from tui_llama.chats.database.tables.rows import ID_BYTES, blob_from_ids, choices_text, full_ids
from tui_llama.chats.database.unsent_texts import UnsentTexts
from tui_llama.chats.ledger import UNKNOWN_VOCABULARY, Ledger
from tui_llama.chats.stored import Chat, ChatSummary, MessageState, StoredBranch, StoredMessage, new_chat_id
from tui_llama.chats.stored_text import storable
from tui_llama.engine.prompt_cache.stored_tree import FedNode

LAST_MODEL = "last_model"
"""The preference that names the model file used last."""

NO_CHOICES = ChatChoices()

ALL_CHATS = 2**31
"""More chats than any store has, for `Store.list_chats`."""

# The values of its methods come with the store.
__all__ = ["Chat", "ChatSummary", "MessageState", "Store", "StoredBranch", "StoredMessage"]


class Store(MessageTree, UnsentTexts):
    """All chats of one database file, or of `IN_MEMORY`. Made on first use, with mode 0600; for calls from any thread.

    Every method that changes something has committed it, through to the disk, when it returns.

    A caller may try a failed call again with the same arguments, even if the call perhaps succeeded: a disk can lose
    the word that something was written. The store does nothing twice if the caller gives the time at which a chat or
    message was made (`made_at`, of `new_moment`), and the number of a piece of an answer.

    Raises (every method):
        StoreConflictError: a chat or message is no longer there or another one than expected. Nothing was changed.
        StoreError: the database is damaged, not ours, newer than this program, in use or not writable, or the disk is
            full. As far as is known, nothing was changed.
        CallerError: the call makes no sense, such as appending to a message of the user.
    """

    # --- chats ----------------------------------------------------------------------------------------------

    def list_chats(self, limit: int = 200) -> list[ChatSummary]:
        """Returns the `limit` chats that were last spoken in, newest first. All branches count as messages."""
        with self._transaction("DEFERRED") as database:
            return chats.newest_chats(database, limit)

    def create_chat(
        self,
        *,
        title: str = "",
        model_path: str = "",
        system_prompt: str = "",
        choices: ChatChoices = NO_CHOICES,
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
            if made_at is not None and chats.is_made_already(database, chat_id, made_at):
                return chat_id
            chats.insert_chat(database, chat_id, title, model_path, system_prompt, choices, now, begun)
        return chat_id

    def chat(self, chat_id: str) -> Chat:
        """Returns the chat of that id."""
        with self._transaction("DEFERRED") as database:
            return chats.read_chat(database, chat_id)

    def has_chat(self, chat_id: str) -> bool:
        """Tells whether there is a chat of that id."""
        with self._transaction("DEFERRED") as database:
            return chats.has_chat(database, chat_id)

    def rename_chat(self, chat_id: str, title: str) -> None:
        """Gives the chat another title; its place in the list stays."""
        self._set_chat_column(chat_id, "title", storable(title))

    def set_chat_model(self, chat_id: str, model_path: str) -> None:
        """Remembers which model file the chat is held with."""
        self._set_chat_column(chat_id, "model_path", storable(model_path))

    def set_chat_beginning(self, chat_id: str, begun_at: datetime) -> None:
        """Lets the model believe that the chat began then: a moment with its offset from UTC."""
        self._set_chat_column(chat_id, "begun_at", date_text(begun_at))

    def set_chat_system_prompt(self, chat_id: str, system_prompt: str) -> None:
        """Lets the model be told something else before all messages."""
        self._set_chat_column(chat_id, "system_prompt", storable(system_prompt))

    def set_chat_choices(self, chat_id: str, choices: ChatChoices) -> None:
        """Remembers what was chosen for the chat in place of the settings."""
        self._set_chat_column(chat_id, "choices", choices_text(choices))

    def set_chat_unread(self, chat_id: str, *, is_unread: bool) -> None:
        """Remembers whether an answer has ended in the chat that nobody has seen."""
        self._set_chat_column(chat_id, "is_unread", int(is_unread))

    def unread_chats(self) -> list[str]:
        """Returns the ids of those chats."""
        with self._transaction("DEFERRED") as database:
            return chats.unread_chats(database)

    def _set_chat_column(self, chat_id: str, column: str, value: str | int) -> None:
        with self._transaction() as database:
            chats.set_column(database, chat_id, column, value)

    def set_tip(self, chat_id: str, message_id: int | None) -> None:
        """Shows the path that ends in `message_id`; None: the place before any first message."""
        with self._transaction() as database:
            chats.require_chat(database, chat_id)
            if message_id is not None:
                messages.require_message(database, chat_id, message_id)
            chats.move_tip(database, chat_id, message_id)

    def delete_chat(self, chat_id: str) -> None:
        """Removes the chat and all that was said in it, and overwrites what it took on disk."""
        with self._transaction() as database:
            chats.delete_chat(database, chat_id)
        self._connection.truncate_log()

    def copy_chat(self, chat_id: str, into: "Store") -> dict[int, int]:
        """Copies a chat as it is, with all its branches, into a store that does not have it.

        Returns:
            The id there of each message here.
        """
        with self._transaction("DEFERRED") as database:
            rows = copies.read_rows(database, chat_id)
        with into._transaction() as database:
            return copies.write_rows(database, rows)

    # --- answers --------------------------------------------------------------------------------------------

    def begin_answer(self, chat_id: str, parent_id: int, text: str = "", *, made_at: int | None = None) -> int:
        """Makes a partial answer of this text below `parent_id`, moves the tip to it and returns its id."""
        with contextlib.ExitStack() as undo:
            with self._transaction() as database:
                message_id = answers.begin_answer(database, chat_id, parent_id, text, made_at)
                # Before the commit shows the answer to others, who would take it for abandoned.
                self._hold_answer(message_id, undo)
            undo.pop_all()
        return message_id

    def _hold_answer(self, message_id: int, undo: contextlib.ExitStack) -> None:
        """Says that this process is writing the answer, until `undo` takes that back."""
        locks = self._connection.answer_locks
        locks.acquire(message_id)
        undo.callback(locks.release, message_id)

    def set_answer_prompt(
        self, message_id: int, kept_tokens: int, token_ids: Sequence[int], vocabulary: str = UNKNOWN_VOCABULARY
    ) -> None:
        """Records what is fed to the model for this answer.

        That is the first `kept_tokens` of what the parent's ledger has for this vocabulary, then `token_ids`, and so
        are the tokens that are generated for it. May be repeated as long as nothing was generated.
        """
        with self._transaction() as database:
            answers.set_prompt(database, message_id, kept_tokens, token_ids, vocabulary)

    def set_answer_tokens(
        self, message_id: int, kept_tokens: int, token_ids: Sequence[int], vocabulary: str, answer_tokens: int
    ) -> None:
        """Gives an answer that goes on tokens of another vocabulary, in place of those that it has.

        They are the first `kept_tokens` of what its own ledger has for this vocabulary, then `token_ids`; the last
        `answer_tokens` of them write the answer, the others the prompt.
        """
        with self._transaction() as database:
            answers.set_tokens(database, message_id, kept_tokens, token_ids, vocabulary, answer_tokens)

    def end_answer_tokens(self, message_id: int) -> None:
        """Counts the tokens of an answer to its prompt, because a server writes the rest of the text without tokens.

        The ledger keeps them as the tokens of what follows up to there. The answer has no tokens of its own any more.
        """
        with self._transaction() as database:
            answers.end_tokens(database, message_id)

    def append_to_answer(
        self,
        message_id: int,
        text: str,
        token_ids: Sequence[int],
        *,
        piece_number: int | None = None,
        thought: str = "",
    ) -> None:
        """Adds a piece to a partial or interrupted answer: one small row, however long the answer.

        Args:
            message_id: The answer.
            text: More of its text.
            token_ids: More of its tokens.
            piece_number: Counted from 0 since the answer was begun or opened again. One that is there is not added.
            thought: More of the thought before its text.
        """
        piece_ids = blob_from_ids(token_ids)
        with self._transaction() as database:
            answers.append_piece(database, message_id, text, piece_ids, piece_number, thought)

    def finish_answer(self, message_id: int, stop_reason: StopReason, usage: Usage | None) -> None:
        """Seals an answer, however it ended: it is complete from now on."""
        with self._transaction() as database:
            answers.finish_answer(database, message_id, stop_reason, usage)
        self._connection.release_answer(message_id)

    def reopen_answer(self, message_id: int, shown: str | None = None) -> None:
        """Lets an answer that was cut off grow again: it is partial until it is finished once more.

        Of half a character at its end, which was shown as damaged, only the tokens stay; its text comes with the rest.

        Args:
            message_id: The answer.
            shown: Its text as the caller knows it, without such a half; None accepts any text.

        Raises:
            StoreError: another running program is writing it, or has written more of it than is shown.
        """
        with contextlib.ExitStack() as undo:
            with self._transaction() as database:
                answers.reopen_answer(database, message_id, shown, self._connection.answer_locks.is_free)
                self._hold_answer(message_id, undo)
            undo.pop_all()

    def recover(self) -> list[int]:
        """Marks the answers that nobody writes any more as interrupted; for the start of the program.

        Returns:
            The ids of the answers marked now. Those that another running program is writing stay partial.
        """
        with self._transaction() as database:
            return answers.interrupt_abandoned(database, self._connection.answer_locks.is_free)

    # --- tokens ---------------------------------------------------------------------------------------------

    def ledger(self, message_id: int) -> Ledger:
        """Returns every token fed to a model on the path to this message, as fed and as generated.

        Each answer whose prompt is known keeps the first `kept_tokens` of what was there in its vocabulary, then adds
        its prompt's tokens and those it generated.
        """
        with self._transaction("DEFERRED") as database:
            messages.message_row(database, message_id)
            return fed_tokens.read_ledger(database, message_id)

    def fed_tree(self, chat_id: str, vocabulary: str) -> tuple[list[FedNode], set[int]]:
        """Returns the tokens of one vocabulary that were fed for each message of a chat, see `fed_tokens.fed_tree`."""
        with self._transaction("DEFERRED") as database:
            return fed_tokens.fed_tree(database, chat_id, vocabulary)

    def generated_token_count(self, message_id: int) -> int:
        """Returns how many tokens at the end of an answer's ledger it has generated itself."""
        with self._transaction("DEFERRED") as database:
            message = messages.message_row(database, message_id)
            return len(full_ids(message, messages.pieces_of(database, message_id))) // ID_BYTES

    # --- preferences ----------------------------------------------------------------------------------------

    def preference(self, key: str) -> str | None:
        """Returns what was last set for `key`, such as `last_model`."""
        with self._transaction("DEFERRED") as database:
            return preferences.read_preference(database, key)

    def set_preference(self, key: str, value: str) -> None:
        """Remembers one string for the next start."""
        with self._transaction() as database:
            preferences.write_preference(database, key, value)
