"""The list of the ways that a chat went."""

from collections.abc import Sequence
from datetime import datetime

import msgspec
from textual.content import Content

from tui_llama.screens.pick import PickDialog, count_and_time, two_sides
from tui_llama.text_safety import sanitize_line
from tui_llama.widgets.cutting import cut


class ListedBranch(msgspec.Struct, frozen=True):
    """A branch as a line of the list: what was said last in it. Neither text is trusted."""

    tip_message_id: int
    question: str
    answer: str
    message_count: int
    created_at: datetime
    is_open: bool


class BranchList(PickDialog[ListedBranch, int | None]):
    """Returns the id of the message in which the branch to open ends, or None.

    Args:
        branches: Newest first.
        now: What "today" is compared with.
    """

    TITLE_TEXT = "Branches of this chat"
    KEYS = "Enter open · Esc close"

    def __init__(self, branches: Sequence[ListedBranch], now: datetime) -> None:
        super().__init__(branches)
        self._now = now

    def line(self, item: ListedBranch, width: int) -> Content:
        """The last question and its answer, and on the right how many messages and when."""
        mark = "● " if item.is_open else "  "
        question, answer = (sanitize_line(" ".join(text.split())) for text in (item.question, item.answer))
        if answer:
            # Not all of the line: a long question would leave nothing to tell its answers apart by.
            question = cut(Content(question), max(8, width * 2 // 5)).plain
        said = f"{question} → {answer}" if answer else question
        detail = count_and_time(item.message_count, item.created_at, self._now, width)
        return two_sides(mark + said, detail, width)

    def words(self, item: ListedBranch) -> str:
        """Question and answer."""
        return f"{item.question} {item.answer}"

    def choose(self, item: ListedBranch) -> None:
        """Opens it."""
        self.dismiss(item.tip_message_id)

    def advice_when_empty(self, filter_text: str) -> str:
        """Why there is nothing."""
        return "No branch ends with this." if filter_text else "Nothing was said in this chat yet."
