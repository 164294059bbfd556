"""A base for screens on which a widget always has the keyboard's focus."""

from typing import TYPE_CHECKING, Any

from textual.widget import Widget

if TYPE_CHECKING:
    from textual.screen import Screen

    _Base = Screen[Any]
else:
    _Base = object  # Textual looks for styles and bindings along the first base that is a widget


class LastingFocus(_Base):
    """A screen that keeps its focus whatever the mouse does. It loses the focus only when the terminal loses it.

    Textual removes the focus when the mouse is reported outside the screen. That happens while a window shrinks.
    """

    def set_focus(self, widget: Widget | None, scroll_visible: bool = True, from_app_focus: bool = False) -> None:
        """Gives the focus to `widget`. None removes the focus only if the focused widget cannot keep it."""
        before = self.focused
        if widget is None and self.app.app_focus and before is not None and before.is_attached and before.focusable:
            return
        super().set_focus(widget, scroll_visible, from_app_focus)
