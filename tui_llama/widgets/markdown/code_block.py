"""A code block of an answer: above the code its language, its number, and a mark that copies it."""

from typing import TYPE_CHECKING

from rich.cells import cell_len
from textual import events
from textual.app import ComposeResult
from textual.content import Content
from textual.css.query import NoMatches
from textual.message import Message
from textual.widget import Widget
from textual.widgets._markdown import MarkdownFence

from tui_llama.widgets.cutting import cut

if TYPE_CHECKING:
    from tui_llama.widgets.markdown.answer_markdown import AnswerMarkdown


class CodeCaption(Widget):
    """The line above the code. A click on it copies the code."""

    ALLOW_SELECT = False
    DEFAULT_CSS = "CodeCaption { width: 1fr; height: 1; }"

    class Clicked(Message):
        """Posted when the line is clicked."""

    def __init__(self, words: str, number: int) -> None:
        super().__init__(classes="caption")
        self._words = words
        self._number = number

    def change(self, words: str, number: int) -> None:
        """Shows other words and another number."""
        if (words, number) != (self._words, self._number):
            self._words, self._number = words, number
            self.refresh()

    def render(self) -> Content:
        """Returns the words at the left and the mark at the right."""
        mark = f"copy {self._number}"
        width = self.content_size.width
        words = cut(Content(self._words), max(0, width - cell_len(mark) - 2))
        gap = width - words.cell_length - cell_len(mark)
        return words + Content(" " * max(0, gap) + mark)

    def on_click(self, event: events.Click) -> None:
        """Posts `Clicked`."""
        event.stop()
        self.post_message(self.Clicked())


class CodeBlock(MarkdownFence):
    """A code block that is highlighted only if it names a language."""

    class CopyWanted(Message):
        """Posted when the user wants to copy code block `number` of the answer `text`. Numbers count from 1."""

        def __init__(self, text: str, number: int) -> None:
            super().__init__()
            self.text = text
            self.number = number

    @classmethod
    def highlight(cls, code: str, language: str, ansi: bool = False, dark: bool = False) -> Content:
        """Returns the code in colours, or plain if `language` is empty."""
        first_word = language.strip().partition(" ")[0]
        return super().highlight(code, first_word or "text", ansi, dark)

    def compose(self) -> ComposeResult:
        """Yields the line above the code, unless the block goes on with one above, and the code."""
        if not self._is_continued:
            yield CodeCaption(self.lexer.strip(), self.number)
        yield from super().compose()

    @property
    def _answer(self) -> "AnswerMarkdown":
        from tui_llama.widgets.markdown.answer_markdown import AnswerMarkdown

        markdown = self._markdown
        assert isinstance(markdown, AnswerMarkdown)
        return markdown

    @property
    def _index(self) -> int:
        """How many code blocks stand above, in the same part of the answer."""
        blocks = list(self._answer.query(CodeBlock))
        return blocks.index(self) if self in blocks else len(blocks)

    @property
    def _is_continued(self) -> bool:
        return self._answer.continues_code and self._index == 0

    @property
    def number(self) -> int:
        """The number of the block in the whole answer, from 1."""
        return self._answer.first_code_number + self._index

    def set_content(self, content: Content) -> None:
        """Replaces the code and the line above it."""
        super().set_content(content)
        try:
            self.query_one(CodeCaption).change(self.lexer.strip(), self.number)
        except NoMatches:
            return  # it goes on with a block above, or has no parts yet

    def on_code_caption_clicked(self, event: CodeCaption.Clicked) -> None:
        """Posts `CopyWanted`."""
        event.stop()
        self.post_message(self.CopyWanted(self._answer.whole_source, self.number))
