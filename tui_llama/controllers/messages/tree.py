"""Shows the tree of the chat on the screen, and finds out what of it has keys and values on the disk."""

from collections.abc import Callable, Coroutine
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from tui_llama.chats.open_chat import OpenChat
from tui_llama.controllers.views import DialogView
from tui_llama.engine.descriptions import ModelInfo
from tui_llama.errors import UserError
from tui_llama.text_safety import sanitize_line
from tui_llama.turn.live_chats import LiveChats, OfShownChat

if TYPE_CHECKING:
    from tui_llama.screens.dialogs.messages.chat_tree import ChatTree


class TreeView(DialogView, Protocol):
    """The app, as it is used here."""

    def run_beside(self, work: Callable[[], Coroutine[Any, Any, None]], group: str) -> object:
        """Runs work beside others of its group."""
        ...


class TreeController(OfShownChat):
    """The tree of a chat.

    Args:
        live_chats: Have the driver of the chat on the screen.
        go_to: Goes to the message of an id.
        view: The app.
    """

    def __init__(self, live_chats: LiveChats, go_to: Callable[[int], None], view: TreeView) -> None:
        super().__init__(live_chats)
        self._go_to = go_to
        self._view = view

    def show(self) -> None:
        """Shows the tree of the chat; the user may go anywhere in it."""
        from tui_llama.screens.dialogs.messages.chat_tree import ChatTree

        chat = self._turn_driver.chat

        def chosen(message_id: int | None) -> None:
            if message_id is not None and self._turn_driver.chat is chat:
                self._go_to(message_id)

        dialog = ChatTree(chat.tree(), [entry.message_id for entry in chat.entries])
        model = self._turn_driver.model
        why_not = why_nothing_is_stored(chat, model)
        if why_not or model is None:
            dialog.show_stored({}, why_not)
        self._view.push_screen(dialog, chosen)
        if not why_not and model is not None:
            self._view.run_beside(partial(self._mark_stored, dialog, chat, model), "tree")

    async def _mark_stored(self, dialog: "ChatTree", chat: OpenChat, model: ModelInfo) -> None:
        try:
            dialog.show_stored(await chat.stored_messages(model))
        except UserError as error:
            dialog.show_stored({}, sanitize_line(str(error)))


def why_nothing_is_stored(chat: OpenChat, model: ModelInfo | None) -> str:
    """Says why no keys and values of a chat can be on the disk; empty if some may be."""
    if chat.is_incognito:
        return "Nothing of an incognito chat is on disk."
    if model is None:
        return "What is on disk is known when a model is loaded."
    if model.server:
        return f"{sanitize_line(model.server)} keeps keys and values itself, and does not say which."
    if not model.prompt_cache_folder:
        return "Nothing is on disk: the prompt cache is off."
    return ""
