"""The line at the top: which chat, and which model."""

from tui_llama.text_safety import sanitize_line
from tui_llama.widgets.bar import Bar, quiet, strong


class TitleBar(Bar):
    """The chat's title on the left, the model on the right; neither is trusted."""

    def show_titles(self, chat_title: str, model_name: str) -> None:
        """Shows both, cleaned."""
        self.show(strong(sanitize_line(chat_title) or "New chat"), quiet(sanitize_line(model_name)))
