"""Which texts are too long to be shown whole, and what is said of them instead."""

from typing import Final

from tui_llama import graphemes

FOLDED_CHARACTERS: Final = 20_000
FOLDED_LINES: Final = 2_000
SHOWN_CHARACTERS: Final = 4_000
SHOWN_LINES: Final = 40
_MOST_OF_CHARACTER: Final = 64  # code points of what people see as one character, if it is one of any language


def is_long(text: str) -> bool:
    """Whether it is folded wherever it would be laid out as a whole."""
    return len(text) > FOLDED_CHARACTERS or text.count("\n") >= FOLDED_LINES


def beginning(text: str) -> str:
    """What is shown of a text that is folded."""
    end = graphemes.at_or_before(graphemes.boundaries(text[: SHOWN_CHARACTERS + _MOST_OF_CHARACTER]), SHOWN_CHARACTERS)
    lines = text[:end].split("\n", SHOWN_LINES)
    return "\n".join(lines[:SHOWN_LINES])


def extent(text: str) -> str:
    """How long a text is, in words."""
    line_count = text.count("\n") + 1
    lines = f" in {line_count:,} lines" if line_count > 1 else ""
    return f"{len(text):,} characters{lines}"
