"""What is written and not sent, kept over the end of the program however that comes."""

from typing import Final

from tui_llama.chats.journal import Journal

KEY: Final = "draft"
"""The store's preference that has it."""


class DraftKeeper:
    """Keeps the last draft; an owner of writes, since one that is never stored is a loss.

    Attributes:
        chat_id: Of no chat: it goes along from one to another.
        text: What is kept, or is on its way.
    """

    chat_id = ""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self.text = ""

    async def restore(self) -> str:
        """What was written and not sent when the program ended; empty if nothing was, or nobody knows."""
        kept: str | None = await self._journal.read_or(lambda store: store.preference(KEY), None)
        self.text = kept or ""
        return self.text

    def keep(self, text: str) -> None:
        """This is what is written now."""
        if text != self.text:
            self.text = text
            self._journal.write(lambda store: store.set_preference(KEY, text), self)
