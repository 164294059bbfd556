"""The title bar at the top: the chat's title, what goes on in other chats, and the model's name."""

from typing import ClassVar

from textual.content import Content

from tui_llama.text_safety import sanitize_line
from tui_llama.widgets.bar import Bar, joined, quiet, strong


class TitleBar(Bar):
    """A bar with the chat's title on the left and the model's name on the right. Neither text is trusted."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {"bar--marks"}

    def show_titles(self, chat_title: str, model_name: str, marks: str = "") -> None:
        """Shows both texts, sanitized, with the marks of other chats before the model's name."""
        title, model = strong(sanitize_line(chat_title) or "New chat"), quiet(sanitize_line(model_name))
        others = Content.styled(marks, ".bar--marks")
        self.show(title, joined(others, model), others if marks else None)
