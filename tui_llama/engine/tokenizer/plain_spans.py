"""Parts of a text that somebody else wrote, and the question whether a place touches one of them.

There may be as many parts as questions: a chat of thousands of turns has a part and a mark for each of them. So a
question is answered by bisection.
"""

from bisect import bisect_right
from collections.abc import Iterable
from typing import TypeAlias

Span: TypeAlias = tuple[int, int]  # part of a text: from its first character to one past its last


class PlainSpans:
    """Parts of a text, in any order; they may overlap."""

    def __init__(self, spans: Iterable[Span]) -> None:
        self._starts: list[int] = []
        self._ends: list[int] = []
        for start, end in sorted(spans):
            if self._ends and start < self._ends[-1]:
                self._ends[-1] = max(end, self._ends[-1])
            else:
                self._starts.append(start)
                self._ends.append(end)

    def touches(self, start: int, end: int) -> bool:
        """Tells whether one of the parts has anything in common with what is from `start` to before `end`."""
        following = bisect_right(self._ends, start)
        return following < len(self._starts) and self._starts[following] < end
