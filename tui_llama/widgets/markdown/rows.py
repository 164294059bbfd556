"""The blocks of an answer as rows of the terminal: text, code, rules, and what has marks before it.

A block is made once, when its Markdown is read, and cut into rows for a width whenever it is drawn at another one. A
row knows which part of which line of the block's text it shows, so that the mouse selects the text, and not the rows.
"""

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple, Protocol

from rich.cells import cell_len
from textual.content import Content

from tui_llama.widgets.cutting import cut

NOTHING: Final = Content("")
_NARROWEST_TEXT: Final = 4  # cells; text in a narrower place would be a column of letters
_CODE_INDENT: Final = 2  # cells left and right of code


class Line(NamedTuple):
    """A line of a block's text as it is copied: `mark` are the bullets and signs of quotation before `text`."""

    mark: str
    text: str


class Row(NamedTuple):
    """A row of the terminal.

    Attributes:
        text: What it shows of a line.
        marks: What stands before it and is no part of the line.
        line: The number of the line in the block, from 0; None: nothing of it can be selected.
        offset: How many characters of the line stand in rows above.
        fill: The component class of the row from behind the marks to the right edge; empty: none.
        indent: How many blank cells stand between the marks and the text.
        copies: The index of the code block that a click on this row copies, from 0 in each part; None: none.
    """

    text: Content
    marks: Content = NOTHING
    line: int | None = None
    offset: int = 0
    fill: str = ""
    indent: int = 0
    copies: int | None = None


class Block(Protocol):
    """A part of an answer that is laid out by itself."""

    @property
    def lines(self) -> Sequence[Line]:
        """The lines of its text."""

    def rows(self, width: int) -> Iterator[Row]:
        """Yields the rows for a width in cells, at least one. Numbers of lines count from 0."""


class TextBlock:
    """A paragraph or a heading. Its lines are those that were written."""

    def __init__(self, text: Content) -> None:
        self._texts = [line.expand_tabs() for line in text.split(allow_blank=True)] or [NOTHING]

    @property
    def lines(self) -> Sequence[Line]:
        """See `Block`."""
        return [Line("", text.plain) for text in self._texts]

    def rows(self, width: int) -> Iterator[Row]:
        """See `Block`."""
        for number, text in enumerate(self._texts):
            for offset, part in wrapped(text, width):
                yield Row(part, line=number, offset=offset)


class CodeBlock:
    """Code, and above it a row that names its language and copies it.

    Args:
        code: The code, in colours.
        words: What the row above it says.
        index: Which code block it is in this part of the answer, from 0.
        number: Which one it is in the whole answer, from 1; None: it goes on with a block above and has no such row.
    """

    def __init__(self, code: Content, words: str, index: int, number: int | None) -> None:
        self._code = TextBlock(code)
        self._words = words
        self._index = index
        self._number = number

    @property
    def lines(self) -> Sequence[Line]:
        """See `Block`."""
        return self._code.lines

    def rows(self, width: int) -> Iterator[Row]:
        """See `Block`."""
        inner = max(_NARROWEST_TEXT, width - 2 * _CODE_INDENT)
        if self._number is not None:
            mark = f"copy {self._number}"
            words = cut(Content(self._words), max(0, inner - cell_len(mark) - 2))
            gap = " " * max(0, inner - words.cell_length - cell_len(mark))
            caption = words + Content(gap) + Content.styled(mark, ".link")
            yield Row(caption, fill="caption", indent=_CODE_INDENT, copies=self._index)
        for row in self._code.rows(inner):
            yield row._replace(fill="code", indent=_CODE_INDENT)


class RuleBlock:
    """A horizontal rule."""

    @property
    def lines(self) -> Sequence[Line]:
        """See `Block`."""
        return [Line("", "───")]

    def rows(self, width: int) -> Iterator[Row]:
        """See `Block`."""
        yield Row(Content.styled("─" * width, ".rule"), line=0)


class MarkedBlock:
    """Blocks with marks before their rows: an item of a list, or a quotation.

    Args:
        inner: The blocks, from top to bottom.
        first: The mark before the first row.
        following: What stands before all other rows, as wide as `first`.
    """

    def __init__(self, inner: "Column", first: Content, following: Content) -> None:
        self._inner = inner
        self._first = first
        self._following = following

    @property
    def lines(self) -> Sequence[Line]:
        """See `Block`."""
        marks = [self._first.plain, *[self._following.plain] * len(self._inner.lines)]
        return [Line(mark + line.mark, line.text) for mark, line in zip(marks, self._inner.lines, strict=False)]

    def rows(self, width: int) -> Iterator[Row]:
        """See `Block`."""
        mark = self._first
        for row in self._inner.rows(max(_NARROWEST_TEXT, width - mark.cell_length)):
            yield row._replace(marks=mark + row.marks)
            mark = self._following


class Column:
    """Blocks one below the other.

    Args:
        blocks: The blocks, from top to bottom.
        gaps: Before which of them a row stays empty.
    """

    def __init__(self, blocks: Sequence[Block], gaps: Sequence[bool]) -> None:
        self._blocks = blocks
        self._gaps = gaps

    @property
    def lines(self) -> Sequence[Line]:
        """See `Block`."""
        lines: list[Line] = []
        for block, has_gap in zip(self._blocks, self._gaps, strict=True):
            lines += [Line("", "")] if has_gap else []
            lines += block.lines
        return lines or [Line("", "")]

    def rows(self, width: int) -> Iterator[Row]:
        """See `Block`."""
        first_line = 0
        for block, has_gap in zip(self._blocks, self._gaps, strict=True):
            if has_gap:
                yield Row(NOTHING, line=first_line)
                first_line += 1
            for row in block.rows(width):
                yield row if row.line is None else row._replace(line=first_line + row.line)
            first_line += len(block.lines)
        if not self._blocks:
            yield Row(NOTHING, line=0)


def wrapped(text: Content, width: int) -> Iterator[tuple[int, Content]]:
    """Yields the rows of a line of text, each with the number of the character where it begins."""
    plain, offset = text.plain, 0
    for part in text.wrap(max(1, width)):
        yield offset, part
        offset += len(part.plain)
        while offset < len(plain) and plain[offset] == " ":  # the blank where the line was cut is not drawn
            offset += 1
