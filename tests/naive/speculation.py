"""The obvious twin of the n-gram index: looks through all tokens, every time."""

from collections.abc import Sequence


def source_after(token_ids: Sequence[int], followed_from: int, longest_ngram: int) -> int | None:
    """Returns the position whose token is guessed to come after all of them.

    Args:
        token_ids: All tokens.
        followed_from: From this token on, a source that guessed right is followed.
        longest_ngram: The most tokens that are looked up.
    """
    source: int | None = None
    for length in range(followed_from + 1, len(token_ids) + 1):
        text = token_ids[:length]
        source = None if source is None or text[source] != text[-1] else source + 1
        match_length = 0 if source is None else agreeing_tokens(text, source)
        for size in range(longest_ngram, match_length, -1):
            end = _last_end_before(text, size)
            if end is not None:
                source = end
                break
    return source


def agreeing_tokens(token_ids: Sequence[int], source: int) -> int:
    """Returns how many tokens before `source` equal the last tokens of all."""
    count = 0
    while count < source and token_ids[source - 1 - count] == token_ids[-1 - count]:
        count += 1
    return count


def _last_end_before(token_ids: Sequence[int], size: int) -> int | None:
    """Returns where the last `size` tokens ended when they last occurred before; None if they did not."""
    ngram = list(token_ids[-size:])
    ends = range(len(token_ids) - 1, size - 1, -1)
    return next((end for end in ends if list(token_ids[end - size : end]) == ngram), None)
