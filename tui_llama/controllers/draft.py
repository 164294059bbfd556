"""Keeps what is written and not sent over the end of the program, however that comes."""

import asyncio
from typing import Final

from tui_llama.chats.journal import Journal
from tui_llama.controllers.views import RunAlone, ScreenView
from tui_llama.screens.commands import parse_slash, unescaped
from tui_llama.turn.live_chats import LiveChats, OfShownChat

KEY: Final = "draft"
"""The store's preference that has it."""

DRAFT_SECONDS = 1.0


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
        """Returns what was written and not sent when the program ended; empty if nothing was, or nobody knows."""
        kept: str | None = await self._journal.read_or(lambda store: store.preference(KEY), None)
        self.text = kept or ""
        return self.text

    def keep(self, text: str) -> None:
        """Writes the draft, unless it is what is kept already."""
        if text != self.text:
            self.text = text
            self._journal.write(lambda store: store.set_preference(KEY, text), self)


class DraftController(OfShownChat):
    """The draft in the composer of an app.

    Args:
        journal: Writes the draft.
        live_chats: Have the driver of the chat on the screen.
        view: The app.
        run: Runs a coroutine of a group in place of what is under way in it.
    """

    def __init__(self, journal: Journal, live_chats: LiveChats, view: ScreenView, run: RunAlone) -> None:
        super().__init__(live_chats)
        self._keeper = DraftKeeper(journal)
        self._view = view
        self._run = run

    @property
    def sendable(self) -> str:
        """The part of the draft that will be sent; a command is not sent."""
        text = self._view.chat_screen.composer.text.lstrip("\n")
        return "" if parse_slash(text) else unescaped(text)

    async def restore(self) -> None:
        """Puts the kept draft into the composer, unless something is written there."""
        draft, composer = await self._keeper.restore(), self._view.chat_screen.composer
        if draft and not composer.text:
            composer.replace_text(draft)

    def keep_soon(self) -> None:
        """Keeps the draft once it has rested for a while."""
        self._run("draft", self._keep_later)

    async def _keep_later(self) -> None:
        await asyncio.sleep(DRAFT_SECONDS)
        self.keep()

    def keep(self) -> None:
        """Keeps the draft as it is now; where the composer is gone already, what was kept before stays."""
        if self._view.chat_screen.has_composer and not self._turn_driver.chat.is_incognito:
            self._keeper.keep(self._view.chat_screen.composer.text)
