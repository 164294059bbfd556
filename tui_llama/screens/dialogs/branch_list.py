"""The list of a chat's branches."""

from collections.abc import Sequence
from datetime import datetime

from textual.content import Content

from tui_llama.chats.stored import StoredBranch
from tui_llama.screens.dialogs.pick import PickDialog, count_and_time, two_sides
from tui_llama.text_safety import sanitize_line
from tui_llama.widgets.cutting import cut


class BranchList(PickDialog[StoredBranch, int | None]):
    """A dialog whose result is the id of the last message of the branch to open, or None.

    Args:
        branches: The branches, newest first; neither question nor answer is trusted.
        open_tip_id: The id of the last message of the branch that is open; None: the chat has no messages.
        now: The present time, which decides what is "today".
    """

    HELP = """Branches
    The ways that this chat went. Each begins where a message was edited or answered again; none is lost.
    """
    TITLE_TEXT = "Branches of this chat"
    KEYS = "Enter open · Esc close"

    def __init__(self, branches: Sequence[StoredBranch], open_tip_id: int | None, now: datetime) -> None:
        super().__init__(branches)
        self._open_tip_id = open_tip_id
        self._now = now

    def line(self, item: StoredBranch, width: int) -> Content:
        """Returns the last question and its answer, and on the right the number of messages and the time."""
        mark = "● " if item.tip_message_id == self._open_tip_id else "  "
        question, answer = (sanitize_line(" ".join(text.split())) for text in (item.question, item.answer))
        if answer:
            # A question that filled the line would leave no room for the answers, which tell branches apart.
            question = cut(Content(question), max(8, width * 2 // 5)).plain
        said = f"{question} → {answer}" if answer else question
        detail = count_and_time(item.message_count, item.created_at, self._now, width)
        return two_sides(mark + said, detail, width)

    def words(self, item: StoredBranch) -> str:
        """Returns the question and the answer."""
        return f"{item.question} {item.answer}"

    def choose(self, item: StoredBranch) -> None:
        """Closes the list with this branch as the one to open."""
        self.dismiss(item.tip_message_id)

    def advice_when_empty(self, filter_text: str) -> str:
        """Says why no branch is listed."""
        return (
            "No branch has this text in its last question or answer."
            if filter_text
            else "This chat has no messages yet."
        )
