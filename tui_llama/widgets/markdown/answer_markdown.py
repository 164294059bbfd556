"""A Markdown widget for answers. It trusts nothing that a model writes, and shows all of it.

It differs from Textual's widget in its parser (see `rules`) and in these points:

- Links never open by themselves.
- The language of a code block that names none is not guessed. Guessing would load every lexer, at every token.
  What the block's first line says is shown above the code, with a mark that copies it.
- Table cells have no tooltips, because Textual would read a tooltip's text as markup. Cells are wrapped, not cut, and
  stand one below the other where there is no room for columns.
- A numbered list keeps the numbers that were written, if they ascend.
- A list that grows keeps its finished items and builds only the last one again.
"""

from collections.abc import Iterable
from itertools import pairwise

from rich.cells import cell_len
from textual import events
from textual.app import ComposeResult
from textual.await_complete import AwaitComplete
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.widgets import Markdown
from textual.widgets._markdown import (
    MarkdownBlock,
    MarkdownBullet,
    MarkdownBulletList,
    MarkdownList,
    MarkdownListItem,
    MarkdownOrderedList,
    MarkdownTable,
    MarkdownTableCellContents,
    MarkdownTableContent,
)

from tui_llama.widgets.markdown.code_block import CodeBlock
from tui_llama.widgets.markdown.rules import markdown_parser

_NARROWEST_COLUMN = 6  # cells; the margins take three of them


class PlainTableContent(MarkdownTableContent):
    """The cells of a table, without tooltips, in columns or one below the other."""

    def compose(self) -> ComposeResult:
        """Yields the headers, then the cells of each row."""
        for header in self.headers:
            yield MarkdownTableCellContents(header, classes="header")
        for row_number, row in enumerate(self.rows, 1):
            for column_number, cell in enumerate(row, 1):
                yield MarkdownTableCellContents(
                    cell, classes=f"row{row_number} cell", name=f"cell{row_number}.{column_number}"
                )
            self.last_row = row_number

    def on_resize(self, event: events.Resize) -> None:
        """Chooses columns as wide as their longest word, else columns of equal width, else a single column.

        Columns of equal width break words.
        """
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
    """Returns the width of the longest word, in cells of the terminal."""
    return max((cell_len(word) for cell in cells for word in cell.plain.split()), default=0)


class PlainTable(MarkdownTable):
    """A table whose cells are a `PlainTableContent`."""

    def compose(self) -> ComposeResult:
        """Yields the one widget that holds the cells."""
        self._headers, self._rows = self._get_headers_and_rows()
        yield PlainTableContent(self._headers, self._rows)

    async def _update_from_block(self, block: MarkdownBlock) -> None:
        """Adds only the new rows if `block` is the same table with more rows, else builds the table again."""
        if isinstance(block, MarkdownTable):
            headers, rows = block._get_headers_and_rows()
            if headers == self._headers and len(rows) >= len(self._rows):
                await super()._update_from_block(block)
                return
        await MarkdownBlock._update_from_block(self, block)


class GrowingList(MarkdownList):
    """A list that keeps its finished items when it grows and builds only the last one again."""

    async def _update_from_block(self, block: MarkdownBlock) -> None:
        items, count = list(self.children), len(block._blocks)
        is_same_list = type(block) is type(self) and 0 < len(items) <= count
        # Numbers are padded to the width of the longest, so one more digit changes all items.
        if not is_same_list or len(str(count)) != len(str(len(items))):
            await super()._update_from_block(block)
            return
        await items[-1].remove()
        await self.mount_all(list(block.compose())[len(items) - 1 :])


# Textual's class comes first, because Textual inherits styles only along the first base of each class.
class GrowingBulletList(MarkdownBulletList, GrowingList):
    """A list with bullets that keeps its finished items."""


class GrowingOrderedList(MarkdownOrderedList, GrowingList):
    """A numbered list. It shows the numbers that were written if they ascend, else it counts on from the first.

    Attributes:
        least_digits: The numbers are padded at least to so many cells.
    """

    least_digits = 0

    def compose(self) -> ComposeResult:
        """Yields each item with its number."""
        items = [block for block in self._blocks if isinstance(block, MarkdownListItem)]
        numbers = _ascending([int(item.bullet) for item in items])
        width = max((len(str(number)) for number in numbers), default=0)
        width = max(width, self.least_digits)
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
    """The Markdown of an answer, complete or growing."""

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

    @property
    def whole_source(self) -> str:
        """The whole answer."""
        return self.source

    @property
    def first_code_number(self) -> int:
        """The number of the first code block, among those of the whole answer."""
        return 1

    @property
    def continues_code(self) -> bool:
        """Whether the first code block goes on with one above this widget."""
        return False

    def update(self, markdown: str) -> AwaitComplete:
        """Shows another text, to which more may be appended."""
        return AwaitComplete(self._updated(super().update(markdown)))

    async def _updated(self, update: AwaitComplete) -> None:
        await update
        # Textual would go on with the last line, and lose the lines of the last block before it.
        blocks = [child for child in self.children if isinstance(child, MarkdownBlock)]
        self._last_parsed_line = blocks[-1].source_range[0] if blocks else 0
