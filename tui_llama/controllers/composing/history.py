"""The messages that were sent before, in all chats: Up goes through them, and a list finds one."""

from typing import Protocol

from tui_llama.chats.journal import Journal
from tui_llama.chats.stored import StoredText
from tui_llama.controllers.views import DialogView, HintView, RunAlone, ScreenView
from tui_llama.turn.live_chats import LiveChats, OfShownChat


class HistoryView(ScreenView, DialogView, HintView, Protocol):
    """The app, as the controller uses it."""


class HistoryController(OfShownChat):
    """What was sent before.

    Args:
        journal: Of the store with all chats.
        live_chats: Have the driver of the chat on the screen.
        view: The app.
        run: Runs a coroutine of a group in place of what is under way in it.
    """

    def __init__(self, journal: Journal, live_chats: LiveChats, view: HistoryView, run: RunAlone) -> None:
        super().__init__(live_chats)
        self._journal = journal
        self._view = view
        self._run = run
        self._filled_for: object = None

    def follow(self) -> None:
        """Lets Up go on to what was sent in other chats, if another chat is shown now."""
        chat = self._turn_driver.chat
        if chat is not self._filled_for and self._view.can_draw:
            self._filled_for = chat
            self._run("history", self._fill)

    async def _fill(self) -> None:
        texts = await self._sent_texts()
        if self._view.can_draw:
            self._view.chat_screen.composer.set_older_history([sent.text for sent in reversed(texts)])

    async def _sent_texts(self) -> list[StoredText]:
        nothing: list[StoredText] = []
        return await self._journal.read_or(lambda store: store.sent_texts(), nothing)

    def search(self) -> None:
        """Opens the list of the messages that were sent, to write one of them again."""
        self._run("lists", self._search)

    async def _search(self) -> None:
        from datetime import datetime

        from tui_llama.screens.dialogs.history_list import HistoryList

        texts = await self._sent_texts()
        if not texts:
            self._view.show_hint("No message was sent yet.")
            return

        def chosen(text: str | None) -> None:
            if text is not None:
                self._view.chat_screen.composer.recall(text)

        await self._view.push_screen(HistoryList(texts, datetime.now().astimezone()), chosen)
