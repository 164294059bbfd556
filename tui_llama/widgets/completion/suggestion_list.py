"""The list of suggestions above the composer. It has no focus: the composer moves its cursor."""

from collections.abc import Sequence
from typing import ClassVar

from textual.content import Content
from textual.events import Resize
from textual.message import Message
from textual.widgets import OptionList
from textual.widgets.option_list import Option

from tui_llama.text_safety import sanitize_line
from tui_llama.widgets.completion.suggestion import Suggestion
from tui_llama.widgets.cutting import cut

_GAP = 2
_PADDING = 3  # columns of a line's padding, as the style sheet has it


class SuggestionList(OptionList, can_focus=False):
    """Shows suggestions, one on each line: its label, its explanation, and its detail at the right end."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {"suggestion-list--explanation", "suggestion-list--detail"}

    class Changed(Message):
        """Posted when it is opened or closed, or another suggestion is under its cursor: keys do something else."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id, compact=True, markup=False)
        self._suggestions: Sequence[Suggestion] = ()
        self._line_width = 0
        self.display = False

    @property
    def is_open(self) -> bool:
        """True if it is on the screen."""
        return self.display

    @property
    def chosen(self) -> Suggestion | None:
        """The suggestion under the cursor; None if it is under none."""
        index = self.highlighted
        return self._suggestions[index] if index is not None and index < len(self._suggestions) else None

    def open(self, suggestions: Sequence[Suggestion], *, chooses_first: bool) -> None:
        """Shows suggestions, with the cursor on the first or on none. The same ones again keep their cursor."""
        if self.is_open and suggestions == self._suggestions:
            if chooses_first and self.highlighted is None:
                self.highlighted = 0
                self.post_message(self.Changed())
            return
        self._suggestions = suggestions
        with self.app.batch_update():
            self._fill()
            self.highlighted = 0 if chooses_first else None
            self.display = True
        self.post_message(self.Changed())

    def close(self) -> None:
        """Takes it off the screen."""
        if self.is_open:
            self.display = False
            self._suggestions = ()
            self.clear_options()
            self.post_message(self.Changed())

    def move(self, step: int) -> None:
        """Moves the cursor by `step` lines, round the ends."""
        count = len(self._suggestions)
        before = -1 if self.highlighted is None and step > 0 else self.highlighted or 0
        self.highlighted = (before + step) % count
        self.post_message(self.Changed())

    def on_resize(self, event: Resize) -> None:
        """Stands above the composer, in the middle, and draws the lines again, because each is made for one width."""
        parent = self.parent
        outer = event.container_size.width if event.container_size else getattr(parent, "size", event.size).width
        self.styles.offset = (max(0, (outer - self.outer_size.width) // 2), 0)
        if self.is_open and self._line_width != self._room:
            highlighted = self.highlighted
            self._fill()
            self.highlighted = highlighted

    @property
    def _room(self) -> int:
        return max(0, self.scrollable_content_region.width - _PADDING)

    def _fill(self) -> None:
        self._line_width = self._room
        labels = [Content(sanitize_line(each.label or each.insert)) for each in self._suggestions]
        widest = max((label.cell_length for label in labels), default=0)
        column = min(widest, max(8, self._line_width // 2))
        self.clear_options()
        self.add_options(
            Option(self._line(cut(label, column), column, each))
            for label, each in zip(labels, self._suggestions, strict=True)
        )

    def _line(self, label: Content, column: int, suggestion: Suggestion) -> Content:
        detail = Content(sanitize_line(suggestion.detail))
        room = self._line_width - column - _GAP
        right = detail.cell_length + _GAP if detail.cell_length and detail.cell_length + _GAP <= room else 0
        explanation = cut(Content(sanitize_line(suggestion.explanation)), max(0, room - right))
        blank = " " * max(0, room - right - explanation.cell_length + _GAP)
        return Content.assemble(
            label,
            " " * (column - label.cell_length + _GAP),
            (explanation.plain, ".suggestion-list--explanation"),
            *((blank, (detail.plain, ".suggestion-list--detail")) if right else ()),
        )
