"""A base for screens on which texts are selected by the mouse: what is selected is what is copied, and in order."""

from typing import TYPE_CHECKING, Any

from textual.geometry import Offset
from textual.selection import SELECT_ALL, Selection, SelectState
from textual.widget import Widget

if TYPE_CHECKING:
    from textual.screen import Screen

    _Base = Screen[Any]
else:
    _Base = object  # Textual looks for styles and bindings along the first base that is a widget


class SelectsTexts(_Base):
    """A screen with messages."""

    def _watch__select_state(self, select_state: SelectState | None) -> None:
        """Selects all between two texts, the last character included.

        Textual leaves that one out, and takes the end for the beginning where the view was scrolled meanwhile.
        """
        super()._watch__select_state(select_state)
        state = self._select_state
        if state is None or state.end is None or state.is_single_content_widget:
            return
        first, last = state.start.content_widget, state.end.content_widget
        first_offset, last_offset = state.start.content_offset, state.end.content_offset
        if first is None or last is None or first_offset is None or last_offset is None:
            return
        texts = [each for each in state.select_container.walk_children(Widget) if _is_text(each)]
        if first in texts and last in texts:
            if texts.index(first) > texts.index(last):
                first, last, first_offset, last_offset = last, first, last_offset, first_offset
            between = texts[texts.index(first) + 1 : texts.index(last)]
            self.selections = {
                first: Selection(first_offset, None),
                **dict.fromkeys(between, SELECT_ALL),
                last: Selection(None, last_offset + Offset(1, 0)),
            }

    @property
    def selection_is_cut(self) -> bool:
        """Whether messages in which texts are selected are no longer mounted, and others still are."""
        return len({widget.is_attached for widget in self.selections}) > 1

    def get_selected_text(self) -> str | None:
        """Returns the selected text; None if nothing is selected."""
        from tui_llama.widgets.messages.selected_text import selected_text  # the first frame does without

        selections: dict[Widget, Selection] = self.selections
        return selected_text(selections) if selections else None


def _is_text(widget: Widget) -> bool:
    is_shown = all(each.display for each in (widget, widget.parent) if isinstance(each, Widget))
    return is_shown and widget.allow_select and not widget.is_container
