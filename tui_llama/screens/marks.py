"""What goes on in chats that are not on the screen, as signs and words."""

from collections import Counter
from collections.abc import Iterable, Mapping
from types import MappingProxyType

from tui_llama.turn.live_chats import Mark

MARK_SIGNS: Mapping[Mark, str] = MappingProxyType(
    {Mark.ANSWERING: "◐", Mark.WAITING: "◌", Mark.FAILED: "!", Mark.FINISHED: "✓"}
)
"""The sign of each mark, one column wide."""


def marks_words(marks: Iterable[Mark]) -> str:
    """Returns how many chats have which mark, such as "◐ 1 answering · ✓ 2 finished"; empty if none has."""
    counts = Counter(marks)
    return " · ".join(f"{MARK_SIGNS[mark]} {counts[mark]} {mark.value}" for mark in Mark if counts[mark])
