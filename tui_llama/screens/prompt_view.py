"""What the model is given, as it is fed: every message that counts, and what the chat template writes around it."""

from collections.abc import Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.geometry import Size
from textual.scroll_view import ScrollView
from textual.strip import Strip
from textual.visual import Visual
from textual.widgets import Static

from tui_llama.engine.protocol import PromptEstimate, PromptPart
from tui_llama.screens.dialog import Dialog
from tui_llama.text_safety import sanitize, sanitize_line


class PromptText(ScrollView):
    """The prompt, in which special tokens look unlike text with the same letters; shown from its end.

    Only the lines that are to be seen are drawn: a prompt may be as long as a book.
    """

    COMPONENT_CLASSES: ClassVar[set[str]] = {"prompt-text--token"}

    def __init__(self, parts: Sequence[PromptPart], classes: str) -> None:
        super().__init__(classes=classes)
        self.content = Content.assemble(
            *((sanitize(part.text), ".prompt-text--token" if part.is_special_token else "") for part in parts)
        )
        self._lines: list[Content] = []
        self._width = 0

    def on_resize(self) -> None:
        """Makes lines for the width that there is."""
        width = self.scrollable_content_region.width
        if width in (0, self._width):
            return
        is_first = not self._width
        self._lines, self._width = self.content.wrap(width), width
        self.virtual_size = Size(width, len(self._lines))
        if is_first:
            self.scroll_end(animate=False)

    def render_line(self, y: int) -> Strip:
        """The line at row `y` of the widget."""
        number = y + self.scroll_offset.y
        if number >= len(self._lines):
            return Strip.blank(self.size.width, self.rich_style)
        return Visual.to_strips(self, self._lines[number], self._width, 1, self.visual_style)[0]


class PromptView(Dialog[None]):
    """Shows a prompt.

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
            yield PromptText(self._prompt.prompt, classes="tables")
            yield Static("↑ ↓ scroll · c copy · Esc close", classes="keys")

    def action_copy_prompt(self) -> None:
        """Copies the text as it is fed."""
        self.app.copy_to_clipboard("".join(part.text for part in self._prompt.prompt))
        self.query_one(".keys", Static).update("Copied · Esc close")

    def _figures(self) -> str:
        kept, read = self._prompt.kept_tokens, self._prompt.read_tokens
        source = sanitize_line(self._prompt.template_source)
        return f"{kept + read:,} tokens · {kept:,} kept · template: {source}"
