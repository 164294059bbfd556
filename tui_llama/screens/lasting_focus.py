"""Screens on which the keyboard always belongs to somebody."""

from typing import TYPE_CHECKING, Any

from textual.widget import Widget

if TYPE_CHECKING:
    from textual.screen import Screen

    _Base = Screen[Any]
else:
    _Base = object  # Textual looks for styles and bindings along the first base that is a widget


class LastingFocus(_Base):
    """A screen whose focus stays where it is, whatever the mouse does; only with the terminal's own focus it goes away.

    Textual takes the focus away at any report of the mouse from beyond the screen, which comes while a window shrinks.
    """

    def set_focus(self, widget: Widget | None, scroll_visible: bool = True, from_app_focus: bool = False) -> None:
        """Gives the focus to a widget, or to none if the one that has it cannot keep it."""
        before = self.focused
        if widget is None and self.app.app_focus and before is not None and before.is_attached and before.focusable:
            return
        super().set_focus(widget, scroll_visible, from_app_focus)
