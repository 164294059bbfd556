"""The text of an answer of any length: one Markdown widget for each piece. Pieces far away are not laid out."""

from typing import Final

from rich.cells import cell_len
from textual import events
from textual.app import ComposeResult
from textual.containers import Vertical

from tui_llama.widgets.markdown.answer_markdown import AnswerMarkdown
from tui_llama.widgets.markdown.code import code_blocks
from tui_llama.widgets.markdown.pieces import LONG_CHARACTERS, Piece, pieces

_OPEN_AT_FIRST: Final = 4  # pieces at the end of a text that is there as a whole
_MARGIN_CELLS: Final = 4  # left and right of the text
_NEAR_SCREENS: Final = 1  # parts so near to the view are laid out
_FAR_SCREENS: Final = 1.5  # parts so far from the view are folded away
_REPARSED: Final = ("```", "~~~", "|")


class AnswerPart(AnswerMarkdown):
    """One piece of an answer. While it is folded away, it is empty and as high as its text is."""

    def __init__(self, piece: Piece, *, is_open: bool = True) -> None:
        super().__init__()
        self.piece = piece
        self.is_open = is_open
        self._folded_width = 0
        self._counted: Piece | None = None
        self._code_count = 0

    async def on_mount(self, event: events.Mount) -> None:
        """Shows the piece."""
        event.prevent_default()  # the base class would show its own text now
        if self.is_open:
            await self.update(self.piece.text)
            self._join()

    def on_resize(self, event: events.Resize) -> None:
        """Estimates the height of a folded part if it was measured at another width, or never."""
        if not self.is_open and event.size.width != self._folded_width:
            self._folded_width = event.size.width
            self.styles.height = _rows(self.piece.text, event.size.width - _MARGIN_CELLS)

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

    async def grow(self, text: str) -> None:
        """Adds text at the end."""
        self.piece = Piece(self.piece.source + text, self.piece.before)
        await self.append(text)

    async def become(self, piece: Piece) -> None:
        """Shows another piece in place of this one."""
        self.piece = piece
        await self.update(piece.text)
        self._join()

    async def open(self) -> None:
        """Lays the text out again."""
        self.is_open = True
        await self.update(self.piece.text)
        self._join()
        self.styles.clear_rule("height")
        self.refresh(layout=True)

    async def fold(self) -> None:
        """Removes the blocks and keeps their place."""
        self.is_open = False
        self._folded_width = self.size.width
        self.styles.height = self.outer_size.height
        await self.remove_children()

    def _join(self) -> None:
        """Removes the blank line below the last block if the next part goes on with it."""
        if self.piece.is_joined:
            for block in list(self.children)[-1:]:
                block.add_class("-joined")


class AnswerText(Vertical):
    """The Markdown of an answer, complete or growing.

    `append` and `finish` must not run at the same time.
    """

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
        """Adds text at the end."""
        last = self.parts[-1]
        await last.grow(text)
        if len(last.piece.source) >= self._cut_at:
            await self._cut(last)

    async def tend(self, top: float, height: int) -> bool:
        """Lays out the parts near the view, folds those far away. Returns whether any were laid out.

        Args:
            top: The first row of the view, counted from the beginning of this widget.
            height: The height of the view, in rows.
        """
        has_opened = False
        for part in self.parts[:-1] if self._is_growing else self.parts:
            region = part.virtual_region
            if not region.height:
                continue
            distance = max(top - region.bottom, region.y - (top + height))
            if not part.is_open and distance < _NEAR_SCREENS * height:
                await part.open()
                has_opened = True
            elif part.is_open and distance > _FAR_SCREENS * height:
                await part.fold()
        return has_opened

    async def finish(self) -> None:
        """Lays the last part out as a whole if that may look different. Nothing more will come."""
        self._is_growing = False
        last = self.parts[-1]
        if any(mark in last.piece.source for mark in _REPARSED):
            await last.become(last.piece)

    async def _cut(self, last: AnswerPart) -> None:
        """Leaves the finished blocks of the last part behind and goes on with a new one."""
        finished, *begun = pieces(last.piece.source, last.piece.before)
        if not begun:
            self._cut_at = len(last.piece.source) * 5 // 4
            return
        with self.app.batch_update():
            await last.become(finished)
            await self.mount_all(map(AnswerPart, begun))
        self._cut_at = max(LONG_CHARACTERS, len(begun[-1].source) * 5 // 4)


def _rows(text: str, width: int) -> int:
    """Returns about how many rows the text takes."""
    return sum(max(1, -(-cell_len(line) // max(1, width))) for line in text.split("\n"))
