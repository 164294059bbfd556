"""The text that is selected by the mouse, across messages: what the user sees of it, in order, without marks.

Parts of long answers that are far from the view are folded away. They count as well: whoever selects from the beginning
of an answer to its end means all of it.
"""

from collections.abc import Iterator, Mapping
from itertools import pairwise

from textual.selection import SELECT_ALL, Selection
from textual.widget import Widget

from tui_llama.widgets.markdown.answer_text import AnswerPart, AnswerText


def selected_text(selections: Mapping[Widget, Selection]) -> str:
    """Returns the selected text of these widgets; those that are gone by now are left out."""
    selected: list[str] = []
    for widget in _all_selected([widget for widget in selections if widget.is_attached]):
        found = widget.get_selection(selections.get(widget, SELECT_ALL))
        if found is not None:
            selected += found
    return "".join(selected).rstrip("\n")


def _all_selected(widgets: list[Widget]) -> Iterator[Widget]:
    """Yields the widgets from top to bottom, with the parts of answers between them."""
    in_order = sorted(widgets, key=_place)
    yield from in_order[:1]
    for above, below in pairwise(in_order):
        parts_above, parts_below = _parts_beside(above), _parts_beside(below)
        if parts_above and parts_above == parts_below:
            yield from parts_above[parts_above.index(above) + 1 : parts_below.index(below)]
        else:
            yield from parts_above[parts_above.index(above) + 1 :] if parts_above else ()
            yield from parts_below[: parts_below.index(below)] if parts_below else ()
        yield below


def _parts_beside(widget: Widget) -> list[Widget]:
    """Returns the parts of the answer of which `widget` is one; none if it is none."""
    if isinstance(widget, AnswerPart) and isinstance(widget.parent, AnswerText):
        return list[Widget](widget.parent.parts)
    return []


def _place(widget: Widget) -> list[int]:
    """Returns where a widget stands: its number among its neighbours, behind those of all that it is in."""
    places: list[int] = []
    while isinstance(parent := widget.parent, Widget):
        places.append(parent.children.index(widget))
        widget = parent
    return places[::-1]
