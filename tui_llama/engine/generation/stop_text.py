"""Finds stop texts in a stream, holding back what may become one."""

from collections.abc import Iterable


class StopTextFinder:
    """Lets text through until one of the stop texts appears in it.

    The stop text that is whole first ends the stream; of two that end with the same character, the one that begins
    earlier. So the way in which the text is cut changes nothing.

    Args:
        stop_texts: What to look for; empty ones are ignored.
    """

    def __init__(self, stop_texts: Iterable[str]) -> None:
        self._stop_texts = tuple(text for text in stop_texts if text)
        self._held_back = ""
        self._found = False

    def push(self, text: str) -> tuple[str, bool]:
        """Takes the next text.

        Returns:
            The text that is safe to show, and whether a stop text was found. Neither the stop text nor what follows
            it is ever returned.
        """
        if self._found:
            return "", True
        waiting = self._held_back + text
        start = self._find(waiting)
        if start is not None:
            self._held_back, self._found = "", True
            return waiting[:start], True
        safe = len(waiting) - self._possible_length(waiting)
        self._held_back = waiting[safe:]
        return waiting[:safe], False

    def finish(self) -> str:
        """The text that was held back, when no more will come."""
        held_back, self._held_back = self._held_back, ""
        return held_back

    def _find(self, text: str) -> int | None:
        """Where the first whole stop text begins."""
        found = [
            (start + len(stop_text), start) for stop_text in self._stop_texts if (start := text.find(stop_text)) >= 0
        ]
        return min(found)[1] if found else None

    def _possible_length(self, text: str) -> int:
        """How many characters at the end of `text` may be the beginning of a stop text."""
        longest = max(map(len, self._stop_texts), default=1) - 1
        for length in range(min(longest, len(text)), 0, -1):
            if any(stop_text.startswith(text[-length:]) for stop_text in self._stop_texts):
                return length
        return 0
