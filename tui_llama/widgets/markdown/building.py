"""Makes the blocks of an answer from what the parser found."""

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import Final

from markdown_it.token import Token
from textual.content import Content

from tui_llama.widgets.markdown.inline import inline_content
from tui_llama.widgets.markdown.rows import Block, CodeBlock, Column, Line, MarkedBlock, Row, RuleBlock, TextBlock
from tui_llama.widgets.markdown.tables import Alignment, TableBlock

_BULLETS: Final = ("• ", "▪ ", "‣ ", "⭑ ", "◦ ")
_QUOTATION: Final = Content.styled("▌ ", ".quotation-mark")


class Builder:
    """Makes blocks.

    Args:
        highlight: Returns code in colours. The second argument is the language, as it was written.
        first_number: The number of the first code block.
        continues_code: Whether the first code block goes on with one above.
        least_digits: How wide the numbers of lists are at least.
        first_index: How many code blocks of the same part stand above.
    """

    def __init__(
        self,
        highlight: Callable[[str, str], Content],
        first_number: int = 1,
        *,
        continues_code: bool = False,
        least_digits: int = 0,
        first_index: int = 0,
    ) -> None:
        self._highlight = highlight
        self._first_number = first_number
        self._continues_code = continues_code
        self._least_digits = least_digits
        self._code_count = first_index

    def blocks(self, tokens: Sequence[Token]) -> Iterator[tuple[int, Block, int]]:
        """Yields each block with the line of the text where it begins, and the number of code blocks above it."""
        for run in _runs(tokens):
            line = run[0].map[0] if run[0].map else 0
            index = self._code_count
            yield line, self._block(run), index

    def _block(self, tokens: Sequence[Token], depth: int = 0) -> Block:
        first = tokens[0]
        match first.type:
            case "bullet_list_open" | "ordered_list_open":
                return self._list(tokens, depth)
            case "blockquote_open":
                return _Quotation(self._column(tokens[1:-1], depth, is_loose=True), _QUOTATION, _QUOTATION)
            case "table_open":
                return _table(tokens)
            case "fence" | "code_block":
                return self._code(first)
            case "hr":
                return RuleBlock()
        text = inline_content(next((token for token in tokens if token.type == "inline"), None))
        style = {"h1": ".heading-1", "p": ""}.get(first.tag, ".heading")
        return TextBlock(text.stylize_before(style) if style else text)

    def _column(self, tokens: Sequence[Token], depth: int, *, is_loose: bool = False) -> Column:
        """Returns blocks one below the other. A row stays empty between paragraphs, and below code and tables."""
        runs = list(_runs(tokens))
        gaps = [False, *(is_loose or _has_gap(above[0], below[0]) for above, below in pairwise(runs))]
        return Column([self._block(run, depth) for run in runs], gaps[: len(runs)])

    def _list(self, tokens: Sequence[Token], depth: int) -> Block:
        items = list(_runs(tokens[1:-1]))
        is_numbered = tokens[0].type == "ordered_list_open"
        marks = self._numbers(items) if is_numbered else [_BULLETS[depth % len(_BULLETS)]] * len(items)
        blocks = [
            MarkedBlock(self._column(item[1:-1], depth + 1), Content.styled(mark, ".bullet"), Content(" " * len(mark)))
            for mark, item in zip(marks, items, strict=True)
        ]
        return Column(blocks, [False] * len(blocks))

    def _numbers(self, items: Sequence[Sequence[Token]]) -> list[str]:
        """Returns the numbers that were written if they ascend, else those that count on from the first."""
        numbers = [int(item[0].info) for item in items]
        if any(number >= following for number, following in pairwise(numbers)):
            numbers = [numbers[0] + place for place in range(len(numbers))]
        width = max(self._least_digits, *(len(str(number)) for number in numbers))
        return [f"{number:>{width}}. " for number in numbers]

    def _code(self, token: Token) -> CodeBlock:
        index = self._code_count
        self._code_count += 1
        words = token.info.strip()
        number = None if self._continues_code and index == 0 else self._first_number + index
        return CodeBlock(self._highlight(token.content.rstrip(), words), words, index, number)


class _Quotation(MarkedBlock):
    """A quotation: its text is paler than that of the answer."""

    @property
    def lines(self) -> Sequence[Line]:
        """See `Block`; the bar is copied as the mark of quotations that texts have."""
        marked = super().lines
        bar = len(_QUOTATION.plain)
        return [Line(f"> {line.mark[bar:]}", line.text) for line in marked]

    def rows(self, width: int) -> Iterator[Row]:
        """See `Block`."""
        for row in super().rows(width):
            yield row._replace(text=row.text.stylize_before(".quotation"))


def _has_gap(above: Token, below: Token) -> bool:
    is_text = above.type == below.type == "paragraph_open"
    return is_text or above.type in ("fence", "code_block", "table_open")


def _runs(tokens: Sequence[Token]) -> Iterator[Sequence[Token]]:
    """Yields the tokens of each block that is not inside of another."""
    start = depth = 0
    for number, token in enumerate(tokens):
        depth += token.nesting
        if depth == 0:
            yield tokens[start : number + 1]
            start = number + 1


def _table(tokens: Sequence[Token]) -> TableBlock:
    headers: list[Content] = []
    alignments: list[Alignment] = []
    cells: list[list[Content]] = []
    for token, following in pairwise(tokens):
        match token.type:
            case "th_open":
                headers.append(inline_content(following))
                alignments.append(_alignment(token))
            case "tr_open" if headers:
                cells.append([])
            case "td_open":
                cells[-1].append(inline_content(following))
    return TableBlock(headers, cells, alignments)


def _alignment(token: Token) -> Alignment:
    style = str(token.attrs.get("style", ""))
    return "right" if "right" in style else "center" if "center" in style else "left"
