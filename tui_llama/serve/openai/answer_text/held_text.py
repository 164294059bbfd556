"""Which end of a text may still become something else, so that a stream must hold it back."""


def possible_length(text: str, marks: tuple[str, ...]) -> int:
    """Returns how many characters at the end of `text` may be the beginning of one of the marks."""
    longest = max(map(len, marks), default=1) - 1
    for length in range(min(longest, len(text)), 0, -1):
        if any(mark.startswith(text[-length:]) for mark in marks):
            return length
    return 0


def blank_length(text: str) -> int:
    """Returns the number of blanks and line ends at the end of `text`."""
    return len(text) - len(text.rstrip())
