"""What people see as one character: the grapheme clusters of Unicode Standard Annex 29.

Places in a line are counted in code points, as Python does; a boundary is a place between two clusters, or an end.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from functools import lru_cache
from itertools import accumulate


@lru_cache(maxsize=64)
def boundaries(line: str) -> Sequence[int]:
    """All boundaries in a line, ascending, from 0 to its length."""
    if line.isascii():
        return range(len(line) + 1)
    from wcwidth import iter_graphemes  # not before it is needed: its tables take time to load

    return tuple(accumulate(map(len, iter_graphemes(line)), initial=0))


def beginning(text: str, count: int) -> str:
    """The first clusters of a text, so many at most."""
    places = boundaries(text)
    return text[: places[min(count, len(places) - 1)]]


def at_or_before(places: Sequence[int], place: int) -> int:
    """The last boundary that is not behind a place."""
    return places[max(0, bisect_right(places, place) - 1)]


def at_or_after(places: Sequence[int], place: int) -> int:
    """The first boundary that is not before a place."""
    return places[min(len(places) - 1, bisect_left(places, place))]
