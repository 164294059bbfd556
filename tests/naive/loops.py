"""Finds an answer's loop as the rule says it: tries every period and counts every repeat, token by token."""

from collections.abc import Callable, Sequence


def is_in_loop(token_ids: Sequence[int], longest: int, most_tokens: Callable[[Sequence[int]], int]) -> bool:
    """Tells whether the answer's end repeats a passage for more tokens than that passage may.

    Args:
        token_ids: The answer so far.
        longest: The most tokens of a passage.
        most_tokens: How many tokens the repeats of a passage have when they end the answer.
    """
    return any(
        length >= most_tokens(token_ids[-period:])
        for period in range(1, min(longest, len(token_ids) // 2) + 1)
        if (length := length_with(period, token_ids)) >= 2 * period and is_shortest(period, length, token_ids)
    )


def length_with(period: int, token_ids: Sequence[int]) -> int:
    """Returns the number of tokens at the end that repeat with this period, the first passage counted."""
    length = period
    while length < len(token_ids) and token_ids[-length - 1] == token_ids[-length - 1 + period]:
        length += 1
    return length


def is_shortest(period: int, length: int, token_ids: Sequence[int]) -> bool:
    """Tells whether no shorter period repeats over all of these tokens."""
    return all(length_with(shorter, token_ids) < length for shorter in range(1, period))
