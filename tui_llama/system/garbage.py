"""When Python looks for garbage: seldom, and never among what stays until the end of the program."""

import gc
from functools import cache
from typing import Final

_OBJECTS: Final = 10_000
"""So many new objects make Python search. The default is 700, and one message on the screen has more."""


@cache  # what is left out once is never found again, so a second time would only keep garbage
def search_seldom() -> None:
    """Leaves all that there is out of every later search, which otherwise stops the screen for a twentieth second."""
    gc.freeze()
    _, second, third = gc.get_threshold()
    gc.set_threshold(_OBJECTS, second, third)
