"""The status line at the bottom: the state of the turn in words, its figures, and how much of the context is used."""

from enum import StrEnum

import msgspec
from textual.content import Content
from textual.timer import Timer

from tui_llama.text_safety import sanitize_line
from tui_llama.widgets.bar import Bar, joined, quiet

FIGURE_GAP = " · "


class Mood(StrEnum):
    """The style class of a state of the turn."""

    CALM = "-calm"
    BUSY = "-busy"
    TROUBLED = "-troubled"


class Status(msgspec.Struct, frozen=True):
    """The texts of the status line."""

    words: str = ""
    figures: str = ""
    context: str = ""
    mood: Mood = Mood.CALM
    download: str = ""
    short_download: str = ""


class StatusLine(Bar):
    """Shows a `Status`, or a hint in its place for a short time."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._status = Status()
        self._hint = ""
        self._hint_timer: Timer | None = None

    def show_status(self, status: Status) -> None:
        """Sets the status. It is shown at once, or after the hint if there is one."""
        self._status = status
        for mood in Mood:
            self.set_class(mood is status.mood, mood.value)
        self._show()

    def show_hint(self, text: str, seconds: float) -> None:
        """Shows one line of advice, which is not trusted, for `seconds`."""
        self.clear_hint()
        self._hint = sanitize_line(text)
        self._hint_timer = self.set_timer(seconds, self.clear_hint)
        self._show()

    def clear_hint(self) -> None:
        """Removes the hint and shows the status again."""
        self._hint = ""
        if self._hint_timer is not None:
            self._hint_timer.stop()
            self._hint_timer = None
        self._show()

    def render(self) -> Content:
        """Returns both sides of the status; a hint is as many lines as it needs."""
        return Content.styled(self._hint, ".bar--strong") if self._hint else super().render()

    def _show(self) -> None:
        self.set_class(bool(self._hint), "-hint")
        status = self._status
        left = Content.styled(self._hint or f"● {status.words}", ".bar--strong")
        if self._hint:
            self.show(left, Content(""))
            self.refresh(layout=True)
        else:
            label = "context " if status.context else ""
            figures = status.figures.split(FIGURE_GAP)
            # Where there is no room for all figures, the last ones are left out. None is cut in the middle.
            lefts = [joined(left, quiet(FIGURE_GAP.join(figures[:count]))) for count in range(len(figures), -1, -1)]
            right = joined(quiet(sanitize_line(status.download)), quiet(label + status.context if label else ""))
            short_right = joined(quiet(status.short_download), quiet(status.context))
            self.show(lefts[0], right, short_right, lefts[1:])
