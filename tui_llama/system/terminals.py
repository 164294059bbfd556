"""What terminals are called that understand nothing but text."""

from collections.abc import Mapping
from typing import Final

_PLAIN: Final = frozenset({"", "dumb", "unknown"})


def is_plain(environment: Mapping[str, str]) -> bool:
    """Whether TERM names a terminal on which nothing can be drawn, or none at all.

    A name that nobody knows is not one of these: new terminals have such names on old systems.
    """
    return environment.get("TERM", "") in _PLAIN
