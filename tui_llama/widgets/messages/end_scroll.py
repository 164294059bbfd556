"""A scrolling view that is anchored to its end, and right about where that is in its very first frame."""

from textual.containers import VerticalScroll
from textual.geometry import Size
from textual.layout import DockArrangeResult
from textual.reactive import Reactive, ReactiveType
from textual.widget import Widget

from tui_llama.widgets.arranged_once import ArrangedOnce


class EndScroll(VerticalScroll, ArrangedOnce):
    """A scrolling view for which Textual reckons the place of the end by its height now, and never above the top."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._arranged_height: int | None = None

    def arrange(self, size: Size, optimal: bool = False) -> DockArrangeResult:
        """Places the children, and remembers for which height."""
        self._arranged_height = size.height
        return super().arrange(size, optimal)

    def set_reactive(self, reactive: Reactive[ReactiveType], value: ReactiveType) -> None:
        """Sets an attribute, but keeps scroll positions on the page.

        Textual reckons the end of an anchored view by the height that the view had in the last frame. When it has just
        grown, from nothing perhaps, the first frame would show what is far below the end: an empty page. Where it is
        not full yet, it would be scrolled above its top.
        """
        if reactive in (Widget.scroll_y, Widget.scroll_target_y) and isinstance(value, int | float):
            grown = 0 if self._arranged_height is None else self._arranged_height - self.container_size.height
            super().set_reactive(reactive, max(0, value - grown))  # type: ignore[misc] # a number is a number
        else:
            super().set_reactive(reactive, value)
