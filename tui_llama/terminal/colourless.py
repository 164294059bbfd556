"""A screen without colours, for those who set NO_COLOR: https://no-color.org."""

import os
from functools import lru_cache
from typing import Final

from rich.color import Color as TerminalColour
from rich.segment import Segment
from rich.style import Style
from textual.color import Color
from textual.filter import LineFilter

VARIABLE: Final = "NO_COLOR"
REVERSED_GROUND: Final = "#010203"
"""A background whose text is drawn in reverse: style sheets mark with it what the cursor is on, or what is selected.
Their own text style "reverse" would not do, because Textual leaves it out of what it draws."""

_GROUND: Final = Color.parse(REVERSED_GROUND).rich_color
_NO_COLOURS: Final = Style(color=TerminalColour.default(), bgcolor=TerminalColour.default())


class Colourless(LineFilter):
    """Takes the colours from what is drawn; bold, dim, underlined and reverse stay. Textual would leave greys."""

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:
        """Returns the segments without colours."""
        return [Segment(text, _without_colours(style), control) for text, style, control in segments]


class ReversedGrounds(LineFilter):
    """Draws what the cursor is on in reverse, in the two colours that any terminal's own text has.

    Of the terminal's 16 colours nobody knows which can be read on which.
    """

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:
        """Returns the segments, those on the reversed ground without colours."""
        return [
            Segment(text, _without_colours(style) if style and style.bgcolor == _GROUND else style, control)
            for text, style, control in segments
        ]


@lru_cache(4096)
def _without_colours(style: Style | None) -> Style | None:
    if style is None:
        return None
    return style + _NO_COLOURS + Style(reverse=True if style.bgcolor == _GROUND else style.reverse)


def forget_empty_variable() -> None:
    """Removes the variable where it is empty, which means nothing; Textual would take it for set."""
    if os.environ.get(VARIABLE) == "":
        del os.environ[VARIABLE]
