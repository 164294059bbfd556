"""The chat that is on the screen: the path that is shown, and each change written to the chat's record.

The record is in memory, which is what the screen and the engine see, so a disk that fails costs the conversation
nothing. A chat is made in the record with its first message; an empty one leaves nothing behind. An incognito one has
a journal of its own, whose store is in memory, and is gone when it is left.
"""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import TypeVar

from tui_llama.chat import Attachment, ChatMessage, Role, StopReason, Usage
from tui_llama.chats.chat_date import local_now
from tui_llama.chats.chat_facts import ChatFacts
from tui_llama.chats.database.moments import new_moment
from tui_llama.chats.entry import Entry, entries_of, message_of
from tui_llama.chats.journal import Journal
from tui_llama.chats.ledger import UNKNOWN_VOCABULARY, Ledger
from tui_llama.chats.record import ChatRecord, IdThere
from tui_llama.chats.store import Store
from tui_llama.chats.stored import StoredBranch
from tui_llama.chats.stored_text import DAMAGED_CHARACTER, storable_attachments, title_of
from tui_llama.errors import StoreConflictError, StoreError

__all__ = ["Entry", "OpenChat"]

Result = TypeVar("Result")


class OpenChat(ChatFacts):
    """A chat, new or from the store.

    Attributes:
        entries: The path that is shown, oldest first.
        left_out_messages: How many of the oldest did not fit into the last prompt.
    """

    def __init__(
        self, journal: Journal, *, model_path: str = "", system_prompt: str = "", record: ChatRecord | None = None
    ) -> None:
        super().__init__(journal, model_path=model_path, system_prompt=system_prompt, record=record)
        self._unsaved_text: list[str] = []
        self._unsaved_ids: list[int] = []
        self._piece_count = 0
        self._version_count = 0
        self._ending_before: tuple[StopReason, Usage | None] | None = None
        self._refusal: StoreError | None = None
        """Why the open answer, which was to go on, is not open on the disk; known when the journal is settled."""
        self.entries: list[Entry] = []
        self.left_out_messages = 0

    @classmethod
    async def restore(cls, journal: Journal, chat_id: str) -> "OpenChat":
        """Opens the chat of that id as it is remembered.

        Raises:
            StoreError: it cannot be read, or is no longer there.
        """
        record = await ChatRecord.open(journal, chat_id)
        opened = cls(journal, record=record)
        opened._take_facts()
        opened.entries = await opened._read(lambda memory: entries_of(memory, chat_id))
        return opened

    # --- what it is ---------------------------------------------------------------------------------------------

    @property
    def is_empty(self) -> bool:
        """True if the chat has no message yet."""
        return not self.entries

    @property
    def begun_at(self) -> datetime:
        """The time at which the chat began; only `begin_today` changes it. A template that asks for the date gets it.

        A new one begins with its first message; it may have been on the screen since yesterday.
        """
        now = local_now()
        if self._begun_at is None or (self.is_empty and self._begun_at.date() != now.date()):
            self._begun_at = now
        return self._begun_at

    @property
    def last_answer(self) -> Entry | None:
        """The newest answer on the path."""
        return next((entry for entry in reversed(self.entries) if entry.role is Role.ASSISTANT), None)

    @property
    def user_texts(self) -> list[str]:
        """The texts of the user's messages, the oldest first."""
        return [entry.text for entry in self.entries if entry.role is Role.USER]

    def prompt_messages(self) -> tuple[ChatMessage, ...]:
        """Returns the system prompt and the path up to the user's last message, which the engine is asked to answer."""
        return self.messages_before(len(self.entries) - self.ends_in_answer)

    def messages(self) -> tuple[ChatMessage, ...]:
        """Returns the system prompt and the whole path, to which the user's next message will be added."""
        return self.messages_before(len(self.entries))

    async def ledger(self) -> Ledger:
        """Returns the tokens that were fed to models before the answer that is open."""
        return await self.ledger_before(len(self.entries) - 1)

    async def whole_ledger(self) -> Ledger:
        """Returns the tokens that were fed to models on the whole path, while no answer is open."""
        return await self.ledger_before(len(self.entries))

    async def ledger_to_go_on(self) -> tuple[Ledger, int]:
        """Returns the tokens fed up to where the last answer was cut off, and how many of them are the answer's own.

        Raises:
            StoreError: the disk did not let the answer be opened again.
        """
        await self._journal.settle()
        if self._refusal is not None:
            raise self._refusal
        message_id = self.entries[-1].message_id
        ledger = await self._read(lambda memory: memory.ledger(message_id))
        return ledger, await self._read(lambda memory: memory.generated_token_count(message_id))

    def messages_before(self, position: int) -> tuple[ChatMessage, ...]:
        """Returns the system prompt and what was said before entry number `position`."""
        system = [ChatMessage(Role.SYSTEM, self.system_prompt)] if self.system_prompt else []
        return (*system, *map(message_of, self.entries[:position]))

    async def ledger_before(self, position: int) -> Ledger:
        """Returns the tokens that were fed to models before entry number `position`."""
        if not position:
            return Ledger()
        message_id = self.entries[position - 1].message_id
        return await self._read(lambda memory: memory.ledger(message_id))

    async def _read(self, job: Callable[[Store], Result]) -> Result:
        """Reads the record, which may take a while; first, what was said is written to the disk, if it can be."""
        memory = self._record.memory
        return await self._journal.read(lambda _store: job(memory))

    # --- what happens to it -------------------------------------------------------------------------------------

    def add_message(self, text: str, attachments: Sequence[Attachment] = ()) -> Entry:
        """Adds what the user said to the path."""
        chat_id, made_at = self._record.chat_id, new_moment()
        parent_id = self.entries[-1].message_id if self.entries else None
        self.title = self.title or title_of(text, attachments)
        if self.chat_id is None:
            self._make_chat(self.begun_at)
        attached = storable_attachments(attachments)

        def change(store: Store, id_there: IdThere) -> int:
            parent_there = None if parent_id is None else id_there(parent_id)
            return store.add_user_message(chat_id, text, parent_there, made_at=made_at, attachments=attached)

        entry = Entry(Role.USER, text, self._made(change), attachments=attached)
        self.entries.append(entry)
        self._version_count = 0
        return entry

    def _made(self, change: Callable[[Store, IdThere], int]) -> int:
        """Makes a change and returns the id of the message that it has made."""
        message_id = self._record.change(change)
        assert message_id is not None
        return message_id

    def replace_message(self, position: int, text: str, attachments: Sequence[Attachment] = ()) -> Entry:
        """Puts what the user said in place of entry number `position`.

        That entry and those after it leave the path; the record keeps them.
        """
        replaced, made_at = self.entries[position], new_moment()
        version, attached = replaced.version_count + 1, storable_attachments(attachments)

        def change(store: Store, id_there: IdThere) -> int:
            message_id = id_there(replaced.message_id)
            return store.replace_user_message(message_id, text, made_at=made_at, attachments=attached)

        entry = Entry(Role.USER, text, self._made(change), version=version, version_count=version, attachments=attached)
        self.entries[position:] = [entry]
        self._version_count = 0
        return entry

    def begin_answer(self) -> Entry:
        """Begins an answer to the last message."""
        chat_id, question, made_at = self._record.chat_id, self.entries[-1], new_moment()
        self._version_count += 1
        self._piece_count = 0

        def change(store: Store, id_there: IdThere) -> int:
            return store.begin_answer(chat_id, id_there(question.message_id), made_at=made_at)

        version = self._version_count
        entry = Entry(Role.ASSISTANT, "", self._made(change), version=version, version_count=version)
        self.entries.append(entry)
        return entry

    @property
    def ends_in_answer(self) -> bool:
        """True if the last message is an answer."""
        return bool(self.entries) and self.entries[-1].role is Role.ASSISTANT

    @property
    def has_prompt(self) -> bool:
        """True if the prompt of the last answer is known, and so its tokens; false for an answer of a server."""
        return self.entries[-1].prompt_is_known

    def reopen_answer(self) -> Entry:
        """Opens the last answer, which was cut off, so that it can go on."""
        entry = self.entries[-1]
        entry.text = shown = entry.text.rstrip(DAMAGED_CHARACTER)
        if entry.stop_reason is not None:
            self._ending_before = entry.stop_reason, entry.usage
        entry.may_repeat = entry.may_repeat or entry.stop_reason is StopReason.LOOP  # seen, and more of it wanted
        entry.stop_reason, entry.is_interrupted = None, False
        self._piece_count = 0

        def change(store: Store, id_there: IdThere) -> None:
            try:
                store.reopen_answer(id_there(entry.message_id), shown)
            except StoreConflictError as error:
                self._refusal = error  # and nothing is written to it: another program may be writing it

        self._record.change(change)
        return entry

    def set_prompt(self, kept_tokens: int, token_ids: tuple[int, ...], vocabulary: str = UNKNOWN_VOCABULARY) -> None:
        """Records the prompt of the open answer, as tokens of this vocabulary."""
        self._change_answer(lambda store, answer: store.set_answer_prompt(answer, kept_tokens, token_ids, vocabulary))
        self.entries[-1].prompt_is_known = True

    def set_answer_tokens(
        self, kept_tokens: int, token_ids: tuple[int, ...], vocabulary: str, answer_tokens: int
    ) -> None:
        """Records new tokens of the open answer, which was tokenised again for a model of this vocabulary."""
        self._change_answer(
            lambda store, answer: store.set_answer_tokens(answer, kept_tokens, token_ids, vocabulary, answer_tokens)
        )
        self.entries[-1].prompt_is_known = True

    def end_answer_tokens(self) -> None:
        """Records that the open answer goes on without tokens: a server writes the rest of it."""
        self._change_answer(lambda store, answer: store.end_answer_tokens(answer))
        self.entries[-1].prompt_is_known = False

    def append(self, text: str, token_ids: tuple[int, ...]) -> None:
        """Adds text to the open answer; the next `flush` writes it."""
        self._ending_before = None
        self.entries[-1].text += text
        self._unsaved_text.append(text)
        self._unsaved_ids.extend(token_ids)

    def flush(self) -> None:
        """Writes what was appended since the last time."""
        if not self._unsaved_text:
            return
        piece_number = self._piece_count
        text, token_ids = "".join(self._unsaved_text), tuple(self._unsaved_ids) if self.has_prompt else ()
        self._unsaved_text, self._unsaved_ids = [], []
        self._piece_count += 1
        self._change_answer(
            lambda store, answer: store.append_to_answer(answer, text, token_ids, piece_number=piece_number)
        )

    def _change_answer(self, change: Callable[[Store, int], None]) -> None:
        """Makes a change of the open answer, whose id in the store it is given."""
        message_id = self.entries[-1].message_id
        self._record.change(lambda store, id_there: change(store, id_there(message_id)), self._require_open)

    def _require_open(self) -> bool:
        """Raises why the answer could not be opened again, where that was not known before it went on."""
        if self._refusal is not None:
            raise self._refusal
        return True

    def finish_answer(self, stop_reason: StopReason, usage: Usage | None) -> Entry:
        """Ends the open answer. An answer that was to go on, but got no more text, ends as it had ended before."""
        self.flush()
        entry = self.entries[-1]
        before, self._ending_before = self._ending_before, None
        if before is not None and stop_reason in (StopReason.STOPPED, StopReason.FAILED):
            stop_reason, usage = before
        entry.stop_reason, entry.usage = stop_reason, usage

        def change(store: Store, id_there: IdThere) -> None:
            store.finish_answer(id_there(entry.message_id), stop_reason, usage)

        self._record.change(change, self._is_open_there)
        return entry

    def _is_open_there(self) -> bool:
        refusal, self._refusal = self._refusal, None
        return refusal is None

    def set_answer_aside(self) -> Entry | None:
        """Takes the last answer off the path, so that there can be another; the record keeps it."""
        if not self.ends_in_answer:
            return None
        entry = self.entries.pop()
        self._version_count = entry.version_count
        self._show_path_to(self.entries[-1].message_id)
        return entry

    def _show_path_to(self, message_id: int) -> None:
        chat_id = self._record.chat_id
        self._record.change(lambda store, id_there: store.set_tip(chat_id, id_there(message_id)))

    async def turn_to_version(self, step: int) -> bool:
        """Puts another version of the last answer on the path, `step` after the one that is there.

        Returns:
            True if there is one; without one, nothing has changed.
        """
        if not self.ends_in_answer:
            return False
        message_id = self.entries[-1].message_id
        versions = self._record.memory.versions(message_id)
        position = versions.index(message_id) + step
        if not 0 <= position < len(versions):
            return False
        await self.turn_to_branch(versions[position])
        return True

    async def branches(self) -> list[StoredBranch]:
        """Returns the branches of the chat, newest first."""
        chat_id = self.chat_id
        return [] if chat_id is None else await self._read(lambda memory: memory.branches(chat_id))

    async def turn_to_branch(self, tip_message_id: int) -> None:
        """Puts the branch that ends there on the path."""
        chat_id = self._record.chat_id
        self._show_path_to(tip_message_id)
        self.entries = await self._read(lambda memory: entries_of(memory, chat_id))

    async def leave(self) -> None:
        """Lets the chat leave the screen; nothing is left of an incognito one."""
        self._record.leave()
        if self.is_incognito:
            await self._journal.close()
