"""What can be undone of a chat: its last edits, deletions, new branches and names, the newest first."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

MOST_STEPS: Final = 100
"""So many steps are remembered of each chat that is open."""


class Change(StrEnum):
    """What was done; the value is its name on the screen."""

    EDIT = "the edit"
    DELETION = "the deletion"
    BRANCH = "the new branch"
    NAME = "the new title"


@dataclass(frozen=True, slots=True)
class UndoStep:
    """One change, and what was there before it.

    `tip_before` ended the path; None: it was before any first message. With `reaches_end`, the path goes on from there
    to its end. `made_id` is the version that was made, and `made_text` what an answer said then; `deleted_at` is the
    moment at which messages were deleted;
    `title_before` is the title that was replaced.
    """

    change: Change
    tip_before: int | None = None
    made_id: int | None = None
    made_text: str = ""
    deleted_at: int | None = None
    title_before: str = ""
    reaches_end: bool = False


class UndoSteps:
    """The steps that can be undone, the last one first."""

    def __init__(self) -> None:
        self._steps: list[UndoStep] = []

    def push(self, step: UndoStep) -> None:
        """Remembers a change that was made."""
        self._steps.append(step)
        del self._steps[:-MOST_STEPS]

    @property
    def last(self) -> UndoStep | None:
        """The change that is undone next; None where there is none."""
        return self._steps[-1] if self._steps else None

    def pop(self) -> UndoStep | None:
        """Returns the change that is undone next, and forgets it; None where there is none."""
        return self._steps.pop() if self._steps else None
