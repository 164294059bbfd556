"""Markdown as a model writes it: nothing in it is trusted, and nothing of it is lost.

Differs from Textual's in how it is parsed (see `markdown_rules`), and: links never open by themselves; a code block
without a language is not guessed at (which loads every lexer there is, at every token), and what its first line says
beside a language stands above it; table cells have no tooltips, whose text would be read as markup, are wrapped
instead of cut, and stand below each other where there is no room for columns; numbers of a list stay those that were
written, if they ascend; and a list that grows does not make all its items anew.
"""

from collections.abc import Iterable
from functools import cache
from itertools import pairwise

from pygments.lexers import get_all_lexers
from rich.cells import cell_len
from textual import events
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.widgets import Label, Markdown
from textual.widgets._markdown import (
    MarkdownBlock,
    MarkdownBullet,
    MarkdownBulletList,
    MarkdownFence,
    MarkdownList,
    MarkdownListItem,
    MarkdownOrderedList,
    MarkdownTable,
    MarkdownTableCellContents,
    MarkdownTableContent,
)

from tui_llama.widgets.markdown_rules import markdown_parser

_NARROWEST_COLUMN = 6  # cells, of which its margins take three


class PlainTableContent(MarkdownTableContent):
    """A table's cells without tooltips, side by side or below each other."""

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

    def on_resize(self, event: events.Resize) -> None:
        """Columns as wide as their words; else all of one width, which breaks words; else one below the other."""
        count, width = len(self.headers), event.size.width
        has_columns = count * _NARROWEST_COLUMN < width
        fits = sum(map(_longest_word, zip(self.headers, *self.rows, strict=False))) + 3 * count < width
        self.styles.grid_size_columns = count if has_columns else 1
        self.styles.grid_columns = "auto" if fits and has_columns else "1fr"

    async def _update_rows(self, updated_rows: list[list[Content]]) -> None:
        self.rows[self.last_row - 1 :] = updated_rows
        columns = self.styles.grid_size_columns
        await super()._update_rows(updated_rows)
        self.styles.grid_size_columns = columns


def _longest_word(cells: Iterable[Content]) -> int:
    """In cells of the terminal."""
    return max((cell_len(word) for cell in cells for word in cell.plain.split()), default=0)


class PlainTable(MarkdownTable):
    """A table of such cells."""

    def compose(self) -> ComposeResult:
        """The one widget that holds the cells."""
        self._headers, self._rows = self._get_headers_and_rows()
        yield PlainTableContent(self._headers, self._rows)

    async def _update_from_block(self, block: MarkdownBlock) -> None:
        """Only what was added to the table is made anew, if it is the same table."""
        if isinstance(block, MarkdownTable):
            headers, rows = block._get_headers_and_rows()
            if headers == self._headers and len(rows) >= len(self._rows):
                await super()._update_from_block(block)
                return
        await MarkdownBlock._update_from_block(self, block)


@cache
def _languages() -> frozenset[str]:
    """All names of languages that are highlighted."""
    return frozenset(alias for _, aliases, _, _ in get_all_lexers(plugins=False) for alias in aliases)


class CodeBlock(MarkdownFence):
    """A code block, highlighted only in the language that it names."""

    @classmethod
    def highlight(cls, code: str, language: str, ansi: bool = False, dark: bool = False) -> Content:
        """The code in colours."""
        first_word = language.strip().partition(" ")[0]
        return super().highlight(code, first_word or "text", ansi, dark)

    def compose(self) -> ComposeResult:
        """What is said of the code, if anything is, and the code."""
        caption = self._caption
        yield Label(caption, classes="caption", markup=False, expand=True).set_class(not caption, "-none")
        yield from super().compose()

    @property
    def _caption(self) -> str:
        first_word, _, rest = self.lexer.strip().partition(" ")
        return rest.strip() if first_word.lower() in _languages() else self.lexer.strip()

    def set_content(self, content: Content) -> None:
        """Other code, and what is said of it."""
        super().set_content(content)
        for label in self.query(".caption").results(Label):
            label.update(self._caption)
            label.set_class(not self._caption, "-none")


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
    """A list with numbers: those that were written if they ascend, else counted from the first."""

    def compose(self) -> ComposeResult:
        """Each item with its number."""
        items = [block for block in self._blocks if isinstance(block, MarkdownListItem)]
        numbers = _ascending([int(item.bullet) for item in items])
        width = max((len(str(number)) for number in numbers), default=0)
        for number, item in zip(numbers, items, strict=True):
            bullet = MarkdownBullet()
            bullet.symbol = f" {number:>{width}}. "
            yield Horizontal(bullet, Vertical(*item._blocks))
        self._blocks.clear()


def _ascending(numbers: list[int]) -> list[int]:
    if all(number < next_number for number, next_number in pairwise(numbers)):
        return numbers
    return [numbers[0] + place for place in range(len(numbers))]


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
