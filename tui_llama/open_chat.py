"""The chat that is on the screen: its messages in memory, and each change written to the journal.

Memory is what the screen and the engine see, so a store that fails costs the record and not the conversation. A
chat is made in the store with its first message; an empty one leaves nothing behind. An incognito one has a journal
of its own, whose store is in memory, and is gone when it is left.
"""

from dataclasses import dataclass, field
from datetime import datetime

from tui_llama.chat import ChatMessage, Role, StopReason, Usage
from tui_llama.chat_date import local_now
from tui_llama.errors import StoreError
from tui_llama.journal import Journal
from tui_llama.ledger import UNKNOWN_VOCABULARY, Ledger
from tui_llama.store import (
    DAMAGED_CHARACTER,
    TITLE_LENGTH,
    MessageState,
    Store,
    StoredBranch,
    StoredMessage,
    new_chat_id,
)


@dataclass(slots=True)
class Entry:
    """One message on the path that is shown.

    `message_id` is None until the store has it. An answer whose `stop_reason` is None is under way, or was
    interrupted; of one whose `prompt_is_known`, the store has all tokens. One that `may_repeat` itself was let go on
    after a loop. The last message may be one that `is_replied_to` on another branch. `version` counts from 1, of
    `version_count` messages in the same place.
    """

    role: Role
    text: str
    message_id: int | None = None
    stop_reason: StopReason | None = None
    is_interrupted: bool = False
    usage: Usage | None = None
    prompt_is_known: bool = field(default=False, compare=False)
    may_repeat: bool = field(default=False, compare=False)
    is_replied_to: bool = False
    version: int = 1
    version_count: int = 1


