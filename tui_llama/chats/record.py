"""A chat as it must be remembered: whole in memory, where it is read, and on the disk, which follows.

Every change is made twice: at once to the copy in memory, which is a store of its own and does not fail, and in the
same order to the store on the disk, by the journal, as soon as that is possible. Messages have other ids there; which
ones is known when they are stored.
"""

import contextlib
import threading
from collections.abc import Callable
from typing import TypeAlias

from tui_llama.chats.database.file import IN_MEMORY
from tui_llama.chats.journal import Journal
from tui_llama.chats.store import Store
from tui_llama.chats.stored import ChatSummary
from tui_llama.errors import StoreConflictError

IdThere: TypeAlias = Callable[[int], int]
Change: TypeAlias = Callable[[Store, IdThere], int | None]
"""A call that changes a store, and can be repeated; returns the id of the message that it has made, if it has.

It is given what makes of a message's id in memory the one in that store.
"""


class ChatRecord:
    """One chat.

    Args:
        journal: Of the store on the disk.
        chat_id: Its id, the same in both stores.

    Attributes:
        memory: The store that has this chat and no other.
        is_stored: Whether the disk has the chat.
    """

    def __init__(self, journal: Journal, chat_id: str) -> None:
        self._journal = journal
        self._ids_there: dict[int, int] = {}  # changed on the journal's thread only, once the record is in use
        self._file_number = 0
        self._changing = threading.Lock()
        self._change_count = 0
        self._copied_count = 0  # so many changes were in memory when all of it was stored at once
        self._is_left = self._is_let_go = False
        self.chat_id = chat_id
        self.memory = Store(IN_MEMORY)
        self.is_stored = False

    @classmethod
    async def open(cls, journal: Journal, chat_id: str) -> "ChatRecord":
        """Opens the chat of that id as the disk has it; as memory has it while some of it still has to be stored.

        Raises:
            StoreError: it cannot be read, or is no longer there.
        """
        await journal.settle()
        for record in journal.waiting:
            if isinstance(record, ChatRecord) and record.chat_id == chat_id and record._is_taken_up():
                return record
        record = cls(journal, chat_id)
        try:
            await journal.read(record._copy_from)
        except StoreConflictError:
            refused = _refused_record(journal, chat_id)
            if refused is None:
                raise
            return refused
        return record

    def change(self, change: Change, is_wanted: Callable[[], bool] = lambda: True) -> int | None:
        """Makes a change here and, in its turn, on the disk.

        Args:
            change: The change to make.
            is_wanted: Asked on the journal's thread whether the disk is to have it; may raise what a store raises.

        Returns:
            What the change returns here.
        """
        with self._changing:
            made = change(self.memory, lambda message_id: message_id)
            self._change_count += 1
            number = self._change_count

        def store_it(store: Store) -> None:
            if self._is_in_another_file(store):
                self._store_whole(store)
            if number > self._copied_count and is_wanted():
                made_there = change(store, self._ids_there.__getitem__)
                if made is not None and made_there is not None:
                    self._ids_there[made] = made_there
            self.is_stored = True

        self._journal.write(store_it, self)
        return made

    def leave(self) -> None:
        """Lets the chat leave the screen; its memory is freed once it is stored."""
        self._is_left = True
        if self in self._journal.refused:
            return  # there is no other copy of what was refused

        self._journal.write(lambda _store: self.let_go(), self)

    def let_go(self) -> None:
        """Frees the memory of a chat that was left. Runs on the journal's thread, which may have been reading it."""
        with self._changing:
            if self._is_left:
                self._is_let_go = True
                self.memory.close()

    def _is_taken_up(self) -> bool:
        """Shows the chat again, if its memory is still there."""
        with self._changing:
            self._is_left = False
            return not self._is_let_go

    @property
    def is_refused(self) -> bool:
        """True if the store no longer saves the chat."""
        return self in self._journal.refused

    def summary(self) -> ChatSummary | None:
        """Returns the chat as a line of the list; None while nothing was said in it, and once its memory is freed."""
        with self._changing:
            return None if self._is_let_go else next(iter(self.memory.list_chats()), None)

    @property
    def stored_message_count(self) -> int:
        """The number of its messages that the disk has."""
        return len(self._ids_there)

    # --- a database file that is another one now ------------------------------------------------------------------

    def _copy_from(self, store: Store) -> None:
        copies = store.copy_chat(self.chat_id, self.memory)
        self._ids_there = {here: there for there, here in copies.items()}
        self._file_number, self.is_stored = store.file_count, True

    def _is_in_another_file(self, store: Store) -> bool:
        store.follow_file()
        if not self.is_stored:
            self._file_number = store.file_count
        return self._file_number != store.file_count

    def _store_whole(self, store: Store) -> None:
        """Writes the whole chat into the file that has the name now: the one that it was in has lost that name."""
        if store.has_chat(self.chat_id):
            raise StoreConflictError(
                "The database of your chats was replaced by one that also has this chat.",
                "Open the chat again to see the stored version.",
            )
        with self._changing:
            self._ids_there = self.memory.copy_chat(self.chat_id, store)
            self._copied_count = self._change_count
        self._file_number = store.file_count


def _refused_record(journal: Journal, chat_id: str) -> ChatRecord | None:
    records = [record for record in journal.refused if isinstance(record, ChatRecord)]
    return next((record for record in records if record.chat_id == chat_id), None)


# --- the list of chats ------------------------------------------------------------------------------------------


class Deletion:
    """A chat that is to be removed from the disk."""

    def __init__(self, chat_id: str) -> None:
        self.chat_id = chat_id


def delete_chat(journal: Journal, chat_id: str, then: Callable[[], None]) -> None:
    """Removes a chat that is left, with what of it still has to be stored, and does something `then`."""
    owners = (*journal.waiting, *journal.refused)
    records = [owner for owner in owners if isinstance(owner, ChatRecord) and owner.chat_id == chat_id]
    for record in records:
        journal.forget(record)

    def job(store: Store) -> None:
        for record in records:
            record.let_go()
        with contextlib.suppress(StoreConflictError):  # gone already
            store.delete_chat(chat_id)
        then()

    journal.write(job, Deletion(chat_id))


async def rename_chat(journal: Journal, chat_id: str, title: str) -> None:
    """Gives a chat that is not shown another title.

    Raises:
        StoreError: it cannot be read, or is no longer there.
    """
    record = await ChatRecord.open(journal, chat_id)
    record.change(lambda store, _id_there: store.rename_chat(chat_id, title))
    record.leave()


async def list_chats(journal: Journal) -> list[ChatSummary]:
    """Returns the chats, newest first, as they will be when everything is stored.

    Where the disk cannot be read, its chats are left out.
    """
    nothing: list[ChatSummary] = []
    stored = await journal.read_or(lambda store: store.list_chats(), nothing)
    summaries = {summary.chat_id: summary for summary in stored}
    for record, summary in unstored_chats(journal):
        if record.chat_id not in summaries or not record.is_refused:
            summaries[record.chat_id] = summary
    for owner in journal.waiting:
        if isinstance(owner, Deletion):
            summaries.pop(owner.chat_id, None)
    return sorted(summaries.values(), key=lambda summary: summary.updated_at, reverse=True)


def unstored_chats(journal: Journal) -> list[tuple[ChatRecord, ChatSummary]]:
    """Returns the chats of which something is in memory only, with their lines of the list."""
    records = [owner for owner in (*journal.waiting, *journal.refused) if isinstance(owner, ChatRecord)]
    return [(record, summary) for record in records if (summary := record.summary()) is not None]
