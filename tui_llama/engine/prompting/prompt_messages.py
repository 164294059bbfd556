"""From the path of a chat to the messages that a chat template may see.

A chat is a tree of what was said, and a path through it has messages that were never answered, answers that were
stopped before their first word, and turns that failed. Many templates take none of that: they want an optional system
message, then user and assistant by turns. So whoever makes a prompt of a path makes it of these messages.

The rules, in their order:

1. An answer or a system message that is empty or white space says nothing and is left out.
2. System messages before all others become one. One that stands later begins the user's next message, where it takes
   effect at the same place; without such a message it is one itself.
3. Answers before the user's first message are left out: templates refuse a conversation that begins with one.
4. Messages of the same speaker in a row become one, a blank line between them. Of the user's, those that are white
   space add nothing to others, but are never left out: whoever sends one wants an answer to it.

Messages that were so already come out as they are. Adding to a path changes nothing but the end of what comes out, so
the tokens that were fed for it can be kept.
"""

from collections.abc import Iterable, Sequence
from itertools import groupby

from tui_llama.chat import ChatMessage, Role

_BETWEEN = "\n\n"


def prompt_messages(path: Sequence[ChatMessage]) -> tuple[ChatMessage, ...]:
    """What a template is shown of a path: at most one system message first, then the user's and answers by turns.

    Args:
        path: What was said, oldest first, in any order of speakers. What begins a prompt for an answer ends in a
            message of the user; then what comes out does too.
    """
    said = [message for message in path if message.role is Role.USER or message.text.strip()]
    opening = _length_of_opening(said)
    rest = _without_first_answers(_by_user_and_assistant(said[opening:]))
    return tuple(_joined(role, group) for role, group in groupby([*said[:opening], *rest], lambda each: each.role))


def _length_of_opening(messages: Sequence[ChatMessage]) -> int:
    """How many system messages come before all others."""
    return next((count for count, each in enumerate(messages) if each.role is not Role.SYSTEM), len(messages))


def _by_user_and_assistant(messages: Iterable[ChatMessage]) -> list[ChatMessage]:
    """The same without system messages, each of which moves into the user's next message."""
    moved: list[ChatMessage] = []
    waiting: list[ChatMessage] = []
    for message in messages:
        if message.role is Role.SYSTEM:
            waiting.append(ChatMessage(Role.USER, message.text))
        elif message.role is Role.USER:
            moved += [*waiting, message]
            waiting = []
        else:
            moved.append(message)
    return moved + waiting


def _without_first_answers(messages: Sequence[ChatMessage]) -> Sequence[ChatMessage]:
    first = next((place for place, each in enumerate(messages) if each.role is Role.USER), len(messages))
    return messages[first:]


def _joined(role: Role, messages: Iterable[ChatMessage]) -> ChatMessage:
    texts = [message.text for message in messages]
    return ChatMessage(role, _BETWEEN.join([text for text in texts if text.strip()] or texts[:1]))
