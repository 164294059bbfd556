"""The names of terminals that understand only plain text."""

from collections.abc import Mapping
from typing import Final

_PLAIN: Final = frozenset({"", "dumb", "unknown"})


def is_plain(environment: Mapping[str, str]) -> bool:
    """Tells whether TERM is missing or names a terminal on which nothing can be drawn.

    A name that is not known counts as a terminal that can draw, because an old system does not know new terminals.
    """
    return environment.get("TERM", "") in _PLAIN
