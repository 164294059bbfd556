"""One message as the screen shows it, and the path of a stored chat as such messages."""

from dataclasses import dataclass, field

from tui_llama.attachments.prompt_text import with_attachments
from tui_llama.chat import AnswerBounds, Attachment, ChatMessage, Role, StopReason, Usage
from tui_llama.chats.store import Store
from tui_llama.chats.stored import MessageState, StoredMessage


@dataclass(slots=True)
class Entry:
    """One message on the path that is shown.

    An answer's `thought` is what the model thought before its text. `message_id` is its id in the chat's record. An
    answer whose `stop_reason` is None is under way, or was interrupted; of one whose `prompt_is_known`, the record
    has all tokens. One that `may_repeat` itself was let go on after a loop. What `bounds` the answers to a message of
    the user was chosen for this one alone; what bound an answer is known in the run of the program that asked for it.
    The last message may be one that `is_replied_to` on another branch. `version` counts from 1, of `version_count`
    messages in the same place.
    """

    role: Role
    text: str
    message_id: int
    stop_reason: StopReason | None = None
    is_interrupted: bool = False
    usage: Usage | None = None
    prompt_is_known: bool = field(default=False, compare=False)
    may_repeat: bool = field(default=False, compare=False)
    bounds: AnswerBounds | None = field(default=None, compare=False)
    is_replied_to: bool = False
    version: int = 1
    version_count: int = 1
    attachments: tuple[Attachment, ...] = ()
    thought: str = ""


def entries_of(store: Store, chat_id: str) -> list[Entry]:
    """Returns the path that a chat shows, oldest message first.

    Raises:
        StoreError: as the store does.
    """
    messages = store.messages(chat_id)
    versions = store.all_versions(chat_id)
    entries = [_entry(message, versions[message.message_id]) for message in messages]
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
        attachments=message.attachments,
        thought=message.thought,
        bounds=message.bounds,
    )


def message_of(entry: Entry | StoredMessage) -> ChatMessage:
    """Returns a message as the model gets it, with what is attached to it."""
    return ChatMessage(entry.role, with_attachments(entry.text, entry.attachments), thought=entry.thought)
