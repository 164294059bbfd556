"""The text of an answer of any length: one Markdown widget for each piece. Pieces far away are not laid out.

Neighbours that are folded away share one place: the first of them is as high as all, and the others are not displayed.
So the number of widgets that Textual arranges depends on the view, and not on the length of the answer.
"""

from itertools import groupby
from typing import Final

from rich.cells import cell_len
from textual import events
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.css.scalar import Scalar
from textual.selection import Selection

from tui_llama.widgets.arranged_once import ArrangedOnce
from tui_llama.widgets.markdown.answer_markdown import AnswerMarkdown
from tui_llama.widgets.markdown.code import code_blocks
from tui_llama.widgets.markdown.pieces import LONG_CHARACTERS, Piece, pieces

_OPEN_AT_FIRST: Final = 4  # pieces at the end of a text that is there as a whole
_MARGIN_CELLS: Final = 4  # left and right of the text
_NEAR_SCREENS: Final = 1  # parts so near to the view are laid out
_FAR_SCREENS: Final = 1.25  # parts so far from the view are folded away
_LIST_DIGITS: Final = 3  # room for the numbers of a list that is cut; how many items will come is not known


class AnswerPart(AnswerMarkdown):
    """One piece of an answer. While it is folded away, it is empty.

    Attributes:
        piece: What it shows.
        is_open: Whether it is laid out, and not folded away.
        folded_rows: The height of its text while it is folded away; 0 if that is not known yet.
        folded_width: The width of the whole text for which `folded_rows` holds.
    """

    def __init__(self, piece: Piece, *, is_open: bool = True) -> None:
        super().__init__(piece.text if is_open else "")
        self.piece = piece
        self.is_open = is_open
        self.folded_rows = 0
        self.folded_width = 0
        self._counted: Piece | None = None
        self._code_count = 0

    @property
    def whole_source(self) -> str:
        """The whole answer."""
        return self.parent.source if isinstance(self.parent, AnswerText) else self.piece.source

    @property
    def continues_code(self) -> bool:
        """Whether this part begins inside of a code block."""
        return self.piece.before.startswith(("```", "~~~"))

    @property
    def first_code_number(self) -> int:
        """The number of the first code block, among those of the whole answer."""
        above = 0
        for part in self.parent.parts if isinstance(self.parent, AnswerText) else ():
            if part is self:
                break
            above += part.code_count
        return 1 + above - self.continues_code

    @property
    def code_count(self) -> int:
        """How many code blocks begin here."""
        if self._counted is not self.piece:
            self._counted = self.piece
            self._code_count = len(code_blocks(self.piece.text)) - self.continues_code
        return self._code_count

    @property
    def is_joined(self) -> bool:
        """Whether the next part goes on with the last block."""
        return self.piece.is_joined

    @property
    def least_digits(self) -> int:
        """The numbers of a list that goes on in another part stand in one column there too."""
        siblings = self.parent.parts if isinstance(self.parent, AnswerText) else []
        above = siblings[siblings.index(self) - 1] if self in siblings[1:] else None
        return _LIST_DIGITS if self.is_joined or (above is not None and above.is_joined) else 0

    def grow(self, text: str) -> None:
        """Adds text at the end."""
        self.piece = Piece(self.piece.source + text, self.piece.before)
        self.append(text)

    def become(self, piece: Piece) -> None:
        """Shows another piece in place of this one."""
        self.piece = piece
        self.update(piece.text)

    def open(self) -> None:
        """Lays the text out again."""
        self.is_open = True
        self.update(self.piece.text)
        self.styles.clear_rule("height")
        self.display = True
        self.refresh(layout=True)

    def fold(self, width: int) -> None:
        """Forgets the blocks. `width` is that of the whole text."""
        self.is_open = False
        self.folded_width, self.folded_rows = width, self.outer_size.height
        self.update("")

    def get_selection(self, selection: Selection) -> tuple[str, str] | None:
        """Returns the selected text, also while the part is folded away."""
        blocks = self._blocks if self.is_open else self._placed(self.piece.text)
        return self._selected_of(blocks, selection), "\n" if self.is_joined else "\n\n"

    def estimate(self, width: int) -> None:
        """Estimates the height of a folded part if it was measured at another width, or never."""
        if width != self.folded_width:
            self.folded_width, self.folded_rows = width, _rows(self.piece.text, width - _MARGIN_CELLS)

    def stand_for(self, rows: int) -> None:
        """Takes so many rows while it is folded away; none: another part takes its place too."""
        if bool(rows) != self.display:
            self.display = bool(rows)
        if rows and self.styles.height != Scalar.from_number(rows):
            self.styles.height = rows


