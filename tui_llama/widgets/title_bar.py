"""The title bar at the top: the chat's title and the model's name."""

from tui_llama.text_safety import sanitize_line
from tui_llama.widgets.bar import Bar, quiet, strong


class TitleBar(Bar):
    """A bar with the chat's title on the left and the model's name on the right. Neither text is trusted."""

    def show_titles(self, chat_title: str, model_name: str) -> None:
        """Shows both texts, sanitized."""
        self.show(strong(sanitize_line(chat_title) or "New chat"), quiet(sanitize_line(model_name)))
