"""Turns the path of a chat into the messages that a chat template may see.

A chat is a tree of messages. A path through it may have messages that were never answered, answers that were stopped
before their first word, and turns that failed. Many templates accept none of that: they want an optional system
message, then user and assistant in turn. So every prompt is made from the messages of this module.

The rules, in this order:

1. An answer or a system message that is empty or white space is left out, unless it has further fields, such as calls
   of tools.
2. System messages before all others become one. A later one is put in front of the user's next message, where it takes
   effect at the same place. If there is no such message, it becomes a message of the user.
3. Answers before the user's first message are left out: templates refuse a conversation that begins with one. What
   tools are called with or answer is never left out.
4. Messages of the same speaker in a row become one, with a blank line between them. A message of the user that is white
   space adds nothing to others. Alone it is kept: the user who sends one wants an answer to it. Messages of tools, and
   those that have images or further fields, stay as they are.

Messages that already follow the rules are returned unchanged. Adding to a path changes only the end of the result, so
the tokens that were fed for it can be kept.
"""

from collections.abc import Iterable, Sequence
from itertools import groupby

import msgspec

from tui_llama.chat import ChatMessage, Role

_BETWEEN = "\n\n"


def prompt_messages(path: Sequence[ChatMessage]) -> tuple[ChatMessage, ...]:
    """Returns the messages of a path for a template: at most one system message, then user and assistant in turn.

    An assistant that calls tools is followed by the tools' messages, each on its own.

    Args:
        path: The messages, oldest first, in any order of speakers. If it ends in a message of the user, as a prompt for
            an answer does, so does the result.
    """
    said = [each for each in path if each.role is Role.USER or each.text.strip() or _stays(each)]
    opening = _length_of_opening(said)
    rest = _without_first_answers(_by_user_and_assistant(said[opening:]))
    groups = groupby([*said[:opening], *rest], _speaker)
    return tuple(_joined(list(group)) for _, group in groups)


def _stays(message: ChatMessage) -> bool:
    """Tells whether a message is passed on as it is."""
    return message.role is Role.TOOL or bool(message.fields or message.images)


def _speaker(message: ChatMessage) -> object:
    """Returns what is equal for messages in a row that become one."""
    return object() if _stays(message) else message.role


def _length_of_opening(messages: Sequence[ChatMessage]) -> int:
    """Counts the system messages before all others."""
    return next((count for count, each in enumerate(messages) if each.role is not Role.SYSTEM), len(messages))


def _by_user_and_assistant(messages: Iterable[ChatMessage]) -> list[ChatMessage]:
    """Returns the messages without system messages, each of which moves into the user's next message."""
    moved: list[ChatMessage] = []
    waiting: list[ChatMessage] = []
    for message in messages:
        if message.role is Role.SYSTEM:
            waiting.append(msgspec.structs.replace(message, role=Role.USER))
        elif message.role is Role.USER:
            moved += [*waiting, message]
            waiting = []
        else:
            moved.append(message)
    return moved + waiting


def _without_first_answers(messages: Sequence[ChatMessage]) -> Sequence[ChatMessage]:
    begins = (place for place, each in enumerate(messages) if each.role is Role.USER or _stays(each))
    return messages[next(begins, len(messages)) :]


def _joined(messages: Sequence[ChatMessage]) -> ChatMessage:
    if len(messages) == 1:
        return messages[0]
    texts = [message.text for message in messages]
    thoughts = [message.thought for message in messages if message.thought]
    return ChatMessage(
        messages[0].role,
        _BETWEEN.join([text for text in texts if text.strip()] or texts[:1]),
        thought=_BETWEEN.join(thoughts),
    )
