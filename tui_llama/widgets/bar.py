"""A bar: one line with a text on the left and a text on the right."""

from collections.abc import Sequence
from typing import ClassVar

from textual.content import Content
from textual.widget import Widget

from tui_llama.widgets.cutting import cut

_GAP = 2


class Bar(Widget):
    """A line with two sides. If there is no room for both, the left side is cut."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {"bar--strong", "bar--quiet"}

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._left = self._right = self._short_right = Content("")
        self._short_lefts: Sequence[Content] = ()

    def show(
        self, left: Content, right: Content, short_right: Content | None = None, short_lefts: Sequence[Content] = ()
    ) -> None:
        """Shows these texts from now on, and draws the bar again only if they changed.

        Args:
            left: The left text, which is cut where there is no room for it.
            right: The right text, which may take at least half of the line.
            short_right: Replaces `right` where there is no room for `left` and `right`.
            short_lefts: The first of these that fits replaces `left` where `left` would still be cut.
        """
        short_right = right if short_right is None else short_right
        if left.is_same(self._left) and right.is_same(self._right):
            return
        self._left, self._right, self._short_right, self._short_lefts = left, right, short_right, short_lefts
        self.refresh()

    def render(self) -> Content:
        """Returns both sides with blanks between them, together as wide as the widget."""
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
    """Returns `text` in the style of a bar's main point."""
    return Content.styled(text, ".bar--strong")


def quiet(text: str) -> Content:
    """Returns `text` in the style of a bar's background information."""
    return Content.styled(text, ".bar--quiet")


def joined(*parts: Content) -> Content:
    """Returns the parts that are not empty, with a gap between them."""
    return Content("  ").join([part for part in parts if part.plain])
