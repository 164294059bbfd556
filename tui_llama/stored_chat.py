"""A chat in the store, as the commands without a screen need it: named by its id, and known by its tokens."""

from dataclasses import dataclass
from typing import Final

from tui_llama import paths
from tui_llama.errors import StoreError
from tui_llama.store import Store

_ALL: Final = 2**31
_HINT: Final = "Give its id, or as much of its beginning as no other chat has."


@dataclass(frozen=True, slots=True)
class StoredChat:
    """`ledger` is every token that was fed to the model or came from it, on the path that the chat shows."""

    chat_id: str
    model_path: str
    ledger: tuple[int, ...]


def find_chat(beginning: str) -> StoredChat:
    """The chat whose id begins so.

    Raises:
        StoreError: there is none, or more than one, or nothing that a model has read in it.
    """
    if not paths.database_file().exists():
        raise StoreError("there are no chats yet")
    with Store(paths.database_file()) as store:
        chat_ids = [chat.chat_id for chat in store.list_chats(_ALL)]
        found = [chat_id for chat_id in chat_ids if chat_id.startswith(beginning.lower())]
        if len(found) != 1:
            raise StoreError(f"{'several chats begin' if found else 'no chat begins'} with {beginning!r}", _HINT)
        chat = store.chat(found[0])
        ledger = () if chat.tip_message_id is None else tuple(store.ledger(chat.tip_message_id))
    if not ledger:
        raise StoreError("no model has read anything of this chat", "Let a model on this machine answer in it first.")
    return StoredChat(chat.chat_id, chat.model_path, ledger)
