"""A dialog in which a text of any length is written, and a line below it says what that would cost."""

from collections.abc import Callable, Sequence
from typing import ClassVar, NamedTuple

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.widgets import Button, Static

from tui_llama.screens.dialogs.dialog import Dialog
from tui_llama.text_safety import sanitize_line
from tui_llama.widgets.editor_area import EditorArea
from tui_llama.widgets.local_keys import WRITTEN_TEXT, local_bindings


class Written(NamedTuple):
    """What was written, and the name of the button that was pressed."""

    text: str
    button: str


class WriteText(Dialog[Written | None]):
    """A dialog whose result is what was written, or None if the user left it.

    Args:
        title: The title of the dialog.
        explanation: A sentence below the title.
        text: The text at first; it is not trusted.
        buttons: Names and labels of what can be done with the text; Ctrl+S does the first.
        on_changed: Is called with the text whenever it has changed, and once at first.
    """

    HELP = """A text
    Write as in the composer: Enter begins a new line. Ctrl+S does what the first button says.
    """
    AUTO_FOCUS = "EditorArea"
    BINDINGS: ClassVar[list[BindingType]] = [
        *local_bindings(WRITTEN_TEXT),
        Binding("tab", "app.focus_next", "Next", show=False, priority=True),
        Binding("shift+tab", "app.focus_previous", "Previous", show=False, priority=True),
    ]

    def __init__(
        self,
        title: str,
        explanation: str,
        text: str,
        buttons: Sequence[tuple[str, str]],
        on_changed: Callable[[str], None] = lambda _text: None,
    ) -> None:
        super().__init__()
        self._title = title
        self._explanation = explanation
        self._first_text = text
        self._buttons = buttons
        self._on_changed = on_changed

    def compose(self) -> ComposeResult:
        """Yields the explanation, the text, the line below it, the buttons and the keys."""
        with Vertical(classes="dialog -writing") as box:
            box.border_title = self._title
            yield Static(self._explanation, classes="explanation", markup=False)
            yield EditorArea(
                self._first_text, soft_wrap=True, show_line_numbers=False, highlight_cursor_line=False, compact=True
            )
            yield Static("", classes="price", markup=False)
            with Horizontal(classes="buttons"):
                for name, label in self._buttons:
                    yield Button(label, id=name, compact=True)
            yield Static(
                self.footer(f"{{text_save}} {self._buttons[0][1].lower()} · Tab buttons · {{dialog_close}} cancel"),
                classes="keys",
            )

    def on_mount(self) -> None:
        """Puts the cursor behind the text."""
        area = self.query_one(EditorArea)
        area.move_cursor(area.document.end)
        self._on_changed(self._first_text)

    def say(self, text: str) -> None:
        """Shows a line below the text."""
        if self.is_there:
            self.query_one(".price", Static).update(sanitize_line(text))

    @on(EditorArea.Changed)
    def _changed(self, event: EditorArea.Changed) -> None:
        event.stop()
        self._on_changed(self.query_one(EditorArea).text)

    @on(Button.Pressed)
    def _pressed(self, event: Button.Pressed) -> None:
        self._end(event.button.id or "")

    def action_keep(self) -> None:
        """Does what the first button does."""
        self._end(self._buttons[0][0])

    def _end(self, button: str) -> None:
        self.dismiss(Written(self.query_one(EditorArea).text, button))
