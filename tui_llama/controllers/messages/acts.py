"""Carries out what the user wants of the message in focus, and of the path that it is on."""

from collections.abc import Callable, Coroutine, Mapping
from typing import Any, Protocol

from tui_llama import conversation
from tui_llama.chat import Role
from tui_llama.chats.open_chat import Entry
from tui_llama.controllers.composing.draft import DraftController
from tui_llama.controllers.composing.editing import EditingController
from tui_llama.controllers.messages.deletions import Deletions
from tui_llama.controllers.messages.other_answers import OtherAnswers
from tui_llama.controllers.messages.path_changes import PathChanges
from tui_llama.controllers.messages.tree import TreeController
from tui_llama.controllers.showing.texts import TextsController
from tui_llama.controllers.turns.turn import TurnController
from tui_llama.controllers.views import DialogView, HintView, ScreenView, WishView
from tui_llama.turn.live_chats import LiveChats, OfShownChat
from tui_llama.widgets.long_text import is_long
from tui_llama.widgets.messages.acts import Act, hints


class MessagesView(ScreenView, DialogView, HintView, WishView, Protocol):
    """The app, as the controller uses it."""

    def show_status(self) -> None:
        """Shows everything around the messages as it is now."""
        ...

    def run_beside(self, work: Callable[[], Coroutine[Any, Any, None]], group: str) -> object:
        """Runs work beside others of its group."""
        ...


class MessagesController(OfShownChat):
    """The messages of the chat on the screen, one of which may have the focus.

    Args:
        live_chats: Have the driver of the chat on the screen.
        editing: Edits messages, and is left before the path changes.
        turn: Answers again, and goes on.
        texts: Copies messages.
        other_answers: Lets the user choose how to answer again.
        draft: What is written.
        view: The app.

    Attributes:
        tree: Shows the tree of the chat.
        deletions: Deletes messages.
    """

    def __init__(
        self,
        live_chats: LiveChats,
        editing: EditingController,
        turn: TurnController,
        texts: TextsController,
        other_answers: OtherAnswers,
        draft: DraftController,
        view: MessagesView,
    ) -> None:
        super().__init__(live_chats)
        self._editing = editing
        self._view = view
        self._changes = PathChanges(live_chats, editing, view)
        self.tree = TreeController(live_chats, self.go_to, view)
        self.deletions = Deletions(live_chats, self._changes, draft, self._focus_near, view)
        self._acts: Mapping[Act, Callable[[int], None]] = {
            Act.EDIT: editing.edit,
            Act.CONTINUE: self._then_write(turn.continue_answer),
            Act.COPY: texts.copy_message,
            Act.COPY_CODE: texts.copy_code_of,
            Act.RAW: texts.show_raw_of,
            Act.REGENERATE: other_answers.choose,
            Act.BRANCH: self.branch,
            Act.DELETE: self.deletions.delete,
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
                is_answer=entry.role is Role.ASSISTANT,
                version=entry.version,
                version_count=entry.version_count,
                folded=_folded(entry),
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

        def tell() -> None:
            self._view.show_hint(
                "A new branch: write what comes next. /undo goes back."
                if is_answer
                else "A new branch: Ctrl+R answers your message again. /undo goes back."
            )
            self._view.chat_screen.composer.focus()

        if is_last and is_answer:
            self._view.show_hint("This is the end of the chat; just write.")
            self._view.chat_screen.composer.focus()
        elif is_last:
            tell()
        else:
            self._changes.make(conversation.Branch(position), tell)

    def show_version(self, position: int, step: int) -> None:
        """Shows another version of message number `position`, `step` after this one; the chat goes on from there."""
        version = self._turn_driver.chat.version_beside(position, step)
        if version is None:
            self._view.show_hint("There is no other version on this side.")
        else:
            self._changes.make(conversation.ShowMessage(version), lambda: self._focus_near(position))

    def show_version_of_last(self, step: int) -> None:
        """Shows another version of the last answer, while nothing is written; the user goes on writing."""
        chat = self._turn_driver.chat
        version = chat.version_beside(len(chat.entries) - 1, step) if chat.ends_in_answer else None
        if version is not None:
            self._changes.make(conversation.ShowMessage(version))

    def go_to(self, message_id: int) -> None:
        """Shows the path through a message, and gives that message the focus."""

        def focus() -> None:
            entries = self._turn_driver.chat.entries
            at = next((number for number, entry in enumerate(entries) if entry.message_id == message_id), None)
            if at is not None:
                self._view.chat_screen.transcript.focus_message(at)

        if any(entry.message_id == message_id for entry in self._turn_driver.chat.entries):
            focus()
        else:
            self._changes.make(conversation.ShowMessage(message_id), focus)

    def undo(self) -> None:
        """Undoes the last edit, deletion, branch or title, and tells which."""
        what = self._turn_driver.chat.undoable
        if what is None:
            self._view.show_hint("There is nothing to undo.")
            return

        def tell() -> None:
            self._view.show_hint(f"Undone: {what.value}.")
            in_focus = self._view.chat_screen.transcript.in_focus
            if in_focus is not None:
                self._focus_near(in_focus)

        self._changes.make(conversation.Undo(), tell)

    def _focus_near(self, position: int) -> None:
        transcript = self._view.chat_screen.transcript
        if transcript.has_focus:
            transcript.focus_message(position)


def _folded(entry: Entry) -> str:
    """Returns in a word what is folded in a message as it is drawn; empty if nothing is."""
    if entry.thought:
        return "thought"
    if entry.attachments:
        return "attached"
    return "whole" if entry.role is Role.USER and is_long(entry.text) else ""
