"""A text area that keeps its text as it was written, and draws it in a form in which control characters do nothing.

The cursor moves by grapheme clusters, which people see as one character. See `editor_text`.
"""

from textual.document._document import EditResult, Location, Selection
from textual.widgets import TextArea

from tui_llama import graphemes
from tui_llama.widgets.editor_text import EditorDocument, EditorLine, EditorNavigator, EditorWrapping


class EditorArea(TextArea):
    """A text area over an `EditorDocument`."""

    document: EditorDocument

    def _set_document(self, text: str, language: str | None) -> None:
        """Begins with another text, as Textual's method does, but in an `EditorDocument`; ignores `language`."""
        self.document = EditorDocument(text)
        self.wrapped_document = EditorWrapping(self.document, tab_width=self.indent_width)
        self.navigator = EditorNavigator(self.wrapped_document)
        self.move_cursor((0, 0))
        self._rewrap_and_refresh_virtual_size()

    def get_line(self, line_index: int) -> EditorLine:
        """Returns a line in its drawn form."""
        return EditorLine(self.document.get_line(line_index), self.document.boundaries(line_index))

    def validate_selection(self, selection: Selection) -> Selection:
        """Moves both ends of a selection to boundaries of clusters.

        An end inside a cluster goes to the boundary that lies in the direction of its move.
        """
        before = self.selection
        return Selection(self._snapped(selection.start, before.start), self._snapped(selection.end, before.end))

    def _snapped(self, location: Location, before: Location) -> Location:
        row, column = location
        snap = graphemes.at_or_after if location > before else graphemes.at_or_before
        return row, snap(self.document.boundaries(row), column)

    def _delete_via_keyboard(self, start: Location, end: Location) -> EditResult | None:
        """Deletes whole clusters."""
        top, bottom = sorted((start, end))
        bottom = min(bottom, self.document.end)
        top_column = graphemes.at_or_before(self.document.boundaries(top[0]), top[1])
        bottom_column = graphemes.at_or_after(self.document.boundaries(bottom[0]), bottom[1])
        return super()._delete_via_keyboard((top[0], top_column), (bottom[0], bottom_column))
