"""The list of a chat's branches."""

from collections.abc import Sequence
from datetime import datetime

import msgspec
from textual.content import Content

from tui_llama.screens.pick import PickDialog, count_and_time, two_sides
from tui_llama.text_safety import sanitize_line
from tui_llama.widgets.cutting import cut


class ListedBranch(msgspec.Struct, frozen=True):
    """A branch as the list takes it, with its last question and answer. Neither text is trusted."""

    tip_message_id: int
    question: str
    answer: str
    message_count: int
    created_at: datetime
    is_open: bool


class BranchList(PickDialog[ListedBranch, int | None]):
    """A dialog whose result is the id of the last message of the branch to open, or None.

    Args:
        branches: The branches, newest first.
        now: The present time, which decides what is "today".
    """

    TITLE_TEXT = "Branches of this chat"
    KEYS = "Enter open · Esc close"

    def __init__(self, branches: Sequence[ListedBranch], now: datetime) -> None:
        super().__init__(branches)
        self._now = now

    def line(self, item: ListedBranch, width: int) -> Content:
        """Returns the last question and its answer, and on the right the number of messages and the time."""
        mark = "● " if item.is_open else "  "
        question, answer = (sanitize_line(" ".join(text.split())) for text in (item.question, item.answer))
        if answer:
            # A question that filled the line would leave no room for the answers, which tell branches apart.
            question = cut(Content(question), max(8, width * 2 // 5)).plain
        said = f"{question} → {answer}" if answer else question
        detail = count_and_time(item.message_count, item.created_at, self._now, width)
        return two_sides(mark + said, detail, width)

    def words(self, item: ListedBranch) -> str:
        """Returns the question and the answer."""
        return f"{item.question} {item.answer}"

    def choose(self, item: ListedBranch) -> None:
        """Closes the list with this branch as the one to open."""
        self.dismiss(item.tip_message_id)

    def advice_when_empty(self, filter_text: str) -> str:
        """Says why no branch is listed."""
        return (
            "No branch has this text in its last question or answer."
            if filter_text
            else "This chat has no messages yet."
        )
