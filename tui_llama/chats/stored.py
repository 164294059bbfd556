"""The values that a store hands out: chats, their messages, and the branches that a chat has."""

import uuid
from datetime import datetime
from enum import StrEnum

import msgspec

from tui_llama.chat import AnswerBounds, Attachment, ChatChoices, Role, StopReason, Usage


class MessageState(StrEnum):
    """The state of a message. A user's message is complete at once."""

    COMPLETE = "complete"
    PARTIAL = "partial"
    INTERRUPTED = "interrupted"


class ChatSummary(msgspec.Struct, frozen=True):
    """A chat as a line of the list. Neither `title` nor `model_name`, the file's name, is safe to print."""

    chat_id: str
    title: str
    model_name: str
    message_count: int
    updated_at: datetime


class Chat(msgspec.Struct, frozen=True):
    """A chat without its messages. `tip_message_id` ends the path that is shown; None: nothing was said.

    `begun_at` is what the model is told when it asks for the date: local time of then, with its offset from UTC.
    `is_unread` tells that an answer has ended in it which nobody has seen.
    """

    chat_id: str
    title: str
    model_path: str
    system_prompt: str
    choices: ChatChoices
    tip_message_id: int | None
    created_at: datetime
    updated_at: datetime
    begun_at: datetime
    is_unread: bool = False


class StoredMessage(msgspec.Struct, frozen=True):
    """One message of the tree; an answer's `text` is all that was committed of it so far, behind its `thought`.

    Of an answer whose `prompt_is_known`, all tokens are in the ledger. What `bounds` the answers to a message of the
    user is None where it was not chosen for this message alone.
    """

    message_id: int
    parent_id: int | None
    role: Role
    text: str
    state: MessageState
    stop_reason: StopReason | None
    usage: Usage | None
    created_at: datetime
    prompt_is_known: bool = False
    attachments: tuple[Attachment, ...] = ()
    thought: str = ""
    bounds: AnswerBounds | None = None


class StoredDraft(msgspec.Struct, frozen=True):
    """What is written in a chat and not sent."""

    text: str = ""
    attachments: tuple[Attachment, ...] = ()

    def before(self, other: "StoredDraft") -> "StoredDraft":
        """Returns this one and the other behind it as one, with a blank line between their texts."""
        text = "\n\n".join(text for text in (self.text, other.text) if text)
        more = tuple(attachment for attachment in other.attachments if attachment not in self.attachments)
        return StoredDraft(text, self.attachments + more)


class StoredText(msgspec.Struct, frozen=True):
    """A text that the user has sent in some chat; neither it nor `chat_title` is safe to print."""

    text: str
    chat_id: str
    chat_title: str
    sent_at: datetime


class StoredBranch(msgspec.Struct, frozen=True):
    """A branch of a chat: what the user said last on it, and the answer to that; `answer` is empty if there is none."""

    tip_message_id: int
    question: str
    answer: str
    message_count: int
    created_at: datetime


class TreeMessage(msgspec.Struct, frozen=True):
    """A message in the tree of its chat; `beginning` are the first 200 characters of its text, not safe to print.

    `version` counts from 1, of `version_count` messages in the same place.
    """

    message_id: int
    parent_id: int | None
    role: Role
    beginning: str
    created_at: datetime
    version: int = 1
    version_count: int = 1


class Deletion(msgspec.Struct, frozen=True):
    """What the user has deleted at once: the message `message_id`, and with it `message_count` in all."""

    message_id: int
    deleted_at: int
    message_count: int


def new_chat_id() -> str:
    """Returns an id that no chat has: 32 hexadecimal digits."""
    return uuid.uuid4().hex
