"""What the user has written and not sent, and what was sent before, for all chats."""

from collections.abc import Sequence

from tui_llama.chat import Attachment
from tui_llama.chats.database.moments import present
from tui_llama.chats.database.store_file import StoreFile
from tui_llama.chats.database.tables import drafts
from tui_llama.chats.stored import StoredDraft, StoredText

HISTORY_LENGTH = 1000


class UnsentTexts(StoreFile):
    """The part of a store that helps to write."""

    def draft(self, chat_id: str) -> StoredDraft:
        """Returns what is written in a chat and not sent; an empty one if nothing is."""
        with self._transaction("DEFERRED") as database:
            return drafts.read_draft(database, chat_id)

    def keep_draft(self, chat_id: str, text: str, attachments: Sequence[Attachment] = ()) -> None:
        """Commits what is written in a chat and not sent, in place of what was; the chat need not be stored yet."""
        with self._transaction() as database:
            drafts.write_draft(database, chat_id, text, attachments, present())

    def sent_texts(self, limit: int = HISTORY_LENGTH) -> list[StoredText]:
        """Returns the texts that were sent last in all chats, newest first, each text once."""
        with self._transaction("DEFERRED") as database:
            return drafts.sent_texts(database, limit)
