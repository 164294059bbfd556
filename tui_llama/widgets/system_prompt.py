"""The system prompt of a chat above its messages: one line, which a click unfolds."""

from textual import events
from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.content import Content
from textual.widgets import Static

from tui_llama.text_safety import drawn, sanitize_line


class SystemPromptEntry(VerticalScroll, can_focus=False):
    """The system prompt, folded at first; nothing is shown where there is none."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._text = self._key = self._tokens = ""
        self._is_open = False
        self.display = False

    def compose(self) -> ComposeResult:
        """Yields the line, or the whole text."""
        yield Static("", markup=False)

    def show_text(self, text: str) -> None:
        """Shows a system prompt, folded if it is another one; "" shows nothing."""
        if text == self._text:
            return
        self._text, self._is_open, self._tokens = text, False, ""
        self.display = bool(text)
        self._draw()

    def show_key(self, key: str) -> None:
        """Shows the key that edits the text, and says there what a change costs; "" if there is none."""
        self._key = f" ({key})" if key else ""
        if self._text:
            self._draw()

    def show_tokens(self, count: int | None) -> None:
        """Shows how many tokens the text has; None if that is not known."""
        tokens = "" if count is None else f" · {count:,} token{'' if count == 1 else 's'}"
        if tokens != self._tokens:
            self._tokens = tokens
            self._draw()

    def on_click(self, event: events.Click) -> None:
        """Unfolds the text, or folds it."""
        event.stop()
        self._is_open = not self._is_open
        self._draw()

    def _draw(self) -> None:
        self.set_class(self._is_open, "-open")
        if self._is_open:
            text = Content.assemble(("▾ System prompt", "bold"), self._key, self._tokens, "\n", drawn(self._text))
        else:
            line = sanitize_line(" ".join(self._text[:1000].split()))
            text = Content.assemble(("▸ System prompt", "bold"), self._key, self._tokens, f" · {line}")
        self.query_one(Static).update(text)
