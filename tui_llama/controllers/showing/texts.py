"""Copies what was said, and shows what is too long for the conversation."""

import os
from collections.abc import Sequence
from functools import partial
from typing import Final, Protocol

from tui_llama import paths
from tui_llama.chat import Role
from tui_llama.controllers.views import DialogView, HintView, RunAlone, ScreenView
from tui_llama.screens.commands import Choice
from tui_llama.turn.live_chats import LiveChats, OfShownChat
from tui_llama.widgets.long_text import is_long

_MOST_CHOICES: Final = 100
_BEGINNING: Final = 60  # characters
_NO_MESSAGES: Final = "There are no messages yet."


class TextsView(ScreenView, DialogView, HintView, Protocol):
    """The app, as the controller uses it."""

    def keep_for_paste(self, text: str) -> None:
        """Keeps a text that a key pastes, whatever the terminal does with it."""
        ...

    def write_sequence(self, sequence: str) -> None:
        """Writes to the terminal what it obeys."""
        ...


class TextsController(OfShownChat):
    """The texts of a chat.

    Args:
        live_chats: Have the driver of the chat on the screen.
        view: The app.
        run: Runs what waits for a program.
    """

    def __init__(self, live_chats: LiveChats, view: TextsView, run: RunAlone) -> None:
        super().__init__(live_chats)
        self._view = view
        self._run = run

    def copy_selection(self) -> bool:
        """Copies what is selected, or says why not; returns whether something is."""
        screen = self._view.chat_screen
        if not screen.composer.selected_text and screen.selection_is_cut:
            screen.clear_selection()
            self._view.show_hint("Nothing is copied: a part of the selection is too far away. Copy message by message.")
            return True
        selected = screen.composer.selected_text or screen.get_selected_text()
        if not selected:
            return False
        screen.clear_selection()
        self.copy(selected, "The selection")
        return True

    def copy_answer(self, what: str = "") -> None:
        """Copies a message as it was written, or a code block of it: the one in focus, else the last answer.

        Args:
            what: Empty for the message, "code" for its last code block, "code 2" for the second.
        """
        position, name = self._wanted_message()
        if position is None:
            self._view.show_hint("There is no answer to copy yet.")
            return
        text, words = self._turn_driver.chat.entries[position].text, what.split()
        if not words:
            self.copy(text, name)
        elif words[0] == "code" and len(words) <= 2 and (len(words) == 1 or words[1].isdecimal()):
            self.copy_code(text, int(words[1]) if len(words) == 2 else None)
        else:
            self._view.show_hint("/copy copies the last answer, /copy code its last code, /copy code 2 its second.")

    def _wanted_message(self) -> tuple[int | None, str]:
        """Returns the number of the message in focus, else of the last answer, and what the user calls it."""
        entries, in_focus = self._turn_driver.chat.entries, self._view.chat_screen.transcript.in_focus
        if in_focus is not None and in_focus < len(entries):
            return in_focus, "The message"
        answers = [number for number, entry in enumerate(entries) if entry.role is Role.ASSISTANT]
        return (answers[-1] if answers else None), "The last answer"

    def copy_code(self, text: str, number: int | None = None) -> None:
        """Copies code block `number` of a message, counted from 1; None for the last."""
        from tui_llama.widgets.markdown.code import code_blocks

        blocks = code_blocks(text)
        if not blocks:
            self._view.show_hint("There is no code to copy in this message.")
        elif number is None or 1 <= number <= len(blocks):
            number = number or len(blocks)
            self.copy(blocks[number - 1], f"Code block {number} of {len(blocks)}")
        else:
            self._view.show_hint(f"This message has {len(blocks)} code block{'s' * (len(blocks) > 1)}.")

    def copy(self, text: str, name: str) -> None:
        """Copies any text and tells the user which way it took. `name` is what the user calls it."""
        self._view.keep_for_paste(text)
        self._run("copy", partial(self._copy, text, name))

    async def _copy(self, text: str, name: str) -> None:
        from tui_llama.system import clipboard

        # Of an incognito chat nothing comes onto the disk.
        file = None if self._turn_driver.chat.is_incognito else paths.data_folder() / "copied.txt"
        try:
            copied = await clipboard.copy(text, os.environ, self._view.write_sequence, file)
        except OSError as error:
            self._view.show_hint(f"{name} could not be copied: {file} cannot be written ({error.strerror}).")
        else:
            way = "not copied: nothing here reaches a clipboard" if copied is None else f"copied {copied.words}"
            self._view.show_hint(f"{name} was {way}.")

    def copy_message(self, position: int) -> None:
        """Copies message number `position` as it was written."""
        self.copy(self._turn_driver.chat.entries[position].text, "The message")

    def copy_code_of(self, position: int, number: int | None = None) -> None:
        """Copies code block `number` of message number `position`; None for the last."""
        entries = self._turn_driver.chat.entries
        if position < len(entries):
            self.copy_code(entries[position].text, number)

    def show_raw(self, which: str = "") -> None:
        """Shows a message as it was written, with the marks of its Markdown.

        Args:
            which: Which message, counted from the last one, which is 1.
                Empty for the one in focus, else the last answer.
        """
        count = len(self._turn_driver.chat.entries)
        if not which:
            position, _ = self._wanted_message()
            if position is None:
                self._view.show_hint("There is no answer to show yet.")
                return
            self.show_raw_of(position)
        elif which.isdecimal() and 1 <= int(which) <= count:
            self.show_raw_of(count - int(which))
        else:
            self._view.show_hint(f"/raw takes a message: 1 is the last, {count} the first." if count else _NO_MESSAGES)

    def show_raw_of(self, position: int) -> None:
        """Shows message number `position` as it was written."""
        self.show_whole(self._turn_driver.chat.entries[position].text)

    def message_choices(self, typed: str) -> Sequence[Choice]:
        """Returns the messages as arguments of a slash command, the last one first, each with its first words."""
        latest = self._turn_driver.chat.entries[: -_MOST_CHOICES - 1 : -1]
        return [
            Choice(f"{number}", f"{'answer' if entry.role is Role.ASSISTANT else 'you'}: {entry.text[:_BEGINNING]}")
            for number, entry in enumerate(latest, 1)
        ]

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
