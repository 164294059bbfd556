"""The thought before an answer: its end while the model thinks, then one line that shows all of it on request."""

from time import monotonic
from typing import ClassVar, Final

from textual import events
from textual.binding import BindingType
from textual.content import Content
from textual.selection import Selection
from textual.widgets import Static

from tui_llama.text_safety import sanitize, sanitize_line
from tui_llama.widgets.arranged_once import ArrangedOnce
from tui_llama.widgets.extracting import extracted
from tui_llama.widgets.local_keys import THOUGHT, local_bindings

_SHOWN_WHILE_THINKING: Final = 1200
"""Characters of a thought under way: its end. Drawing all of it again and again would take longer and longer."""
_HEAD_STYLE: Final = "$quiet-words"
_THOUGHT_STYLE: Final = "italic $faint-words"


class ThoughtView(Static, ArrangedOnce, can_focus=True):
    """A thought. Space and Enter fold and unfold it; so does a click.

    Args:
        thought: What there is of it already; not safe to draw.
        words: What is known of its cost, such as "12 s · 340 tokens".
        is_live: Whether the model is thinking.
    """

    FOCUS_ON_CLICK: ClassVar[bool] = False  # whoever unfolds it by the mouse goes on writing
    BINDINGS: ClassVar[list[BindingType]] = [*local_bindings(THOUGHT)]

    def __init__(self, thought: str = "", words: str = "", *, is_live: bool = False) -> None:
        self.thought = thought
        self._words = words
        self._is_live = is_live
        self._is_unfolded = False
        self._began_at = monotonic()
        super().__init__(self._drawn(), markup=False)
        self.display = bool(thought)

    @property
    def words(self) -> str:
        """What is known of the cost of the thought."""
        return self._words

    def append(self, thought: str) -> None:
        """Adds to a thought under way, and shows its end."""
        if not self.thought:
            self._began_at = monotonic()
            self.display = True
        self.thought += thought
        self._draw()

    def finish(self, words: str = "") -> None:
        """Folds the thought: the model has ended it. `words` tell its cost; without them the time was measured here."""
        if self._is_live and self.thought and not words:
            words = f"{monotonic() - self._began_at:.0f} s"
        self._is_live, self._words = False, words or self._words
        self._draw()

    def fold(self, is_folded: bool) -> None:
        """Shows one line, or all of the thought."""
        self._is_unfolded = not is_folded
        self._draw()

    @property
    def is_folded(self) -> bool:
        """True if only one line is shown, once the model has ended the thought."""
        return not self._is_unfolded

    def action_toggle_thought(self) -> None:
        """Folds the thought, or unfolds it."""
        self.fold(self._is_unfolded)

    def on_click(self, event: events.Click) -> None:
        """Does the same as Enter."""
        event.stop()
        self.action_toggle_thought()

    def get_selection(self, selection: Selection) -> tuple[str, str] | None:
        """Returns the selected text, without the mark that says whether the thought is folded."""
        return extracted(self._drawn().plain, selection, (len("▸ "),)), "\n\n"

    def _draw(self) -> None:
        self.update(self._drawn())

    def _drawn(self) -> Content:
        words = f"thought for {sanitize_line(self._words)}" if self._words else "thought"
        if self._is_unfolded:
            head, shown = f"▾ {words}" if not self._is_live else "▾ thinking …", self.thought
        elif self._is_live:
            head, shown = "▾ thinking …", self.thought[-_SHOWN_WHILE_THINKING:]
        else:
            return Content.styled(f"▸ {words}", _HEAD_STYLE)
        body = f"\n{sanitize(shown.strip())}" if shown.strip() else ""
        return Content.assemble((head, _HEAD_STYLE), (body, _THOUGHT_STYLE))
