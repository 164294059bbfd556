"""The messages of the chats in a store, which are trees: read, added, replaced, deleted and brought back."""

import sqlite3
from collections.abc import Sequence

from tui_llama.chat import AnswerBounds, Attachment, Role
from tui_llama.chats.database.store_file import StoreFile
from tui_llama.chats.database.tables import chats, deletions, messages
from tui_llama.chats.stored import Deletion, StoredBranch, StoredMessage, TreeMessage
from tui_llama.chats.stored_text import title_of
from tui_llama.errors import CallerError


class MessageTree(StoreFile):
    """The part of a store that has messages. What the user has deleted is nowhere, but can be brought back."""

    # --- reading --------------------------------------------------------------------------------------------

    def messages(self, chat_id: str, tip_message_id: int | None = None) -> list[StoredMessage]:
        """Returns the path from the first message to `tip_message_id` (None: to the chat's tip), in order."""
        with self._transaction("DEFERRED") as database:
            tip = chats.read_chat(database, chat_id).tip_message_id
            if tip_message_id is not None:
                messages.require_message(database, chat_id, tip_message_id)
                tip = tip_message_id
            return messages.shown_path_to(database, tip)

    def all_messages(self, chat_id: str) -> list[StoredMessage]:
        """Returns every message of the chat, on all branches, oldest first."""
        with self._transaction("DEFERRED") as database:
            return messages.all_messages(database, chat_id)

    def versions(self, message_id: int) -> list[int]:
        """Returns the messages in the same place as this one, itself included, oldest first; none if it is deleted."""
        with self._transaction("DEFERRED") as database:
            return messages.versions_of(database, message_id)

    def all_versions(self, chat_id: str) -> dict[int, list[int]]:
        """Returns the `versions` of every message of a chat."""
        with self._transaction("DEFERRED") as database:
            return messages.all_versions(database, chat_id)

    def is_replied_to(self, message_id: int) -> bool:
        """Tells whether anything was said below this message, on whatever branch."""
        with self._transaction("DEFERRED") as database:
            return messages.is_replied_to(database, message_id)

    def branches(self, chat_id: str, limit: int = 200) -> list[StoredBranch]:
        """Returns every branch of the chat, by its last message: the `limit` newest, newest first."""
        with self._transaction("DEFERRED") as database:
            return messages.branches_of(database, chat_id, limit)

    def tree(self, chat_id: str) -> list[TreeMessage]:
        """Returns every message of the chat with the beginning of its text, parents before what follows them."""
        with self._transaction("DEFERRED") as database:
            return messages.tree_of(database, chat_id)

    def newest_tip_below(self, message_id: int) -> int:
        """Returns the message that ends the newest path through this one; itself where nothing follows."""
        with self._transaction("DEFERRED") as database:
            return messages.newest_tip_below(database, message_id)

    # --- adding ---------------------------------------------------------------------------------------------

    def add_user_message(
        self,
        chat_id: str,
        text: str,
        parent_id: int | None = None,
        *,
        made_at: int | None = None,
        attachments: Sequence[Attachment] = (),
        bounds: AnswerBounds | None = None,
    ) -> int:
        """Commits what the user said below `parent_id` (None: below the tip) and moves the tip to it.

        To say something else instead of the very first message, `set_tip(chat_id, None)` first.

        Returns:
            The message's id. The first message also titles a chat that has no title.
        """
        with self._transaction() as database:
            chat = chats.read_chat(database, chat_id)
            parent = chat.tip_message_id if parent_id is None else parent_id
            message_id = messages.insert_message(
                database, chat_id, parent, Role.USER, text, made_at, attachments, bounds
            )
            if not chat.title:
                chats.set_column(database, chat_id, "title", title_of(text, attachments))
            return message_id

    def replace_user_message(
        self,
        message_id: int,
        text: str,
        *,
        made_at: int | None = None,
        attachments: Sequence[Attachment] = (),
        bounds: AnswerBounds | None = None,
    ) -> int:
        """Commits another version of what the user said, beside the one of that id, and moves the tip to it.

        Returns:
            The new message's id.
        """
        with self._transaction() as database:
            replaced = messages.message_row(database, message_id)
            if replaced.role is not Role.USER:
                raise CallerError(f"Message {message_id} is not a message of the user.")
            place = replaced.chat_id, replaced.parent_id
            return messages.insert_message(database, *place, Role.USER, text, made_at, attachments, bounds)

    def set_message_bounds(self, message_id: int, bounds: AnswerBounds | None) -> None:
        """Remembers what binds the answers to what the user said; None: what binds all answers of the chat."""
        with self._transaction() as database:
            messages.set_bounds(database, message_id, bounds)

    def add_answer_version(self, message_id: int, text: str, *, made_at: int | None = None) -> int:
        """Commits another version of an answer, which the user has written, and moves the tip to it.

        It keeps all tokens of the old version as those of the text before the edit; with the same text, they are its
        own, and it ended as the old one did.

        Returns:
            The new message's id.
        """
        with self._transaction() as database:
            return messages.insert_answer_version(database, message_id, text, made_at)

    # --- deleting -------------------------------------------------------------------------------------------

    def delete_messages(self, message_id: int, deleted_at: int, tip_message_id: int | None) -> int:
        """Deletes a message and all that follows it, on every branch, and moves the tip elsewhere.

        Args:
            message_id: The message.
            deleted_at: The moment of it, of `new_moment`; `bring_back` takes it.
            tip_message_id: Where the path that is shown ends from now on; None: before any first message.

        Returns:
            How many messages were deleted at that moment.
        """
        with self._transaction() as database:
            chat_id = messages.message_row(database, message_id).chat_id
            count = deletions.delete_below(database, message_id, deleted_at)
            self._move_tip(database, chat_id, tip_message_id)
            return count

    def delete_message(self, message_id: int, deleted_at: int, tip_message_id: int | None) -> None:
        """Deletes a message alone, and moves the tip: what follows it stands below the message before it from now on.

        The arguments are those of `delete_messages`.
        """
        with self._transaction() as database:
            chat_id = messages.message_row(database, message_id).chat_id
            deletions.delete_alone(database, message_id, deleted_at)
            self._move_tip(database, chat_id, tip_message_id)

    def bring_back(self, chat_id: str, deleted_at: int, tip_message_id: int | None) -> None:
        """Takes back the deletion of that moment, and moves the tip."""
        with self._transaction() as database:
            deletions.bring_back(database, chat_id, deleted_at)
            self._move_tip(database, chat_id, tip_message_id)

    def last_deletion(self, chat_id: str) -> Deletion | None:
        """Returns what was deleted last and is not brought back; None if nothing was."""
        with self._transaction("DEFERRED") as database:
            return deletions.last_deletion(database, chat_id)

    def remove_version(self, message_id: int, chat_id: str, tip_message_id: int | None) -> None:
        """Removes a message for good, if it is still there and nothing was ever said below it, and moves the tip."""
        with self._transaction() as database:
            self._move_tip(database, chat_id, tip_message_id)
            deletions.remove_childless(database, message_id)

    @staticmethod
    def _move_tip(database: sqlite3.Connection, chat_id: str, message_id: int | None) -> None:
        chats.require_chat(database, chat_id)
        if message_id is not None:
            messages.require_message(database, chat_id, message_id)
        chats.move_tip(database, chat_id, message_id)
