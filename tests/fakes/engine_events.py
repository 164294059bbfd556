"""What the events of a reply say together."""

from collections.abc import Iterable, Sequence

from tui_llama.chat import Usage
from tui_llama.engine.protocol import Finished, Notice, ReplyEvent, TextPiece


def text_of(events: Iterable[ReplyEvent]) -> str:
    """The whole answer."""
    return "".join(event.text for event in events if isinstance(event, TextPiece))


def tokens_of(events: Iterable[ReplyEvent]) -> list[int]:
    """The ids of the answer's tokens."""
    return [token for event in events if isinstance(event, TextPiece) for token in event.token_ids]


def notices_of(events: Iterable[ReplyEvent]) -> list[str]:
    """What was to be told to the user, in order."""
    return [event.text for event in events if isinstance(event, Notice)]


def finish_of(events: Sequence[ReplyEvent]) -> Finished:
    """The end, which is no failure."""
    assert isinstance(events[-1], Finished), events[-1]
    return events[-1]


def usage_of(events: Sequence[ReplyEvent]) -> Usage:
    """How many tokens were reused, read and generated."""
    return finish_of(events).usage
