"""The list of chats, from which the user opens, renames and deletes them."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import ClassVar

import msgspec
from textual.binding import BindingType
from textual.content import Content
from textual.message import Message

from tui_llama.chats.stored import ChatSummary
from tui_llama.screens.dialogs.ask_text import AskText
from tui_llama.screens.dialogs.ask_whether import AskWhether
from tui_llama.screens.dialogs.pick import PickDialog, count_and_time, two_sides
from tui_llama.screens.marks import MARK_SIGNS
from tui_llama.text_safety import sanitize_line
from tui_llama.turn.live_chats import Mark
from tui_llama.widgets.local_keys import CHATS, local_bindings


class ListedChat(msgspec.Struct, frozen=True):
    """A chat of the list, and whether it is the open one. The title and the model's name are not trusted.

    `mark` says what goes on in it while another one is open; None for nothing.
    """

    chat: ChatSummary
    is_open: bool
    mark: Mark | None = None


class ChatList(PickDialog[ListedChat, str | None]):
    """A dialog whose result is the id of the chat to open, or None.

    Args:
        chats: The chats, newest first.
        now: The present time, which decides what is "today".
    """

    HELP = """Chats
    All chats, the newest first. Type a part of a title or of a model's name to find one.
    """
    TITLE_TEXT = "Chats"
    KEYS = "Enter open · {chats_rename} rename · {chats_delete} delete · {dialog_close} close"
    BINDINGS: ClassVar[list[BindingType]] = [
        *local_bindings(CHATS),
    ]

    class RenameWanted(Message):
        """Posted when the user gives a chat another title."""

        def __init__(self, chat_list: "ChatList", chat_id: str, title: str) -> None:
            super().__init__()
            self.chat_list = chat_list
            self.chat_id = chat_id
            self.title = title

    class DeleteWanted(Message):
        """Posted when the user has confirmed that a chat should be deleted."""

        def __init__(self, chat_list: "ChatList", chat_id: str) -> None:
            super().__init__()
            self.chat_list = chat_list
            self.chat_id = chat_id

    def __init__(self, chats: Sequence[ListedChat], now: datetime) -> None:
        super().__init__(chats)
        self._now = now
        self._marks = {item.chat.chat_id: item.mark for item in chats if item.mark is not None}

    def line(self, item: ListedChat, width: int) -> Content:
        """Returns the title, and on the right the number of messages and the time."""
        mark = "● " if item.is_open else f"{MARK_SIGNS[item.mark]} " if item.mark is not None else "  "
        title = sanitize_line(item.chat.title) or "Untitled"
        detail = count_and_time(item.chat.message_count, item.chat.updated_at, self._now, width)
        words = f"{item.mark.value}  " if item.mark is not None else ""
        return two_sides(mark + title, words + detail, width)

    def show_marks(self, marks: Mapping[str, Mark]) -> bool:
        """Takes what goes on in the chats now; tells whether that is something else than what is listed."""
        is_new, self._marks = marks != self._marks, dict(marks)
        return is_new

    def words(self, item: ListedChat) -> str:
        """Returns the title and the model's name."""
        return f"{item.chat.title} {item.chat.model_name}"

    def choose(self, item: ListedChat) -> None:
        """Closes the list with this chat as the one to open."""
        self.dismiss(item.chat.chat_id)

    def advice_when_empty(self, filter_text: str) -> str:
        """Says why no chat is listed."""
        if filter_text:
            return "No chat has this text in its title or its model's name."
        return "No chats yet. Chats are saved here automatically."

    def action_rename(self) -> None:
        """Asks for another title of the chat under the cursor."""
        item = self.highlighted
        if item is None:
            return
        chat = item.chat

        def rename(title: str | None) -> None:
            if title:
                self.post_message(self.RenameWanted(self, chat.chat_id, title))

        self.app.push_screen(AskText("Rename chat", chat.title), rename)

    def action_delete(self) -> None:
        """Asks whether to delete the chat under the cursor."""
        item = self.highlighted
        if item is None:
            return
        chat = item.chat

        def delete(is_certain: bool | None) -> None:
            if is_certain:
                self.post_message(self.DeleteWanted(self, chat.chat_id))

        self.app.push_screen(AskWhether("Delete this chat for good?", chat.title, "Delete"), delete)
