"""What the model is given, as it is fed: every message that counts, and what the chat template writes around it."""

from collections.abc import Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.widget import Widget
from textual.widgets import Static

from tui_llama.engine.protocol import PromptEstimate, PromptPart
from tui_llama.screens.dialog import Dialog
from tui_llama.text_safety import sanitize, sanitize_line


class PromptText(Widget):
    """The prompt, in which special tokens look unlike text with the same letters."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {"prompt-text--token"}

    def __init__(self, parts: Sequence[PromptPart]) -> None:
        super().__init__()
        self._parts = parts

    def render(self) -> Content:
        """All of it."""
        return Content.assemble(
            *((sanitize(part.text), ".prompt-text--token" if part.is_special_token else "") for part in self._parts)
        )


class PromptView(Dialog[None]):
    """Shows a prompt from its end, where the answer begins.

    Args:
        prompt: The prompt, how much of it need not be read, and where its template is from; no text of it is trusted.
    """

    AUTO_FOCUS = ".tables"
    BINDINGS: ClassVar[list[BindingType]] = [Binding("c", "copy_prompt", "Copy", show=False)]

    def __init__(self, prompt: PromptEstimate) -> None:
        super().__init__()
        self._prompt = prompt

    def compose(self) -> ComposeResult:
        """How long it is and who wrote it, then the text."""
        with Vertical(classes="dialog -tall") as box:
            box.border_title = "What the model is given"
            yield Static(self._figures(), classes="heading", markup=False)
            with VerticalScroll(classes="tables"):
                yield PromptText(self._prompt.prompt)
            yield Static("↑ ↓ scroll · c copy · Esc close", classes="keys")

    def on_mount(self) -> None:
        """The end is what was written last."""
        self.query_one(".tables", VerticalScroll).scroll_end(animate=False)

    def action_copy_prompt(self) -> None:
        """Copies the text as it is fed."""
        self.app.copy_to_clipboard("".join(part.text for part in self._prompt.prompt))
        self.query_one(".keys", Static).update("Copied · Esc close")

    def _figures(self) -> str:
        kept, read = self._prompt.kept_tokens, self._prompt.read_tokens
        source = sanitize_line(self._prompt.template_source)
        return f"{kept + read:,} tokens · {kept:,} kept · template: {source}"
