"""Changes the path of the chat on the screen; while an answer comes, asks first whether to stop it.

One machine, one driver and one record hold a chat, and its open answer is the end of the path that they hold. So the
answer cannot go on behind another branch. It is not lost either: it is stopped, and its text stays where it was.
"""

from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, Protocol

from tui_llama import conversation
from tui_llama.chats.open_chat import OpenChat
from tui_llama.controllers.composing.editing import EditingController
from tui_llama.controllers.views import DialogView, HintView, WishView
from tui_llama.turn.live_chats import LiveChats, OfShownChat


class PathView(DialogView, HintView, WishView, Protocol):
    """The app, as it is used here."""

    def show_status(self) -> None:
        """Shows everything around the messages as it is now."""
        ...

    def run_beside(self, work: Callable[[], Coroutine[Any, Any, None]], group: str) -> object:
        """Runs work beside others of its group."""
        ...


class PathChanges(OfShownChat):
    """What changes the path.

    Args:
        live_chats: Have the driver of the chat on the screen.
        editing: Is left before the path changes, since what is edited may not be on it any more.
        view: The app.
    """

    def __init__(self, live_chats: LiveChats, editing: EditingController, view: PathView) -> None:
        super().__init__(live_chats)
        self._editing = editing
        self._view = view

    def make(self, change: conversation.ChangePath, then: Callable[[], object] = lambda: None) -> None:
        """Changes the path, and does something `then`; while an answer comes, if the user lets it be stopped."""
        driver = self._turn_driver
        if driver.allows(type(change)) or not driver.is_busy:
            self._make(change, then)
            return
        from tui_llama.screens.dialogs.ask_whether import AskWhether

        chat = driver.chat

        def answered(is_certain: bool | None) -> None:
            if is_certain and self._turn_driver.chat is chat:
                self._view.run_beside(partial(self._stop_and_make, chat, change, then), "path")

        told = "What it has said so far stays where it is, and F5 goes on from there later."
        if not driver.answer_is_open:
            told = "It has not begun yet. Ctrl+R asks for it again later."
        self._view.push_screen(AskWhether("Stop the answer first?", told, "Stop it"), answered)

    async def _stop_and_make(self, chat: OpenChat, change: conversation.ChangePath, then: Callable[[], object]) -> None:
        await self._turn_driver.stop_and_wait()
        if self._turn_driver.chat is chat:
            self._make(change, then)

    def _make(self, change: conversation.ChangePath, then: Callable[[], object]) -> None:
        if self._turn_driver.allows(type(change)) and self._editing.is_editing:
            self._editing.leave()
        is_done = self._view.wish(change)
        self._view.show_status()
        if is_done:
            then()