class AnswerText(Vertical, ArrangedOnce):
    """The Markdown of an answer, complete or growing.

    `append` and `finish` must not run at the same time.
    """

    BLANK = True  # it draws nothing behind its parts, and has no border

    def __init__(self, text: str = "", *, is_growing: bool = False) -> None:
        super().__init__()
        self._is_growing = is_growing
        self._beginning = list(pieces(text))
        self._cut_at = LONG_CHARACTERS

    def compose(self) -> ComposeResult:
        """Yields the parts."""
        first_open = len(self._beginning) - _OPEN_AT_FIRST
        for number, piece in enumerate(self._beginning):
            yield AnswerPart(piece, is_open=number >= first_open)

    @property
    def parts(self) -> list[AnswerPart]:
        """The parts, from top to bottom."""
        return [part for part in self.children if isinstance(part, AnswerPart)]

    @property
    def source(self) -> str:
        """The text as it was written."""
        shown = [part.piece for part in self.parts] or self._beginning
        return "".join(piece.source for piece in shown)

    async def append(self, text: str) -> None:
        """Adds text at the end.

        Raises:
            NoMatches: Textual is removing this widget and has removed its parts.
        """
        last = self.query_children(AnswerPart).last()
        last.grow(text)
        if len(last.piece.source) >= self._cut_at:
            await self._cut(last)

    def tend(self, top: float, height: int) -> bool:
        """Lays out the parts near the view, folds those far away. Returns whether any were laid out.

        Args:
            top: The first row of the view, counted from the beginning of this widget.
            height: The height of the view, in rows.
        """
        to_open, to_fold, bottom = list[AnswerPart](), list[AnswerPart](), 0
        for part in self.parts[:-1] if self._is_growing else self.parts:
            rows = part.virtual_region.height if part.is_open else part.folded_rows
            above, bottom = bottom, bottom + rows
            distance = max(top - bottom, above - (top + height))
            if rows and not part.is_open and distance < _NEAR_SCREENS * height:
                to_open.append(part)
            elif rows and part.is_open and distance > _FAR_SCREENS * height:
                to_fold.append(part)
        if to_open or to_fold:
            with self.app.batch_update():
                for part in to_open:
                    part.open()
                for part in to_fold:
                    part.fold(self.size.width)
                self._gather()
        return bool(to_open)

    def on_resize(self, event: events.Resize) -> None:
        """Estimates the heights of the folded parts, if the width is another one."""
        for part in self.parts:
            if not part.is_open:
                part.estimate(event.size.width)
        self._gather()

    def _gather(self) -> None:
        """Lets the first of folded neighbours take the place of them all."""
        for is_open, run in groupby(self.parts, lambda part: part.is_open):
            if not is_open:
                first, *others = run
                first.stand_for(first.folded_rows + sum(part.folded_rows for part in others))
                for part in others:
                    part.stand_for(0)

    def finish(self) -> None:
        """Says that nothing more will come."""
        self._is_growing = False

    async def _cut(self, last: AnswerPart) -> None:
        """Leaves the finished blocks of the last part behind and goes on with a new one."""
        finished, *begun = pieces(last.piece.source, last.piece.before)
        if not begun:
            self._cut_at = len(last.piece.source) * 5 // 4
            return
        with self.app.batch_update():
            last.become(finished)
            await self.mount_all(map(AnswerPart, begun))
        self._cut_at = max(LONG_CHARACTERS, len(begun[-1].source) * 5 // 4)


def _rows(text: str, width: int) -> int:
    """Returns about how many rows the text takes."""
    return sum(max(1, -(-cell_len(line) // max(1, width))) for line in text.removesuffix("\n").split("\n"))
