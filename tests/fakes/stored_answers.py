"""Stores whole answers."""

from tui_llama.chat import StopReason, Usage
from tui_llama.chats.store import Store

USAGE = Usage(5, 3, 2, read_seconds=0.5, context_size=64, drafted_tokens=4, accepted_tokens=1)


def answer(store: Store, chat_id: str, parent_id: int, *pieces: str) -> int:
    """Stores a finished answer of those pieces; returns its id."""
    message_id = store.begin_answer(chat_id, parent_id)
    for piece in pieces:
        store.append_to_answer(message_id, piece, [])
    store.finish_answer(message_id, StopReason.END_OF_GENERATION, None)
    return message_id
