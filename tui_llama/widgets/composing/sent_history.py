"""The texts through which Up and Down go, and what the user has written at each of them meanwhile.

A place is counted from the end: at 0 is what is being written, at 1 the text that was sent last. So texts of other
chats, which come later and stand before all others, change no place.
"""

from collections.abc import Sequence


class SentHistory:
    """The texts that were sent, and the place in them at which the user is."""

    def __init__(self) -> None:
        self._texts: list[str] = []  # the older ones, then those of this chat
        self._older: list[str] = []
        self._older_count = 0
        self._place = 0
        self._written: dict[int, str] = {}  # at 0 the draft, at other places texts that were changed

    def __len__(self) -> int:
        return len(self._texts)

    @property
    def newest(self) -> str:
        """The text that was sent last; empty if there is none."""
        return self._texts[-1] if self._texts else ""

    @property
    def is_at_draft(self) -> bool:
        """True while no text that was sent is shown."""
        return self._place == 0

    # --- what there is ------------------------------------------------------------------------------------------

    def set(self, texts: Sequence[str]) -> None:
        """Begins with the texts of another chat, oldest first."""
        self._texts, self._older_count = list(texts), 0
        self._place, self._written = 0, {}
        self.set_older(self._older)

    def set_older(self, texts: Sequence[str]) -> None:
        """Sets the texts before those of this chat, oldest first. Those that this chat has, too, are left out."""
        own = self._texts[self._older_count :]
        known = set(own)
        older = [text for text in texts if text not in known]
        self._older, self._older_count = list(texts), len(older)
        self._texts = [*older, *own]
        self._place = min(self._place, len(self._texts))

    def remember(self, text: str) -> None:
        """Adds a text at the end, unless it is blank or there already; the user is at the draft then."""
        if text.strip() and self.newest != text:
            self._texts.append(text)
        self._place = 0
        self._written = {0: self._written.get(0, "")}

    # --- going through it ---------------------------------------------------------------------------------------

    def step(self, by: int, shown: str) -> str | None:
        """Goes on by some places, upwards where `by` is more than 0; returns what to show there, None if nothing is.

        Args:
            by: The number of places.
            shown: What is shown now, which comes back when the user comes back.
        """
        place = self._place + by
        if not 0 <= place <= len(self._texts):
            return None
        self._written[self._place] = shown
        self._place = place
        return self._written.get(place, self._sent)

    def go_to(self, text: str, shown: str) -> None:
        """Goes to the newest place of a text, which need not have been there; `shown` as for `step`."""
        if text not in self._texts:
            self._texts.insert(0, text)
            self._older_count += 1
        found = self._texts[::-1].index(text) + 1
        self.step(found - self._place, shown)
        self._written.pop(found, None)

    @property
    def _sent(self) -> str:
        return self._texts[-self._place] if self._place else ""

    # --- what is unsent -----------------------------------------------------------------------------------------

    def unsent(self, shown: str) -> str:
        """Returns what the user has written: the draft, and the text that is shown if it is not as it was sent."""
        if self.is_at_draft:
            return shown
        draft = self._written.get(0, "")
        if shown == self._sent:
            return draft or shown
        return "\n\n".join(part for part in (draft, shown) if part)

    def end(self) -> str:
        """Leaves the texts that were sent; returns the draft in whose place one of them was shown, if there is one."""
        draft = "" if self.is_at_draft else self._written.get(0, "")
        self._place, self._written = 0, {}
        return draft
