"""Copies what was said, and shows what is too long for the conversation."""

from typing import Protocol

from tui_llama.controllers.views import DialogView, HintView, ScreenView
from tui_llama.turn.live_chats import LiveChats, OfShownChat
from tui_llama.widgets.long_text import is_long


class TextsView(ScreenView, DialogView, HintView, Protocol):
    """The app, as the controller uses it."""

    def copy_to_clipboard(self, text: str) -> None:
        """Copies the text."""
        ...


class TextsController(OfShownChat):
    """The texts of a chat.

    Args:
        live_chats: Have the driver of the chat on the screen.
        view: The app.
    """

    def __init__(self, live_chats: LiveChats, view: TextsView) -> None:
        super().__init__(live_chats)
        self._view = view

    def copy_selection(self) -> bool:
        """Copies what is selected; returns whether something is."""
        screen = self._view.chat_screen
        selected = screen.composer.selected_text or screen.get_selected_text()
        if not selected:
            return False
        self._view.copy_to_clipboard(selected)
        screen.clear_selection()
        self._view.show_hint("Copied.")
        return True

    def copy_answer(self) -> None:
        """Copies the last answer as it was written."""
        answer = self._turn_driver.chat.last_answer
        if answer is None:
            self._view.show_hint("There is no answer to copy yet.")
        else:
            self._view.copy_to_clipboard(answer.text)
            self._view.show_hint("The last answer was copied.")

    def show_last_long(self) -> None:
        """Shows all of the user's last message of which only the beginning is shown."""
        long_texts = [text for text in self._turn_driver.chat.user_texts if is_long(text)]
        if long_texts:
            self.show_whole(long_texts[-1])
        else:
            self._view.show_hint("All messages are already shown in full.")

    def show_whole(self, text: str) -> None:
        """Shows a text on a screen of its own."""
        from tui_llama.screens.dialogs.whole_text import WholeText

        self._view.push_screen(WholeText(text))
