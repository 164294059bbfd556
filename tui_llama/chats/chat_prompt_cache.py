"""Stored keys and values, seen from the chats that they belong to: which chat's they are, and that they go with it."""

from collections.abc import Iterator
from contextlib import contextmanager

import msgspec

from tui_llama import paths
from tui_llama.chats.store import Store
from tui_llama.engine.protocol import LoadRequest
from tui_llama.errors import StateFileError
from tui_llama.files.locks import cause_of


def with_prompt_cache(request: LoadRequest, prompt_cache_mib: int) -> LoadRequest:
    """The same request for an engine that stores what it reads; as large as the setting says, -1 for not at all."""
    if prompt_cache_mib < 0:
        return request
    folder = str(paths.prompt_cache_folder())
    return msgspec.structs.replace(request, prompt_cache_folder=folder, prompt_cache_bytes=prompt_cache_mib << 20)


def forget_chat(chat_id: str) -> None:
    """Removes what is stored for a chat, but for what other chats go on from.

    Raises:
        StateFileError: it could not be removed.
    """
    from tui_llama.engine.prompt_cache.eviction import remove_owner
    from tui_llama.files.storage import DiskStorage

    with explained(_NOT_REMOVED):
        remove_owner(DiskStorage(paths.prompt_cache_folder()), bytes.fromhex(chat_id))


def forget_orphans(store: Store) -> None:
    """Removes what is stored for chats that are gone: an engine may finish saving just after its chat is deleted.

    Nothing where the chats of this run are in memory: then nobody knows which are gone.

    Raises:
        StateFileError: it could not be removed.
    """
    from tui_llama.engine.prompt_cache.eviction import cache_uses
    from tui_llama.files.storage import DiskStorage

    if store.is_in_memory:
        return
    # Files first: a chat that begins meanwhile is in the store before it has any.
    with explained(_NOT_REMOVED):
        owners = [use.owner.hex() for use in cache_uses(DiskStorage(paths.prompt_cache_folder())) if any(use.owner)]
    known = {chat.chat_id for chat in store.list_chats(_ALL)} if owners else set()
    for owner in owners:
        if owner not in known:
            forget_chat(owner)


_ALL = 2**31
_NOT_REMOVED = "What is stored of a deleted chat could not be removed"


@contextmanager
def explained(failure: str) -> Iterator[None]:
    """Turns what the disk says into an error for the user.

    Raises:
        StateFileError: `failure`, with the cause.
    """
    try:
        yield
    except OSError as error:
        raise StateFileError(f"{failure} ({cause_of(error)}).") from error
