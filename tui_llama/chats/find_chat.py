"""A chat in the store, as the commands without a screen need it: named by its id, and known by its tokens."""

from dataclasses import dataclass
from typing import Final

import msgspec

from tui_llama import paths
from tui_llama.chat import ENDED_BY_ITSELF, ChatMessage, Role
from tui_llama.chats.chat_date import date_text
from tui_llama.chats.entry import message_of
from tui_llama.chats.ledger import Ledger
from tui_llama.chats.store import ALL_CHATS, Store
from tui_llama.chats.stored import Chat, StoredMessage
from tui_llama.engine.requests import CompleteRequest
from tui_llama.errors import StoreError

_HINT: Final = "Give the id of one chat, or enough of its first characters to tell it from the others."


@dataclass(frozen=True, slots=True)
class StoredChat:
    """A chat, on the path that it shows.

    Attributes:
        chat_id: Its id.
        model_path: The model file that it is held with.
        ledger: Every token that was fed to a model or came from it.
        messages: The system prompt and what was said, up to the last answer.
        answer_tokens: How many tokens at the end of the ledger's newest are that answer's own.
        answer_has_ended: Whether the model ended it.
        begun_at: When the chat began, as `chat_date` writes it.
    """

    chat_id: str
    model_path: str
    ledger: Ledger
    messages: tuple[ChatMessage, ...] = ()
    answer_tokens: int = 0
    answer_has_ended: bool = False
    begun_at: str = ""

    def is_of(self, vocabulary: str) -> bool:
        """Tells whether all tokens are of this vocabulary, as far as anybody knows."""
        return not self.ledger.fed_in(vocabulary).lacks_newest

    def continued(self, request: CompleteRequest, vocabulary: str) -> CompleteRequest:
        """Returns the request with the chat before its text, for a model of this vocabulary."""
        fed = self.ledger.fed_in(vocabulary)
        has_tokens = self.ledger.writes_end_in(vocabulary)
        return msgspec.structs.replace(
            request,
            ledger=fed.token_ids,
            vocabulary=fed.vocabulary,
            chat_id=self.chat_id,
            messages=() if has_tokens else self.messages,
            answer_tokens=0 if fed.lacks_newest else self.answer_tokens,
            answer_has_ended=self.answer_has_ended,
            begun_at=self.begun_at,
        )


def find_chat(beginning: str) -> StoredChat:
    """Returns the chat whose id begins so.

    Raises:
        StoreError: there is none, or more than one, or nothing that a model has read in it.
    """
    if not paths.is_there(paths.database_file()):
        raise StoreError("there are no chats yet")
    with Store(paths.database_file()) as store:
        chat_ids = [chat.chat_id for chat in store.list_chats(ALL_CHATS)]
        found = [chat_id for chat_id in chat_ids if chat_id.startswith(beginning.lower())]
        if len(found) != 1:
            raise StoreError(f"{'several chat ids begin' if found else 'no chat id begins'} with {beginning!r}", _HINT)
        return _stored_chat(store, store.chat(found[0]))


def _stored_chat(store: Store, chat: Chat) -> StoredChat:
    said = store.messages(chat.chat_id)
    ledger = store.ledger(said[-1].message_id) if said else Ledger()
    if not ledger and not any(message.role is Role.ASSISTANT and message.text for message in said):
        raise StoreError("no model has read this chat yet", "Let a model answer in it first.")
    while _is_unread(store, said):
        said.pop()
    system = [ChatMessage(Role.SYSTEM, chat.system_prompt)] if chat.system_prompt else []
    return StoredChat(
        chat.chat_id,
        chat.model_path,
        store.ledger(said[-1].message_id),
        messages=(*system, *map(message_of, said)),
        answer_tokens=store.generated_token_count(said[-1].message_id),
        answer_has_ended=said[-1].stop_reason in ENDED_BY_ITSELF,
        begun_at=date_text(chat.begun_at),
    )


def _is_unread(store: Store, said: list[StoredMessage]) -> bool:
    """Tells whether no model is known to have read the last message: nobody answers it, or its answer is nothing."""
    last = said[-1]
    if last.role is not Role.ASSISTANT:
        return True
    before = store.ledger(said[-2].message_id) if len(said) > 1 else Ledger()
    return not last.text and store.ledger(last.message_id) == before
