"""The prompt view: the exact prompt, with the messages and the text that the chat template writes around them."""

from collections.abc import Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.geometry import Size
from textual.scroll_view import ScrollView
from textual.strip import Strip
from textual.visual import Visual
from textual.widgets import Static

from tui_llama.engine.events import PromptEstimate, PromptPart
from tui_llama.screens.dialogs.dialog import Dialog
from tui_llama.text_safety import sanitize, sanitize_line
from tui_llama.widgets.local_keys import SHOWN_TEXT, local_bindings


class PromptText(ScrollView):
    """A view of the prompt, scrolled to its end at first. Special tokens look different from equal text.

    Only the visible lines are drawn, because a prompt may be as long as a book.
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
        """Wraps the prompt to the new width."""
        width = self.scrollable_content_region.width
        if width in (0, self._width):
            return
        is_first = not self._width
        self._lines, self._width = self.content.wrap(width), width
        self.virtual_size = Size(width, len(self._lines))
        if is_first:
            self.scroll_end(animate=False)

    def render_line(self, y: int) -> Strip:
        """Returns the line at row `y` of the widget."""
        number = y + self.scroll_offset.y
        if number >= len(self._lines):
            return Strip.blank(self.size.width, self.rich_style)
        return Visual.to_strips(self, self._lines[number], self._width, 1, self.visual_style)[0]


class PromptView(Dialog[None]):
    """A dialog that shows a prompt.

    Args:
        prompt: The prompt, the number of its tokens that are in the cache, and the source of its template. None of
            its texts is trusted.
    """

    HELP = """The prompt
    What the model gets, to the letter: the messages in use, and what the template writes around them.
    """
    AUTO_FOCUS = ".tables"
    BINDINGS: ClassVar[list[BindingType]] = [*local_bindings(SHOWN_TEXT)]

    def __init__(self, prompt: PromptEstimate) -> None:
        super().__init__()
        self._prompt = prompt

    def compose(self) -> ComposeResult:
        """Yields the figures and the source of the template, then the prompt."""
        with Vertical(classes="dialog -tall") as box:
            box.border_title = "The prompt of the model"
            yield Static(self._figures(), classes="heading", markup=False)
            yield PromptText(self._prompt.prompt, classes="tables")
            yield Static(self.footer("↑ ↓ scroll · {text_copy} copy · {dialog_close} close"), classes="keys")

    def action_copy(self) -> None:
        """Copies the exact text of the prompt."""
        self.app.copy_to_clipboard("".join(part.text for part in self._prompt.prompt))
        self.query_one(".keys", Static).update("Copied · Esc close")

    def _figures(self) -> str:
        kept, read = self._prompt.kept_tokens, self._prompt.read_tokens
        source = sanitize_line(self._prompt.template_source)
        return f"{kept + read:,} tokens · {kept:,} in the cache · template: {source}"
