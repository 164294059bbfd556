"""Rules for texts that are too long to be shown whole: when they are folded, and what is shown instead."""

from typing import Final

from tui_llama import graphemes

FOLDED_CHARACTERS: Final = 20_000
FOLDED_LINES: Final = 2_000
SHOWN_CHARACTERS: Final = 4_000
SHOWN_LINES: Final = 40
_MOST_OF_CHARACTER: Final = 64  # code points of the longest grapheme cluster that occurs in any language


def is_long(text: str) -> bool:
    """Tells whether a text is folded wherever it would be laid out as a whole."""
    return len(text) > FOLDED_CHARACTERS or text.count("\n") >= FOLDED_LINES


def beginning(text: str) -> str:
    """Returns the part of a folded text that is shown."""
    end = graphemes.at_or_before(graphemes.boundaries(text[: SHOWN_CHARACTERS + _MOST_OF_CHARACTER]), SHOWN_CHARACTERS)
    lines = text[:end].split("\n", SHOWN_LINES)
    return "\n".join(lines[:SHOWN_LINES])


def extent(text: str) -> str:
    """Returns the length of a text in words, such as "12,345 characters in 67 lines"."""
    line_count = text.count("\n") + 1
    lines = f" in {line_count:,} lines" if line_count > 1 else ""
    return f"{len(text):,} characters{lines}"
