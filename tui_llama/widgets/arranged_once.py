"""Widgets that grow many times a second: they are arranged and drawn once for each change of their size."""

from textual.geometry import Size
from textual.reactive import Reactive
from textual.widget import Widget


class ArrangedOnce(Widget):
    """A widget that asks for nothing when it has another size.

    Textual arranges the screen a second time whenever the size of any widget has changed, and draws the widget once
    more. What may have to be arranged then are scroll bars that come or go, and those ask for it themselves.

    Where it is one base of several it is the last, because Textual inherits styles along the first one only.
    """

    virtual_size = Reactive(Size(0, 0))
