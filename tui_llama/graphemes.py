"""Grapheme clusters, which people see as one character, by Unicode Standard Annex 29.

Places in a line are counted in code points, as Python counts them. A boundary is a place between two clusters, or one
of the line's ends.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from functools import lru_cache
from itertools import accumulate


@lru_cache(maxsize=64)
def boundaries(line: str) -> Sequence[int]:
    """Returns all boundaries in a line, ascending, from 0 to its length."""
    if line.isascii():
        return range(len(line) + 1)
    from wcwidth import iter_graphemes  # imported only when needed: its tables are slow to load

    return tuple(accumulate(map(len, iter_graphemes(line)), initial=0))


def beginning(text: str, count: int) -> str:
    """Returns the first `count` clusters of a text, or all if it has fewer."""
    places = boundaries(text)
    return text[: places[min(count, len(places) - 1)]]


def at_or_before(places: Sequence[int], place: int) -> int:
    """Returns the last boundary at or before a place."""
    return places[max(0, bisect_right(places, place) - 1)]


def at_or_after(places: Sequence[int], place: int) -> int:
    """Returns the first boundary at or after a place."""
    return places[min(len(places) - 1, bisect_left(places, place))]
