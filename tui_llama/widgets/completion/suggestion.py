"""The interface between the composer and those who know what can be written at its cursor."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class CursorPlace:
    """The line of the cursor. A folded paste in it is a run of one surrogate, which no typed text contains.

    Attributes:
        before: The part of the line before the cursor.
        after: The part of the line behind the cursor.
        is_whole_text: Whether the text has no other line.
    """

    before: str
    after: str
    is_whole_text: bool


@dataclass(frozen=True, slots=True)
class Suggestion:
    """Something that can stand at the cursor. No text needs to be safe to print.

    Attributes:
        insert: The text that replaces what is written of it.
        label: How it is listed; empty: as `insert`.
        detail: A few words at the end of its line, such as a key or a size.
        explanation: What it means, in one line.
        on_taken: Called when it was put into the text. Enter takes such a suggestion even if it is written already.
    """

    insert: str
    label: str = ""
    detail: str = ""
    explanation: str = ""
    on_taken: Callable[[], object] | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Completion:
    """The suggestions for one place.

    Attributes:
        replaced: The number of characters before the cursor that a suggestion replaces.
        suggestions: Best first.
        chooses_first: Whether Enter takes the first one. If not, Enter does what it does without suggestions, until
            the user has moved to one of them.
    """

    replaced: int
    suggestions: Sequence[Suggestion]
    chooses_first: bool = True


Provider: TypeAlias = Callable[[CursorPlace], Completion | None]
"""Returns the suggestions for a place, or None if it knows nothing about it.

It is called at every key and must not wait. One that has to look something up returns what it knows already, and has
`Composer.complete` called when it knows more.
"""
