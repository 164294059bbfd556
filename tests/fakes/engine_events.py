"""Sums up the events of a reply."""

from collections.abc import Iterable, Sequence

from tui_llama.chat import Usage
from tui_llama.engine.events import Finished, Notice, TextPiece
from tui_llama.engine.protocol import ReplyEvent


def text_of(events: Iterable[ReplyEvent]) -> str:
    """Returns the whole text of the answer."""
    return "".join(event.text for event in events if isinstance(event, TextPiece))


def thought_of(events: Iterable[ReplyEvent]) -> str:
    """Returns the whole thought before the answer."""
    return "".join(event.thought for event in events if isinstance(event, TextPiece))


def tokens_of(events: Iterable[ReplyEvent]) -> list[int]:
    """Returns the ids of the answer's tokens."""
    return [token for event in events if isinstance(event, TextPiece) for token in event.token_ids]


def notices_of(events: Iterable[ReplyEvent]) -> list[str]:
    """Returns the notices to the user, in order."""
    return [event.text for event in events if isinstance(event, Notice)]


def finish_of(events: Sequence[ReplyEvent]) -> Finished:
    """Returns the last event, which must be `Finished`."""
    assert isinstance(events[-1], Finished), events[-1]
    return events[-1]


def usage_of(events: Sequence[ReplyEvent]) -> Usage:
    """Returns the usage, with the numbers of tokens that were reused, read and generated."""
    return finish_of(events).usage
