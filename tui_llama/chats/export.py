"""Chats as a file for people: Markdown of what is shown, or JSON with everything that was said."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec

from tui_llama.attachments.prompt_text import with_attachments
from tui_llama.chat import Role
from tui_llama.chats.store import Store
from tui_llama.chats.stored import Chat, StoredMessage
from tui_llama.errors import ResultFileError
from tui_llama.files.new_files import FileKind, new_file, write_all
from tui_llama.paths import typed_path

_SPEAKERS = {Role.SYSTEM: "System", Role.USER: "You", Role.ASSISTANT: "Answer"}
_UNTITLED = "Chat"
_EXPORT: Final = FileKind("a file of chats")


class WrittenChat(msgspec.Struct, frozen=True):
    """A chat in a JSON file: its messages are a tree, and the chat's tip says which path was shown."""

    chat: Chat
    messages: list[StoredMessage]


def save_chats(stores: Sequence[Store], path_text: str) -> Path:
    """Writes every chat of these stores into one new file: JSON if its name ends so, else Markdown.

    Returns:
        The file that was written.

    Raises:
        ResultFileError: there is something of that name already, or it cannot be written; nothing is left of it then.
        StoreError: a chat cannot be read.
    """
    path = typed_path(path_text)
    if path is None or not path.name:
        raise ResultFileError(f"This is not a valid file name: {path_text}", "Choose another name.")
    chats = [(store, summary.chat_id) for store in stores for summary in store.list_chats()]
    write = _as_json if path.suffix.lower() == ".json" else _as_markdown
    content = write(chats)
    with new_file(path.absolute(), _EXPORT, may_replace=False) as descriptor:
        write_all(descriptor, content)
    return path.absolute()


def _as_json(chats: Sequence[tuple[Store, str]]) -> bytes:
    written = [WrittenChat(store.chat(chat_id), store.all_messages(chat_id)) for store, chat_id in chats]
    return msgspec.json.format(msgspec.json.encode(written)) + b"\n"


def _quoted(thought: str) -> str:
    """Returns a thought as a quotation with an empty line behind it; nothing if there is none."""
    return "".join(f"> {line}".rstrip() + "\n" for line in thought.splitlines()) + "\n" if thought else ""


def _as_markdown(chats: Sequence[tuple[Store, str]]) -> bytes:
    parts = []
    for store, chat_id in chats:
        chat = store.chat(chat_id)
        parts.append(f"# {chat.title or _UNTITLED}")
        if chat.system_prompt:
            parts.append(f"## {_SPEAKERS[Role.SYSTEM]}\n\n{chat.system_prompt}")
        parts += [
            f"## {_SPEAKERS[message.role]}\n\n{_quoted(message.thought)}"
            f"{with_attachments(message.text, message.attachments)}"
            for message in store.messages(chat_id)
        ]
    return ("\n\n".join(parts) + "\n").encode()
