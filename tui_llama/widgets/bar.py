"""A line with something on the left and something on the right."""

from collections.abc import Sequence
from typing import ClassVar

from textual.content import Content
from textual.widget import Widget

from tui_llama.widgets.cutting import cut

_GAP = 2


class Bar(Widget):
    """One line; when it is too narrow for both sides, the left one is cut."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {"bar--strong", "bar--quiet"}

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._left = self._right = self._short_right = Content("")
        self._short_lefts: Sequence[Content] = ()

    def show(
        self, left: Content, right: Content, short_right: Content | None = None, short_lefts: Sequence[Content] = ()
    ) -> None:
        """Shows these from now on; nothing is drawn again when nothing changed.

        Args:
            left: Cut when there is no room for it.
            right: Has half of the line at least.
            short_right: Takes the place of `right` when that saves the left side from being cut.
            short_lefts: One of these, the first that fits, takes the place of `left` when that would still be cut.
        """
        short_right = right if short_right is None else short_right
        if left.is_same(self._left) and right.is_same(self._right):
            return
        self._left, self._right, self._short_right, self._short_lefts = left, right, short_right, short_lefts
        self.refresh()

    def render(self) -> Content:
        """Both sides, as wide as the widget."""
        width = self.content_size.width
        fits = self._left.cell_length + _GAP + self._right.cell_length <= width
        right = self._right if fits else self._short_right
        shortest = (self._left, *self._short_lefts)[-1]
        right = cut(right, max(width // 2, width - _GAP - shortest.cell_length))
        room = width - right.cell_length - (_GAP if right.cell_length else 0)
        fitting = (left for left in (self._left, *self._short_lefts) if left.cell_length <= room)
        left = cut(next(fitting, self._left), room)
        blank = Content(" " * max(0, width - left.cell_length - right.cell_length))
        return Content.assemble(left, blank, right)


def strong(text: str) -> Content:
    """Text that a bar shows as its main point."""
    return Content.styled(text, ".bar--strong")


def quiet(text: str) -> Content:
    """Text that a bar shows in the background."""
    return Content.styled(text, ".bar--quiet")


def joined(*parts: Content) -> Content:
    """The parts that are not empty, with a gap between them."""
    return Content("  ").join([part for part in parts if part.plain])