class OpenChat:
    """A chat, new or from the store.

    Attributes:
        chat_id: None until the first message is in the store.
        owner_id: Whose the keys and values of its prompts are: its id, which a new chat has only in mind; None where
            nothing may be kept.
        title: As the store has it; empty for a new chat.
        is_incognito: Whether its journal is in memory: nothing of it is written, and no other chat is told of it.
        entries: The path that is shown, oldest first.
        left_out_messages: How many of the oldest did not fit into the last prompt.
    """

    def __init__(self, journal: Journal, *, model_path: str = "", system_prompt: str = "") -> None:
        self._journal = journal
        self.is_incognito = journal.is_in_memory
        self._unsaved_text: list[str] = []
        self._unsaved_ids: list[int] = []
        self._answer_vocabulary: str | None = None
        """Of the tokens of the open answer; None while they are as the store has them."""
        self._version_count = 0
        self._ending_before: tuple[StopReason, Usage | None] | None = None
        self._refusal: StoreError | None = None
        """Why the open answer, which was to go on, is not open in the store; known when the journal is settled."""
        self.chat_id: str | None = None
        self.owner_id = None if self.is_incognito else new_chat_id()
        self.title = ""
        self.model_path = model_path
        self.system_prompt = system_prompt
        self._begun_at: datetime | None = None
        self.entries: list[Entry] = []
        self.left_out_messages = 0

    @classmethod
    async def restore(cls, journal: Journal, chat_id: str) -> "OpenChat":
        """The chat of that id as the store has it.

        Raises:
            StoreError: it cannot be read, or is no longer there.
        """
        chat = await journal.read(lambda store: store.chat(chat_id))
        opened = cls(journal, model_path=chat.model_path, system_prompt=chat.system_prompt)
        opened.chat_id = opened.owner_id = chat_id
        opened.title = chat.title
        opened._begun_at = chat.begun_at
        opened.entries = await journal.read(lambda store: _entries(store, chat_id))
        return opened

    # --- what it is ---------------------------------------------------------------------------------------------

    @property
    def is_empty(self) -> bool:
        """Whether nothing was said yet."""
        return not self.entries

    @property
    def begun_at(self) -> datetime:
        """When the chat began, for good: what a template is told that asks for the date.

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
        """What the user said, oldest first."""
        return [entry.text for entry in self.entries if entry.role is Role.USER]

    def prompt_messages(self) -> tuple[ChatMessage, ...]:
        """What the engine is asked to answer: the system prompt and the path up to the user's last message."""
        return self.messages_before(len(self.entries) - self.ends_in_answer)

    def messages(self) -> tuple[ChatMessage, ...]:
        """The system prompt and the whole path, to which the user's next message will be added."""
        return self.messages_before(len(self.entries))

    @property
    def stored_owner_id(self) -> str | None:
        """Whose the keys and values are that an answer leaves; None where the store does not have the chat."""
        return None if self.chat_id is None else self.owner_id

    async def ledger(self) -> Ledger:
        """What was fed to models before the answer that is open; nothing when the store does not know."""
        return await self._ledger_up_to(self.entries[-2])

    async def whole_ledger(self) -> Ledger:
        """What was fed to models on the whole path, while no answer is open."""
        return await self._ledger_up_to(self.entries[-1]) if self.entries else Ledger()

    async def ledger_to_go_on(self) -> tuple[Ledger, int]:
        """What was fed to models up to where the last answer was cut off, and how many of it are the answer's own.

        Raises:
            StoreError: the store does not know, or did not let the answer be opened again.
        """
        await self._journal.settle()
        if self._refusal is not None:
            raise self._refusal
        message_id = self.entries[-1].message_id
        if message_id is None:
            raise StoreError("The tokens of this answer are not known.", "Ctrl+R answers again.")
        ledger = await self._journal.read(lambda store: store.ledger(message_id))
        return ledger, await self._journal.read(lambda store: store.generated_token_count(message_id))

    def messages_before(self, position: int) -> tuple[ChatMessage, ...]:
        """The system prompt and what was said before entry number `position`."""
        system = [ChatMessage(Role.SYSTEM, self.system_prompt)] if self.system_prompt else []
        return (*system, *(ChatMessage(entry.role, entry.text) for entry in self.entries[:position]))

    async def ledger_before(self, position: int) -> Ledger:
        """What was fed to models before entry number `position`, which is one of the user's."""
        return await self._ledger_up_to(self.entries[position - 1]) if position else Ledger()

    async def _ledger_up_to(self, entry: Entry) -> Ledger:
        await self._journal.settle()
        message_id = entry.message_id
        if message_id is None:
            return Ledger()
        return await self._journal.read_or(lambda store: store.ledger(message_id), Ledger())

    # --- what happens to it -------------------------------------------------------------------------------------

    def add_message(self, text: str) -> Entry:
        """The user said something."""
        begun_at = self.begun_at
        entry = Entry(Role.USER, text)
        self.entries.append(entry)
        self._version_count = 0
        self.title = self.title or _title_of(text)

        def job(store: Store) -> None:
            if self.chat_id is None:
                self.chat_id = store.create_chat(
                    title=self.title,
                    model_path=self.model_path,
                    system_prompt=self.system_prompt,
                    chat_id=self.owner_id,
                    begun_at=begun_at,
                )
            entry.message_id = store.add_user_message(self.chat_id, text)

        self._journal.write(job)
        return entry

    def replace_message(self, position: int, text: str) -> Entry:
        """The user said something else in place of entry number `position`.

        That and what followed it leave the path; the store keeps them, if it has them.
        """
        replaced = self.entries[position]
        version = replaced.version_count + 1
        entry = Entry(Role.USER, text, version=version, version_count=version)
        self.entries[position:] = [entry]
        self._version_count = 0

        def job(store: Store) -> None:
            if replaced.message_id is not None:
                entry.message_id = store.replace_user_message(replaced.message_id, text)

        self._journal.write(job)
        return entry

    def begin_answer(self) -> Entry:
        """An answer to the last message begins."""
        question = self.entries[-1]
        self._version_count += 1
        entry = Entry(Role.ASSISTANT, "", version=self._version_count, version_count=self._version_count)
        self.entries.append(entry)
        self._answer_vocabulary = None

        def job(store: Store) -> None:
            if self.chat_id is not None and question.message_id is not None:
                entry.message_id = store.begin_answer(self.chat_id, question.message_id)

        self._journal.write(job)
        return entry

    @property
    def ends_in_answer(self) -> bool:
        """Whether the last message is an answer."""
        return bool(self.entries) and self.entries[-1].role is Role.ASSISTANT

    @property
    def has_prompt(self) -> bool:
        """Whether the store has the prompt of the last answer, and so its tokens."""
        return self.entries[-1].prompt_is_known

    def reopen_answer(self) -> Entry:
        """The last answer, which was cut off, goes on."""
        entry = self.entries[-1]
        entry.text = shown = entry.text.rstrip(DAMAGED_CHARACTER)
        self._answer_vocabulary = None
        if entry.stop_reason is not None:
            self._ending_before = entry.stop_reason, entry.usage
        entry.may_repeat = entry.may_repeat or entry.stop_reason is StopReason.LOOP  # seen, and more of it wanted
        entry.stop_reason, entry.is_interrupted = None, False

        def job(store: Store) -> None:
            try:
                if entry.message_id is not None:
                    store.reopen_answer(entry.message_id, shown)
            except StoreError as error:
                self._refusal = error  # and nothing is written to it: another program may be writing it

        self._journal.write(job)
        return entry

    def set_prompt(self, kept_tokens: int, token_ids: tuple[int, ...], vocabulary: str = UNKNOWN_VOCABULARY) -> None:
        """The prompt of the open answer is known, in this vocabulary."""
        entry = self.entries[-1]
        self._answer_vocabulary = vocabulary

        def job(store: Store) -> None:
            if entry.message_id is not None:
                store.set_answer_prompt(entry.message_id, kept_tokens, token_ids, vocabulary)
                entry.prompt_is_known = True

        self._journal.write(job)

    def set_answer_tokens(
        self, kept_tokens: int, token_ids: tuple[int, ...], vocabulary: str, answer_tokens: int
    ) -> None:
        """The open answer, which goes on, was tokenised again for a model of this vocabulary."""
        entry = self.entries[-1]
        self._answer_vocabulary = vocabulary

        def job(store: Store) -> None:
            if entry.message_id is not None and self._refusal is None:
                store.set_answer_tokens(entry.message_id, kept_tokens, token_ids, vocabulary, answer_tokens)

        self._journal.write(job)

    def append(self, text: str, token_ids: tuple[int, ...]) -> None:
        """The open answer goes on. Written by the next `flush`."""
        self._ending_before = None
        self.entries[-1].text += text
        self._unsaved_text.append(text)
        self._unsaved_ids.extend(token_ids)

    def flush(self) -> None:
        """Writes what was appended since the last time."""
        if not self._unsaved_text:
            return
        entry = self.entries[-1]
        text, token_ids = "".join(self._unsaved_text), tuple(self._unsaved_ids)
        self._unsaved_text, self._unsaved_ids = [], []
        vocabulary = self._answer_vocabulary

        def job(store: Store) -> None:
            if entry.message_id is not None and self._refusal is None:
                ids = token_ids if entry.prompt_is_known else ()
                store.append_to_answer(entry.message_id, text, ids, vocabulary)

        self._journal.write(job)

    def finish_answer(self, stop_reason: StopReason, usage: Usage | None) -> Entry:
        """The open answer has ended. One that was to go on, and did not begin to, ended as it had before."""
        self.flush()
        entry = self.entries[-1]
        before, self._ending_before = self._ending_before, None
        if before is not None and stop_reason in (StopReason.STOPPED, StopReason.FAILED):
            stop_reason, usage = before
        entry.stop_reason, entry.usage = stop_reason, usage

        def job(store: Store) -> None:
            refusal, self._refusal = self._refusal, None
            if entry.message_id is not None and refusal is None:
                store.finish_answer(entry.message_id, stop_reason, usage)

        self._journal.write(job)
        return entry

    def set_answer_aside(self) -> Entry | None:
        """Takes the last answer off the path, so that there can be another; the store keeps it, if it has it."""
        if not self.ends_in_answer:
            return None
        entry = self.entries.pop()
        self._version_count = entry.version_count
        question = self.entries[-1]

        def job(store: Store) -> None:
            if self.chat_id is not None and question.message_id is not None:
                store.set_tip(self.chat_id, question.message_id)

        self._journal.write(job)
        return entry

    async def turn_to_version(self, step: int) -> bool:
        """Puts another version of the last answer on the path, `step` after the one that is there.

        Returns:
            Whether there is one; else nothing has changed.

        Raises:
            StoreError: the store cannot be read or written.
        """
        await self._journal.settle()
        chat_id = self.chat_id
        message_id = self.entries[-1].message_id if self.entries else None
        if chat_id is None or message_id is None or self.entries[-1].role is not Role.ASSISTANT:
            return False

        def turned(store: Store) -> list[Entry] | None:
            versions = store.versions(message_id)
            position = versions.index(message_id) + step
            if not 0 <= position < len(versions):
                return None
            store.set_tip(chat_id, versions[position])
            return _entries(store, chat_id)

        entries = await self._journal.read(turned)
        self.entries = entries or self.entries
        return entries is not None

    async def branches(self) -> list[StoredBranch]:
        """The ways that the chat went, newest first; nothing of a chat that the store does not have.

        Raises:
            StoreError: the store cannot be read.
        """
        await self._journal.settle()
        chat_id = self.chat_id
        return [] if chat_id is None else await self._journal.read(lambda store: store.branches(chat_id))

    async def turn_to_branch(self, tip_message_id: int) -> None:
        """Puts the way that ends there on the path.

        Raises:
            StoreError: the store cannot be read or written.
        """
        chat_id = self.chat_id
        assert chat_id is not None  # whoever names a message has it from the store

        def turned(store: Store) -> list[Entry]:
            store.set_tip(chat_id, tip_message_id)
            return _entries(store, chat_id)

        self.entries = await self._journal.read(turned)

    async def leave(self) -> None:
        """The chat is no longer on the screen: an incognito one is nowhere then."""
        if self.is_incognito:
            await self._journal.close()

    def rename(self, title: str) -> None:
        """Gives the chat another title; a new chat keeps it until it is written."""
        self.title = title

        def job(store: Store) -> None:
            if self.chat_id is not None:
                store.rename_chat(self.chat_id, title)

        self._journal.write(job)

    def begin_today(self) -> None:
        """The model is told today's date from now on."""
        begun_at = self._begun_at = local_now()

        def job(store: Store) -> None:
            if self.chat_id is not None:
                store.set_chat_beginning(self.chat_id, begun_at)

        self._journal.write(job)

    def set_model(self, model_path: str) -> None:
        """The chat goes on with another model."""
        self.model_path = model_path

        def job(store: Store) -> None:
            if self.chat_id is not None:
                store.set_chat_model(self.chat_id, model_path)

        self._journal.write(job)


def _title_of(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= TITLE_LENGTH else line[: TITLE_LENGTH - 1].rstrip() + "…"


def _entries(store: Store, chat_id: str) -> list[Entry]:
    messages = store.messages(chat_id)
    entries = [_entry(message, store.versions(message.message_id)) for message in messages]
    if messages:
        entries[-1].is_replied_to = store.is_replied_to(messages[-1].message_id)
    return entries


def _entry(message: StoredMessage, versions: list[int]) -> Entry:
    return Entry(
        role=message.role,
        text=message.text,
        message_id=message.message_id,
        stop_reason=message.stop_reason,
        is_interrupted=message.state is not MessageState.COMPLETE,
        usage=message.usage,
        prompt_is_known=message.prompt_is_known,
        version=versions.index(message.message_id) + 1,
        version_count=len(versions),
    )
