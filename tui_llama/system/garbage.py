"""When Python looks for garbage: seldom, and never among what stays until the end of the program."""

import gc
from functools import cache
from typing import Final

_OBJECTS: Final = 10_000
"""So many new objects make Python search. The default is 700, and one message on the screen has more."""


def search_seldom() -> None:
    """Lets Python look for garbage only after many new objects."""
    _, second, third = gc.get_threshold()
    gc.set_threshold(_OBJECTS, second, third)


@cache  # what is left out once is never found again, so a second time would only keep garbage
def leave_out_what_is_there() -> None:
    """Leaves all that there is now out of every later search, which else stops the screen for a twentieth second."""
    search_seldom()
    gc.freeze()
