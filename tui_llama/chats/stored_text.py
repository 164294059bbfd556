"""Texts as they are stored: without characters that SQLite could not hold; and the title that a chat gets of one."""

import re
from typing import Final

from tui_llama import graphemes

TITLE_LENGTH: Final = 60  # characters as people see them

DAMAGED_CHARACTER: Final = "\ufffd"
"""Stands in a text for bytes that are no character, or not a whole one."""

_LONE_SURROGATES = re.compile("[\ud800-\udfff]")


def storable(text: str) -> str:
    """Returns the text with damaged characters for halves of surrogate pairs, which are no text for SQLite.

    A paste or a bad decoder can leave such a half.
    """
    return _LONE_SURROGATES.sub(DAMAGED_CHARACTER, text)


def title_of(text: str) -> str:
    """Returns the title of a chat that begins with this message: its beginning, on one line."""
    line = " ".join(storable(text[: 20 * TITLE_LENGTH]).split())
    shown = graphemes.beginning(line, TITLE_LENGTH)
    return line if shown == line else graphemes.beginning(line, TITLE_LENGTH - 1).rstrip() + "…"
