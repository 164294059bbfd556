"""Carries out what the user wants of the message in focus, and of the path that it is on."""

from collections.abc import Callable, Mapping
from typing import Protocol

from tui_llama import conversation
from tui_llama.chat import Role
from tui_llama.controllers.editing import EditingController
from tui_llama.controllers.messages.other_answers import OtherAnswers
from tui_llama.controllers.texts import TextsController
from tui_llama.controllers.turn import TurnController
from tui_llama.controllers.views import DialogView, HintView, ScreenView, WishView
from tui_llama.turn.live_chats import LiveChats, OfShownChat
from tui_llama.widgets.messages.acts import Act, hints


class MessagesView(ScreenView, DialogView, HintView, WishView, Protocol):
    """The app, as the controller uses it."""

    def show_status(self) -> None:
        """Shows everything around the messages as it is now."""
        ...


class MessagesController(OfShownChat):
    """The messages of the chat on the screen, one of which may have the focus.

    Args:
        live_chats: Have the driver of the chat on the screen.
        editing: Edits messages, and is left before the path changes.
        turn: Answers again, and goes on.
        texts: Copies messages.
        other_answers: Lets the user choose how to answer again.
        view: The app.
    """

    def __init__(
        self,
        live_chats: LiveChats,
        editing: EditingController,
        turn: TurnController,
        texts: TextsController,
        other_answers: OtherAnswers,
        view: MessagesView,
    ) -> None:
        super().__init__(live_chats)
        self._editing = editing
        self._view = view
        self._acts: Mapping[Act, Callable[[int], None]] = {
            Act.EDIT: editing.edit,
            Act.CONTINUE: self._then_write(turn.continue_answer),
            Act.COPY: texts.copy_message,
            Act.COPY_CODE: texts.copy_code_of,
            Act.RAW: texts.show_raw_of,
            Act.REGENERATE: other_answers.choose,
            Act.BRANCH: self.branch,
            Act.DELETE: self.delete,
            Act.OLDER: lambda position: self.show_version(position, -1),
            Act.NEWER: lambda position: self.show_version(position, 1),
            Act.UNDO: lambda _position: self.undo(),
        }

    # --- the focus ------------------------------------------------------------------------------------------------

    def focus_last(self) -> None:
        """Goes to the messages: to the one that is edited, else to the last."""
        chat, editing = self._turn_driver.chat, self._editing.position
        if chat.is_empty:
            self._view.show_hint("There are no messages yet.")
        else:
            self._view.chat_screen.transcript.focus_message(len(chat.entries) - 1 if editing is None else editing)

    def write_again(self) -> None:
        """Goes back to what is written."""
        screen = self._view.chat_screen
        screen.composer.focus()
        if not self._editing.is_editing:
            screen.transcript.follow()

    def show_hints(self, position: int | None) -> None:
        """Shows what can be done with the message in focus; None: none has it."""
        entries = self._turn_driver.chat.entries
        keys: list[str] = []
        if position is not None and position < len(entries):
            entry = entries[position]
            keys = hints(
                is_answer=entry.role is Role.ASSISTANT, version=entry.version, version_count=entry.version_count
            )
        self._view.chat_screen.show_message_keys(keys)

    def act(self, act: Act, position: int) -> None:
        """Does something with message number `position`, which may be gone by now."""
        if position < len(self._turn_driver.chat.entries):
            self._acts[act](position)

    def _then_write(self, do: Callable[[int], None]) -> Callable[[int], None]:
        def both(position: int) -> None:
            self._view.chat_screen.composer.focus()
            do(position)

        return both

    # --- the path -------------------------------------------------------------------------------------------------

    def branch(self, position: int) -> None:
        """Lets the user go on from message number `position`; what follows it stays as a branch."""
        entries = self._turn_driver.chat.entries
        is_last, is_answer = position == len(entries) - 1, entries[position].role is Role.ASSISTANT
        if is_last and is_answer:
            self._view.show_hint("This is the end of the chat; just write.")
        elif is_last or self._change(conversation.Branch(position)):
            self._view.show_hint(
                "A new branch: write what comes next. /undo goes back."
                if is_answer
                else "A new branch: Ctrl+R answers your message again. /undo goes back."
            )
        self._view.chat_screen.composer.focus()

    def delete(self, position: int) -> None:
        """Deletes message number `position` with all that follows it, and tells how many messages that were."""
        chat = self._turn_driver.chat
        count = chat.count_below(position)
        if self._change(conversation.DeleteMessage(position)):
            what = "The message is deleted" if count == 1 else f"{count} messages are deleted"
            self._view.show_hint(f"{what}; u or /undo brings {'it' if count == 1 else 'them'} back.")
            self._focus_near(position)

    def show_version(self, position: int, step: int) -> None:
        """Shows another version of message number `position`, `step` after this one; the chat goes on from there."""
        chat = self._turn_driver.chat
        if not self._turn_driver.allows(conversation.ShowMessage):
            self._view.wish(conversation.ShowMessage(0))  # which tells why not
            return
        version = chat.version_beside(position, step)
        if version is not None and self._change(conversation.ShowMessage(version)):
            self._focus_near(position)

    def show_version_of_last(self, step: int) -> None:
        """Shows another version of the last answer, while nothing is written; the user goes on writing."""
        chat = self._turn_driver.chat
        if chat.ends_in_answer and self._turn_driver.allows(conversation.ShowMessage):
            version = chat.version_beside(len(chat.entries) - 1, step)
            if version is not None:
                self._change(conversation.ShowMessage(version))

    def go_to(self, message_id: int) -> None:
        """Shows the path through a message, and gives that message the focus."""
        if self._change(conversation.ShowMessage(message_id)):
            entries = self._turn_driver.chat.entries
            at = next((number for number, entry in enumerate(entries) if entry.message_id == message_id), None)
            if at is not None:
                self._view.chat_screen.transcript.focus_message(at)

    def show_tree(self) -> None:
        """Shows the tree of the chat; the user may go anywhere in it."""
        from tui_llama.screens.dialogs.messages.chat_tree import ChatTree

        chat = self._turn_driver.chat

        def chosen(message_id: int | None) -> None:
            if message_id is not None and self._turn_driver.chat is chat:
                self.go_to(message_id)

        self._view.push_screen(ChatTree(chat.tree(), [entry.message_id for entry in chat.entries]), chosen)

    def undo(self) -> None:
        """Undoes the last edit, deletion, branch or title, and tells which."""
        what = self._turn_driver.chat.undoable
        if what is None:
            self._view.show_hint("There is nothing to undo.")
        elif self._change(conversation.Undo()):
            self._view.show_hint(f"Undone: {what.value}.")
            in_focus = self._view.chat_screen.transcript.in_focus
            if in_focus is not None:
                self._focus_near(in_focus)

    def _change(self, change: conversation.ChangePath) -> bool:
        """Changes the path; what is edited is left first, since it may not be there any more."""
        if self._turn_driver.allows(type(change)) and self._editing.is_editing:
            self._editing.leave()
        is_done = self._view.wish(change)
        self._view.show_status()
        return is_done

    def _focus_near(self, position: int) -> None:
        transcript = self._view.chat_screen.transcript
        if transcript.has_focus:
            transcript.focus_message(position)
