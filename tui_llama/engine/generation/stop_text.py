"""Finds stop texts in a stream, and holds back text that may become one."""

from collections.abc import Iterable


class StopTextFinder:
    """Lets text through until one of the stop texts appears in it.

    The stop text that is complete first ends the stream; of two that end with the same character, the one that begins
    earlier. So the result does not depend on how the text is cut.

    Args:
        stop_texts: The texts to find; empty ones are ignored.
    """

    def __init__(self, stop_texts: Iterable[str]) -> None:
        self._stop_texts = tuple(text for text in stop_texts if text)
        self._held_back = ""
        self._found = False

    def push(self, text: str) -> tuple[str, bool]:
        """Takes the next text.

        Returns:
            The text that is safe to show, and whether a stop text was found. Neither the stop text nor the text after
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
        """Returns the text that was held back, when no more will come."""
        held_back, self._held_back = self._held_back, ""
        return held_back

    def _find(self, text: str) -> int | None:
        """Returns where the first complete stop text begins, or None."""
        found = [
            (start + len(stop_text), start) for stop_text in self._stop_texts if (start := text.find(stop_text)) >= 0
        ]
        return min(found)[1] if found else None

    def _possible_length(self, text: str) -> int:
        """Returns how many characters at the end of `text` may be the beginning of a stop text."""
        longest = max(map(len, self._stop_texts), default=1) - 1
        for length in range(min(longest, len(text)), 0, -1):
            if any(stop_text.startswith(text[-length:]) for stop_text in self._stop_texts):
                return length
        return 0
