"""What a chat is apart from its messages: title, model, beginning, system prompt, and what was chosen for it."""

from collections.abc import Callable
from datetime import datetime

from tui_llama.chat import AnswerBounds, ChatChoices
from tui_llama.chats.chat_date import local_now
from tui_llama.chats.database.moments import new_moment
from tui_llama.chats.journal import Journal
from tui_llama.chats.record import ChatRecord, IdThere
from tui_llama.chats.store import Store
from tui_llama.chats.stored import new_chat_id
from tui_llama.chats.stored_text import storable


class ChatFacts:
    """The part of an open chat that holds for all its messages. Each change is written to the chat's record.

    A new chat keeps the changes to itself until its first message makes it in the record.

    Attributes:
        chat_id: None until the first message is there.
        owner_id: Whose the keys and values of its prompts are: its id, which a new chat has only in mind; None where
            nothing may be kept.
        title: The title in the record; empty for a new chat.
        model_path: The model file that the chat is held with, or the address of a server's model.
        system_prompt: What the model is told before all messages; empty for nothing.
        choices: What was chosen for this chat in place of the settings.
        next_reply_start: How the next answer begins, and no other one; empty for as the choices say. It is not stored.
        next_bounds: What binds the next answer, and no other one; None for as the choices say. The message that is
            sent next takes it along, and until then it is not stored.
        is_unread: Whether an answer has ended in it, while another chat was on the screen, that nobody has seen.
        is_incognito: Whether it has a journal of its own, which writes nothing to the disk and tells no other chat.
    """

    def __init__(self, journal: Journal, *, model_path: str, system_prompt: str, record: ChatRecord | None) -> None:
        self._journal = journal
        self.is_incognito = journal.is_incognito
        self._record = record or ChatRecord(journal, new_chat_id())
        self.chat_id = None if record is None else record.chat_id
        self.owner_id = None if self.is_incognito else self._record.chat_id
        self.title = ""
        self.model_path = model_path
        self.system_prompt = system_prompt
        self.choices = ChatChoices()
        self.next_reply_start = ""
        self.next_bounds: AnswerBounds | None = None
        self._begun_at: datetime | None = None
        self.is_unread = False

    def _take_facts(self) -> None:
        """Takes over what the record has."""
        chat = self._record.memory.chat(self._record.chat_id)
        self.title, self.model_path, self.system_prompt = chat.title, chat.model_path, chat.system_prompt
        self.choices, self._begun_at, self.is_unread = chat.choices, chat.begun_at, chat.is_unread

    def _make_chat(self, begun_at: datetime) -> None:
        """Makes the chat in the record as it is now."""
        chat_id, made_at = self._record.chat_id, new_moment()
        title, model_path = self.title, self.model_path
        system_prompt, choices = self.system_prompt, self.choices

        def change(store: Store, _id_there: IdThere) -> None:
            store.create_chat(
                title=title,
                model_path=model_path,
                system_prompt=system_prompt,
                choices=choices,
                chat_id=chat_id,
                begun_at=begun_at,
                made_at=made_at,
            )

        self._record.change(change)
        self.chat_id = chat_id

    @property
    def stored_owner_id(self) -> str | None:
        """The owner of the keys and values that an answer leaves; None where the disk does not have the chat."""
        return self.owner_id if self._record.is_stored else None

    @property
    def is_refused(self) -> bool:
        """True if the store no longer saves the chat, because the disk has another chat in its place, or none."""
        return self._record.is_refused

    @property
    def reply_start(self) -> str:
        """How the next answer begins; empty for any beginning."""
        return storable(self.next_reply_start or self.choices.reply_start)

    @property
    def bounds(self) -> AnswerBounds:
        """What will bind the answer to the next message; empty for nothing."""
        return self.next_bounds or self.choices.bounds or AnswerBounds()

    def rename(self, title: str) -> None:
        """Gives the chat another title; a new chat keeps it until it is written."""
        self.title = title
        self._change_chat(lambda store, chat_id: store.rename_chat(chat_id, title))

    def begin_today(self) -> None:
        """Has the model told today's date from now on."""
        begun_at = self._begun_at = local_now()
        self._change_chat(lambda store, chat_id: store.set_chat_beginning(chat_id, begun_at))

    def set_model(self, model_path: str) -> None:
        """Lets the chat go on with another model."""
        self.model_path = model_path
        self._change_chat(lambda store, chat_id: store.set_chat_model(chat_id, model_path))

    def set_system_prompt(self, text: str) -> None:
        """Tells the model something else before all messages, from the next answer on; empty for nothing."""
        self.system_prompt = text
        self._change_chat(lambda store, chat_id: store.set_chat_system_prompt(chat_id, text))

    def set_choices(self, choices: ChatChoices) -> None:
        """Lets the chat's next answers be given as chosen."""
        self.choices = choices
        self._change_chat(lambda store, chat_id: store.set_chat_choices(chat_id, choices))

    def set_unread(self, *, is_unread: bool) -> None:
        """Remembers whether an answer has ended in the chat that nobody has seen."""
        if is_unread != self.is_unread:
            self.is_unread = is_unread
            self._change_chat(lambda store, chat_id: store.set_chat_unread(chat_id, is_unread=is_unread))

    def _change_chat(self, change: Callable[[Store, str], None]) -> None:
        """Changes the chat, whose id the change is given; a new chat is made as it is by then."""
        chat_id = self.chat_id
        if chat_id is not None:
            self._record.change(lambda store, _id_there: change(store, chat_id))
