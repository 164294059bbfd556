"""What the user changes of a path: edited answers, deleted messages, other versions and branches; and undoing it."""

import asyncio
from collections.abc import Sequence

from tui_llama.chat import Attachment
from tui_llama.chats.chat_prompt_cache import stored_messages
from tui_llama.chats.database.moments import new_moment
from tui_llama.chats.entry import Entry, entries_of
from tui_llama.chats.journal import Journal
from tui_llama.chats.path.answer import AnsweredPath
from tui_llama.chats.path.undo import Change, UndoStep, UndoSteps
from tui_llama.chats.record import ChatRecord, IdThere
from tui_llama.chats.store import Store
from tui_llama.chats.stored import TreeMessage
from tui_llama.engine.descriptions import ModelInfo
from tui_llama.engine.prompt_cache.stored_tree import Stored


class ChangedPath(AnsweredPath):
    """A path that the user may change while no answer is open.

    Nothing here waits: the record's memory is read where the new path is not known. Deletions can be undone after a
    restart, too; of the other changes, those since the chat was opened.
    """

    def __init__(
        self, journal: Journal, *, model_path: str = "", system_prompt: str = "", record: ChatRecord | None = None
    ) -> None:
        super().__init__(journal, model_path=model_path, system_prompt=system_prompt, record=record)
        self._undo_steps = UndoSteps()

    @property
    def tip(self) -> int | None:
        """The message that ends the path; None where there is none."""
        return self.entries[-1].message_id if self.entries else None

    def tree(self) -> list[TreeMessage]:
        """Returns all messages of the chat, parents before what follows them."""
        memory = self._record.memory
        return memory.tree(self._record.chat_id) if memory.has_chat(self._record.chat_id) else []

    async def stored_messages(self, model: ModelInfo) -> dict[int, Stored]:
        """Returns how much of each message has keys and values on the disk that this model may use for the chat.

        Messages of which nothing is known, such as answers of a server, are left out.

        Raises:
            StateFileError: the disk refused, or the process that looks there ended.
        """
        owner, chat_id, vocabulary = self.owner_id, self._record.chat_id, model.vocabulary
        if owner is None or self.chat_id is None or not model.prompt_cache_folder:
            return {}
        nodes, outdated = await self._read(lambda memory: memory.fed_tree(chat_id, vocabulary))
        return await asyncio.to_thread(stored_messages, model.prompt_cache_folder, owner, nodes, outdated)

    # --- edits --------------------------------------------------------------------------------------------------

    def replace_message(self, position: int, text: str, attachments: Sequence[Attachment] = ()) -> Entry:
        """Puts what the user said in place of entry number `position`, as `ChatPath` does; it can be undone."""
        tip_before = self.tip
        entry = super().replace_message(position, text, attachments)
        self._undo_steps.push(UndoStep(Change.EDIT, tip_before, made_id=entry.message_id))
        return entry

    def replace_answer(self, position: int, text: str) -> Entry:
        """Puts an answer that the user has written in place of entry number `position`.

        That entry and those after it leave the path; the record keeps them. With the same text, it is a copy, which can
        go on where the old one has to stay as it is.
        """
        replaced, made_at, tip_before = self.entries[position], new_moment(), self.tip

        def change(store: Store, id_there: IdThere) -> int:
            return store.add_answer_version(id_there(replaced.message_id), text, made_at=made_at)

        made_id = self._made(change)
        self._take_path()
        self._undo_steps.push(UndoStep(Change.EDIT, tip_before, made_id=made_id, made_text=self.end))
        return self.entries[-1]

    # --- deletions ----------------------------------------------------------------------------------------------

    def count_below(self, position: int) -> int:
        """Returns how many messages go with entry number `position` when it is deleted, itself included."""
        parents = {each.message_id: each.parent_id for each in self.tree()}
        below = {self.entries[position].message_id}
        for message_id, parent_id in parents.items():  # parents come first
            if parent_id in below:
                below.add(message_id)
        return len(below)

    def delete_message(self, position: int) -> int:
        """Deletes entry number `position` and all that follows it, on every branch.

        The path then goes through the nearest other version of it, or ends before it.

        Returns:
            How many messages were deleted.
        """
        memory, tip_before, deleted_at = self._record.memory, self.tip, new_moment()
        message_id = self.entries[position].message_id
        others = memory.versions(message_id)
        at = others.index(message_id)
        others.remove(message_id)
        if others:
            tip: int | None = memory.newest_tip_below(others[max(0, at - 1)])
        else:
            tip = self.entries[position - 1].message_id if position else None
        count = self.count_below(position)

        def change(store: Store, id_there: IdThere) -> None:
            store.delete_messages(id_there(message_id), deleted_at, None if tip is None else id_there(tip))

        self._record.change(change)
        self._undo_steps.push(UndoStep(Change.DELETION, tip_before, deleted_at=deleted_at))
        self._take_path()
        return count

    def delete_message_alone(self, position: int) -> None:
        """Deletes entry number `position`; what follows it, on every branch, follows the entry before it from now on.

        The tokens of what follows were read behind the deleted message, so they are read again.
        """
        memory, tip_before, deleted_at = self._record.memory, self.tip, new_moment()
        message_id = self.entries[position].message_id
        is_last = position == len(self.entries) - 1
        tip = memory.newest_tip_below(message_id) if is_last else tip_before
        if tip == message_id:  # nothing follows it anywhere
            self.delete_message(position)
            return

        def change(store: Store, id_there: IdThere) -> None:
            store.delete_message(id_there(message_id), deleted_at, None if tip is None else id_there(tip))

        self._record.change(change)
        self._undo_steps.push(UndoStep(Change.DELETION, tip_before, deleted_at=deleted_at))
        self._take_path()

    # --- other paths --------------------------------------------------------------------------------------------

    def branch_after(self, position: int) -> None:
        """Lets the path end in entry number `position`, so that something else can follow it."""
        self._undo_steps.push(UndoStep(Change.BRANCH, self.tip))
        self._show_path_to(self.entries[position].message_id)
        self._take_path()

    def show_message(self, message_id: int) -> None:
        """Shows the newest path through a message; the one that is shown stays where it has that message."""
        if all(entry.message_id != message_id for entry in self.entries):
            self._show_path_to(self._record.memory.newest_tip_below(message_id))
            self._take_path()

    def version_beside(self, position: int, step: int) -> int | None:
        """Returns the version of entry number `position` that is `step` after it; None where there is none."""
        message_id = self.entries[position].message_id
        versions = self._record.memory.versions(message_id)
        at = versions.index(message_id) + step
        return versions[at] if 0 <= at < len(versions) else None

    # --- undoing ------------------------------------------------------------------------------------------------

    def rename(self, title: str) -> None:
        """Gives the chat another title; it can be undone."""
        if title != self.title:
            self._undo_steps.push(UndoStep(Change.NAME, title_before=self.title))
        super().rename(title)

    @property
    def undoable(self) -> Change | None:
        """What `undo` would undo; None where there is nothing."""
        step = self._undo_steps.last or self._last_deletion()
        return None if step is None else step.change

    def undo(self) -> Change | None:
        """Undoes the last change; returns which, or None where there is none.

        A version that was made stays where something was said below it, or where it has gone on: then only the path is
        as it was before.
        """
        step = self._undo_steps.pop() or self._last_deletion()
        if step is None:
            return None
        chat_id, tip = self._record.chat_id, step.tip_before
        if step.change is Change.NAME:
            super().rename(step.title_before)
            return step.change

        has_gone_on = self._has_gone_on(step)

        def change(store: Store, id_there: IdThere) -> None:
            tip_there = None if tip is None else id_there(tip)
            if step.deleted_at is not None:
                store.bring_back(chat_id, step.deleted_at, tip_there)
            elif step.made_id is not None and not has_gone_on:
                store.remove_version(id_there(step.made_id), chat_id, tip_there)
            else:
                store.set_tip(chat_id, tip_there)

        self._record.change(change)
        if step.reaches_end and tip is not None:
            self._show_path_to(self._record.memory.newest_tip_below(tip))
        self._take_path()
        return step.change

    def _has_gone_on(self, step: UndoStep) -> bool:
        """Tells whether the answer that the user has edited was continued since."""
        if step.made_id is None or not step.made_text:
            return False
        made = self._record.memory.messages(self._record.chat_id, step.made_id)[-1]
        return made.thought + made.text != step.made_text

    def _last_deletion(self) -> UndoStep | None:
        """Returns the last deletion before the chat was opened."""
        deletion = self._record.memory.last_deletion(self._record.chat_id)
        if deletion is None:
            return None
        return UndoStep(Change.DELETION, deletion.message_id, deleted_at=deletion.deleted_at, reaches_end=True)

    def _take_path(self) -> None:
        """Shows the path that the record has now."""
        self.entries = entries_of(self._record.memory, self._record.chat_id)
