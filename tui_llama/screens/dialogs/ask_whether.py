"""A dialog that asks before something is done."""

from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.widgets import Button, Static

from tui_llama.screens.dialogs.dialog import Dialog
from tui_llama.text_safety import sanitize_line
from tui_llama.widgets.local_keys import QUESTION, local_bindings


class AskWhether(Dialog[bool | None]):
    """A dialog whose result is True if the user said yes, else False or None.

    Args:
        question: The title, which says what would be done.
        detail: The thing to which it would be done; not trusted.
        yes: The label of the button that does it.
        is_harmful: Whether something is lost by it, so that the button warns.
    """

    HELP = """A question
    Nothing is done before you have said yes.
    """
    AUTO_FOCUS = "#no"
    BINDINGS: ClassVar[list[BindingType]] = [
        *local_bindings(QUESTION),
        Binding("left,right", "app.focus_next", "Other button", show=False),
    ]

    def __init__(self, question: str, detail: str, yes: str, *, is_harmful: bool = True) -> None:
        super().__init__()
        self._question = question
        self._detail = sanitize_line(detail)
        self._yes = yes
        self._is_harmful = is_harmful

    def compose(self) -> ComposeResult:
        """Yields the detail and two buttons. The harmless button has the focus."""
        with Vertical(classes="dialog -small") as box:
            box.border_title = self._question
            yield Static(self._detail, markup=False)
            with Horizontal(classes="buttons"):
                yield Button(
                    f"{self._yes} (y)", id="yes", variant="error" if self._is_harmful else "default", compact=True
                )
                yield Button("No (n)", id="no", compact=True)

    @on(Button.Pressed)
    def _pressed(self, event: Button.Pressed) -> None:
        self.dismiss(event.button.id == "yes")

    def action_answer(self, is_yes: bool) -> None:
        """Answers by a key, as the buttons do."""
        self.dismiss(is_yes)
