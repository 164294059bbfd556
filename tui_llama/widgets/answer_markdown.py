"""Markdown as a model writes it: nothing in it is trusted, and nothing of it is lost.

Differs from Textual's in six things: HTML is shown as it stands instead of vanishing, a single line break is
kept, links never open by themselves, a code block without a language is not guessed at (which loads every lexer
there is, at every token), table cells have no tooltips, whose text would be read as markup, and a list that
grows does not make all its items anew.
"""

from functools import cache

from markdown_it import MarkdownIt
from markdown_it.rules_core import StateCore
from textual.app import ComposeResult
from textual.content import Content
from textual.widgets import Markdown
from textual.widgets._markdown import (
    MarkdownBlock,
    MarkdownBulletList,
    MarkdownFence,
    MarkdownList,
    MarkdownOrderedList,
    MarkdownTable,
    MarkdownTableCellContents,
    MarkdownTableContent,
)


@cache
def markdown_parser() -> MarkdownIt:
    """The parser of all answers."""
    parser = MarkdownIt("gfm-like", {"html": False, "linkify": False}).disable("linkify")
    parser.core.ruler.push("keep_line_breaks", _keep_line_breaks)
    return parser


def _keep_line_breaks(state: StateCore) -> None:
    """Models mean the line breaks that they write."""
    for token in state.tokens:
        for child in token.children or ():
            if child.type == "softbreak":
                child.type = "hardbreak"


class PlainTableContent(MarkdownTableContent):
    """A table's cells without tooltips."""

    def compose(self) -> ComposeResult:
        """Headers, then the cells of each row."""
        for header in self.headers:
            yield MarkdownTableCellContents(header, classes="header")
        for row_number, row in enumerate(self.rows, 1):
            for column_number, cell in enumerate(row, 1):
                yield MarkdownTableCellContents(
                    cell, classes=f"row{row_number} cell", name=f"cell{row_number}.{column_number}"
                )
            self.last_row = row_number


class PlainTable(MarkdownTable):
    """A table of such cells."""

    def compose(self) -> ComposeResult:
        """The one widget that holds the cells."""
        self._headers, self._rows = self._get_headers_and_rows()
        yield PlainTableContent(self._headers, self._rows)


class CodeBlock(MarkdownFence):
    """A code block, highlighted only in the language that it names."""

    @classmethod
    def highlight(cls, code: str, language: str, ansi: bool = False, dark: bool = False) -> Content:
        """The code in colours."""
        first_word = language.strip().partition(" ")[0]
        return super().highlight(code, first_word or "text", ansi, dark)


class GrowingList(MarkdownList):
    """A list that keeps the items it has when it grows, and makes only the last one anew."""

    async def _update_from_block(self, block: MarkdownBlock) -> None:
        items, count = list(self.children), len(block._blocks)
        is_same_list = type(block) is type(self) and 0 < len(items) <= count
        # Numbers are padded to the longest, so one more digit changes all of them.
        if not is_same_list or len(str(count)) != len(str(len(items))):
            await super()._update_from_block(block)
            return
        await items[-1].remove()
        await self.mount_all(list(block.compose())[len(items) - 1 :])


# Textual's first, because styles are inherited along first bases only.
class GrowingBulletList(MarkdownBulletList, GrowingList):
    """A list with bullets."""


class GrowingOrderedList(MarkdownOrderedList, GrowingList):
    """A list with numbers."""


class AnswerMarkdown(Markdown):
    """An answer, whole or growing."""

    BLOCKS = {  # noqa: RUF012 - declared without ClassVar by the base class
        **Markdown.BLOCKS,
        "bullet_list_open": GrowingBulletList,
        "ordered_list_open": GrowingOrderedList,
        "table_open": PlainTable,
        "fence": CodeBlock,
        "code_block": CodeBlock,
    }

    def __init__(self, markdown: str | None = None) -> None:
        super().__init__(markdown, parser_factory=markdown_parser, open_links=False)
