"""The path of a chat that is shown: its messages, oldest first, and what the record remembers of them."""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import TypeVar

from tui_llama.chat import AnswerBounds, Attachment, ChatMessage, Role
from tui_llama.chats.chat_date import local_now
from tui_llama.chats.chat_facts import ChatFacts
from tui_llama.chats.database.moments import new_moment
from tui_llama.chats.entry import Entry, entries_of, message_of
from tui_llama.chats.journal import Journal
from tui_llama.chats.ledger import Ledger
from tui_llama.chats.record import ChatRecord, IdThere
from tui_llama.chats.store import Store
from tui_llama.chats.stored import StoredBranch
from tui_llama.chats.stored_text import storable_attachments, title_of

Result = TypeVar("Result")


class ChatPath(ChatFacts):
    """The messages that are shown of one chat; each change is written to the chat's record.

    Attributes:
        entries: The messages, oldest first.
    """

    def __init__(
        self, journal: Journal, *, model_path: str = "", system_prompt: str = "", record: ChatRecord | None = None
    ) -> None:
        super().__init__(journal, model_path=model_path, system_prompt=system_prompt, record=record)
        self.entries: list[Entry] = []

    # --- what is on it ------------------------------------------------------------------------------------------

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
    def ends_in_answer(self) -> bool:
        """True if the last message is an answer."""
        return bool(self.entries) and self.entries[-1].role is Role.ASSISTANT

    @property
    def end(self) -> str:
        """What the last message says, with what was thought before it; empty where there is none."""
        return self.entries[-1].thought + self.entries[-1].text if self.entries else ""

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

    def messages_before(
        self, position: int, system_prompt: str | None = None, without: int | None = None
    ) -> tuple[ChatMessage, ...]:
        """Returns the system prompt, or another one in its place, and what was said before entry number `position`.

        The entry number `without`, if it is given, is left out.
        """
        told = self.system_prompt if system_prompt is None else system_prompt
        system = [ChatMessage(Role.SYSTEM, told)] if told else []
        said = [message_of(entry) for number, entry in enumerate(self.entries[:position]) if number != without]
        return (*system, *said)

    async def ledger(self) -> Ledger:
        """Returns the tokens that were fed to models before the answer that is open."""
        return await self.ledger_before(len(self.entries) - 1)

    async def whole_ledger(self) -> Ledger:
        """Returns the tokens that were fed to models on the whole path, while no answer is open."""
        return await self.ledger_before(len(self.entries))

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

    # --- what changes it ----------------------------------------------------------------------------------------

    def add_message(self, text: str, attachments: Sequence[Attachment] = ()) -> Entry:
        """Adds what the user said to the path."""
        chat_id, made_at = self._record.chat_id, new_moment()
        parent_id = self.entries[-1].message_id if self.entries else None
        self.title = self.title or title_of(text, attachments)
        if self.chat_id is None:
            self._make_chat(self.begun_at)
        attached, bounds = storable_attachments(attachments), self._take_next_bounds()

        def change(store: Store, id_there: IdThere) -> int:
            parent_there = None if parent_id is None else id_there(parent_id)
            return store.add_user_message(
                chat_id, text, parent_there, made_at=made_at, attachments=attached, bounds=bounds
            )

        entry = self._placed(Entry(Role.USER, text, self._made(change), attachments=attached, bounds=bounds))
        for last in self.entries[-1:]:
            last.is_replied_to = False  # this is told of the last message only
        self.entries.append(entry)
        return entry

    def replace_message(self, position: int, text: str, attachments: Sequence[Attachment] = ()) -> Entry:
        """Puts what the user said in place of entry number `position`.

        That entry and those after it leave the path; the record keeps them. What bound its answers binds the new ones,
        unless something else was chosen meanwhile.
        """
        replaced, made_at = self.entries[position], new_moment()
        attached, bounds = storable_attachments(attachments), self._take_next_bounds() or replaced.bounds

        def change(store: Store, id_there: IdThere) -> int:
            message_id = id_there(replaced.message_id)
            return store.replace_user_message(message_id, text, made_at=made_at, attachments=attached, bounds=bounds)

        entry = self._placed(Entry(Role.USER, text, self._made(change), attachments=attached, bounds=bounds))
        self.entries[position:] = [entry]
        return entry

    def bind_question(self, bounds: AnswerBounds | None) -> None:
        """Lets answers to the user's last message be bound so from now on; None: as all answers of the chat are."""
        question = self._question
        if question is None or question.bounds == bounds:
            return
        question.bounds, message_id = bounds, question.message_id
        self._record.change(lambda store, id_there: store.set_message_bounds(id_there(message_id), bounds))

    def _take_next_bounds(self) -> AnswerBounds | None:
        bounds, self.next_bounds = self.next_bounds, None
        return bounds

    @property
    def answer_bounds(self) -> AnswerBounds:
        """What binds an answer to the user's last message; empty for nothing."""
        question = self._question
        return (question and question.bounds) or self.choices.bounds or AnswerBounds()

    @property
    def _question(self) -> Entry | None:
        """The user's last message on the path."""
        return next((entry for entry in reversed(self.entries) if entry.role is Role.USER), None)

    def set_answer_aside(self) -> Entry | None:
        """Takes the last answer off the path, so that there can be another; the record keeps it."""
        if not self.ends_in_answer:
            return None
        entry = self.entries.pop()
        self._show_path_to(self.entries[-1].message_id)
        return entry

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
        chat_id = self._record.chat_id
        return await self._read(lambda memory: memory.branches(chat_id) if memory.has_chat(chat_id) else [])

    async def turn_to_branch(self, tip_message_id: int) -> None:
        """Puts the branch that ends there on the path."""
        chat_id = self._record.chat_id
        self._show_path_to(tip_message_id)
        self.entries = await self._read(lambda memory: entries_of(memory, chat_id))

    def _show_path_to(self, message_id: int) -> None:
        chat_id = self._record.chat_id
        self._record.change(lambda store, id_there: store.set_tip(chat_id, id_there(message_id)))

    def _made(self, change: Callable[[Store, IdThere], int]) -> int:
        """Makes a change and returns the id of the message that it has made."""
        message_id = self._record.change(change)
        assert message_id is not None
        return message_id

    def _placed(self, entry: Entry) -> Entry:
        """Numbers a new entry among the messages in the same place."""
        versions = self._record.memory.versions(entry.message_id)
        entry.version, entry.version_count = versions.index(entry.message_id) + 1, len(versions)
        return entry
