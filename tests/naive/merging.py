"""The two ways of merging symbols into tokens, as plainly as they can be said: take the best pair."""

from collections.abc import Mapping, Sequence
from itertools import pairwise


def merge_by_score(text: str, scores: Mapping[str, float]) -> list[str]:
    """Merges the pair whose token has the highest score, the leftmost of equals, until none is left."""
    symbols = list(text)
    while True:
        pairs = [left + right for left, right in pairwise(symbols)]
        known = [(-scores[pair], place) for place, pair in enumerate(pairs) if pair in scores]
        if not known:
            return symbols
        _, place = min(known)
        symbols[place : place + 2] = [pairs[place]]


def merge_by_rank(word: str, merges: Sequence[tuple[str, str]]) -> list[str]:
    """Merges the pair that stands first in the list, the leftmost of equals, until none is left."""
    symbols = list(word)
    while True:
        pairs = list(pairwise(symbols))
        known = [(merges.index(pair), place) for place, pair in enumerate(pairs) if pair in merges]
        if not known:
            return symbols
        _, place = min(known)
        symbols[place : place + 2] = ["".join(pairs[place])]
