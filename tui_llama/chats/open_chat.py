"""The chat that is on the screen: the path that is shown, and each change written to the chat's record.

The record is in memory, which is what the screen and the engine see, so a disk that fails costs the conversation
nothing. A chat is made in the record with its first message; an empty one leaves nothing behind. An incognito one has
a journal of its own, whose store is in memory, and is gone when it is left.
"""

from tui_llama.chats.entry import Entry, entries_of
from tui_llama.chats.journal import Journal
from tui_llama.chats.path.changes import ChangedPath
from tui_llama.chats.record import ChatRecord

__all__ = ["Entry", "OpenChat"]


class OpenChat(ChangedPath):
    """A chat, new or from the store.

    Attributes:
        left_out_messages: How many of the oldest did not fit into the last prompt.
    """

    def __init__(
        self, journal: Journal, *, model_path: str = "", system_prompt: str = "", record: ChatRecord | None = None
    ) -> None:
        super().__init__(journal, model_path=model_path, system_prompt=system_prompt, record=record)
        self.left_out_messages = 0

    @classmethod
    async def restore(cls, journal: Journal, chat_id: str) -> "OpenChat":
        """Opens the chat of that id as it is remembered.

        Raises:
            StoreError: it cannot be read, or is no longer there.
        """
        record = await ChatRecord.open(journal, chat_id)
        opened = cls(journal, record=record)
        opened._take_facts()
        opened.entries = await opened._read(lambda memory: entries_of(memory, chat_id))
        return opened

    async def leave(self) -> None:
        """Lets the chat leave the screen; nothing is left of an incognito one."""
        self._record.leave()
        if self.is_incognito:
            await self._journal.close()
