"""Types that every layer shares: roles, messages, reasons why an answer ended, and its usage."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Final, TypeAlias

import msgspec
from msgspec import Meta

from tui_llama.declarations import MOST, Value

# The numbers of an engine are checked, because the store keeps 64 bits.
Count: TypeAlias = Annotated[int, Meta(ge=0, le=2**63 - 1)]
TokenId: TypeAlias = Annotated[int, Meta(ge=0, le=MOST)]
Seconds: TypeAlias = Annotated[float, Meta(ge=0, le=1e12)]


class Role(StrEnum):
    """The author of a message."""

    SYSTEM = "system"
    USER = "user"
    ASSISTANT = "assistant"
    TOOL = "tool"


class StopReason(StrEnum):
    """The reason why an answer ended."""

    END_OF_GENERATION = "end of generation"
    STOP_TEXT = "stop text"
    LENGTH = "length"
    CONTEXT_FULL = "context full"
    LOOP = "loop"
    STOPPED = "stopped"
    FAILED = "failed"
    EDITED = "edited"  # the user has written it


ENDED_BY_ITSELF: Final = (StopReason.END_OF_GENERATION, StopReason.STOP_TEXT)
"""The reasons with which an answer is complete and was not cut off."""


class Attachment(msgspec.Struct, frozen=True):
    """A text that the user has attached to a message: a file, or a long paste. The chat keeps its content.

    `path` is the absolute path of the file; empty for a paste. `digest` is the SHA-256 of the file's bytes in
    hexadecimal digits, which tells whether the file has changed since; empty for a paste.
    """

    name: str
    text: str
    path: str = ""
    digest: str = ""


class Thinking(StrEnum):
    """Whether, and how hard, a model is to think before it answers. A template knows some of these, or none."""

    DEFAULT = "default"
    OFF = "off"
    ON = "on"
    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"


class AnswerBounds(msgspec.Struct, frozen=True, omit_defaults=True):
    """What binds an answer: a JSON schema, or a grammar in GBNF; "" for none. At most one of them is given."""

    json_schema: str = ""
    grammar: str = ""

    def __bool__(self) -> bool:
        return bool(self.json_schema or self.grammar)


class ChatChoices(msgspec.Struct, frozen=True, omit_defaults=True):
    """What the user has chosen for one chat, in place of the settings.

    `sampling` holds values by the names of `SamplingSettings`. `thinking` None and `thinking_tokens` None take the
    settings. Every answer of the chat begins with `reply_start`, and `bounds` bind it. `persona` is the name of the one
    that was taken last.
    """

    sampling: Mapping[str, Value] = {}
    thinking: Thinking | None = None
    thinking_tokens: Count | None = None
    reply_start: str = ""
    persona: str = ""
    bounds: AnswerBounds | None = None


class ChatMessage(msgspec.Struct, frozen=True):
    """One message as the chat template sees it.

    `thought` is what the model thought before the text of an answer; templates get it by the names that they know.
    `images` are data URLs, shown to a model that sees them, before the text. `fields` is a JSON object with further
    fields of the message, such as `tool_calls`, `tool_call_id` and `name`, for templates and servers that know them;
    "" is none.
    """

    role: Role
    text: str
    images: tuple[str, ...] = ()
    fields: str = ""
    thought: str = ""


class Usage(msgspec.Struct, frozen=True):
    """The cost of one answer, in tokens and seconds.

    The prompt has `reused_tokens`, which were in the cache (memory or state file), and `read_tokens`, which had to be
    read. At the end the cache holds `context_used` tokens of the `context_size` that it can hold. `drafted_tokens` were
    guessed from the text in the context, and `accepted_tokens` of them were right.

    `is_incomplete` says that a grammar or a JSON schema bound the answer, and the answer ended before it fits.

    Of the generated tokens, `thought_tokens` are a thought, which took `thought_seconds`.

    A server may tell less. `first_token_seconds` is the time from the request to the first token as this program has
    measured it, for engines on servers only. Where the server told no token counts, `knows_tokens` is false and all
    counts are 0; where it did not tell how much of the prompt was in its cache, `knows_reused` is false and
    `read_tokens` is the whole prompt.
    """

    reused_tokens: Count = 0
    read_tokens: Count = 0
    generated_tokens: Count = 0
    read_seconds: Seconds = 0.0
    generate_seconds: Seconds = 0.0
    context_used: Count = 0
    context_size: Count = 0
    drafted_tokens: Count = 0
    accepted_tokens: Count = 0
    first_token_seconds: Seconds | None = None
    knows_tokens: bool = True
    knows_reused: bool = True
    thought_tokens: Count = 0
    thought_seconds: Seconds = 0.0
    is_incomplete: bool = False
