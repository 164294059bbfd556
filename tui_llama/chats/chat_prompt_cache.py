"""Stored keys and values, seen from the chats: an engine stores them for a chat, and they are removed with the chat.

Some belong to no chat: those of the programs that `tui-llama serve` answers. Only the budget evicts them.
"""

import subprocess
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Protocol, TypeVar

import msgspec

from tui_llama import paths
from tui_llama.chats.store import ALL_CHATS, Store
from tui_llama.engine.prompt_cache.owner import is_served_owner
from tui_llama.engine.prompt_cache.stored_tree import FedNode, Stored, StoredTreeAnswer, StoredTreeRequest
from tui_llama.engine.requests import LoadRequest
from tui_llama.errors import StateFileError
from tui_llama.files.locks import cause_of
from tui_llama.system.child_process import child_command


def with_prompt_cache(request: LoadRequest, prompt_cache_mib: int) -> LoadRequest:
    """Returns the request for an engine that also stores the keys and values that it computes.

    Args:
        request: The request for an engine that stores nothing.
        prompt_cache_mib: The setting: how many MiB it may store, 0 to let the engine choose; -1 to store nothing.
    """
    if prompt_cache_mib < 0:
        return request
    folder = str(paths.prompt_cache_folder())
    return msgspec.structs.replace(request, prompt_cache_folder=folder, prompt_cache_bytes=prompt_cache_mib << 20)


def forget_chat(chat_id: str) -> None:
    """Removes the keys and values that are stored for a chat, except those that other chats go on from.

    Raises:
        StateFileError: it could not be removed.
    """
    _ask([chat_id])


def forget_orphans(store: Store) -> None:
    """Removes the keys and values that are stored for deleted chats.

    There are some where an engine finished saving just after its chat was deleted. Nothing is removed where the chats
    of this run are in memory: then it is unknown which are gone. What served programs use stays.

    Raises:
        StateFileError: it could not be removed.
    """
    if store.is_in_memory:
        return
    # Files first: a chat that begins meanwhile is in the store before it has any.
    owners = _ask()
    known = {chat.chat_id for chat in store.list_chats(ALL_CHATS)} if owners else set()
    orphans = [owner for owner in owners if owner not in known and not is_served_owner(owner)]
    if orphans:
        _ask(orphans)


def stored_messages(
    folder: str, owner_id: str, nodes: Sequence[FedNode], outdated: Collection[int]
) -> dict[int, Stored]:
    """Returns how much of each message has stored keys and values; a message without known tokens is left out.

    What the user said is read with the prompt of the answer to it. So it is stored as far as one of those prompts is.

    Args:
        folder: That of the loaded model in the prompt cache.
        owner_id: The chat.
        nodes: Its messages with their tokens, parents first.
        outdated: Those whose tokens follow a message that was deleted since then: they are read again.

    Raises:
        StateFileError: the disk refused, or the process that looks there ended.
    """
    parts = _stored_parts(StoredTreeRequest(folder, owner_id, nodes))
    by_id = {node.node_id: node for node in nodes}
    stored: dict[int, Stored] = {}
    for node_id, (prompt, generated) in parts.items():
        if node_id in outdated:
            continue
        stored[node_id] = generated
        above = by_id.get(by_id[node_id].parent_id or 0)
        while above is not None and above.kept_tokens is None:
            stored[above.node_id] = max(stored.get(above.node_id, Stored.NOTHING), prompt)
            above = by_id.get(above.parent_id or 0)
    return stored


def _stored_parts(request: StoredTreeRequest) -> Mapping[int, tuple[Stored, Stored]]:
    decode = msgspec.msgpack.Decoder(StoredTreeAnswer).decode
    return _answer_of(child_command(_TREE_CHILD), _NOT_LOOKED_UP, decode, msgspec.msgpack.encode(request)).nodes


_NOT_LOOKED_UP = "What is stored of this chat could not be found out"
_TREE_CHILD = "tui_llama.engine.prompt_cache.stored_tree_process"
_NOT_REMOVED = "The stored prompt of a deleted chat could not be removed"
_CHILD = "tui_llama.engine.prompt_cache.owners_process"
"""The module that reads segments, by its name: to import it would load NumPy into the process that draws."""


class _Answer(msgspec.Struct):
    """The answer of the process: the owners of the stored keys and values, and what the disk refused."""

    owners: list[str]
    cause: str


def _ask(unwanted: Sequence[str] = ()) -> list[str]:
    """Has the process remove the stored keys and values of some chats; without any, returns which chats have some."""
    from tui_llama.files.storage import DiskStorage  # not before the first frame

    folder = paths.prompt_cache_folder()
    with explained(_NOT_REMOVED):
        if not DiskStorage(folder).list_folder(""):  # nothing is stored, so no process is needed
            return []
    decode = msgspec.json.Decoder(_Answer).decode
    return _answer_of(child_command(_CHILD, str(folder), *unwanted), _NOT_REMOVED, decode).owners


class _Told(Protocol):
    """An answer that says what went wrong; empty: nothing."""

    @property
    def cause(self) -> str: ...


_Answered = TypeVar("_Answered", bound=_Told)


def _answer_of(
    command: Sequence[str], failure: str, decode: Callable[[bytes], _Answered], question: bytes = b""
) -> _Answered:
    """Returns what a process answers.

    Raises:
        StateFileError: it has no answer, or one that says what went wrong; `failure` says what was not done.
    """
    with explained(failure):
        ended = subprocess.run(
            command,
            input=question,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl+C is for the program; the process finishes what it does
            check=False,
        )
    try:
        answer = decode(ended.stdout)
    except msgspec.DecodeError as error:
        raise StateFileError(f"{failure} (its process ended with status {ended.returncode}).") from error
    if answer.cause:
        raise StateFileError(f"{failure} ({answer.cause}).")
    return answer


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
