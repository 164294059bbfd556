"""Chats as a file for people: Markdown of what is shown, or JSON with everything that was said."""

import os
from collections.abc import Sequence
from pathlib import Path

import msgspec

from tui_llama.chat import Role
from tui_llama.errors import StoreError
from tui_llama.paths import typed_path
from tui_llama.store import Chat, Store, StoredMessage

_SPEAKERS = {Role.SYSTEM: "System", Role.USER: "You", Role.ASSISTANT: "Answer"}
_UNTITLED = "Chat"


class WrittenChat(msgspec.Struct, frozen=True):
    """A chat in a JSON file: its messages are a tree, and the chat's tip says which path was shown."""

    chat: Chat
    messages: list[StoredMessage]


def save_chats(stores: Sequence[Store], path_text: str) -> Path:
    """Writes every chat of these stores into one new file: JSON if its name ends so, else Markdown.

    Returns:
        The file that was written.

    Raises:
        StoreError: there is something of that name already, or it cannot be written; nothing is left of it then.
    """
    path = typed_path(path_text)
    if path is None or not path.name:
        raise StoreError(f"No file can have this name: {path_text}", "Choose another one.")
    chats = [(store, summary.chat_id) for store in stores for summary in store.list_chats()]
    write = _as_json if path.suffix.lower() == ".json" else _as_markdown
    _write_new_file(path.absolute(), write(chats))
    return path.absolute()


def _as_json(chats: Sequence[tuple[Store, str]]) -> bytes:
    written = [WrittenChat(store.chat(chat_id), store.all_messages(chat_id)) for store, chat_id in chats]
    return msgspec.json.format(msgspec.json.encode(written)) + b"\n"


def _as_markdown(chats: Sequence[tuple[Store, str]]) -> bytes:
    parts = []
    for store, chat_id in chats:
        chat = store.chat(chat_id)
        parts.append(f"# {chat.title or _UNTITLED}")
        if chat.system_prompt:
            parts.append(f"## {_SPEAKERS[Role.SYSTEM]}\n\n{chat.system_prompt}")
        parts += [f"## {_SPEAKERS[message.role]}\n\n{message.text}" for message in store.messages(chat_id)]
    return ("\n\n".join(parts) + "\n").encode()


def _write_new_file(path: Path, content: bytes) -> None:
    try:
        # A name that is taken is refused, a link included: nothing of the user's is written over.
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise _not_written(path, error) from error
    try:
        with open(descriptor, "wb") as file:  # noqa: PTH123 - of a descriptor
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        path.unlink(missing_ok=True)
        raise _not_written(path, error) from error


def _not_written(path: Path, error: OSError) -> StoreError:
    if isinstance(error, FileExistsError):
        return StoreError(f"There is a file of that name already: {path}", "Choose another name.")
    reason = error.strerror or type(error).__name__
    return StoreError(f"The file cannot be written ({reason}): {path}", "Choose another place.")
