"""Tells the user of chats that cannot be saved, and asks before they would be lost."""

import tempfile
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

from tui_llama import paths
from tui_llama.chats.journal import Journal
from tui_llama.chats.record import ChatRecord, Deletion, unstored_chats
from tui_llama.chats.store import ChatSummary, Store
from tui_llama.controllers.composing.draft import DraftKeeper
from tui_llama.controllers.views import RemarkView, Result
from tui_llama.errors import StateFileError, StoreConflictError, StoreError, UserError

if TYPE_CHECKING:
    from textual.screen import Screen

NOT_SAVED: Final = "Not saved for now"
SAVED_AGAIN: Final = "Everything is saved again."
_KEPT: Final = "Changes stay in memory until they can be saved."
_NAMED_LOSSES: Final = 4


class TroubleView(RemarkView, Protocol):
    """Shows in the conversation what is to be said of saving."""

    def show_trouble(self, message: str, hint: str) -> None:
        """Adds a failure that stays in the conversation until it is over, and in the status line."""
        ...

    def end_trouble(self) -> None:
        """Takes that failure away: it is over."""
        ...


class SavingView(Protocol):
    """Has questions asked: the app."""

    async def push_screen_wait(self, screen: "Screen[Result]") -> "Result | Any":
        """Opens the dialog and returns what it returns."""
        ...


class SavingController:
    """The journal of an app, and what there is to say about it.

    Args:
        store: The chats. Not closed here.
        remarks: Has what is to be told in the conversation.
        view: The app.

    Attributes:
        journal: Stores the chats.
        saved_file: The file with what the store could not save.
        why_lost: Why that could not be saved as a file either; empty if it was, or if there was no need.
    """

    def __init__(self, store: Store, remarks: TroubleView, view: SavingView) -> None:
        self._remarks = remarks
        self._view = view
        self._lost_on_purpose: set[object] = set()
        self.journal = Journal(store, self.note_failure, self._note_recovery)
        self.saved_file: Path | None = None
        self.why_lost = ""

    # --- what is told -------------------------------------------------------------------------------------------

    @property
    def is_in_trouble(self) -> bool:
        """True if a write has to wait until it can be stored."""
        return self.journal.trouble is not None

    def note_failure(self, error: Exception) -> None:
        """Says what the store cannot do; anything else than such an error is our mistake."""
        if error is self.journal.trouble:
            self.show_again()
        elif isinstance(error, StateFileError):
            self._remarks.add_notice(str(error))
        elif isinstance(error, StoreConflictError):
            self._remarks.add_failure(f"This chat is no longer saved: {error}", error.hint)
        elif isinstance(error, StoreError):
            self._remarks.add_failure(str(error), error.hint)
        else:
            raise error

    def show_again(self) -> None:
        """Says in the chat that is shown now what is still so."""
        trouble = self.journal.trouble
        if trouble is not None:
            self._remarks.show_trouble(f"{NOT_SAVED}: {trouble}", f"{_KEPT} {trouble.hint}".rstrip())

    def _note_recovery(self) -> None:
        self._remarks.end_trouble()
        self._remarks.add_notice(SAVED_AGAIN)

    # --- before the end -----------------------------------------------------------------------------------------

    async def may_end(self, *, can_stay: bool = True) -> bool:
        """Tells whether nothing would be lost, except what the user gives up or has saved as a file meanwhile."""
        await self.journal.settle()
        cause = ""
        while losses := await self._losses():
            from tui_llama.screens.dialogs.unsaved import AskUnsaved, Unsaved

            trouble = self.journal.trouble or next(iter(self.journal.refused.values()), "")
            match await self._view.push_screen_wait(AskUnsaved(cause or str(trouble), losses, can_stay=can_stay)):
                case Unsaved.TRY_AGAIN:
                    cause = ""
                case Unsaved.SAVE_AS_FILE:
                    cause = await self._save_as_file()
                case Unsaved.LOSE:
                    self._give_away()
                case _ if can_stay:
                    return False
        return True

    def _give_away(self) -> None:
        self._lost_on_purpose |= {*self.journal.waiting, *self.journal.refused}

    async def _losses(self) -> list[str]:
        """Tries once more to store everything; returns what would still be lost, in words."""
        if self.journal.waiting:
            await self.journal.try_again()
        owners = [
            owner for owner in (*self.journal.waiting, *self.journal.refused) if owner not in self._lost_on_purpose
        ]
        words = [_loss_words(record, summary) for record, summary in unstored_chats(self.journal) if record in owners]
        deletions = sum(isinstance(owner, Deletion) for owner in owners)
        more = [f"… and {len(words) - _NAMED_LOSSES} more chats"] if len(words) > _NAMED_LOSSES else []
        words = [*words[:_NAMED_LOSSES], *more]
        words += [f"deletions of chats: {deletions}"] if deletions else []
        has_draft = any(isinstance(owner, DraftKeeper) and owner.has_unstored_text for owner in owners)
        return [*words, "the message that you have not sent"] if has_draft else words

    async def _save_as_file(self) -> str:
        """Saves what the user wants as a file; returns why it could not be, or nothing."""
        from tui_llama.screens.dialogs.ask_text import AskText

        question = AskText("Save as a new file (.md or .json)", f"~/unsaved-chats-{_moment_words()}.md")
        name = await self._view.push_screen_wait(question)
        if name is None:
            return ""
        return self.save_as_file(name)

    async def rescue(self) -> None:
        """Saves what cannot be stored as a file, since nobody can be asked: beside the chats, or where it can be."""
        if not await self._losses():
            return
        for folder in (str(paths.data_folder()), "~", tempfile.gettempdir()):
            self.why_lost = self.save_as_file(f"{folder}/unsaved-chats-{_moment_words()}.md")
            if not self.why_lost:
                return

    def save_as_file(self, name: str) -> str:
        """Writes what is not in the store into a new file; returns why it could not, or nothing."""
        from tui_llama.chats.export import save_chats

        try:
            self.saved_file = save_chats([record.memory for record, _summary in unstored_chats(self.journal)], name)
        except UserError as error:
            return f"{error}. {error.hint}"
        self._give_away()
        return ""


def _moment_words() -> str:
    return f"{datetime.now().astimezone():%Y-%m-%d-%H%M%S}"


def _loss_words(record: ChatRecord, summary: ChatSummary) -> str:
    count = summary.message_count - record.stored_message_count
    messages = f"{count} message{'s' if count > 1 else ''}" if count > 0 else "its latest changes"
    return f"“{summary.title}”: {messages}"
