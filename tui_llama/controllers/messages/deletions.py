"""Deletes messages: one alone or with all that follows it, as the user chooses, and tells what each costs."""

from collections.abc import Callable, Coroutine
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from tui_llama import conversation
from tui_llama.chats.open_chat import OpenChat
from tui_llama.controllers.composing.draft import DraftController
from tui_llama.controllers.messages.path_changes import PathChanges
from tui_llama.controllers.views import DialogView, HintView
from tui_llama.errors import UserError
from tui_llama.turn.live_chats import LiveChats, OfShownChat

if TYPE_CHECKING:
    from tui_llama.screens.dialogs.messages.delete_message import DeleteMessage


class DeletionsView(DialogView, HintView, Protocol):
    """The app, as it is used here."""

    def run_beside(self, work: Callable[[], Coroutine[Any, Any, None]], group: str) -> object:
        """Runs work beside others of its group."""
        ...


class Deletions(OfShownChat):
    """Deletes messages of the chat on the screen.

    Args:
        live_chats: Have the driver of the chat on the screen.
        changes: Changes the path.
        draft: What is written, and may be the next message.
        focus: Gives the focus to a message near a position, where a message has it.
        view: The app.
    """

    def __init__(
        self,
        live_chats: LiveChats,
        changes: PathChanges,
        draft: DraftController,
        focus: Callable[[int], None],
        view: DeletionsView,
    ) -> None:
        super().__init__(live_chats)
        self._changes = changes
        self._draft = draft
        self._focus = focus
        self._view = view

    def delete(self, position: int) -> None:
        """Deletes message number `position`; where something follows it, asks whether that goes as well."""
        chat = self._turn_driver.chat
        message_id, count = chat.entries[position].message_id, chat.count_below(position)
        if count == 1:
            self._delete(chat, message_id, is_alone=False)
            return
        from tui_llama.screens.dialogs.messages.delete_message import DeleteMessage

        def chosen(is_alone: bool | None) -> None:
            if is_alone is not None:
                self._delete(chat, message_id, is_alone=is_alone)

        dialog = DeleteMessage(chat.entries[position].text, count - 1)
        self._view.push_screen(dialog, chosen)
        self._view.run_beside(partial(self._tell_price, dialog, chat, message_id), "deletion")

    def delete_named(self, word: str) -> None:
        """Deletes the last message of the path, if that is what a word behind the command names."""
        if word not in ("message", "last"):
            self._view.show_hint("Write /delete for this chat, or /delete message for its last message.")
        elif self._turn_driver.chat.is_empty:
            self._view.show_hint("There is no message to delete.")
        else:
            self.delete(len(self._turn_driver.chat.entries) - 1)

    def _delete(self, chat: OpenChat, message_id: int, *, is_alone: bool) -> None:
        position = _position_of(chat, message_id)
        if position is None or self._turn_driver.chat is not chat:
            return
        count = 1 if is_alone else chat.count_below(position)

        def tell() -> None:
            what = "The message is deleted" if count == 1 else f"{count} messages are deleted"
            self._view.show_hint(f"{what}; u or /undo brings {'it' if count == 1 else 'them'} back.")
            self._focus(position)

        self._changes.make(conversation.DeleteMessage(position, is_alone), tell)

    async def _tell_price(self, dialog: "DeleteMessage", chat: OpenChat, message_id: int) -> None:
        """Says in the dialog what the next answer has to read again where the message is deleted alone."""
        driver, position = self._turn_driver, _position_of(chat, message_id)
        if driver.chat is not chat or position is None:
            return
        if not driver.capabilities.can_estimate:
            dialog.tell_price("The server reads again what follows it.")
            return
        try:
            estimate = await driver.questions.estimate_without(position, self._draft.sendable)
        except UserError:
            return  # what it says is of the next message, which is not what is asked here
        if estimate is not None:
            dialog.tell_price(f"The next answer then {driver.meter.price(estimate)}.")


def _position_of(chat: OpenChat, message_id: int) -> int | None:
    return next((at for at, entry in enumerate(chat.entries) if entry.message_id == message_id), None)
